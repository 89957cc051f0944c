# SPDX-License-Identifier: Apache-2.0
"""What nova has no calls for, under one prefix: why a server is where it is, how the cells are, and a host's side.

A host connects and disconnects the volumes of its servers and reports what it has, with the role ``service`` alone:
what ``connect`` answers opens the storage.
"""

import datetime as dt
from typing import Any

from bfv import cell_report
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.shapes import HOST, LARGEST, object_of, query_of
from bfv.errors import NotFound
from cells import hosts
from cells.errors import NotMapped
from cells.types import Cell, Host

PREFIX, RULE = "/bfv", "bfv"
TEXT = {"type": "string", "minLength": 1, "maxLength": 255}


def decision(call: Call) -> Answer:
    """Show how a server was placed and made, and by which rules; cells and hosts to admins alone."""
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if info.decision is None:
        raise Fault(404, f"No decision is known for server {info.id}: it was not booted here.")
    told = info.decision.to_dict()
    if not call.is_admin:
        # Names of cells and hosts, and what is wrong with them, are the operator's.
        for name in ("cells", "cell_why", "hosts", "zones", "why_not", "sources"):
            del told[name]
    return Answer({"decision": {"server_id": info.id, **told}})


def cells(call: Call) -> Answer:
    """List the cells, each with the state of its database and its storage, and the operator's word."""
    parts = call.cloud.parts
    return Answer({"cells": [_cell_view(each) for each in cell_report.look(parts, parts.registry.cells())]})


def cell(call: Call) -> Answer:
    """Show a cell."""
    found = _cell(call, call.ids["name"])
    (report,) = cell_report.look(call.cloud.parts, [found])
    return Answer({"cell": _cell_view(report)})


def connect(call: Call) -> Answer:
    """Connect a host to the volumes of a server and return how it reaches them; repeatable."""
    server_id, connector = call.ids["server_id"], call.body["connect"]["connector"]
    made = call.cloud.connect(server_id, connector)
    told = [{"attachment_id": each.id, "volume_id": each.disk_id, "connection_info": dict(each.connection)}
            for each in made]  # fmt: skip
    return Answer({"attachments": told})


def disconnect(call: Call) -> Answer:
    """Have the host of a server let go of its volumes, which stay reserved for the server; repeatable."""
    call.cloud.disconnect(call.ids["server_id"])
    return Answer()


def report(call: Call) -> Answer:
    """Take what a host has and uses, and that it is up; a host that is not known is registered and mapped."""
    name, asked = call.ids["host"], call.body["host"]
    found = _cell(call, asked["cell"])
    if found.is_cell0:
        raise Fault(400, f"Cell {found.name} takes no hosts.")
    told = {key: _whole(value) for key, value in asked.items() if key not in ("cell", "node")}
    host = Host(cell=found.name, host=name, node=asked.get("node", name), **told)
    database = call.cloud.parts.cells.of(found)
    # Mapped first: a host of another cell is refused before anything is written into this one.
    hosts.map_host(call.cloud.parts.api, name, found)
    for strange in hosts.report(database, [host]):
        hosts.register(database, strange)
        hosts.report(database, [strange])
    return Answer()


def _cell(call: Call, name: str) -> Cell:
    try:
        return call.cloud.parts.registry.cell(name)
    except NotMapped as error:
        raise NotFound(f"Cell {name[:255]} could not be found.") from error


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cell_view(told: cell_report.CellReport) -> Json:
    view: Json = {
        "id": told.uuid,
        "name": told.name,
        "state": told.state,
        "since": _moment(told.since),
        "reason": told.reason,
        "disabled": told.disabled,
        "disabled_reason": told.disabled_reason,
        "disabled_at": _moment(told.disabled_at),
        "storage": {
            "state": told.storage.state,
            "reason": told.storage.reason,
            "since": _moment(told.storage.since),
            "backend": told.backend,
            "volume_type": told.volume_type,
            "availability_zone": told.availability_zone,
        },
        "connections": dict(zip(("in_use", "size"), told.connections, strict=True)),
    }
    return view | ({"answers": vars(told.answers)} if told.answers else {})


def _moment(when: dt.datetime | None) -> str | None:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


_COUNT = {"type": "integer", "minimum": 0, "maximum": LARGEST}
_RATIO = {"type": "number", "minimum": 0, "maximum": 1e6}
_CONNECTOR = {
    "type": "object",
    "properties": {"host": HOST},
    "required": ["host"],
    "propertyNames": {"pattern": "^[a-zA-Z0-9_.-]{1,64}$"},
    # What os-brick tells of a host: initiator, ip, wwpns, nqn, multipath …
    "additionalProperties": {
        "type": ["string", "integer", "boolean", "null", "array"],
        "maxLength": 255,
        "maxItems": 64,
        "items": TEXT,
    },
}


def connect_body(_version: int) -> Json:
    """Return what a connect takes."""
    return object_of(("connect",), connect=object_of(("connector",), connector=_CONNECTOR))


def disconnect_body(_version: int) -> Json:
    """Return what a disconnect takes."""
    return object_of(("disconnect",), disconnect={"type": "null"})


def host_body(_version: int) -> Json:
    """Return what a host reports."""
    counts = ("vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "local_gb", "local_gb_used", "running_vms")
    ratios = ("cpu_allocation_ratio", "ram_allocation_ratio", "disk_allocation_ratio")
    host = object_of(
        ("cell", "vcpus", "memory_mb", "local_gb"),
        cell=TEXT,
        node=HOST,
        hypervisor_type={"type": "string", "maxLength": 255},
        **dict.fromkeys(counts, _COUNT),
        **dict.fromkeys(ratios, _RATIO),
    )
    return object_of(("host",), host=host)


_SERVER = f"{PREFIX}/servers/{{server_id}}"
ROUTES = (
    Route("GET", f"{_SERVER}/decision", decision, f"{RULE}:servers:decision", query=query_of()),
    Route("POST", f"{_SERVER}/connect", connect, f"{RULE}:servers:connect", body=connect_body),
    Route("POST", f"{_SERVER}/disconnect", disconnect, f"{RULE}:servers:disconnect", code=204, body=disconnect_body),
    Route("GET", f"{PREFIX}/cells", cells, f"{RULE}:cells:index", query=query_of()),
    Route("GET", f"{PREFIX}/cells/{{name}}", cell, f"{RULE}:cells:show", query=query_of()),
    Route("PUT", f"{PREFIX}/hosts/{{host}}", report, f"{RULE}:hosts:report", code=204, body=host_body),
)
