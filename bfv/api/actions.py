# SPDX-License-Identifier: Apache-2.0
"""Actions on a server, each with what its body looks like (``nova/api/openstack/compute/schemas/``)."""

from bfv.api import schemas, serverview
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault
from bfv.api.listing import is_true
from bfv.api.schemas import Json, an_object
from bfv.errors import NotFound

REIMAGES = 93


def a_rebuild(version: int) -> Json:
    """Return what the action rebuild takes."""
    # Rebuilding a root volume is what 2.93 brought; what came before is refused whatever it says.
    words = {"imageRef": schemas.UUID, "preserve_ephemeral": schemas.BOOLEAN, "OS-DCF:diskConfig": schemas.DISK_CONFIG}
    return an_object(("rebuild",), rebuild={**an_object(("imageRef",), **words), "additionalProperties": version < 93})


def a_start(_version: int) -> Json:
    """Return what the action os-start takes: anything, as in nova."""
    return an_object(("os-start",), **{"os-start": {}})


def a_stop(_version: int) -> Json:
    """Return what the action os-stop takes: anything, as in nova."""
    return an_object(("os-stop",), **{"os-stop": {}})


def a_reboot(_version: int) -> Json:
    """Return what the action reboot takes."""
    kind = {"type": "string", "enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}
    return an_object(("reboot",), reboot=an_object(("type",), type=kind))


def rebuild(call: Call) -> Answer:
    """Start to write another image onto a server's root volume."""
    asked = call.body["rebuild"]
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if call.version < REIMAGES:
        # Below, nova keeps the data of a root volume; who asks in these words must not lose it here.
        raise Fault(
            400,
            f"Rebuilding a server whose root disk is a volume loses the data of it, and is served from 2.{REIMAGES}.",
        )
    if is_true(asked.get("preserve_ephemeral")) or asked.get("OS-DCF:diskConfig") == "AUTO":
        raise Fault(400, "preserve_ephemeral and OS-DCF:diskConfig AUTO are not served.")
    try:
        info = call.cloud.rebuild(info.id, asked["imageRef"], call.caller)
    except NotFound as error:
        raise Fault(400, str(error)) from error
    body = {**serverview.show(call, info), "user_data": info.user_data}
    return Answer({"server": body}, headers={"Location": call.url(f"/servers/{info.id}")})


def start(call: Call) -> Answer:
    """Start to switch a server on."""
    call.cloud.start(call.ids["server_id"], call.caller)
    return Answer()


def stop(call: Call) -> Answer:
    """Start to switch a server off."""
    call.cloud.stop(call.ids["server_id"], call.caller)
    return Answer()


def reboot(call: Call) -> Answer:
    """Start to restart a server."""
    call.cloud.reboot(call.ids["server_id"], call.caller, hard=call.body["reboot"]["type"].upper() == "HARD")
    return Answer()


ACTION = "/servers/{server_id}/action"
ROUTES = (
    Route("POST", ACTION, rebuild, "servers:rebuild", code=202, body=a_rebuild, action="rebuild"),
    Route("POST", ACTION, start, "servers:start", code=202, body=a_start, action="os-start"),
    Route("POST", ACTION, stop, "servers:stop", code=202, body=a_stop, action="os-stop"),
    Route("POST", ACTION, reboot, "servers:reboot", code=202, body=a_reboot, action="reboot"),
)
