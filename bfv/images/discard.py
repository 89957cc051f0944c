# SPDX-License-Identifier: Apache-2.0
"""Delete an image and say which snapshots stay: those that an image of a server names outlive it, as in nova.

Glance knows nothing of them, and once the image is gone nothing names them any more: so they are written down first,
and whoever goes on after a crash still tells them.
"""

from dataclasses import dataclass

from bfv.errors import Conflict, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from bfv.types import Caller
from cells.errors import Exists
from imagebackends.backend import Snapshots
from imagebackends.glance import volume_snapshots
from imagebackends.types import Access

VERB = "deleteImage"


@dataclass(frozen=True)
class Left:
    """A snapshot that an image named which is gone; ``size`` in GiB, ``server_id`` where the image was made here."""

    snapshot_id: str
    volume_id: str
    size: int
    image_id: str
    project_id: str
    server_id: str | None = None

    def __str__(self) -> str:
        return (
            f"Snapshot {self.snapshot_id} ({self.size} GiB) of volume {self.volume_id} is kept; "
            f"`openstack volume snapshot delete {self.snapshot_id}` removes it."
        )


def begin(parts: Parts, caller: Caller, image: str) -> Intent:
    """Write down what is deleted, an image by id or name. Raises NotFound, BadRequest, Conflict, MaybeRunning."""
    found = parts.images.find(parts.rights.image(caller), image)
    named = [str(item["snapshot_id"]) for item in volume_snapshots(found) if item.get("snapshot_id")]
    try:
        return parts.journal.open(
            VERB, found.id, project_id=caller.project_id, user_id=caller.user_id, request_id=caller.request_id,
            request=caller.asked({"snapshots": named, "owner": found.owner}),
        )  # fmt: skip
    except Exists as error:
        raise Conflict(f"Image {found.id} is being deleted.") from error


def run(parts: Parts, intent: Intent) -> None:
    """Delete the image, and tell what stays. Raises Refused, Failed where it stays itself; MaybeRunning, NotAllowed."""
    job = Job(parts, intent)
    job.step("delete image", intent.server_id)
    try:
        parts.images.remove(job.access, intent.server_id)
    except (Refused, Failed) as error:
        job.close(FAILED, str(error))
        raise
    lines = [str(each) for each in left(parts, job.access, intent)]
    for line in lines:
        job.tell("kept", line)
    job.close(DONE, "; ".join(lines) or None)


def left(parts: Parts, access: Access, intent: Intent) -> list[Left]:
    """Return those of the snapshots that are there and that these rights see."""
    asked, image_id = intent.request, intent.server_id
    found = (kept(parts, access, key, image_id, asked["owner"]) for key in asked["snapshots"])
    return [each for each in found if each is not None]


def kept(parts: Parts, access: Access, snapshot_id: str, image_id: str, owner: str,
         server_id: str | None = None) -> Left | None:  # fmt: skip
    """Return a snapshot that an image of ``owner`` named, None if it is gone or another's. Raises MaybeRunning.

    Anybody can write any id into an image.
    """
    if not isinstance(parts.backend, Snapshots):
        return None
    try:
        found = parts.backend.snapshot(access, snapshot_id)
    except NotFound:
        return None
    if found.project_id and found.project_id != owner:
        return None
    return Left(found.id, found.volume_id, found.size, image_id, owner, server_id)
