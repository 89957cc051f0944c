# SPDX-License-Identifier: Apache-2.0
"""`bfv pool report`: whether nova's own pool is still needed, by whom, and what is only left there."""

import argparse
from typing import Any

from bfv.cli import output
from bfv.cloud import Cloud
from bfv.pool_report import ALL, GIB, ORPHANS, HostReport, PoolReport, report


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("pool", help="nova's own pools").add_subparsers(dest="action", required=True)
    parser = group.add_parser(
        "report",
        help="tell by host what still lives in nova's pool, and what is left there by whom; changes nothing",
        description="Reads nova's pool of each cell that names its ceph_conf, and the databases that know whose its "
        "images are; accounts that may only SELECT suffice. A host whose servers have nothing there needs no "
        "images_type=rbd any more.",
    )
    parser.add_argument("cell", nargs="*", help="only these cells (default: all that name their Ceph)")
    parser.add_argument("--images", action="store_true", help="list every image and not only what is left behind")
    parser.set_defaults(run=pool_report)


def pool_report(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Tell what is there; fails if a pool or a database could not be read."""
    found = report(cloud.parts, args.cell)
    args.failed = any(each.down or each.database_down for each in found)
    if args.json:
        return found
    for number, each in enumerate(found):
        if number:
            output.out.print()
        _tell(each, args.images)
    return None


def _tell(found: PoolReport, everything: bool) -> None:
    output.out.print(f"cell {found.cell}, pool {found.pool}", style="bold", markup=False)
    if found.down:
        output.err.print(f"cell {found.cell}: its Ceph: {found.down}", markup=False)
        return
    if found.database_down:
        output.err.print(f"cell {found.cell}: its database: {found.database_down}", markup=False)
    if found.hosts:
        columns = ["HOST", "SERVERS", *(kind.upper() for kind in ALL), "SNAPSHOTS", "GIB", "IMAGES_TYPE=RBD"]
        output.table(columns, map(_host, found.hosts))
    told = [each for each in found.images if everything or each.state != "live"]
    if told:
        output.table(
            ["", "IMAGE", "KIND", "GIB", "SNAPSHOTS", "OPEN", "WHOSE"],
            ((each.state, each.name, each.kind, _gib(each.size), len(each.snapshots) or "", ", ".join(each.open_at),
              each.whose) for each in told),
        )  # fmt: skip
    output.out.print(_sum(found), markup=False)


def _host(host: HostReport) -> tuple[Any, ...]:
    counts = (host.counts.get(kind, "") for kind in ALL)
    verdict = "can go" if host.can_go else "is needed"
    return (host.host, host.servers or "", *counts, host.snapshots or "", _gib(host.size) if host.size else "", verdict)


def _sum(found: PoolReport) -> str:
    orphans = sum(found.counts.get(state, 0) for state in ORPHANS)
    trash = f", {found.trashed} in the trash" if found.trashed else ""
    if found.database_down:
        return f"{len(found.images)} images{trash}; whose they are is not known while the cell's database is down"
    needed = [each.host for each in found.hosts if not each.can_go]
    words = f"images_type=rbd is needed on {', '.join(needed)}" if needed else "images_type=rbd can go on every host"
    rest = "" if found.images or found.trashed else "; the pool is empty and can go, too"
    return f"{len(found.images)} images, {orphans} left behind{trash}; {words}{rest}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
