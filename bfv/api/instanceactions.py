# SPDX-License-Identifier: Apache-2.0
"""What was asked of a server, by whom and how it ended (``nova/api/openstack/compute/instance_actions.py``).

Read from the journal, whose history holds no secret: nova's own table of actions is another's truth, of what another
did. So it is there while the server's cell is down, too.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from bfv.api import schemas
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import next_link, page_limit
from bfv.api.serverview import hash_of_host
from bfv.api.shapes import query_of
from bfv.journal import FAILED, Intent, Step

RULE = "os-instance-actions"
OF_DELETED, ALL_EVENTS, PAGED, HOSTS, UNTIL, DETAILS = 21, 51, 58, 62, 66, 84
# nova/compute/instance_actions.py. What cells and repairs do for themselves nobody has asked for.
NAMES = {
    "boot": "create",
    "attach": "attach_volume",
    "detach": "detach_volume",
    "extend": "extend_volume",
}
INTERNAL = {"sweep", "probe"}
FAULTY = "Error"


def listed(version: int) -> Mapping[str, Any]:
    """Return what the query of a list takes: pages from 2.58 on, and what it does not know is refused from then on."""
    names: dict[str, Any] = {}
    if version >= PAGED:
        names = {**schemas.PAGE, "changes-since": schemas.ASKED_TIME}
    if version >= UNTIL:
        names["changes-before"] = schemas.ASKED_TIME
    return {**query_of(**names)(version), "additionalProperties": version < PAGED}


def index(call: Call) -> Answer:
    """List what was asked of a server, the youngest first."""
    found = _of(call)
    if call.version < PAGED:
        return Answer({"instanceActions": [_action(call, each) for each in found]})
    found = [each for each in found if _within(call, each)]
    marker, limit = call.asked("marker"), page_limit(call)
    if marker is not None:
        places = [place for place, each in enumerate(found) if _key(each) == marker]
        if not places:
            raise Fault(400, f"Marker {marker} could not be found.")
        found = found[places[0] + 1 :]
    body: Json = {"instanceActions": [_action(call, each) for each in found[:limit]]}
    if limit and len(found) >= limit:
        body["links"] = [next_link(call, _key(found[limit - 1]))]
    return Answer(body)


def show(call: Call) -> Answer:
    """Show one thing that was asked, with its steps."""
    key = call.ids["request_id"]
    for intent in _of(call):
        if _key(intent) == key:
            return Answer({"instanceAction": {**_action(call, intent), **_events(call, intent)}})
    raise Fault(404, f"Action {key} not found")


def _of(call: Call) -> list[Intent]:
    found = call.cloud.asked(call.ids["server_id"], call.caller, deleted=call.version >= OF_DELETED)
    return [each for each in reversed(found) if each.verb not in INTERNAL]


def _key(intent: Intent) -> str:
    return str(intent.request.get("asked_as") or intent.request_id)


def _within(call: Call, intent: Intent) -> bool:
    """Return whether an action changed within the times that are asked for."""
    changed = intent.closed_at or intent.created_at
    return all(
        text is None or fits(changed, _moment(text))
        for text, fits in ((call.asked("changes-since"), dt.datetime.__ge__),
                           (call.asked("changes-before"), dt.datetime.__le__))
    )  # fmt: skip


def _moment(text: str) -> dt.datetime:
    when = dt.datetime.fromisoformat(text)
    return when.astimezone(dt.UTC).replace(tzinfo=None) if when.tzinfo else when


def _action(call: Call, intent: Intent) -> Json:
    action: Json = {
        "action": NAMES.get(intent.verb, intent.verb),
        "instance_uuid": intent.server_id,
        "request_id": _key(intent),
        "user_id": intent.user_id,
        "project_id": intent.project_id,
        "start_time": _told(intent.created_at),
        "message": intent.outcome or FAULTY if intent.phase == FAILED else None,
    }
    return action | ({"updated_at": _told(intent.closed_at or intent.created_at)} if call.version >= PAGED else {})


def _events(call: Call, intent: Intent) -> Json:
    """Return the steps, the youngest first, as far as the caller may see them."""
    all_of_it = call.allows(f"{RULE}:events")
    if not all_of_it and call.version < ALL_EVENTS:
        return {}
    details = call.version >= DETAILS and call.allows(f"{RULE}:events:details")
    steps = call.cloud.parts.journal.history(intent)
    ends: list[Step | None] = [*steps[1:], None]
    events = []
    for step, end in zip(steps, ends, strict=True):
        if intent.closed_at is not None and end is None:
            # The last line says how it ended.
            break
        event: Json = {"event": step.name.replace(" ", "_"), "start_time": _told(step.at),
                       "finish_time": _told(end.at) if end else None,
                       "result": _result(intent, end, steps[-1]) if end else None}  # fmt: skip
        host = _host(step)
        if all_of_it:
            event["traceback"] = None
        if call.version >= HOSTS:
            event["hostId"] = hash_of_host(intent.project_id, host)
            event |= {"host": host} if all_of_it else {}
        events.append(event | ({"details": step.detail} if details else {}))
    return {"events": events[::-1]}


def _result(intent: Intent, end: Step, last: Step) -> str:
    return FAULTY if end.name in ("undo", "no room") or (intent.phase == FAILED and end is last) else "Success"


def _host(step: Step) -> str:
    """Return the host that a step was on, "" for none."""
    detail = step.detail or ""
    return detail if step.name == "host" else detail.removeprefix("host ") if detail.startswith("host ") else ""


def _told(when: dt.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")


ACTIONS = "/servers/{server_id}/os-instance-actions"
ROUTES = (
    Route("GET", ACTIONS, index, f"{RULE}:list", query=listed),
    Route("GET", f"{ACTIONS}/{{request_id}}", show, f"{RULE}:show", query=schemas.no_query),
)
