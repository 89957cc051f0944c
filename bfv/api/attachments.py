# SPDX-License-Identifier: Apache-2.0
"""A server's volumes (``nova/api/openstack/compute/volume_attachments.py``).

Cinder asks here before it lets a user delete an attachment (``cinder/volume/api.py:attachment_deletion_allowed``): what
is shown must be what is bound.
"""

from typing import Any

from bfv.api import schemas
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault
from bfv.api.listing import is_true, page_limit
from bfv.api.serverview import known
from bfv.api.shapes import Json, object_of
from bfv.types import ServerInfo
from cells.types import BlockDevice

RULE = "os-volumes-attachments"
SHOWS_TAG, SHOWS_FLAG, UPDATES, SHOWS_ATTACHMENT = 70, 79, 85, 89
DEVICE = {"type": ["string", "null"], "pattern": "(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$"}
# What a PUT may repeat of what a GET has told, and the field of the device that it must equal.
SAME = (("id", "volume_id"), ("device", "device_name"), ("tag", "tag"))


def changes(version: int) -> Json:
    """Return what PUT of an attachment takes."""
    words: dict[str, Any] = {"volumeId": schemas.UUID}
    if version >= UPDATES:
        words |= {"device": DEVICE, "tag": schemas.TAG, "delete_on_termination": schemas.BOOLEAN,
                  "serverId": schemas.UUID, "id": schemas.UUID}  # fmt: skip
    return object_of(("volumeAttachment",), volumeAttachment=object_of(("volumeId",), **words))


def index(call: Call) -> Answer:
    """List a server's volumes."""
    info = known(call)
    start, limit = int(call.asked("offset") or 0), page_limit(call)
    found = [view(call.version, info, each) for each in _bound(call.version, info)]
    return Answer({"volumeAttachments": found[start : start + limit]})


def show(call: Call) -> Answer:
    """Show one of a server's volumes."""
    info = known(call)
    return Answer({"volumeAttachment": view(call.version, info, _one(call, info))})


def update(call: Call) -> Answer:
    """Say whether a volume is deleted with its server."""
    asked, volume_id = call.body["volumeAttachment"], call.ids["volume_id"]
    info = known(call)
    if call.version < UPDATES or asked["volumeId"] != volume_id:
        call.policy.check(f"{RULE}:swap", call.caller)
        raise Fault(501, "Another volume cannot be put in the place of one; attach it beside.")
    device = _one(call, info)
    for name, field in SAME:
        if name in asked and asked[name] != getattr(device, field):
            raise Fault(400, f"The {name} property is not mutable")
    if asked.get("serverId", info.id) != info.id:
        raise Fault(400, "The serverId property is not mutable")
    if "delete_on_termination" in asked:
        goes = is_true(asked["delete_on_termination"])
        call.cloud.edits.volume(info.id, call.caller, device, delete_on_termination=goes)
    return Answer()


def view(version: int, info: ServerInfo, device: BlockDevice) -> dict[str, Any]:
    """Return an attachment as a microversion shows it."""
    shown: dict[str, Any] = {"volumeId": device.volume_id, "serverId": info.id}
    if version < SHOWS_ATTACHMENT:
        shown["id"] = device.volume_id
    if device.device_name:
        shown["device"] = device.device_name
    if version >= SHOWS_TAG:
        shown["tag"] = device.tag
    if version >= SHOWS_FLAG:
        shown["delete_on_termination"] = device.delete_on_termination
    if version >= SHOWS_ATTACHMENT:
        shown |= {"attachment_id": device.attachment_id, "bdm_uuid": device.uuid}
    return shown


def _bound(version: int, info: ServerInfo) -> list[BlockDevice]:
    return [each for each in info.devices
            if each.volume_id and (version < SHOWS_ATTACHMENT or each.attachment_id is not None)]  # fmt: skip


def _one(call: Call, info: ServerInfo) -> BlockDevice:
    volume_id = call.ids["volume_id"]
    for device in _bound(call.version, info):
        if device.volume_id == volume_id:
            return device
    raise Fault(404, f"Instance {info.id} is not attached to volume {volume_id}")


VOLUMES = "/servers/{server_id}/os-volume_attachments"
VOLUME = f"{VOLUMES}/{{volume_id}}"
ROUTES = (
    Route("GET", VOLUMES, index, f"{RULE}:index", query=schemas.pages_query),
    Route("GET", VOLUME, show, f"{RULE}:show", query=schemas.no_query),
    Route("PUT", VOLUME, update, f"{RULE}:update", code=202, body=changes),
)
