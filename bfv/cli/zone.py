# SPDX-License-Identifier: Apache-2.0
"""The availability zones that a server may be asked into, and what makes them."""

import argparse
from collections import defaultdict
from typing import Any

from bfv.cli import output
from bfv.cloud import Cloud
from bfv.types import utcnow
from cells.hosts import is_up


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("zone", help="availability zones").add_subparsers(dest="action", required=True)
    group.add_parser("list", help="list the zones, with their cells and hosts").set_defaults(run=zone_list)


def zone_list(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List the zones: those of hosts, and those of the storage of cells that have no hosts."""
    placing, now = cloud.parts.placing, utcnow()
    seen = cloud.parts.hosts.look(cloud.parts.registry.cells())
    cells: defaultdict[str, set[str]] = defaultdict(set)
    hosts: defaultdict[str, list[bool]] = defaultdict(list)
    for cell, told in seen.hosts.items():
        for host in told:
            zone = seen.zones.get(host.host, placing.default_availability_zone)
            cells[zone].add(cell)
            hosts[zone].append(not host.disabled and is_up(host, now, placing.down_after))
    for target in cloud.parts.targets:
        if target.availability_zone and seen.hosts.get(target.cell) == []:
            cells[target.availability_zone].add(target.cell)
    found = [(zone, sorted(cells[zone]), len(hosts[zone]), sum(hosts[zone])) for zone in sorted(cells)]
    args.failed = bool(seen.down)
    if args.json:
        rows = [dict(zip(("zone", "cells", "hosts", "usable_hosts"), row, strict=True)) for row in found]
        return {"zones": rows, "down": seen.down}
    for cell, reason in seen.down.items():
        output.err.print(f"cell {cell} is down, its hosts are not counted: {reason}", markup=False)
    return output.table(
        ["ZONE", "CELLS", "HOSTS", "USABLE"], ((zone, ", ".join(names), *counts) for zone, names, *counts in found)
    )
