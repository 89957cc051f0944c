# SPDX-License-Identifier: Apache-2.0
"""A server's tags, from 2.26 on (``nova/api/openstack/compute/server_tags.py``)."""

from collections.abc import Callable, Collection
from urllib.parse import quote

from bfv.api import bodies, schemas
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault
from bfv.api.serverview import known
from bfv.api.shapes import Json, object_of
from bfv.edits import MAX_TAGS

SINCE, CREATED, THERE = 26, 201, 204


def several(_version: int) -> Json:
    """Return what replacing a server's tags takes."""
    return object_of(("tags",), tags={"type": "array", "items": schemas.TAG, "maxItems": MAX_TAGS})


def a_tag(_version: int) -> Json:
    """Return what a tag in an address looks like."""
    return schemas.TAG


def index(call: Call) -> Answer:
    """List a server's tags."""
    return Answer({"tags": list(_of(call))})


def show(call: Call) -> Answer:
    """Look whether a server has a tag."""
    tag = call.ids["tag"]
    if tag not in _of(call):
        raise Fault(404, f"Server {call.ids['server_id']} has no tag '{tag}'")
    return Answer()


def update_all(call: Call) -> Answer:
    """Replace a server's tags."""
    return Answer({"tags": _write(call, "update tags", lambda _before: call.body["tags"])})


def update(call: Call) -> Answer:
    """Give a server a tag: 201 if it is new."""
    tag, is_new = call.ids["tag"], True

    def with_it(before: frozenset[str]) -> Collection[str]:
        nonlocal is_new
        is_new = tag not in before
        return before | {tag}

    _of(call)
    try:
        bodies.check(a_tag, call.version, tag)
    except Fault as fault:
        raise Fault(400, f"Tag '{tag}' is invalid. It must be a non empty string without characters '/' and ','. "
                         f"Validation error message: {fault.message}") from fault  # fmt: skip
    _write(call, "update tag", with_it)
    if not is_new:
        return Answer(code=THERE)
    return Answer(code=CREATED, headers={"Location": call.url(f"/servers/{call.ids['server_id']}/tags/{quote(tag)}")})


def delete(call: Call) -> Answer:
    """Take a tag off a server."""
    tag = call.ids["tag"]

    def without(before: frozenset[str]) -> Collection[str]:
        if tag not in before:
            raise Fault(404, f"Instance {call.ids['server_id']} has no tag '{tag}'")
        return before - {tag}

    _write(call, "delete tag", without)
    return Answer()


def delete_all(call: Call) -> Answer:
    """Take all tags off a server."""
    _write(call, "delete tags", lambda _before: ())
    return Answer()


def _of(call: Call) -> tuple[str, ...]:
    return known(call).tags


def _write(call: Call, what: str, change: Callable[[frozenset[str]], Collection[str]]) -> list[str]:
    return call.cloud.edits.tags(call.ids["server_id"], call.caller, what, change)


TAGS, RULE = "/servers/{server_id}/tags", "os-server-tags"
ROUTES = (
    Route("GET", TAGS, index, f"{RULE}:index", query=schemas.no_query, since=SINCE),
    Route("PUT", TAGS, update_all, f"{RULE}:update_all", body=several, since=SINCE),
    Route("DELETE", TAGS, delete_all, f"{RULE}:delete_all", code=204, since=SINCE),
    Route("GET", f"{TAGS}/{{tag}}", show, f"{RULE}:show", code=204, query=schemas.no_query, since=SINCE),
    Route("PUT", f"{TAGS}/{{tag}}", update, f"{RULE}:update", body=schemas.no_body, since=SINCE),
    Route("DELETE", f"{TAGS}/{{tag}}", delete, f"{RULE}:delete", code=204, since=SINCE),
)
