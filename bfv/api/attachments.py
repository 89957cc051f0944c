# SPDX-License-Identifier: Apache-2.0
"""Which volumes a server uses (``nova/api/openstack/compute/volume_attachments.py``).

Not for people alone: before a user may delete an attachment at cinder, cinder asks here, with that user's token,
whether a server uses it, and takes 404 or another attachment's id for a no (OSSA-2023-003,
``cinder/volume/api.py:attachment_deletion_allowed``). So nobody is told 404 while the cell that knows is down.
"""

from bfv.api import serverview
from bfv.api.call import Answer, Call, Json
from bfv.api.faults import Fault
from bfv.errors import CellDown
from cells.types import BlockDevice

# From then on the attachment is named, and one that has none is not shown.
NAMED = 89


def index(call: Call) -> Answer:
    """List the volumes of a server."""
    return Answer({"volumeAttachments": [_view(call, device) for device in _devices(call)]})


def show(call: Call) -> Answer:
    """Show what a server has of a volume."""
    server_id, volume_id = call.ids["server_id"], call.ids["volume_id"]
    for device in _devices(call):
        if device.volume_id == volume_id:
            return Answer({"volumeAttachment": _view(call, device)})
    raise Fault(404, f"Instance {server_id} is not attached to volume {volume_id}")


def _devices(call: Call) -> list[BlockDevice]:
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if serverview.is_unknown(info):
        raise CellDown(info.cell or "", "it alone knows which volumes a server uses")
    return [each for each in info.devices if each.volume_id and (each.attachment_id or call.version < NAMED)]


def _view(call: Call, device: BlockDevice) -> Json:
    version = call.version
    view: Json = {"id": device.volume_id} if version < NAMED else {}
    view |= {"volumeId": device.volume_id, "serverId": call.ids["server_id"]}
    if device.device_name:
        view["device"] = device.device_name
    if version >= 70:
        view["tag"] = device.tag
    if version >= 79:
        view["delete_on_termination"] = device.delete_on_termination
    if version >= NAMED:
        view |= {"attachment_id": device.attachment_id, "bdm_uuid": device.uuid}
    return view
