# SPDX-License-Identifier: Apache-2.0
"""The availability zones with the hosts and services in each (``nova/api/openstack/compute/availability_zone.py``)."""

from bfv import inventory
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.listing import incomplete
from bfv.api.services import APIS, INTERNAL
from bfv.api.shapes import NEVER, query_of
from bfv.zones import available
from cells import aggregates
from cells.hosts import BINARY

RULE = "os-availability-zone"


def detail(call: Call) -> Answer:
    """List the availability zones with their hosts; what runs beside hosts is in the zone `internal`."""
    parts = call.cloud.parts
    found = inventory.find_services(parts)
    zones, default = aggregates.zones(parts.api), parts.placing.default_availability_zone
    hosts: dict[str, Json] = {}
    for _, row in found.rows:
        if row.disabled or row.binary in APIS:
            continue
        zone = zones.get(row.host, default) if row.binary == BINARY else INTERNAL
        told = hosts.setdefault(zone, {}).setdefault(row.host, {})
        told[row.binary] = {
            "available": inventory.reports(parts, row),
            "active": True,
            "updated_at": row.updated_at.strftime("%Y-%m-%dT%H:%M:%S.%f") if row.updated_at else None,
        }
    known = {**available(parts, fresh=True), **({INTERNAL: True} if INTERNAL in hosts else {})}
    shown: list[Json] = [
        {"zoneName": name, "zoneState": {"available": is_open}, "hosts": hosts.get(name, {}) if is_open else None}
        for name, is_open in known.items()
    ]
    return Answer({"availabilityZoneInfo": shown}, headers=incomplete(call, found.down, "hosts"))


ROUTES = (Route("GET", f"/{RULE}/detail", detail, f"{RULE}:detail", query=query_of(NEVER)),)
