# SPDX-License-Identifier: Apache-2.0
"""The availability zones that servers may ask for: those of the hosts, and of the storage of cells without hosts."""

from bfv.parts import Parts
from bfv.types import utcnow
from cells.hosts import is_up


def available(parts: Parts, *, fresh: bool = False) -> dict[str, bool]:
    """Return the zones by name, each with whether anything in it may take servers now; ``fresh`` asks the cells anew.

    ``nova/api/openstack/compute/availability_zone.py``. A cell that is down has the zone of its storage. Raises
    CellDown for the API database.
    """
    cells = {cell.name: cell for cell in parts.registry.cells()}
    seen = parts.hosts.look(cells.values()) if fresh else parts.hosts.seen(list(cells.values()))
    now = utcnow()
    found: dict[str, bool] = {}
    for target in parts.targets:
        cell = cells.get(target.cell)
        hosts = seen.hosts.get(target.cell, ())
        for host in hosts:
            zone = seen.zones.get(host.host, parts.placing.default_availability_zone)
            usable = not (host.disabled or host.forced_down) and is_up(host, now, parts.placing.down_after)
            found[zone] = found.get(zone, False) or usable
        if not hosts and target.availability_zone:
            is_open = cell is not None and not cell.disabled and target.cell not in seen.down
            found[target.availability_zone] = found.get(target.availability_zone, False) or is_open
    return dict(sorted(found.items()))
