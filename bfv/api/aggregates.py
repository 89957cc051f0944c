# SPDX-License-Identifier: Apache-2.0
"""Calls about aggregates of hosts (``nova/api/openstack/compute/aggregates.py``, ``nova/compute/api.py:AggregateAPI``).

A zone is never taken from under servers, as in nova: a host with servers does not change its zone.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bfv import inventory
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.schemas import NAME
from bfv.api.shapes import HOST, KEY, NEVER, action, object_of, query_of
from cells import aggregates as rows
from cells.aggregates import ZONE, Aggregate
from cells.errors import Exists, NotEmpty, NotMapped

RULE = "os-aggregates"
WITH_UUID = 41
AS_TEXT = "%Y-%m-%dT%H:%M:%S.%f"
ADD, UPDATE, UPDATE_META, REMOVE = (
    "Cannot add host to aggregate {}. Reason: {}.",
    "Cannot update aggregate {}. Reason: {}.",
    "Cannot update metadata of aggregate {}. Reason: {}.",
    "Cannot remove host from aggregate {}. Reason: {}.",
)


def index(call: Call) -> Answer:
    """List the aggregates."""
    found = rows.list_aggregates(call.cloud.parts.api)
    return Answer({"aggregates": [_view(call, each) for each in found]})


def show(call: Call) -> Answer:
    """Show an aggregate."""
    return Answer({"aggregate": _view(call, _one(call))})


def create(call: Call) -> Answer:
    """Make an aggregate."""
    asked = call.body["aggregate"]
    try:
        made = rows.create(call.cloud.parts.api, asked["name"], asked.get(ZONE))
    except Exists as error:
        raise Fault(409, f"Aggregate {asked['name']} already exists.") from error
    view = _view(call, made)
    return Answer({"aggregate": {name: value for name, value in view.items() if name not in ("hosts", "metadata")}})


def update(call: Call) -> Answer:
    """Rename an aggregate, or put its hosts in another zone."""
    found, asked = _one(call), call.body["aggregate"]
    name, zone = asked.get("name"), {ZONE: asked[ZONE]} if ZONE in asked else {}
    if name and any(each.name == name and each.id != found.id for each in rows.list_aggregates(call.cloud.parts.api)):
        raise Fault(409, f"Aggregate {name} already exists.")
    return Answer({"aggregate": _view(call, _change(call, found, UPDATE, name, zone))})


def set_metadata(call: Call) -> Answer:
    """Write metadata of an aggregate over what is there; a key with null is removed."""
    found, metadata = _one(call), call.body["set_metadata"]["metadata"]
    return Answer({"aggregate": _view(call, _change(call, found, UPDATE_META, None, metadata))})


def delete(call: Call) -> Answer:
    """Remove an aggregate without hosts."""
    found = _one(call)
    try:
        rows.delete(call.cloud.parts.api, found.name)
    except NotEmpty as error:
        raise Fault(400, REMOVE.format(found.id, "Host aggregate is not empty")) from error
    return Answer()


def add_host(call: Call) -> Answer:
    """Put a host in an aggregate."""
    found, host = _one(call), call.body["add_host"]["host"]
    if host in found.hosts:
        raise Fault(409, f"Aggregate {found.id} already has host {host}.")
    zone = rows.zones(call.cloud.parts.api).get(host)
    if found.availability_zone and zone is None:
        _stays(call, found, host, ADD, f"from '{zone}' to '{found.availability_zone}'", 409)
    try:
        changed = rows.add_host(call.cloud.parts.api, found.name, host)
    except Exists as error:
        raise Fault(409, ADD.format(found.id, _elsewhere(call, found, [host]))) from error
    except NotMapped as error:
        raise Fault(404, f"Host '{host}' is not mapped to any cell") from error
    return Answer({"aggregate": _view(call, changed)})


def remove_host(call: Call) -> Answer:
    """Take a host out of an aggregate."""
    found, host = _one(call), call.body["remove_host"]["host"]
    if host in found.hosts and found.availability_zone and not _zones_of(call, found, [host]):
        _stays(call, found, host, REMOVE, f"from '{found.availability_zone}' to 'None'", 409)
    try:
        changed = rows.remove_host(call.cloud.parts.api, found.name, host)
    except NotMapped as error:
        raise Fault(404, f"Cannot remove host {host} in aggregate {found.id}") from error
    return Answer({"aggregate": _view(call, changed)})


def _change(call: Call, found: Aggregate, told: str, name: str | None, metadata: Mapping[str, Any]) -> Aggregate:
    """Rename an aggregate and write its metadata; ``told`` says what cannot be done. Raises Fault."""
    if ZONE in metadata:
        _check_zone(call, found, metadata[ZONE], told)
    try:
        return rows.update(call.cloud.parts.api, found.name, name, metadata)
    except Exists as error:
        raise Fault(409, str(error)) from error


def _check_zone(call: Call, found: Aggregate, zone: str | None, told: str) -> None:
    """Raise Fault 400, in nova's words, unless all hosts of an aggregate may come into a zone."""
    if not zone:
        why = f"Aggregate {found.name} does not support empty named availability zone"
        raise Fault(400, told.format(found.id, why))
    others = _zones_of(call, found, found.hosts)
    if set(others) - {zone}:
        raise Fault(400, told.format(found.id, _elsewhere(call, found, found.hosts)))
    if zone != found.availability_zone and any(inventory.servers_on(call.cloud.parts, found.hosts).values()):
        raise Fault(400, told.format(found.id, "One or more hosts contain instances in this zone"))


