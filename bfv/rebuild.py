# SPDX-License-Identifier: Apache-2.0
"""Write another image onto a server's root volume, which keeps its id: cinder's re-image (3.68).

Re-imaging may be asked for again at any time before the rebuild is recorded: the volume's data is given up with
the first request, and no host can connect while the server is being rebuilt.
"""

from typing import Any

from bfv import connect, decide, outside, records, spawn
from bfv.drivers import states
from bfv.errors import (
    BadRequest,
    Cancelled,
    Conflict,
    Failed,
    MaybeRunning,
    NoRoom,
    NotAllowed,
    NotFound,
    Refused,
    Unsupported,
)
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, FAILED, Intent
from bfv.parts import Parts
from cells import encode, servers
from cells.database import Database
from cells.types import BlockDevice, Server
from imagebackends.backend import Reimages
from imagebackends.types import Disk, Image

WRITING = "downloading"


def check(parts: Parts, server: Server, image: Image) -> None:
    """Raise Refused where a server cannot be rebuilt from an image."""
    if not isinstance(parts.backend, Reimages):
        raise Unsupported("This image backend cannot write an image onto an existing disk.")
    if parts.driver is not None:
        states.check("rebuild", server.uuid, server.vm_state, server.task_state)
    elif server.task_state not in (None, "spawning", "rebuild_spawning"):
        raise Conflict(f"Server {server.uuid} is {server.task_state}; try again when it is done.")
    root = root_of(server)
    decide.check_image(image, server.flavor)
    needed = decide.image_size(image)
    if root.volume_size and needed > root.volume_size:
        raise BadRequest(
            f"Image {image.id} needs {needed} GiB, root volume {root.volume_id} has {root.volume_size}; "
            "extend the volume first."
        )


def root_of(server: Server) -> BlockDevice:
    """Return a server's root volume. Raises BadRequest if it has none."""
    for device in server.devices:
        if device.boot_index == 0 and device.volume_id and device.attachment_id:
            return device
    raise BadRequest(f"Server {server.uuid} has no root volume that is reserved for it; delete it and boot anew.")


def run(parts: Parts, intent: Intent) -> None:
    """Go on with a rebuild wherever it is. Raises MaybeRunning, CellDown, NotAllowed."""
    job = Job(parts, intent)
    image = intent.request["image"]
    try:
        database, server = connect.placed(job)
    except (Refused, NotFound) as error:
        job.close(FAILED, str(error))
        return
    try:
        if not job.passed("record"):
            servers.update(database, server.uuid, task_state="rebuilding")
            spawn.take_down(job, database, server)
            connect.let_go(job, database, server)
            _write(job, root_of(server), image)
        job.step("record", image["id"])
        _record(job, database, server, image)
        if spawn.runs(parts, server):
            spawn.place_on_host(job, str(server.host), "rebuild")
    except Cancelled:
        job.close(CANCELLED)
        return
    except NotAllowed as error:
        # Whoever repairs it with more rights goes on from here.
        records.set_error(database, server, str(error))
        raise
    except (Refused, NotFound, Failed, NoRoom) as error:
        records.set_error(database, server, str(error))
        spawn.take_down(job, database, server)
        job.close(FAILED, str(error))
        return
    job.close(DONE)


def _write(job: Job, root: BlockDevice, image: dict[str, Any]) -> None:
    backend = job.parts.backend
    assert isinstance(backend, Reimages), "checked when it was accepted"
    disk = outside.own_disk(job, str(root.volume_id))
    if disk.status != WRITING:
        job.stop()
        job.step("reimage", f"volume {disk.id} from image {image['id']}")
        backend.reimage(job.access, disk.id, image["id"])
        disk = backend.get(job.access, disk.id)
    timing = job.parts.timing
    # By the volume's size, never the image's: an image of a volume-backed server has size 0 (LP#2062127).
    seconds = timing.volume + timing.volume_per_gib * disk.size
    try:
        done = job.parts.waits.until(job.watch_access, disk, _written, seconds, job.stop)
    except MaybeRunning as error:
        raise Failed(f"{error} Rebuild it again when the volume is reserved.") from error
    if done is None or done.status == "error":
        words = job.parts.backend.explain(job.access, disk.id) if done else "it was removed"
        raise Failed(
            f"Cinder could not write image {image['id']} onto volume {disk.id}: {words or 'it gives no reason'}"
        )
    if done.image_id != image["id"]:
        raise Failed(f"Volume {disk.id} holds image {done.image_id} after it was re-imaged from {image['id']}.")


def _written(disk: Disk | None) -> bool:
    return disk is None or disk.status != WRITING


def _record(job: Job, database: Database, server: Server, image: dict[str, Any]) -> None:
    servers.replace_image(database, server.uuid, image["id"], records.image_metadata(image))
    vm_state = "building" if server.vm_state == "error" else server.vm_state
    servers.update(
        database,
        server.uuid,
        vm_state=vm_state,
        task_state="spawning" if vm_state == "building" else "rebuild_spawning",
    )
    registry = job.parts.registry
    asked = encode.read_request_spec(registry.request_spec(server.uuid))
    registry.update_request_spec(
        server.uuid,
        encode.request_spec(
            server_id=asked.server_id,
            project_id=asked.project_id,
            user_id=asked.user_id,
            flavor=asked.flavor,
            image=image,
            is_bfv=True,
            availability_zone=asked.availability_zone,
        ),
    )
