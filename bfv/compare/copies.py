# SPDX-License-Identifier: Apache-2.0
"""Copies of the image that nothing has cached, so that a cold boot is one; and what cinder keeps of them.

A copy is written down under its id before it is asked for, so it is found after any crash. Cinder's image-volume cache
takes each copy in and keeps it for good (``cinder/image/cache.py`` does not look whether its image still exists). Its
volume is known by the storage itself: it is the clone or the parent of a disk of ours, and bears our copy's id in its
name.
"""

import dataclasses
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bfv.compare.trial import VERB
from bfv.errors import MaybeRunning, NotFound
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, Intent, Object
from bfv.parts import Parts
from bfv.types import Caller, new_request_id
from imagebackends import imagecopy
from imagebackends.errors import StorageError
from imagebackends.types import Image

COPIES = "compare-images"


@dataclass(frozen=True)
class Copy:
    """An image as a boot needs it, and the SHA-256 of its bytes."""

    image: Image
    sha256: str


class Copies:
    """The copies of one comparison, in one intent; ``run`` is its id, which the boots' intents name."""

    def __init__(self, parts: Parts, who: Caller) -> None:
        intent = parts.journal.open(
            COPIES, str(uuid.uuid4()), project_id=who.project_id, user_id=who.user_id, request_id=new_request_id(),
            request={},
        )  # fmt: skip
        parts.rights.keep(intent.id, dataclasses.replace(who, request_id=intent.request_id))
        self.parts, self.job, self.run = parts, Job(parts, intent), intent.id
        # Cell and id of each volume of cinder's cache that was noted.
        self.volumes: list[tuple[str, str]] = []

    def make(self, image: Image) -> Copy:
        """Copy an image."""
        clusters, new_id = self.parts.clusters, str(uuid.uuid4())
        thing = self.job.ask("image", new_id, {"of": image.id})
        self.job.know(thing, new_id)
        name = f"bfv-compare copy of {image.name or image.id}"[:255]
        sha256 = imagecopy.copy(clusters.settings, clusters.session, self.job.access, image, new_id, name)
        return Copy(self.parts.images.get(self.job.access, new_id), sha256)

    def read(self, image: Image) -> Copy:
        """Return an image as it is, read once for its digest."""
        clusters = self.parts.clusters
        return Copy(image, imagecopy.digest(clusters.settings, clusters.session, self.job.access, image))

    def cached(self, cell: str, volume_id: str, copy: Copy) -> None:
        """Note a volume of cinder's cache, if it is one of a copy of ours."""
        ours = any(thing.external_id == copy.image.id for thing in self.job.objects())
        if not ours or (cell, volume_id) in self.volumes:
            return
        access = self.parts.rights.everywhere(self.job.intent.request_id)
        try:
            name = self.parts.backend.get(access, volume_id).name if access is not None else ""
        except NotFound:
            return
        if name == f"image-{copy.image.id}":
            self.job.know(self.job.ask("cached", f"{cell} {copy.image.id}"[:64], {}), volume_id)
            self.volumes.append((cell, volume_id))

    def remove(self) -> list[str]:
        """Remove all, and end the intent; return what stays, which keeps the intent open for `repair`."""
        try:
            left = _remove(self.parts, self.job)
            if left:
                self.parts.journal.release(self.job.intent)
            else:
                self.job.close(DONE)
        finally:
            self.parts.rights.forget(self.job.intent.id)
        return left


def _remove(parts: Parts, job: Job) -> list[str]:
    left = []
    # What cinder keeps is a clone of what Glance has.
    for thing in sorted(job.objects(), key=lambda thing: thing.kind != "cached"):
        try:
            job.still_ours()
            REMOVE[thing.kind](parts, job, thing)
            job.gone(thing)
        except StorageError as error:
            left.append(f"{thing}: {error}")
    return left


def _remove_image(parts: Parts, job: Job, thing: Object) -> None:
    imagecopy.remove(parts.clusters.settings, parts.clusters.session, job.access, str(thing.external_id or thing.role))


def _remove_cached(parts: Parts, job: Job, thing: Object) -> None:
    """Delete a volume of cinder's cache as an administrator, and wait until it is gone."""
    access = parts.rights.everywhere(job.intent.request_id)
    if thing.external_id is None or access is None:
        return
    try:
        disk = parts.backend.get(access, thing.external_id)
        if disk.status != "deleting":
            parts.backend.delete(access, disk.id)
        parts.waits.until(access, disk, lambda now: now is None, parts.timing.delete, job.still_ours, vanishing=True)
    except NotFound:
        return


REMOVE: Mapping[str, Callable[[Parts, Job, Object], None]] = {"image": _remove_image, "cached": _remove_cached}


def run(parts: Parts, intent: Intent) -> None:
    """Remove what a comparison that was cut off has left. Raises MaybeRunning while a boot of it still has a disk."""
    boots = [each for each in parts.journal.opened(verb=VERB) if each.request["run"] == intent.id]
    if boots:
        raise MaybeRunning(f"{len(boots)} boots of this comparison are still open; their disks go first.")
    job = Job(parts, intent)
    left = _remove(parts, job)
    if left:
        raise MaybeRunning("; ".join(left))
    job.close(CANCELLED)