def _stays(call: Call, found: Aggregate, host: str, told: str, change: str, code: int) -> None:
    """Raise Fault if a host whose zone would change has servers. Raises CellDown while nobody knows."""
    on = inventory.servers_on(call.cloud.parts, [host]).get(host, [])
    if on:
        verb = "added to" if told is ADD else "removed from"
        why = (f"The host cannot be {verb} the aggregate as the availability zone of the host would change {change} "
               f"but the host already has {len(on)} instance(s). Changing the AZ of an existing instance is not "
               "supported by this action. Move the instances away from this host then try again. If you need to move "
               "the instances between AZs then you can use shelve_offload and unshelve to achieve this.")  # fmt: skip
        raise Fault(code, told.format(found.id, why))


def _zones_of(call: Call, found: Aggregate, hosts: Iterable[str]) -> list[str]:
    """Return the zones that other aggregates put these hosts in."""
    theirs = set(hosts)
    others = rows.list_aggregates(call.cloud.parts.api)
    return [one.availability_zone for one in others
            if one.id != found.id and one.availability_zone and theirs.intersection(one.hosts)]  # fmt: skip


def _elsewhere(call: Call, found: Aggregate, hosts: Iterable[str]) -> str:
    return f"One or more hosts already in availability zone(s) {_zones_of(call, found, hosts)}"


def _one(call: Call) -> Aggregate:
    """Return the aggregate that a path names. Raises Fault 400, 404."""
    key = call.ids["aggregate_id"]
    if not re.fullmatch("[0-9]{1,10}", key):
        raise Fault(400, "Invalid input received: id must be an integer")
    for each in rows.list_aggregates(call.cloud.parts.api):
        if each.id == int(key):
            return each
    raise Fault(404, f"Aggregate {key} could not be found.")


def _view(call: Call, found: Aggregate) -> Json:
    view: Json = {
        "id": found.id,
        "name": found.name,
        ZONE: found.availability_zone,
        "hosts": list(found.hosts),
        "metadata": dict(found.metadata),
        "created_at": found.created_at.strftime(AS_TEXT) if found.created_at else None,
        "updated_at": found.updated_at.strftime(AS_TEXT) if found.updated_at else None,
        "deleted": False,
        "deleted_at": None,
    }
    return view | ({"uuid": found.uuid} if call.version >= WITH_UUID else {})


_ZONE_NAME = {**NAME, "pattern": r"^(?![\s])[^:\x00-\x1f\x7f]*(?<!\s)$"}
_ZONE = {"oneOf": [_ZONE_NAME, {"type": "null"}]}
_CREATE = object_of(("aggregate",), aggregate=object_of(("name",), name=NAME, availability_zone=_ZONE))
_UPDATE = object_of(("aggregate",), aggregate={
    **object_of(name=NAME, availability_zone=_ZONE),
    "anyOf": [{"required": ["name"]}, {"required": [ZONE]}],
})  # fmt: skip
_METADATA = {"type": "object", "additionalProperties": {"type": ["string", "null"], "maxLength": 255},
             "propertyNames": {"pattern": KEY}}  # fmt: skip


def create_body(_version: int) -> Json:
    """Return what POST /os-aggregates takes."""
    return _CREATE


def update_body(_version: int) -> Json:
    """Return what PUT /os-aggregates/{id} takes."""
    return _UPDATE


_PATH = f"/{RULE}/{{aggregate_id}}"
_ACTION = f"{_PATH}/action"
ROUTES = (
    Route("GET", f"/{RULE}", index, f"{RULE}:index", query=query_of(NEVER)),
    Route("POST", f"/{RULE}", create, f"{RULE}:create", body=create_body),
    Route("GET", _PATH, show, f"{RULE}:show", query=query_of(NEVER)),
    Route("PUT", _PATH, update, f"{RULE}:update", body=update_body),
    Route("DELETE", _PATH, delete, f"{RULE}:delete"),
    Route("POST", _ACTION, add_host, f"{RULE}:add_host", action="add_host", body=action("add_host", host=HOST)),
    Route("POST", _ACTION, remove_host, f"{RULE}:remove_host", action="remove_host",
          body=action("remove_host", host=HOST)),
    Route("POST", _ACTION, set_metadata, f"{RULE}:set_metadata", action="set_metadata",
          body=action("set_metadata", metadata=_METADATA)),
)  # fmt: skip
