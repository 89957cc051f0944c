# SPDX-License-Identifier: Apache-2.0
"""A server's metadata (``nova/api/openstack/compute/server_metadata.py``)."""

from collections.abc import Callable, Mapping

from bfv.api import schemas
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault
from bfv.api.serverview import known
from bfv.api.shapes import Json, object_of

UPDATE, DELETE = "update metadata", "delete metadata"


def items(_version: int) -> Json:
    """Return what adding to metadata, and replacing it, takes."""
    return object_of(("metadata",), metadata=schemas.METADATA)


def item(_version: int) -> Json:
    """Return what writing one item takes."""
    return object_of(("meta",), meta={**schemas.METADATA, "minProperties": 1, "maxProperties": 1})


def index(call: Call) -> Answer:
    """List a server's metadata."""
    return Answer({"metadata": dict(_of(call))})


def show(call: Call) -> Answer:
    """Show one item."""
    key = call.ids["key"]
    return Answer({"meta": {key: _one(_of(call), key)}})


def create(call: Call) -> Answer:
    """Add items to the metadata."""
    new = call.body["metadata"]
    return Answer({"metadata": _write(call, UPDATE, lambda before: {**before, **new})})


def update_all(call: Call) -> Answer:
    """Replace all of the metadata."""
    new = call.body["metadata"]
    return Answer({"metadata": _write(call, UPDATE, lambda _before: new)})


def update(call: Call) -> Answer:
    """Write one item."""
    new, key = call.body["meta"], call.ids["key"]
    # The server is looked for first: its answer is the same whatever the body.
    _of(call)
    if key not in new:
        raise Fault(400, "Request body and URI mismatch")
    _write(call, UPDATE, lambda before: {**before, **new})
    return Answer({"meta": new})


def delete(call: Call) -> Answer:
    """Delete one item."""
    key = call.ids["key"]

    def without(before: dict[str, str]) -> Mapping[str, str]:
        _one(before, key)
        return {name: value for name, value in before.items() if name != key}

    _one(_of(call), key)
    _write(call, DELETE, without)
    return Answer()


def _of(call: Call) -> Mapping[str, str]:
    return known(call).metadata


def _write(call: Call, what: str, change: Callable[[dict[str, str]], Mapping[str, str]]) -> dict[str, str]:
    return dict(call.cloud.edits.metadata(call.ids["server_id"], call.caller, what, change))


def _one(found: Mapping[str, str], key: str) -> str:
    if key not in found:
        raise Fault(404, "Metadata item was not found")
    return found[key]


METADATA, RULE = "/servers/{server_id}/metadata", "server-metadata"
ROUTES = (
    Route("GET", METADATA, index, f"{RULE}:index", query=schemas.no_query),
    Route("POST", METADATA, create, f"{RULE}:create", body=items),
    Route("PUT", METADATA, update_all, f"{RULE}:update_all", body=items),
    Route("GET", f"{METADATA}/{{key}}", show, f"{RULE}:show", query=schemas.no_query),
    Route("PUT", f"{METADATA}/{{key}}", update, f"{RULE}:update", body=item),
    Route("DELETE", f"{METADATA}/{{key}}", delete, f"{RULE}:delete", code=204),
)
