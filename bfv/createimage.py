# SPDX-License-Identifier: Apache-2.0
"""Make an image of a server: a snapshot of each of its volumes, and an image without bytes that names them.

As nova makes one (``nova/compute/api.py:snapshot_volume_backed``), but the image becomes active only once its snapshots
are there, so who waits for the image can boot from it. The first half runs within the request, since its answer names
the image; whoever goes on after a crash repeats it: the image's id is chosen beforehand, and each snapshot is found by
its marker. What fails is undone: nothing is left.

All that is needed of the server is in the intent: the flow reads no row. The guest is not frozen: what is in a
snapshot is what a loss of power would leave, and those of several disks are not of one moment.
"""

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from bfv import connect, outside, rebuild, together
from bfv.drivers import states
from bfv.errors import Conflict, Failed, MaybeRunning, NotFound, Refused, StorageError, Unsupported
from bfv.job import Job
from bfv.journal import DONE, FAILED, UNWINDING, Intent, Object
from bfv.parts import Parts
from cells.types import BlockDevice, Server
from imagebackends.backend import Warms
from imagebackends.types import NewImage

ROLE, FIRST, LONGEST, LONGEST_NAME = "root", 0.1, 2.0, 255
# nova/compute/utils.py:NON_INHERITABLE_IMAGE_PROPERTIES and [DEFAULT] non_inheritable_image_properties.
NOT_INHERITED = {"img_signature_hash_method", "img_signature", "img_signature_key_type", "cache_in_nova", "bittorrent",
                 "img_signature_certificate_uuid", "cinder_encryption_key_id",
                 "cinder_encryption_key_deletion_policy"}  # fmt: skip
NUMBERS, FORMATS = ("min_disk", "min_ram"), ("disk_format", "container_format")
# What a mapping has of the device, and what else nova's has, nothing (nova/block_device.py:snapshot_from_bdm).
COPIED = ("disk_bus", "device_type", "boot_index", "delete_on_termination", "volume_size", "device_name")
EMPTY = ("no_device", "image_id", "volume_id", "volume_type", "guest_format", "tag", "encrypted", "encryption_format",
         "encryption_options", "encryption_secret_uuid", "snapshot_id")  # fmt: skip
# Nova leaves the tag out: a guest that is made of the image would not find its disks by it.
VOLUME = (*COPIED, "tag")
LOCAL = (*COPIED, "source_type", "destination_type", "guest_format", "tag")


def check(parts: Parts, server: Server) -> None:
    """Raise Conflict where no image can be made of a server now, BadRequest if its root disk is no volume."""
    if not isinstance(parts.backend, Warms):
        raise Unsupported("This image backend takes no snapshots, so there are no images of its servers.")
    if parts.driver is not None:
        states.check("createImage", server.uuid, server.vm_state, server.task_state)
    elif server.task_state not in (None, "spawning", "rebuild_spawning"):
        raise Conflict(f"Server {server.uuid} is {server.task_state}; try again when it is done.")
    rebuild.root_of(server)


