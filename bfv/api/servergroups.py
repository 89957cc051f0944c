# SPDX-License-Identifier: Apache-2.0
"""Calls about server groups (``nova/api/openstack/compute/server_groups.py``)."""

from bfv import groups
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import page_limit
from bfv.api.schemas import NAME
from bfv.api.shapes import NEVER, NUMBER, integer, object_of, query_of
from bfv.errors import NotFound, NotMapped
from cells import groups as rows
from cells.groups import MAX_PER_HOST, Group

RULE = "os-server-groups"
HARD, SOFT = ["anti-affinity", "affinity"], ["soft-anti-affinity", "soft-affinity"]
HAS_OWNER, HAS_SOFT, HAS_RULES = 13, 15, 64


def index(call: Call) -> Answer:
    """List the server groups of one's project, or, for admins who ask for it, of all."""
    everybodys = "all_projects" in call.query and call.is_admin
    if everybodys:
        call.check(f"{RULE}:index:all_projects")
    found = rows.list_groups(call.cloud.parts.api, None if everybodys else call.caller.project_id)
    start = int(call.asked("offset") or 0)
    found = found[start : start + page_limit(call)]
    living = groups.living(call.cloud.parts, {member for group in found for member in group.members})
    return Answer({"server_groups": [_view(call, group, living) for group in found]})


def show(call: Call) -> Answer:
    """Show a server group."""
    group = _own(call)
    return Answer({"server_group": _view(call, group, groups.living(call.cloud.parts, group.members))})


def create(call: Call) -> Answer:
    """Make a server group."""
    asked, caller = call.body["server_group"], call.caller
    policy = asked["policy"] if call.version >= HAS_RULES else asked["policies"][0]
    most = asked.get("rules", {}).get(MAX_PER_HOST)
    made = groups.create(call.cloud.parts, caller.project_id, caller.user_id, asked["name"], policy,
                         None if most is None else int(most))  # fmt: skip
    return Answer({"server_group": _view(call, made, set())})


def delete(call: Call) -> Answer:
    """Remove a server group; its servers stay."""
    group = _own(call)
    try:
        groups.delete(call.cloud.parts, group.project_id, group.uuid)
    except NotFound as error:
        raise _unknown(group.uuid) from error
    return Answer()


def _own(call: Call) -> Group:
    """Return the group that a path names; one of another project is not found, but for admins."""
    key = call.ids["group_id"]
    try:
        group = rows.get(call.cloud.parts.api, key)
    except NotMapped as error:
        raise _unknown(key) from error
    if group.project_id != call.caller.project_id and not call.is_admin:
        raise _unknown(key)
    return group


def _unknown(key: str) -> Fault:
    return Fault(404, f"Instance group {key} could not be found.")


def _view(call: Call, group: Group, living: set[str]) -> Json:
    view: Json = {"id": group.uuid, "name": group.name, "members": [one for one in group.members if one in living]}
    if call.version >= HAS_RULES:
        view |= {"policy": group.policy, "rules": _rules(group)}
    else:
        view |= {"policies": [group.policy] if group.policy else [], "metadata": {}}
    if call.version >= HAS_OWNER:
        view |= {"project_id": group.project_id, "user_id": group.user_id}
    return view


def _rules(group: Group) -> Json:
    return {MAX_PER_HOST: group.max_per_host} if group.max_per_host > 1 else {}


def create_body(version: int) -> Json:
    """Return what POST /os-server-groups takes."""
    policy = {"type": "string", "enum": HARD + (SOFT if version >= HAS_SOFT else [])}
    if version < HAS_RULES:
        policies = {"type": "array", "items": policy, "minItems": 1, "maxItems": 1}
        return object_of(("server_group",), server_group=object_of(("name", "policies"), name=NAME, policies=policies))
    rules = object_of(**{MAX_PER_HOST: integer(1)})
    group = object_of(("name", "policy"), name=NAME, policy=policy, rules=rules)
    return object_of(("server_group",), server_group=group)


ROUTES = (
    Route("GET", f"/{RULE}", index, f"{RULE}:index",
          query=query_of(all_projects={"type": "string"}, limit=NUMBER, offset=NUMBER)),
    Route("POST", f"/{RULE}", create, f"{RULE}:create", body=create_body),
    Route("GET", f"/{RULE}/{{group_id}}", show, f"{RULE}:show", query=query_of(NEVER)),
    Route("DELETE", f"/{RULE}/{{group_id}}", delete, f"{RULE}:delete", code=204),
)  # fmt: skip
