# SPDX-License-Identifier: Apache-2.0
"""Give a server one more volume: reserve it, write it down, and where a driver runs the server, have its host use it.

An attach writes, in this order, and a crash between any two lines is harmless:

1. intent, object *attachment* then POST /attachments, as a boot does it (`bfv.journal`, 6)
2. the device's row            it names the attachment; its id is made of the intent's: writing it again is no error
3. connection, guest, complete a host does each again without harm
4. intent closed               with the attachment's id. Where no host runs the server, within the request

What surely failed is taken back: guest, attachment, then the row, which names what the host may still have. A lost
answer is asked for again until it is known, so no volume is reserved for nothing or attached twice.
"""

import dataclasses
import uuid
from typing import Any

from bfv import connect, devicenames, outside, sources, spawn
from bfv.drivers import states
from bfv.drivers.contract import guest_of
from bfv.errors import BadRequest, Cancelled, Conflict, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, FAILED, UNWINDING, Intent
from bfv.parts import Parts
from bfv.types import VolumeRequest
from cells import servers
from cells.database import Database
from cells.types import BlockDevice, Server
from imagebackends.types import Access, Attachment, Disk

ROLE = "volume"
WAITING = ("spawning", "rebuild_spawning")


def check(parts: Parts, access: Access, server: Server, cell: str, request: VolumeRequest) -> Disk:
    """Return the volume, with the caller's own rights. Raises NotFound, and Refused where it cannot be attached now."""
    check_state(parts, server, "attach_volume")
    disk = parts.backend.get(access, request.volume_id)
    if disk.project_id and disk.project_id != server.project_id:
        raise NotFound(f"Volume {disk.id} could not be found.")
    if any(device.volume_id == disk.id for device in server.devices):
        raise BadRequest(f"Invalid volume: volume {disk.id} already attached to this server.")
    sources.check_free(disk)
    _check_place(parts, access, server, cell, disk)
    name = request.device_name
    if name and not devicenames.fits(name):
        raise BadRequest(f"The supplied device path ({name}) is invalid.")
    if name and name in {device.device_name for device in server.devices}:
        raise Conflict(f"The supplied device path ({name}) is in use.")
    return disk


def check_state(parts: Parts, server: Server, verb: str) -> None:
    """Raise Conflict where a server's state does not allow its volumes to change now."""
    # Without a driver a server that is booted stays as it is recorded: about to be spawned by whoever connects it.
    booted = parts.driver is None and server.vm_state == states.BUILDING
    task_state = None if booted and server.task_state in WAITING else server.task_state
    states.check_volumes(verb, server.uuid, states.ACTIVE if booted else server.vm_state, task_state)


def _check_place(parts: Parts, access: Access, server: Server, cell: str, disk: Disk) -> None:
    held = sources.cell_of_zone(parts, disk) or sources.cell_of(parts, access, disk, "")[0]
    if held != cell:
        raise BadRequest(
            f"Invalid volume: volume {disk.id} is in the storage of cell {held} and server {server.uuid} in cell "
            f"{cell}; move its data by a backup, or boot a server beside it."
        )
    zones = (server.availability_zone, disk.availability_zone)
    if not parts.placing.cross_az_attach and all(zones) and zones[0] != zones[1]:
        # nova/volume/cinder.py:check_availability_zone
        raise BadRequest(
            f"Invalid volume: Instance {server.uuid} and volume {disk.id} are not in the same availability_zone. "
            f"Instance is in {zones[0]}. Volume is in {zones[1]}"
        )


def asks(volume_id: str) -> tuple[str, str, dict[str, Any]]:
    """Return the object that is written with the intent of an attach: its kind, role and spec."""
    return "attachment", ROLE, {"disk_id": volume_id, "known": []}


