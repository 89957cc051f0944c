# SPDX-License-Identifier: Apache-2.0
"""What a list of servers is asked for, as nova reads it (``nova/api/openstack/compute/servers.py:_get_servers``)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from bfv.api.call import Call, Json
from bfv.api.faults import Fault
from bfv.api.rowview import TELLS_PROPERTIES
from cells.listing import Query
from cells.listing.filters import STATUSES
from cells.types import Down

TRUE = {"true", "1", "on", "yes", "y", "t"}
# Filters of users and the microversion that brought each; all others are for admins, and from users nova takes them off
# without a word (_get_server_search_options).
FOR_USERS = {
    **dict.fromkeys(("reservation_id", "name", "status", "image", "flavor", "ip", "changes-since"), 1),
    "ip6": 5,
    **dict.fromkeys(("tags", "tags-any", "not-tags", "not-tags-any"), 26),
    "changes-before": 66,
    "locked": 73,
    **dict.fromkeys(("availability_zone", "config_drive", "key_name", "created_at", "launched_at", "terminated_at",
                     "power_state", "task_state", "vm_state", "progress", "user_id"), 83),
    "hostname": 90,
}  # fmt: skip
FOR_ADMINS = {"uuid", "user_id", "host", "node", "reservation_id", "vm_state", "task_state", "instance_type_id",
              "launch_index", "power_state", "progress", "created_at", "launched_at", "terminated_at",
              "availability_zone", "config_drive", "hostname", "key_name", "root_device_name", "access_ip_v4",
              "access_ip_v6", "description"}  # fmt: skip
UNSERVED = {"ip", "ip6", "auto_disk_config", "deleted_at", "locked_by", "soft_deleted"}
ALIASES = {"display_name": "name", "display_description": "description", "image_ref": "image"}
ONLY_ADMINS_SORT_BY = ("host", "node")
BAD_STATUS_IS_REFUSED, PARTIAL = 38, 69


def servers_query(call: Call, kind: str) -> Query | None:
    """Return what a list is asked for, None for one that is empty whatever there is; ``kind`` is index or detail.

    Raises Fault 400, 403, and BadQuery.
    """
    limit = page_limit(call)
    project_id, filters = _project(call, kind), _filters(call)
    keys = tuple(call.query.get("sort_key", ()))
    for key in ONLY_ADMINS_SORT_BY:
        if key in keys and not call.is_admin:
            raise Fault(403, f"Only administrators can sort servers by {key}")
    if limit == 0 or not _status_is_known(call, filters):
        return None
    return Query(
        project_id=project_id,
        limit=limit,
        marker=call.asked("marker"),
        filters=filters,
        sort_keys=keys,
        sort_dirs=tuple(call.query.get("sort_dir", ())),
        deleted=True if call.is_admin and is_true(call.asked("deleted")) else None,
        detail=kind == "detail",
        system_metadata=call.version >= TELLS_PROPERTIES,
    )


def _project(call: Call, kind: str) -> str | None:
    """Return whose servers are asked for, None for everybody's."""
    asked = call.asked("all_tenants")
    if asked is None or not (asked == "" or is_true(asked)):
        return call.caller.project_id
    call.policy.check(f"servers:{kind}:get_all_tenants", call.caller)
    return call.asked("project_id") or call.asked("tenant_id")


def _filters(call: Call) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for asked, values in call.query.items():
        name = ALIASES.get(asked, asked)
        if not call.is_admin and call.version < FOR_USERS.get(name, call.version + 1):
            continue
        if name in UNSERVED and values[0].lower() not in ("false", "0"):
            raise Fault(400, f"Servers cannot be filtered by {name} here; list them without it.")
        if name in FOR_USERS or name in FOR_ADMINS:
            found[name] = [value.upper() for value in values] if name == "status" else values[0]
    return found


def _status_is_known(call: Call, filters: Mapping[str, Any]) -> bool:
    """Return whether there may be servers of the status asked for. Raises Fault."""
    asked = filters.get("status", ())
    if "DELETED" in asked and not call.is_admin:
        raise Fault(403, "Only administrators may list deleted instances")
    unknown = [status for status in asked if status not in STATUSES]
    if unknown and call.version >= BAD_STATUS_IS_REFUSED:
        raise Fault(400, "Invalid status value")
    return not unknown


def page_limit(call: Call) -> int:
    """Return how many things a page may have, the configured most if nothing else is asked for."""
    most = int(call.cloud.parts.conf.api.max_limit)
    asked = call.asked("limit")
    return min(int(asked), most) if asked else most


def next_link(call: Call, marker: str) -> Json:
    """Return the link to the page after a marker."""
    query = [(name, value) for name, values in call.query.items() if name != "marker" for value in values]
    return {"rel": "next", "href": f"{call.url(call.path)}?{urlencode([*query, ('marker', marker)])}"}


def incomplete(call: Call, down: Sequence[Down], what: str) -> Mapping[str, str]:
    """Return the header that says that a list may have more, none if no cell is down: nova says nothing or 500."""
    if not down:
        return {}
    names = f": {', '.join(sorted(each.cell.name for each in down))}" if call.is_admin else ""
    return {"Warning": f'199 bfv "{len(down)} cells give no answer, {what} there are not listed{names}"'}


def is_true(value: Any) -> bool:
    """Return the truth of a value that a schema took for one."""
    return str(value).lower() in TRUE
