# SPDX-License-Identifier: Apache-2.0
"""Calls about quotas (``nova/api/openstack/compute/quota_sets.py, quota_classes.py``)."""

from collections.abc import Mapping
from typing import Any

from bfv import limits, quota
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import is_true
from bfv.api.projects import check_project
from bfv.api.schemas import BOOLEAN
from bfv.api.shapes import NEVER, integer, object_of, query_of
from cells import limits as rows

SETS, CLASSES = "os-quota-sets", "os-quota-class-sets"
# What neutron limits by itself; nova shows and takes it for nothing until 2.35, in classes until 2.49.
NETWORK = ("fixed_ips", "floating_ips", "security_group_rules", "security_groups")
FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
GROUPS = ("server_groups", "server_group_members")
WITHOUT_NETWORK, CLASSES_CHANGE, WITHOUT_FILES = 36, 50, 57
USER = {"type": "string", "minLength": 1, "maxLength": 255}


def show(call: Call) -> Answer:
    """Show the limits of a project, or of one of its users."""
    project = _asked(call, "show")
    return Answer({"quota_set": {"id": project, **_shown(call, _limits(call, project))}})


def detail(call: Call) -> Answer:
    """Show the limits of a project, or of one of its users, and what is used of them."""
    project, parts = _asked(call, "detail"), call.cloud.parts
    found = limits.of_project(parts, project, call.asked("user_id"))
    view = {name: {"limit": limit, "in_use": _in_use(found.used, name), "reserved": 0}
            for name, limit in _shown(call, found.limits).items()}  # fmt: skip
    return Answer({"quota_set": {"id": project, **view}})


def defaults(call: Call) -> Answer:
    """Show the limits of a project that has none of its own."""
    project = _asked(call, "defaults")
    return Answer({"quota_set": {"id": project, **_shown(call, _of_class(call, rows.DEFAULT_CLASS))}})


def update(call: Call) -> Answer:
    """Set limits of a project, or of one of its users."""
    project, asked = _asked(call, "update"), dict(call.body["quota_set"])
    force = is_true(asked.pop("force", False))
    quota.set_limits(call.cloud.parts, project, _wanted(asked), call.asked("user_id"), force=force)
    return Answer({"quota_set": _shown(call, _limits(call, project))})


def delete(call: Call) -> Answer:
    """Have a project, or one of its users, be bound by the defaults again."""
    call.check(f"{SETS}:delete", project_id=call.ids["project_id"])
    rows.delete_limits(call.cloud.parts.api, call.ids["project_id"], call.asked("user_id"))
    return Answer()


def show_class(call: Call) -> Answer:
    """Show the limits of a class; only `default` binds anybody."""
    name = call.ids["name"]
    return Answer({"quota_class_set": {"id": name, **_shown_of_class(call, _of_class(call, name))}})


def update_class(call: Call) -> Answer:
    """Set limits of class `default`, which are those of every project without its own."""
    name = call.ids["name"]
    if name != rows.DEFAULT_CLASS:
        raise Fault(400, f"Quota class {name[:255]} binds nobody; only class {rows.DEFAULT_CLASS} is served.")
    quota.set_default(call.cloud.parts, _wanted(call.body["quota_class_set"]))
    return Answer({"quota_class_set": _shown_of_class(call, _of_class(call, name))})


def _asked(call: Call, kind: str) -> str:
    """Return the project of a path, which may be another one only for whom the rule says so. Raises Fault."""
    project = call.ids["project_id"]
    call.check(f"{SETS}:{kind}", project_id=project)
    check_project(call, project)
    return project


def _limits(call: Call, project: str) -> Mapping[str, int]:
    parts, user = call.cloud.parts, call.asked("user_id")
    stored = quota.stored(parts, project)
    return stored.of_project(parts.quota.limits) if user is None else stored.of_user(user, parts.quota.limits)


def _of_class(call: Call, name: str) -> Mapping[str, int]:
    parts = call.cloud.parts
    configured = parts.quota.limits
    return quota.stored(parts, "").of_class(configured) if name == rows.DEFAULT_CLASS else configured


def _wanted(asked: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of a body; what neutron limits is taken and means nothing, as in nova."""
    return {name: int(value) for name, value in asked.items() if name not in NETWORK}


def _shown(call: Call, found: Mapping[str, int]) -> Json:
    hidden = FILES if call.version >= WITHOUT_FILES else ()
    shown = {name: value for name, value in found.items() if name not in hidden}
    return shown | (dict.fromkeys(NETWORK, -1) if call.version < WITHOUT_NETWORK else {})


def _shown_of_class(call: Call, found: Mapping[str, int]) -> Json:
    hidden = FILES if call.version >= WITHOUT_FILES else () if call.version >= CLASSES_CHANGE else GROUPS
    shown = {name: value for name, value in found.items() if name not in hidden}
    return shown | (dict.fromkeys(NETWORK, -1) if call.version < CLASSES_CHANGE else {})


def _in_use(used: Mapping[str, int], name: str) -> int:
    # Key pairs and members of groups are counted for each user and group, so here nova says nothing of them.
    return used.get(name, 0)


def _resources(hidden: tuple[str, ...]) -> Json:
    names = (*rows.DEFAULTS, *NETWORK)
    return {name: integer(-1) for name in names if name not in hidden}


def update_body(version: int) -> Json:
    """Return what PUT /os-quota-sets/{id} takes."""
    hidden = (NETWORK if version >= WITHOUT_NETWORK else ()) + (FILES if version >= WITHOUT_FILES else ())
    return object_of(("quota_set",), quota_set=object_of(**_resources(hidden), force=BOOLEAN))


def class_body(version: int) -> Json:
    """Return what PUT /os-quota-class-sets/{name} takes."""
    hidden = (NETWORK if version >= CLASSES_CHANGE else ()) + (FILES if version >= WITHOUT_FILES else ())
    return object_of(("quota_class_set",), quota_class_set=object_of(**_resources(hidden)))


_OF_USER = query_of(user_id=USER)
_SET, _CLASS = f"/{SETS}/{{project_id}}", f"/{CLASSES}/{{name}}"
ROUTES = (
    Route("GET", _SET, show, f"{SETS}:show", query=_OF_USER),
    Route("GET", f"{_SET}/detail", detail, f"{SETS}:detail", query=_OF_USER),
    Route("GET", f"{_SET}/defaults", defaults, f"{SETS}:defaults", query=query_of(NEVER)),
    Route("PUT", _SET, update, f"{SETS}:update", body=update_body, query=_OF_USER),
    Route("DELETE", _SET, delete, f"{SETS}:delete", code=202, query=_OF_USER),
    Route("GET", _CLASS, show_class, f"{CLASSES}:show", query=query_of(NEVER)),
    Route("PUT", _CLASS, update_class, f"{CLASSES}:update", body=class_body),
)
