# SPDX-License-Identifier: Apache-2.0
"""The verbs of operators for cells: what there is, how it is, and what should be used."""

import argparse
from collections.abc import Iterator
from typing import Any

from bfv import cell_notes, database
from bfv.cell_report import CellReport, look
from bfv.cli import output
from bfv.cloud import Cloud
from cells.discover import Discovered, discover_hosts
from cells.errors import BadCell, CellDown

URL = "SQLAlchemy URL of the cell's database, or nova's template of one"
TRANSPORT = "URL of the cell's message queue, for nova; bfv uses none"


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("cell", help="cells").add_subparsers(dest="action", required=True)
    parser = group.add_parser("create", help="map a cell, and make nova's tables in its database if there are none")
    parser.add_argument("name")
    parser.add_argument("--database", required=True, metavar="URL", help=URL)
    parser.add_argument("--transport-url", default="none:///", metavar="URL", help=TRANSPORT)
    parser.add_argument("--disabled", action="store_true", help="let it get no servers yet")
    parser.set_defaults(run=cell_create)
    group.add_parser("list", help="ask every cell how it is: its database and its storage").set_defaults(run=cell_list)
    _named(group, "show", "ask one cell how it is", cell_show)
    parser = _named(group, "update", "change how a cell is reached, or its name", cell_update)
    parser.add_argument("--name", dest="new_name", metavar="NAME")
    parser.add_argument("--database", metavar="URL", help=URL)
    parser.add_argument("--transport-url", metavar="URL", help=TRANSPORT)
    parser = _named(group, "disable", "let a cell get no new servers; those that it has go on", cell_disable)
    parser.add_argument("--reason", required=True, help="why, for whoever finds it disabled")
    _named(group, "enable", "let a cell get servers again", cell_enable)
    _named(group, "delete", "forget a cell that has no servers and no hosts", cell_delete)
    parser = group.add_parser("map-hosts", help="map the compute hosts that have registered in their cells")
    parser.add_argument("cell", nargs="*", help="name or uuid (default: every cell)")
    parser.set_defaults(run=cell_map_hosts)


def _named(group: Any, verb: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = group.add_parser(verb, help=text)
    parser.add_argument("cell", help="name or uuid")
    parser.set_defaults(run=run)
    return parser


def cell_create(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Map a cell."""
    database.add_cell(cloud.parts, args.name, args.database, transport_url=args.transport_url, disabled=args.disabled)
    return _done(args, args.name, "mapped")


def cell_list(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List the cells; fails if one that is not disabled is down."""
    found = look(cloud.parts, cloud.parts.registry.cells())
    args.failed = any(each.state == "down" or (each.storage.state == "down" and not each.disabled) for each in found)
    if args.json:
        return found
    return output.table(
        ["NAME", "DATABASE", "ANSWERS", "STORAGE", "BACKEND", "UUID", "WHY"],
        (
            (each.name, each.state, _answers(each), each.storage.state, each.backend, each.uuid, "; ".join(_why(each)))
            for each in found
        ),
    )


def cell_show(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show a cell."""
    [found] = look(cloud.parts, [cloud.parts.registry.cell(args.cell)])
    if args.json:
        return found
    in_use, size = found.connections
    return output.fields(
        [
            ("name", found.name),
            ("uuid", found.uuid),
            ("database", found.state),
            ("address", found.address),
            ("answers", _answers(found)),
            ("connections", f"{in_use} of {size} in use"),
            ("storage", found.storage.state),
            ("volume type", found.volume_type),
            ("availability zone", found.availability_zone),
            ("backend", found.backend),
            *(("why", why) for why in _why(found)),
        ]
    )


def cell_update(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Change a cell."""
    cell = cloud.parts.registry.update_cell(
        args.cell, name=args.new_name, database_connection=args.database, transport_url=args.transport_url
    )
    return _done(args, cell.name, "changed")


def cell_disable(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Disable a cell."""
    cell = cell_notes.disable(cloud.parts.journal.database, cloud.parts.registry, args.cell, args.reason)
    return _done(args, cell.name, "disabled")


def cell_enable(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Enable a cell."""
    cell = cell_notes.enable(cloud.parts.journal.database, cloud.parts.registry, args.cell)
    return _done(args, cell.name, "enabled")


def cell_delete(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Forget a cell."""
    cell = cloud.parts.registry.cell(args.cell)
    cloud.parts.registry.delete_cell(cell.uuid)
    cell_notes.forget(cloud.parts.journal.database, cell)
    return _done(args, cell.name, "no longer mapped")


def cell_map_hosts(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Map the hosts of cells; fails if a cell is down or a host's name is taken by another cell's."""
    parts = cloud.parts
    cells = [parts.registry.cell(name) for name in args.cell] or parts.registry.cells()
    found, down = {}, {}
    for cell in (cell for cell in cells if not cell.is_cell0):
        try:
            found[cell.name] = discover_hosts(parts.api, parts.cells.of(cell), cell)
        except (CellDown, BadCell) as error:
            down[cell.name] = str(error)
    args.failed = bool(down) or any(each.refused for each in found.values())
    if args.json:
        return {"cells": found, "down": down}
    for name, each in found.items():
        _tell_hosts(name, each)
    for name, reason in down.items():
        output.err.print(f"cell {name}: {reason}", markup=False)
    return None


def _tell_hosts(name: str, found: Discovered) -> None:
    output.out.print(f"cell {name}: {', '.join(found.mapped) or 'no new hosts'}", markup=False)
    for refusal in found.refused:
        output.err.print(f"cell {name}: {refusal}", markup=False)


def _answers(cell: CellReport) -> str | None:
    return f"{cell.answers.p50 * 1000:.0f} ms, {cell.answers.p99 * 1000:.0f} at most" if cell.answers else None


def _why(cell: CellReport) -> Iterator[str]:
    """Yield a sentence for each thing that keeps a cell from being used."""
    if cell.disabled:
        at = f" at {cell.disabled_at:%F %T}" if cell.disabled_at else ""
        yield f"disabled{at}: {cell.disabled_reason or 'no reason is noted'}"
    if cell.reason:
        yield f"database: {cell.reason}{f' (since {cell.since:%F %T})' if cell.since else ''}"
    if cell.storage.reason:
        yield f"storage: {cell.storage.reason}{f' (since {cell.storage.since:%F %T})' if cell.storage.since else ''}"


def _done(args: argparse.Namespace, name: str, what: str) -> Any:
    return None if args.json else output.out.print(f"cell {name} is {what}", markup=False)
