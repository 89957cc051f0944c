# SPDX-License-Identifier: Apache-2.0
"""What a boot calls for a volume of an image: join or begin the cell's one warm-up, then clone the cheapest source.

Whoever waits here holds no worker of cinder's. A source that cannot be used is no reason for a boot to fail: it goes on
with cinder's own way.
"""

import dataclasses
import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

from bfv import outside
from bfv.errors import (
    BadRequest,
    Cancelled,
    Late,
    LeaseLost,
    MaybeRunning,
    NotAllowed,
    NotFound,
    StorageError,
)
from bfv.images import book, warm
from bfv.images.standing import Standing, standing
from bfv.job import Job
from bfv.journal import FAILED, Intent
from bfv.parts import Parts
from bfv.types import utcnow
from cells.errors import Exists
from imagebackends.backend import Warms
from imagebackends.types import Disk, DiskSpec, Image

FIRST, LONGEST = 0.1, 1.0
# After a warm-up that failed, boots go cinder's way for so long before one of them tries again.
RETRY = dt.timedelta(seconds=60)


def volume(job: Job, role: str, spec: DiskSpec) -> Disk:
    """Return the volume that an intent makes for a role, as ``outside.volume``, from the cheapest source there is."""
    image = _image(job.intent.request.get("image"), spec)
    if image is None or job.object("volume", role) is not None:
        return outside.volume(job, role, spec)
    try:
        now = _joined(job, image, spec)
    except Late as error:
        job.parts.storage.failed(spec.target.cell, str(error))
        raise
    if now is None or now.source is None:
        job.unsourced.add(role)
    if now is None or now.kind != "snapshot" or now.source is None:
        return outside.volume(job, role, spec)
    cloned = dataclasses.replace(spec, source="snapshot", source_id=now.source.snapshot_id, shared=True)
    try:
        return outside.volume(job, role, cloned)
    except (NotFound, NotAllowed, BadRequest) as error:
        job.tell("source", f"snapshot {now.source.snapshot_id} does not serve: {error}")
        _doubt(job, now.source)
        return outside.volume(job, role, spec)


def made(job: Job, role: str) -> None:
    """Note how long the volume of a role took to be made, for the map and for the choice of a cell."""
    thing, raw = job.object("volume", role), job.intent.request.get("image")
    if thing is None or not raw or role in job.unsourced:
        return
    target, snapshot = thing.spec["target"], thing.spec["source_id"] if thing.spec.get("shared") else None
    if snapshot is None and thing.spec["source_id"] != raw["id"]:
        return
    database = job.parts.journal.database
    for source in reversed(book.of_image(database, raw["id"])):
        same = (source.cell, source.tier, source.snapshot_id) == (target["cell"], target["tier"], snapshot)
        if same and source.state == book.WARM:
            book.used(database, source, (utcnow() - thing.asked_at).total_seconds())
            return


def standings(parts: Parts, image: Image | None, asked: str | None, sources: Sequence[book.Source]
              ) -> dict[str, Standing]:  # fmt: skip
    """Return how an image with these sources stands in the tier that is asked for, by cell."""
    if image is None:
        return {}
    wanted = [each for each in parts.targets if (asked or "default") in (each.tier, each.volume_type)]
    places = parts.places.places() or {}
    return {
        each.cell: standing(image, each.cell, each.tier, places.get((each.cell, each.tier)), sources)
        for each in reversed(wanted)
    }


def _image(raw: Any, spec: DiskSpec) -> Image | None:
    """Return the image of a volume as its user saw it, None for a volume of anything else."""
    if not raw or spec.source != "image" or raw["id"] != spec.source_id:
        return None
    return Image(**{**raw, "stores": tuple(raw.get("stores", ()))})


def _joined(job: Job, image: Image, spec: DiskSpec) -> Standing | None:
    """Return how the image stands once no warm-up of it runs; begin one where it is cold and may be. Raises Late."""
    parts, target, led = job.parts, spec.target, False
    patience = parts.timing.volume + parts.timing.volume_per_gib * spec.size
    began = time.monotonic()
    while True:
        now = warm.stands(parts, image, target)
        if now.is_warm:
            return now
        last = next(reversed(parts.journal.of_server(warm.key(image.id, target))), None)
        if last is not None and last.is_open:
            if time.monotonic() - began > patience:
                raise Late(
                    f"Image {image.id} is still being warmed in cell {target.cell} after {patience:.0f} seconds."
                )
            taken = parts.journal.take(last.id)
            if taken is None:
                job.check()
                time.sleep(min(LONGEST, max(FIRST, (time.monotonic() - began) / 10)))
                continue
        elif last is not None and warm.stands(parts, image, target).is_warm:
            # It ended between the two looks.
            continue
        elif led or not _may_begin(job, last):
            return None
        else:
            try:
                taken = warm.begin(parts, image.id, target)
            except Exists:
                continue
            except StorageError:
                return None
        job.step("warm", f"image {image.id} in cell {target.cell}")
        led = True
        _lead(job, taken)


def _may_begin(job: Job, last: Intent | None) -> bool:
    """Say whether a boot may begin a warm-up: not for a project into which nothing shared can be cloned."""
    if not job.parts.conf.images.warm_on_boot:
        return False
    if last is not None and last.phase == FAILED and last.closed_at and utcnow() - last.closed_at < RETRY:
        return False
    try:
        return "admin" in job.parts.rights.roles_in(job.intent.project_id)
    except StorageError:
        return False


def _lead(job: Job, intent: Intent) -> None:
    """Run a warm-up within a boot. One that stays open is let go of: who waits for it, or comes back, takes it over."""
    try:
        warm.run(job.parts, intent, within=job)
    except (Cancelled, LeaseLost):
        # The boot must stop, and others may wait: another thread goes on.
        job.parts.left.put(intent)
        raise
    except (MaybeRunning, Late):
        job.parts.journal.release(intent)
        raise
    except StorageError:
        job.parts.journal.release(intent)


def _doubt(job: Job, source: book.Source) -> None:
    """Call a source broken if its snapshot is not there, or not usable, for the service user either."""
    access, backend = job.parts.rights.everywhere(job.intent.request_id), job.parts.backend
    if access is None or not isinstance(backend, Warms):
        return
    try:
        status = backend.snapshot(access, str(source.snapshot_id)).status
    except NotFound:
        status = "gone"
    except StorageError:
        return
    if status != "available":
        book.turn(job.parts.journal.database, [source.id], book.BROKEN, f"its snapshot is {status}")