def request(server: Server, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what is to be made of a server, as the journal keeps it."""
    inherited = {key.removeprefix("image_"): value for key, value in server.system_metadata.items()
                 if key.startswith("image_")}  # fmt: skip
    numbers = {key: int(inherited.pop(key, None) or 0) for key in NUMBERS}
    dropped = {*NOT_INHERITED, *FORMATS, "block_device_mapping", "bdm_v2", "root_device_name"}
    properties = {key: value for key, value in inherited.items()
                  if key not in dropped and not key.startswith("os_glance")}  # fmt: skip
    return {
        "image": {"id": str(uuid.uuid4()), "name": name, **numbers},
        "properties": {**properties, **metadata, "bdm_v2": "True"}
        | ({"root_device_name": server.root_device_name} if server.root_device_name else {}),
        "volumes": [_volume(number, each) for number, each in enumerate(connect.volumes(server))],
        "local": [_mapping(each, LOCAL) for each in server.devices if each.destination_type == "local"],
    }


def _volume(number: int, device: BlockDevice) -> dict[str, Any]:
    """Return a volume that a snapshot is taken of: its place among the objects, and its entry in the image."""
    mapping = _mapping(device, VOLUME) | {"source_type": "snapshot", "destination_type": "volume"}
    return {"role": ROLE if device.boot_index == 0 else f"disk{number}", "volume_id": device.volume_id,
            "mapping": mapping}  # fmt: skip


def _mapping(device: BlockDevice, fields: tuple[str, ...]) -> dict[str, Any]:
    return {**dict.fromkeys(EMPTY), **{name: getattr(device, name) for name in fields}}


def begin(job: Job) -> None:
    """Take the snapshots and make the image, queued, that names them. Raises StorageError, NotAllowed; repeatable."""
    asked = job.intent.request
    taken = _snapshots(job)
    volumes = [{**each["mapping"], "snapshot_id": key} for each, key in zip(asked["volumes"], taken, strict=True)]
    mapping = json.dumps([*asked["local"], *volumes])
    properties = {**asked["properties"], "block_device_mapping": mapping}
    known = job.object("image", ROLE)
    if known is not None and known.external_id is not None:
        return
    thing = known or job.ask("image", ROLE, {})
    try:
        job.parts.images.make(job.access, NewImage(**asked["image"], properties=properties))
    except MaybeRunning:
        raise
    except StorageError:
        job.gone(thing)
        raise
    job.know(thing, asked["image"]["id"])


def run(parts: Parts, intent: Intent) -> None:
    """Go on with an image wherever it is, or with its undoing. Raises MaybeRunning, NotAllowed."""
    job = Job(parts, intent)
    if intent.phase != UNWINDING:
        try:
            begin(job)
            _wait_ready(job)
            image_id = job.intent.request["image"]["id"]
            job.step("activate", f"image {image_id}")
            parts.images.fill(job.access, image_id)
            job.close(DONE, f"image {image_id}")
            return
        except (Refused, NotFound, Failed) as error:
            job.turn(str(error))
    _back(job)
    job.close(FAILED)


def _snapshots(job: Job) -> list[str]:
    """Return the ids of the snapshots that this intent takes, asking for each at most once."""
    asked = job.intent.request
    name = f"snapshot for {asked['image']['name']}"
    # Read once, before many threads do.
    job.objects()
    return together.each(lambda each: _snapshot(job, each["role"], str(each["volume_id"]), name), asked["volumes"])


def _snapshot(job: Job, role: str, volume_id: str, name: str) -> str:
    thing = job.object("snapshot", role)
    if thing is not None:
        found = thing.external_id or _lost_snapshot(job, thing)
        if found is not None:
            return found
        job.gone(thing)
    disk = outside.own_disk(job, volume_id)
    take, access = _backend(job).take_snapshot, job.access
    return job.make("snapshot", role, {"disk_id": disk.id}, lambda marker: take(access, disk.id, name, marker)).id


def _lost_snapshot(job: Job, thing: Object) -> str | None:
    """Adopt what a lost request left; None once it cannot come any more. Raises MaybeRunning before."""
    try:
        found = _backend(job).find_snapshot(job.access, thing.spec["disk_id"], thing.marker)
    except NotFound:
        found = None
    if found is None:
        outside.wait_out(job, thing)
        return None
    job.know(thing, found.id)
    return found.id


def _wait_ready(job: Job) -> None:
    for key in _snapshots(job):
        _wait(job, key, "creating", job.parts.timing.volume)
        status = _status(job, key)
        if status != "available":
            raise Failed(f"Cinder could not make snapshot {key}: it is {status or 'gone'}.")


def _back(job: Job) -> None:
    """Remove the image, then the snapshots that it names."""
    image = job.object("image", ROLE)
    if image is not None:
        job.still_ours()
        job.parts.images.remove(job.access, job.intent.request["image"]["id"])
        if image.external_id is None:
            outside.wait_out(job, image)
        job.gone(image)
    for thing in [each for each in job.objects() if each.kind == "snapshot"]:
        key = thing.external_id or _lost_snapshot(job, thing)
        if key is not None:
            _drop(job, key)
        job.gone(thing)


def _drop(job: Job, key: str) -> None:
    """Delete a snapshot and wait until it is gone. Raises MaybeRunning while cinder is at work on it."""
    _wait(job, key, "creating", job.parts.timing.volume)
    try:
        if _status(job, key) not in (None, "deleting"):
            job.still_ours()
            _backend(job).drop_snapshot(job.access, key)
    except NotFound:
        return
    _wait(job, key, "deleting", job.parts.timing.delete)
    status = _status(job, key)
    if status is not None:
        raise MaybeRunning(f"Snapshot {key} is {status} and was not deleted; see cinder's log.")


def _status(job: Job, key: str) -> str | None:
    try:
        return _backend(job).snapshot(job.access, key).status
    except NotFound:
        return None


def _wait(job: Job, key: str, status: str, seconds: float) -> None:
    """Wait as long as a snapshot is in a status. Raises MaybeRunning at the deadline."""
    began, pause = time.monotonic(), FIRST
    while _status(job, key) == status:
        if time.monotonic() - began > seconds:
            raise MaybeRunning(f"Snapshot {key} was still {status} after {seconds:.0f} seconds.")
        job.still_ours()
        time.sleep(pause)
        pause = min(LONGEST, max(pause, (time.monotonic() - began) / 10))


def _backend(job: Job) -> Warms:
    backend = job.parts.backend
    assert isinstance(backend, Warms), "checked when it was accepted"
    return backend
