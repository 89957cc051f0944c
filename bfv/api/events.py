# SPDX-License-Identifier: Apache-2.0
"""What neutron, cinder and others tell of a server (``nova/api/openstack/compute/server_external_events.py``).

Each event is judged by itself: one server in a cell that is down does not lose the events of the others, as it does in
nova, and its own are kept where somebody acts on them.
"""

import logging

from bfv.api import faults, schemas
from bfv.api.call import Answer, Call, Json, Route
from bfv.types import ServerEvent

LOG = logging.getLogger(__name__)

DONE, PARTLY = 200, 207
# What each event is told. Nova answers before its hosts have acted and says completed, too.
TAKEN, KEPT = {"status": "completed", "code": 200}, {"status": "in-progress", "code": 202}


def create(call: Call) -> Answer:
    """Hand events on; 207 when not all could be."""
    told = [_hand_on(call, event) for event in call.body["events"]]
    return Answer({"events": told}, code=DONE if all(each["code"] == DONE for each in told) else PARTLY)


def _hand_on(call: Call, event: Json) -> Json:
    given = ServerEvent(event["server_uuid"], event["name"], event.get("status", "completed"), event.get("tag"))
    try:
        answer: Json = TAKEN if call.cloud.tell(given, call.caller) else KEPT
    except Exception as error:
        fault = faults.of(error)
        # Nova's code for a server that no host has yet.
        answer = {"status": "failed", "code": 422 if fault.code == 409 else fault.code}
    LOG.info("server %s: event %s: %d", given.server_id, given.name, answer["code"])
    return {**event, **answer}


ROUTES = (
    Route("POST", "/os-server-external-events", create, "os-server-external-events:create",
          body=schemas.external_events),
)  # fmt: skip
