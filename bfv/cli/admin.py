# SPDX-License-Identifier: Apache-2.0
"""The verbs of operators: databases, flavors, check and repair."""

import argparse
from typing import Any

from bfv import database, schemas
from bfv.check import Line
from bfv.check import check as prove
from bfv.cli import output
from bfv.cloud import Cloud
from cells import flavors
from cells.types import Flavor


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    parser = verbs.add_parser("check", help="prove that the cloud is ready for boots, a line for each thing")
    parser.add_argument("--probe", action="store_true", help="also make and remove a throw-away volume in each cell")
    parser.add_argument("--image", help="image for the probe")
    parser.add_argument(
        "--project",
        action="append",
        default=[],
        metavar="ID",
        help="project in which the service user's rights are checked; repeatable",
    )
    parser.set_defaults(run=check)
    parser = verbs.add_parser("repair", help="finish or undo what crashes left open; may be run at any time")
    parser.add_argument("--dry-run", action="store_true")
    parser.set_defaults(run=repair)
    _add_db(verbs)
    _add_flavor(verbs)


def _add_db(verbs: Any) -> None:
    group = verbs.add_parser("db", help="databases").add_subparsers(dest="action", required=True)
    parser = group.add_parser("init", help="make or upgrade bfv's own database")
    parser.add_argument(
        "--cell0", metavar="URL", help="for standalone use: also make nova's API tables, and cell0 in this database"
    )
    parser.set_defaults(run=db_init)
    parser = group.add_parser("check", help="compare bfv's, the API's and every cell's database with what bfv needs")
    parser.set_defaults(run=db_check)


def _add_flavor(verbs: Any) -> None:
    group = verbs.add_parser("flavor", help="flavors").add_subparsers(dest="action", required=True)
    parser = group.add_parser("create", help="make a flavor")
    parser.add_argument("name")
    parser.add_argument("--id", help="id of the flavor (default: its name)")
    parser.add_argument("--vcpus", type=int, default=1)
    parser.add_argument("--ram", type=int, default=256, metavar="MIB")
    parser.add_argument("--disk", type=int, default=0, metavar="GIB")
    parser.add_argument("--ephemeral", type=int, default=0, metavar="GIB")
    parser.add_argument("--swap", type=int, default=0, metavar="MIB")
    parser.add_argument("--property", action="append", default=[], metavar="KEY=VALUE", help="extra spec; repeatable")
    parser.set_defaults(run=flavor_create)
    group.add_parser("list", help="list the flavors").set_defaults(run=flavor_list)


def check(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Prove that the cloud is ready."""
    return tell(prove(cloud.parts, projects=args.project, probe=args.probe, image=args.image), args)


def tell(found: list[Line], args: argparse.Namespace) -> Any:
    """Print what was found, a line for each thing; bad ones make the exit code."""
    args.failed = any(line.state == "bad" for line in found)
    if args.json:
        return found
    return output.table(
        ["", "WHAT", "FOUND", "TO DO"], ((line.state, line.what, line.found, line.todo) for line in found)
    )


def repair(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Finish or undo what is open."""
    done = cloud.repair(dry_run=args.dry_run)
    strays = cloud.strays()
    args.failed = (any(each.open for each in done) or bool(strays.found)) and not args.dry_run
    if args.json:
        return [*done, *strays.found]
    for stray in strays.found:
        output.out.print(f"server {stray.server_id}: {stray.what}", soft_wrap=True)
    for cell, why in strays.down.items():
        output.out.print(f"volumes of cell {cell} were not looked at: {why}", soft_wrap=True)
    if not done:
        return output.out.print("nothing is open")
    return output.table(
        ["SERVER", "VERB", "NOW", "WHY"],
        ((each.server_id, each.verb, f"open, {each.phase}" if each.open else each.phase, each.reason) for each in done),
    )


def db_init(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Make the databases."""
    database.init(cloud.parts, args.cell0)
    version = database.current(cloud.parts)
    return {"version": version} if args.json else output.out.print(f"databases are ready, journal version {version}")


def db_check(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Compare the databases."""
    return tell(schemas.check(cloud.parts), args)


def flavor_create(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Make a flavor."""
    specs = dict(item.partition("=")[::2] for item in args.property)
    made = flavors.create(
        cloud.parts.api,
        Flavor(
            id=0,
            flavorid=args.id or args.name,
            name=args.name,
            vcpus=args.vcpus,
            memory_mb=args.ram,
            root_gb=args.disk,
            ephemeral_gb=args.ephemeral,
            swap=args.swap,
            extra_specs=specs,
        ),
    )
    return made if args.json else output.out.print(f"flavor {made.name} has id {made.flavorid}")


def flavor_list(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List the flavors."""
    found = flavors.list_flavors(cloud.parts.api, None)
    if args.json:
        return found
    return output.table(
        ["ID", "NAME", "VCPUS", "RAM", "DISK", "EPHEMERAL", "SWAP"],
        (
            (
                flavor.flavorid,
                flavor.name,
                flavor.vcpus,
                flavor.memory_mb,
                flavor.root_gb,
                flavor.ephemeral_gb,
                flavor.swap,
            )
            for flavor in found
        ),
    )
