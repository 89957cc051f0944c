# SPDX-License-Identifier: Apache-2.0
"""Volumes come to a server and go (``nova/api/openstack/compute/volume_attachments.py``).

As in nova the volume is reserved within the request, so that who asks hears at once what cannot be, and the host is
asked afterwards.
"""

from collections.abc import Mapping
from typing import Any

from bfv.api import attachments, schemas
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import is_true
from bfv.api.shapes import object_of
from bfv.errors import InUse
from bfv.types import VolumeRequest

TAG, TELLS_TAG, KEEPS, ASYNCHRONOUS = 49, 70, 79, 101


def body(version: int) -> Mapping[str, Any]:
    """Return what POST takes."""
    properties: Json = {"volumeId": schemas.UUID, "device": attachments.DEVICE}
    if version >= TAG:
        properties["tag"] = schemas.TAG
    if version >= KEEPS:
        properties["delete_on_termination"] = schemas.BOOLEAN
    return object_of(("volumeAttachment",), volumeAttachment=object_of(("volumeId",), **properties))


def create(call: Call) -> Answer:
    """Start to attach a volume."""
    asked, server_id = call.body["volumeAttachment"], call.ids["server_id"]
    request = VolumeRequest(
        asked["volumeId"],
        device_name=asked.get("device") or None,
        tag=asked.get("tag"),
        delete_on_termination=is_true(asked.get("delete_on_termination")),
    )
    try:
        _, device = call.cloud.start_attach(server_id, request, call.caller)
    except InUse as error:
        # Another took it since it was looked at; nova's word for it.
        raise Fault(400, f"Invalid volume: {error}") from error
    if call.version >= ASYNCHRONOUS:
        return Answer()
    view: Json = {
        "id": request.volume_id,
        "serverId": server_id,
        "volumeId": request.volume_id,
        "device": device.device_name if device else request.device_name,
    }
    if call.version >= TELLS_TAG:
        view["tag"] = request.tag
    if call.version >= KEEPS:
        view["delete_on_termination"] = request.delete_on_termination
    return Answer({"volumeAttachment": view})


def delete(call: Call) -> Answer:
    """Start to detach a volume."""
    call.cloud.start_detach(call.ids["server_id"], call.ids["volume_id"], call.caller)
    return Answer()


ROUTES = (
    Route("POST", attachments.VOLUMES, create, "os-volumes-attachments:create", body=body, until=ASYNCHRONOUS - 1),
    Route("POST", attachments.VOLUMES, create, "os-volumes-attachments:create", body=body, code=202,
          since=ASYNCHRONOUS),
    Route("DELETE", attachments.VOLUME, delete, "os-volumes-attachments:delete", code=202),
)  # fmt: skip
