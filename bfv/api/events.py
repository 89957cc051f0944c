# SPDX-License-Identifier: Apache-2.0
"""What neutron, cinder and others tell of a server (``nova/api/openstack/compute/server_external_events.py``).

Each event is judged by itself: one server in a cell that is down does not lose the events of the others, as it does in
nova.
"""

from bfv.api import faults, schemas
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.types import ServerEvent

DONE, PARTLY = 200, 207


def create(call: Call) -> Answer:
    """Hand events on; 207 when not all could be."""
    told = [_hand_on(call, event) for event in call.body["events"]]
    codes = {each["code"] for each in told}
    if codes == {404}:
        raise Fault(404, "No instances found for any event")
    return Answer({"events": told}, code=DONE if codes == {200} else PARTLY)


def _hand_on(call: Call, event: Json) -> Json:
    status = event.get("status", "completed")
    try:
        call.cloud.tell(ServerEvent(event["server_uuid"], event["name"], status, event.get("tag")))
    except Exception as error:
        fault = faults.of(error)
        # Nova's code for a server that no host has yet.
        code = 422 if fault.code == 409 else fault.code
        return {**event, "status": "failed", "code": code}
    return {**event, "status": status, "code": 200}


ROUTES = (
    Route(
        "POST",
        "/os-server-external-events",
        create,
        "os-server-external-events:create",
        body=schemas.external_events,
    ),
)
