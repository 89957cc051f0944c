# SPDX-License-Identifier: Apache-2.0
"""Actions on a server, each with what its body looks like (``nova/api/openstack/compute/schemas/``)."""

from bfv.api import schemas, serverview
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault
from bfv.api.listing import is_true
from bfv.api.serverview import known
from bfv.api.shapes import Json, object_of
from bfv.edits import ADMIN, OWNER
from bfv.errors import NotFound

REIMAGES, GIVES_REASON, TELLS_IMAGE, NO_IMAGE_QUOTA = 93, 73, 45, 39


def a_rebuild(version: int) -> Json:
    """Return what the action rebuild takes."""
    # Rebuilding a root volume is what 2.93 brought; what came before is refused whatever it says.
    words = {"imageRef": schemas.UUID, "preserve_ephemeral": schemas.BOOLEAN, "OS-DCF:diskConfig": schemas.DISK_CONFIG}
    return object_of(("rebuild",), rebuild={**object_of(("imageRef",), **words), "additionalProperties": version < 93})


def a_start(_version: int) -> Json:
    """Return what the action os-start takes: anything, as in nova."""
    return object_of(("os-start",), **{"os-start": {}})


def a_stop(_version: int) -> Json:
    """Return what the action os-stop takes: anything, as in nova."""
    return object_of(("os-stop",), **{"os-stop": {}})


def a_reboot(_version: int) -> Json:
    """Return what the action reboot takes."""
    kind = {"type": "string", "enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}
    return object_of(("reboot",), reboot=object_of(("type",), type=kind))


def a_force_delete(_version: int) -> Json:
    """Return what the action forceDelete takes."""
    return object_of(("forceDelete",), forceDelete={})


def a_reset_state(_version: int) -> Json:
    """Return what the action os-resetState takes."""
    state = {"type": "string", "enum": ["active", "error"]}
    return object_of(("os-resetState",), **{"os-resetState": object_of(("state",), state=state)})


def a_lock(version: int) -> Json:
    """Return what the action lock takes: from 2.73 on why, too."""
    if version < GIVES_REASON:
        return object_of(("lock",), lock={})
    reason = {"type": "string", "minLength": 1, "maxLength": 255}
    return object_of(("lock",), lock={**object_of(locked_reason=reason), "type": ["object", "null"]})


def an_unlock(_version: int) -> Json:
    """Return what the action unlock takes."""
    return object_of(("unlock",), unlock={})


def a_create_image(_version: int) -> Json:
    """Return what the action createImage takes."""
    words = {"name": schemas.NAME, "metadata": schemas.METADATA}
    return object_of(("createImage",), createImage=object_of(("name",), **words))


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


def force_delete(call: Call) -> Answer:
    """Start to delete a server in whatever state it is, as any deletion does here."""
    info = call.cloud.server(call.ids["server_id"], call.caller)
    call.cloud.start_delete(info.id, call.caller)
    return Answer()


def reset_state(call: Call) -> Answer:
    """Write another state of a server."""
    call.cloud.edits.reset_state(call.ids["server_id"], call.caller, call.body["os-resetState"]["state"])
    return Answer()


def lock(call: Call) -> Answer:
    """Lock a server."""
    asked = call.body["lock"]
    reason = asked.get("locked_reason") if call.version >= GIVES_REASON and asked else None
    call.cloud.edits.lock(call.ids["server_id"], call.caller, reason)
    return Answer()


def unlock(call: Call) -> Answer:
    """Unlock a server; one that somebody else has locked, if the policy lets the caller."""
    info = known(call)
    expected = OWNER if info.project_id == call.caller.project_id else ADMIN
    if info.locked_by not in (None, expected):
        call.policy.check("os-lock-server:unlock:unlock_override", call.caller)
    call.cloud.edits.unlock(info.id, call.caller)
    return Answer()


def create_image(call: Call) -> Answer:
    """Start to make an image of a server."""
    asked, info = call.body["createImage"], known(call)
    metadata = asked.get("metadata", {})
    call.policy.check("servers:create_image:allow_volume_backed", call.caller)
    if call.version < NO_IMAGE_QUOTA:
        most = call.cloud.limits(call.caller).limits["metadata_items"]
        if 0 <= most < len(metadata):
            raise Fault(403, "Image metadata limit exceeded")
    image_id = call.cloud.create_image(info.id, asked["name"], metadata, call.caller)
    if call.version >= TELLS_IMAGE:
        return Answer({"image_id": image_id})
    return Answer(headers={"Location": f"{call.base}/images/{image_id}"})


ACTION = "/servers/{server_id}/action"
ROUTES = (
    Route("POST", ACTION, rebuild, "servers:rebuild", code=202, body=a_rebuild, action="rebuild"),
    Route("POST", ACTION, start, "servers:start", code=202, body=a_start, action="os-start"),
    Route("POST", ACTION, stop, "servers:stop", code=202, body=a_stop, action="os-stop"),
    Route("POST", ACTION, reboot, "servers:reboot", code=202, body=a_reboot, action="reboot"),
    Route("POST", ACTION, create_image, "servers:create_image", code=202, body=a_create_image, action="createImage"),
    Route("POST", ACTION, force_delete, "os-deferred-delete:force", code=202, body=a_force_delete,
          action="forceDelete"),
    Route("POST", ACTION, reset_state, "os-admin-actions:reset_state", code=202, body=a_reset_state,
          action="os-resetState"),
    Route("POST", ACTION, lock, "os-lock-server:lock", code=202, body=a_lock, action="lock"),
    Route("POST", ACTION, unlock, "os-lock-server:unlock", code=202, body=an_unlock, action="unlock"),
)  # fmt: skip
