# SPDX-License-Identifier: Apache-2.0
"""The verbs of operators for compute hosts: what they have left, and whether they get servers."""

import argparse
from typing import Any

from bfv import hosts
from bfv.cli import output
from bfv.cloud import Cloud
from bfv.errors import NotFound
from bfv.fit import NOTHING, free
from bfv.types import utcnow
from cells import hosts as cell_hosts
from cells.types import Cell, Host


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("host", help="compute hosts").add_subparsers(dest="action", required=True)
    group.add_parser("list", help="list the hosts of all cells and what they have left").set_defaults(run=host_list)
    parser = group.add_parser("disable", help="let a host get no new servers; those that it has go on")
    parser.add_argument("host")
    parser.add_argument("--reason", default="disabled by bfv", help="why, for whoever finds it disabled")
    parser.set_defaults(run=host_disable)
    parser = group.add_parser("enable", help="let a host get servers again")
    parser.add_argument("host")
    parser.set_defaults(run=host_enable)


def host_list(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List the hosts."""
    seen = cloud.parts.hosts.look(cloud.parts.registry.cells())
    with cloud.parts.journal.database.reader() as conn:
        promised = hosts.claimed(conn)
    placing, now = cloud.parts.placing, utcnow()
    found = []
    for host in (host for told in seen.hosts.values() for host in told):
        left = free(host, promised.get(host.host, NOTHING), placing)
        found.append(
            {
                "host": host.host,
                "cell": host.cell,
                "zone": seen.zones.get(host.host, placing.default_availability_zone),
                "status": "disabled" if host.disabled else "enabled",
                "reason": host.disabled_reason,
                "state": "up" if cell_hosts.is_up(host, now, placing.down_after) else "down",
                "free_vcpus": left.vcpus,
                "free_memory_mb": left.memory_mb,
                "free_disk_gb": left.disk_gb,
                "servers": host.running_vms,
            }
        )
    args.failed = bool(seen.down)
    if args.json:
        return {"hosts": found, "down": seen.down}
    for cell, reason in seen.down.items():
        output.err.print(f"cell {cell} is down: {reason}", markup=False)
    columns = ["host", "cell", "zone", "status", "reason", "state", "free_vcpus", "free_memory_mb", "free_disk_gb",
               "servers"]  # fmt: skip
    heads = [name.upper().replace("_", " ") for name in columns]
    return output.table(heads, ([row[name] for name in columns] for row in found))


def host_disable(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Disable a host."""
    return _set(cloud, args, args.reason)


def host_enable(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Enable a host."""
    return _set(cloud, args, None)


def _set(cloud: Cloud, args: argparse.Namespace, reason: str | None) -> Any:
    cell, host = _find(cloud, args.host)
    cell_hosts.set_disabled(cloud.parts.cells.of(cell), host.host, reason)
    verb = "enabled" if reason is None else "disabled"
    return None if args.json else output.out.print(f"host {host.host} of cell {cell.name} is {verb}")


def _find(cloud: Cloud, name: str) -> tuple[Cell, Host]:
    """Return a host and its cell. Raises NotFound, which names the cells that could not be asked."""
    cells = {cell.name: cell for cell in cloud.parts.registry.cells()}
    seen = cloud.parts.hosts.look(cells.values())
    for cell, told in seen.hosts.items():
        for host in told:
            if host.host == name:
                return cells[cell], host
    down = f"; these cells are down: {', '.join(seen.down)}" if seen.down else ""
    raise NotFound(f"Host {name} could not be found{down}; see `bfv host list`.")
