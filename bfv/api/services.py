# SPDX-License-Identifier: Apache-2.0
"""Calls about the services of all cells (``nova/api/openstack/compute/services.py``)."""

from collections.abc import Mapping, Sequence
from typing import Any

from bfv import inventory
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import incomplete, is_true
from bfv.api.schemas import BOOLEAN
from bfv.api.shapes import HOST, is_uuid, object_of, query_of
from cells import aggregates, services
from cells.hosts import BINARY
from cells.services import Service
from cells.types import Cell, Down

RULE = "os-services"
FORCED_DOWN, BY_UUID, PARTIAL = 11, 53, 69
# What an API process writes of itself is no service that reports.
APIS = ("nova-osapi_compute", "nova-metadata")
INTERNAL = "internal"
REASON = {"type": "string", "minLength": 1, "maxLength": 255}
TEXT = {"type": "string", "minLength": 1, "maxLength": 255}


def index(call: Call) -> Answer:
    """List the services; those of hosts in a cell that is down as UNKNOWN from 2.69 on."""
    parts = call.cloud.parts
    found = inventory.find_services(parts)
    zones = aggregates.zones(parts.api)
    shown = [_view(call, zones, row) for _, row in found.rows if row.binary not in APIS]
    if call.version >= PARTIAL:
        shown += _unknown(call, found.down)
    for name in ("host", "binary"):
        if asked := call.asked(name):
            shown = [each for each in shown if each[name] == asked]
    silent = call.version < PARTIAL or any(down.cell.is_cell0 for down in found.down)
    return Answer({"services": shown}, headers=incomplete(call, found.down, "services") if silent else {})


def _unknown(call: Call, down: Sequence[Down]) -> list[Json]:
    """Return what the API database knows of the compute services in cells that are down."""
    cells = {each.cell.uuid for each in down}
    mapped = services.mapped_hosts(call.cloud.parts.api) if cells else []
    return [{"binary": BINARY, "host": host, "status": "UNKNOWN"} for host, cell in mapped if cell in cells]


def update_by_name(call: Call) -> Answer:
    """Change a compute service by its host, until 2.52; the path names what is done."""
    asked, action = call.body, call.ids["service_id"]
    told: Json = {"host": asked["host"], "binary": asked["binary"]}
    if action == "force-down" and call.version >= FORCED_DOWN:
        if "forced_down" not in asked:
            raise Fault(400, "Missing forced_down field")
        told["forced_down"] = is_true(asked["forced_down"])
        values = {"forced_down": told["forced_down"]}
    elif action in ("enable", "disable", "disable-log-reason"):
        reason = asked.get("disabled_reason") if action == "disable-log-reason" else None
        if action == "disable-log-reason" and reason is None:
            raise Fault(400, "Missing disabled reason field")
        told |= {"status": "enabled" if action == "enable" else "disabled"}
        told |= {"disabled_reason": reason} if reason else {}
        values = {"disabled": action != "enable", "disabled_reason": reason}
    else:
        raise Fault(404, "Unknown action")
    _computes_only(asked["binary"])
    host = asked["host"]
    found = inventory.find_services(call.cloud.parts)
    hit = found.only(lambda row: (row.host, row.binary) == (host, BINARY), f"host {host}")
    if hit is None:
        raise Fault(404, f"Host '{host}' is not mapped to any cell")
    _change(call, *hit, values)
    return Answer({"service": told})


def update(call: Call) -> Answer:
    """Change a compute service by its uuid, from 2.53 on."""
    key, asked = call.ids["service_id"], call.body
    if not is_uuid(key):
        raise Fault(400, f"Invalid uuid {key[:255]}")
    hit = inventory.find_services(call.cloud.parts).only(lambda row: row.uuid == key, f"service {key}")
    if hit is None:
        raise Fault(404, f"Service {key} could not be found.")
    _computes_only(hit[1].binary)
    values: dict[str, Any] = {}
    if "status" in asked:
        if asked["status"] == "enabled" and asked.get("disabled_reason"):
            raise Fault(400, "Specifying 'disabled_reason' with status 'enabled' is invalid.")
        values = {"disabled": asked["status"] == "disabled", "disabled_reason": asked.get("disabled_reason")}
    if "forced_down" in asked:
        values["forced_down"] = is_true(asked["forced_down"])
    if not values:
        raise Fault(400, "No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    changed = _change(call, *hit, values)
    return Answer({"service": _view(call, aggregates.zones(call.cloud.parts.api), changed)})


def _computes_only(binary: str) -> None:
    if binary != BINARY:
        raise Fault(400, f"Updating a {binary} service is not supported. Only nova-compute services can be updated.")


def _change(call: Call, cell: Cell, service: Service, values: Mapping[str, Any]) -> Service:
    return services.update(call.cloud.parts.cells.of(cell), service.id, **values)


def _view(call: Call, zones: Mapping[str, str], service: Service) -> Json:
    parts = call.cloud.parts
    default = parts.placing.default_availability_zone
    view = {
        "binary": service.binary,
        "host": service.host,
        "id": service.uuid if call.version >= BY_UUID else service.id,
        "zone": zones.get(service.host, default) if service.binary == BINARY else INTERNAL,
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if inventory.reports(parts, service) else "down",
        "updated_at": service.updated_at.strftime("%Y-%m-%dT%H:%M:%S.%f") if service.updated_at else None,
        "disabled_reason": service.disabled_reason,
    }
    return view | ({"forced_down": service.forced_down} if call.version >= FORCED_DOWN else {})


def body_by_name(version: int) -> Json:
    """Return what PUT /os-services/{action} takes."""
    forced = {"forced_down": BOOLEAN} if version >= FORCED_DOWN else {}
    return object_of(("host", "binary"), host=HOST, binary=TEXT, disabled_reason=REASON, **forced)


def body(_version: int) -> Json:
    """Return what PUT /os-services/{uuid} takes."""
    status = {"type": "string", "enum": ["enabled", "disabled"]}
    return object_of(status=status, disabled_reason=REASON, forced_down=BOOLEAN)


_PATH = f"/{RULE}/{{service_id}}"
ROUTES = (
    Route("GET", f"/{RULE}", index, f"{RULE}:list", query=query_of(host={"type": "string"}, binary={"type": "string"})),
    Route("PUT", _PATH, update_by_name, f"{RULE}:update", body=body_by_name, until=BY_UUID - 1),
    Route("PUT", _PATH, update, f"{RULE}:update", body=body, since=BY_UUID),
)
