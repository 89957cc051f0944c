# SPDX-License-Identifier: Apache-2.0
"""Take a volume from a server: first its guest lets go, then cinder frees it, and only then is it forgotten.

Each line may be done again: a crash before the guest let go leaves the volume attached and the intent open; later, the
row names what is still to be freed. A guest that does not let go keeps the volume, and the intent ends as failed.
"""

from bfv import attach, connect, spawn
from bfv.drivers.contract import guest_of
from bfv.errors import BadRequest, Conflict, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from cells import servers
from cells.types import BlockDevice, Server
from imagebackends.types import Access


def check(parts: Parts, access: Access, server: Server, volume_id: str) -> BlockDevice:
    """Return the device of a volume. Raises NotFound, and Refused where it cannot be detached now."""
    device = next((device for device in server.devices if device.volume_id == volume_id), None)
    if device is None:
        raise NotFound(f"Instance {server.uuid} is not attached to volume {volume_id}")
    if device.boot_index == 0:
        raise BadRequest("Cannot detach a root device volume")
    attach.check_state(parts, server, "detach_volume")
    if device.connection_info and not spawn.runs(parts, server) and _is_bound(parts, access, device):
        raise Conflict(
            f"Host {server.host} uses volume {volume_id}, and no driver of ours runs there; have it let go of the "
            f"server's volumes first (`bfv disconnect {server.uuid}`)."
        )
    return device


def _is_bound(parts: Parts, access: Access, device: BlockDevice) -> bool:
    """Return whether cinder still knows the attachment: one that an administrator removed is free to be forgotten."""
    found = parts.backend.attachments(access, disk_id=device.volume_id)
    return device.attachment_id in {each.id for each in found}


def frees(device: BlockDevice) -> tuple[str, str]:
    """Return the step that frees a device's volume in cinder, for the history."""
    return "detach", f"volume {device.volume_id}, attachment {device.attachment_id}"


def run(parts: Parts, intent: Intent) -> None:
    """Go on with a detach wherever it is. Raises MaybeRunning, CellDown, and NotAllowed while it may not be freed."""
    job = Job(parts, intent)
    try:
        database, server = connect.placed(job)
        device = next((each for each in server.devices if each.uuid == intent.request["device_id"]), None)
        hosted = spawn.runs(parts, server)
        if device is not None and hosted:
            job.step("unplug", f"volume {device.volume_id} from host {server.host}")
            spawn.driver_of(parts).detach(str(server.host), guest_of(server), device)
    except (Refused, NotFound, Failed) as error:
        job.close(FAILED, str(error))
        return
    if device is not None:
        if hosted or intent.fence > 1:
            # Else written with the intent.
            job.step(*frees(device))
        if device.attachment_id:
            parts.backend.detach(job.access, device.attachment_id)
        servers.remove_device(database, device.uuid)
    job.close(DONE)
