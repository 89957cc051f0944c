# SPDX-License-Identifier: Apache-2.0
"""Filters, order and pages of Cinder's lists, one rule for all of them (``cinder/api/common.py``)."""

import ast
import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from bfv.mockcloud.block import bad_input, root, sees
from bfv.mockcloud.wire import Json, Refusal, Request

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

# etc/cinder/resource_filters.json: what those who are no admins may filter by.
FILTERS: dict[str, tuple[str, ...]] = {
    "volume": (
        *("name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size"),
        *("created_at", "updated_at", "consumes_quota"),
    ),
    "backup": ("name", "status", "volume_id"),
    "snapshot": ("name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"),
    "group": ("name",),
    "group_snapshot": ("name", "status", "group_id"),
    "attachment": ("volume_id", "status", "instance_id", "attach_status"),
    "message": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
    "pool": ("name", "volume_type"),
    "volume_type": ("is_public", "extra_specs"),
}
PAGING = frozenset({"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "with_count", "all_tenants"})
SORT_KEYS = frozenset(
    ("id", "name", "size", "status", "created_at", "updated_at", "availability_zone", "host", "bootable")
)
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda own, given: own > given,
    "gte": lambda own, given: own >= given,
    "lt": lambda own, given: own < given,
    "lte": lambda own, given: own <= given,
    "eq": lambda own, given: own == given,
    "neq": lambda own, given: own != given,
}
# 3.31: filters that are not allowed are refused; before, they were left out.
STRICT = 31
MOST = 1000
Row = TypeVar("Row")


def filters(request: Request, resource: str) -> dict[str, str]:
    """Return the filters that count. Raises 400 for those that are not allowed."""
    given = {name: value for name, value in request.args.items() if name not in PAGING}
    if request.who.admin:
        return given
    allowed = FILTERS[resource]
    if stray := [name for name in given if name not in allowed]:
        if request.minor >= STRICT:
            raise Refusal(400, f"Invalid filters {', '.join(stray)} are found in query options.")
        given = {name: value for name, value in given.items() if name in allowed}
    return given


def mine(request: Request, project_id: str) -> bool:
    """Say whether a list shows a row of this project: an admin's shows all with ``all_tenants``."""
    every = request.args.get("all_tenants", "").lower() in ("1", "true", "yes", "on", "t", "y")
    if request.who.admin and every:
        return request.args.get("project_id") in (None, project_id)
    return request.who.project_id == project_id


def fits(row: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Say whether a row passes the filters; one that names no column passes none."""
    for name, value in wanted.items():
        if name == "project_id" and "project_id" not in row:
            continue
        if name in ("metadata", "extra_specs"):
            if not _holds(row[name], value):
                return False
        elif name in ("created_at", "updated_at"):
            if not _in_time(row[name], value):
                return False
        elif name not in row or not _same(row[name], value):
            return False
    return True


def _holds(metadata: Mapping[str, str], text: str) -> bool:
    """Compare metadata with a dictionary written as Python would."""
    try:
        wanted = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return isinstance(wanted, dict) and all(metadata.get(key) == str(value) for key, value in wanted.items())


def _same(own: Any, value: str) -> bool:
    if isinstance(own, bool):
        return str(own).lower() == value.lower()
    return str(own) == value


def _in_time(own: dt.datetime | None, text: str) -> bool:
    """Compare a time: ``gt:2026-01-01T00:00:00``, several with commas between (``cinder/db/api.py``)."""
    for part in text.split(","):
        operator, _, moment = part.partition(":")
        if operator not in COMPARE or not moment:
            raise Refusal(400, f"Invalid {operator} operator")
        try:
            given = dt.datetime.fromisoformat(moment)
        except ValueError as error:
            raise Refusal(400, f"Invalid {moment} value") from error
        if own is None or not COMPARE[operator](own, given.replace(tzinfo=None)):
            return False
    return True


def page(
    request: Request, rows: Sequence[Row], key: Callable[[Row, str], Any], kind: str
) -> tuple[list[Row], Json, int]:
    """Return the rows of a page in order, what the body says of the next page, and the count of all."""
    args = request.args
    ordered = _ordered(args, rows, key)
    limit = _number(args, "limit", MOST)
    start = _number(args, "offset", 0)
    if "marker" in args:
        ids = [key(row, "id") for row in ordered]
        if args["marker"] not in ids:
            raise Refusal(404, f"{kind.capitalize()} {args['marker']} could not be found.")
        start += ids.index(args["marker"]) + 1
    shown = ordered[start : start + limit]
    more: Json = {}
    if shown and len(shown) == limit:
        query = [(name, value) for name, value in request.query if name not in ("marker", "offset")]
        url = f"{root(request)}{request.path}?{urlencode([*query, ('marker', key(shown[-1], 'id'))])}"
        more = {f"{kind}s_links": [{"rel": "next", "href": url}]}
    return shown, more, len(ordered)


def _ordered(args: Mapping[str, str], rows: Sequence[Row], key: Callable[[Row, str], Any]) -> list[Row]:
    """Sort the rows: newest first, where nothing else is asked for."""
    orders = [part.partition(":")[::2] for part in args.get("sort", "").split(",") if part]
    orders = orders or [(args.get("sort_key", "created_at"), args.get("sort_dir", "desc"))]
    if any(name not in SORT_KEYS for name, _ in orders):
        raise bad_input("Invalid sort key")
    found = list(rows)
    for name, direction in reversed([*orders, ("id", orders[0][1])]):
        values = [(key(row, name) is not None, key(row, name)) for row in found]
        ranks = sorted(range(len(found)), key=values.__getitem__, reverse=direction != "asc")
        found = [found[rank] for rank in ranks]
    return found


def _number(args: Mapping[str, str], name: str, default: int) -> int:
    text = args.get(name)
    if text is None:
        return default
    if not text.lstrip("-").isdigit():
        raise Refusal(400, f"{name} param must be an integer")
    if int(text) < 0:
        raise Refusal(400, f"{name} param must be positive")
    return min(int(text), MOST)


__all__ = ["FILTERS", "filters", "fits", "mine", "page", "sees"]


def resource_filters(_cloud: "Cloud") -> Json:
    """Return what may be filtered by (3.33)."""
    return {"resource_filters": [{"resource": kind, "filters": list(names)} for kind, names in FILTERS.items()]}