def begin(parts: Parts, intent: Intent) -> tuple[BlockDevice, bool]:
    """Reserve the volume and write it down; return the device, and whether a host is left for ``run``.

    Raises Refused, NotFound or Failed when it is taken back and the intent is closed; MaybeRunning, CellDown when it
    is still open.
    """
    job, volume_id = Job(parts, intent, stoppable=True), intent.request["volume_id"]
    thing, attach = job.object("attachment", ROLE), parts.backend.attach
    assert thing is not None, "written with the intent"
    try:
        database, server = connect.placed(job)
        _refuse_twice(job, server)
        access = job.access
    except (Refused, NotFound) as error:
        _never_asked(job)
        job.close(FAILED, str(error))
        raise
    try:
        made = job.act(thing, lambda _: attach(access, volume_id, intent.server_id))
        job.know_later(thing, made.id)
        device = _record(job, database, server, made)
    except (Refused, NotFound, Failed) as error:
        job.turn(str(error))
        _back(job)
        raise
    if spawn.runs(parts, server):
        return device, True
    job.close(DONE)
    return device, False


def run(parts: Parts, intent: Intent) -> None:
    """Go on with an attach wherever it is, or with its undoing. Raises MaybeRunning, CellDown, NotAllowed."""
    job = Job(parts, intent, stoppable=True)
    if intent.phase != UNWINDING:
        try:
            database, server = connect.placed(job)
            device = _device(job, server)
            if device is None:
                _refuse_twice(job, server)
                reserved = outside.attachment(job, ROLE, intent.request["volume_id"])
                device = _record(job, database, server, reserved)
            if spawn.runs(parts, server):
                _use(job, database, str(server.host), device)
            job.close(DONE)
            return
        except Cancelled:
            _cancelled(job)
            return
        except (Refused, NotFound, Failed) as error:
            job.turn(str(error))
    _back(job)


def _refuse_twice(job: Job, server: Server) -> None:
    """Raise BadRequest for a volume that the server has: cinder lets the same server reserve one twice.

    It had it before this intent began, for which nothing was asked then: what cinder has of the two is not ours.
    """
    volume_id = job.intent.request["volume_id"]
    if any(device.volume_id == volume_id for device in server.devices):
        _never_asked(job)
        raise BadRequest(f"Invalid volume: volume {volume_id} already attached to this server.")


def _never_asked(job: Job) -> None:
    """Forget the object that was written with the intent, so that nobody looks for it and finds another's."""
    thing = job.object("attachment", ROLE)
    if thing is not None:
        job.gone(thing)


def _device(job: Job, server: Server) -> BlockDevice | None:
    """Return the device that a worker before us wrote."""
    key = _device_id(job)
    return next((device for device in server.devices if device.uuid == key), None)


def _record(job: Job, database: Database, server: Server, made: Attachment) -> BlockDevice:
    asked = job.intent.request
    request = VolumeRequest(**{field.name: asked[field.name] for field in dataclasses.fields(VolumeRequest)})
    taken = {device.device_name for device in server.devices}
    name = request.device_name if request.device_name and request.device_name not in taken else None
    device = BlockDevice(
        uuid=_device_id(job),
        source_type="volume",
        destination_type="volume",
        volume_id=request.volume_id,
        volume_size=request.size,
        attachment_id=made.id,
        delete_on_termination=request.delete_on_termination,
        device_name=name or devicenames.following(taken),
        tag=request.tag,
    )
    servers.add_device(database, server.uuid, device)
    return device


def _use(job: Job, database: Database, host: str, device: BlockDevice) -> None:
    """Have the guest use the volume."""
    driver = spawn.driver_of(job.parts)
    connect.reach(job, database, device, driver.connector(host))
    server = servers.get(database, job.intent.server_id)
    [connected] = [each for each in server.devices if each.uuid == device.uuid]
    job.step("attach", f"host {host}")
    driver.attach(host, guest_of(server), connected)
    job.step("complete", f"host {host}")
    job.parts.backend.complete(job.access, str(device.attachment_id))


def _cancelled(job: Job) -> None:
    job.turn("the server was deleted meanwhile")
    _back(job)


def _back(job: Job) -> None:
    """Take the volume from the guest, then free it, and only then forget it."""
    database = job.cell_database
    server = servers.find(database, job.intent.server_id)
    device = _device(job, server) if server else None
    if server is not None and device is not None and spawn.runs(job.parts, server):
        spawn.driver_of(job.parts).detach(str(server.host), guest_of(server), device)
    outside.release(job)
    if device is not None:
        servers.remove_device(database, device.uuid)
    job.close(CANCELLED if job.intent.cancel else FAILED)


def _device_id(job: Job) -> str:
    return str(uuid.uuid5(uuid.UUID(job.intent.id), ROLE))
