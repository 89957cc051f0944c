# SPDX-License-Identifier: Apache-2.0
"""The flow of one warm-up: make the cheapest source that the cloud allows of one image in one place.

A warm-up is an intent whose id of a server is made of image, cell and tier: the journal lets one of them be open, so it
is single flight over all workers and processes, and a killed one is found, taken over, finished or undone as any other.
What it writes before each act, and why a crash there is harmless:

1. intent                       nothing exists outside
2. ``copy`` to a store          Glance does it or not; the image's stores tell, and of two imports one is refused
3. *volume*, *snapshot*         found again by marker or id, as in ``bfv.journal`` 4 to 7
4. row of the source            written again it is the same row; only from then on boots use it
5. intent closed                the volume and the snapshot are the row's now, and `retire` removes them by it
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Collection

from bfv import decide, outside
from bfv.errors import BadRequest, Failed, InUse, Late, NoRoom, NotAllowed, NotFound, Refused, Unsupported
from bfv.images import book, shared
from bfv.images.places import Place
from bfv.images.standing import Standing, locked, standing, version
from bfv.job import Job
from bfv.journal import DONE, FAILED, UNWINDING, Intent
from bfv.parts import Parts
from bfv.types import new_request_id
from imagebackends.survey import Survey
from imagebackends.types import DiskSpec, Image, Target

VERB = "warm"
NAMES = uuid.UUID("6f0f8a1e-6f0a-4c53-9d3c-0c6d1a3b7c11")
# The step after which cinder has what it needs, and the volume goes; its detail is the seconds so far.
THROW = "throw away"
# How often Glance is asked for a copy that did not come.
ATTEMPTS = 2
NEEDS_ADMIN = "the service user is no admin, or cinder did not answer: nobody can tell what this cell's storage can do"


def key(image_id: str, target: Target) -> str:
    """Return the id under which the one warm-up of an image in a place is in the journal."""
    return str(uuid.uuid5(NAMES, f"{image_id} {target.cell} {target.tier}"))


def begin(parts: Parts, image_id: str, target: Target, *, again: bool = False) -> Intent:
    """Write the intent of a warm-up, held by this process. Raises Exists while one is open, NotAllowed."""
    access = parts.rights.everywhere(new_request_id())
    if access is None:
        raise NotAllowed(NEEDS_ADMIN)
    return parts.journal.open(
        VERB, key(image_id, target), project_id=access.project_id, user_id="-", request_id=access.request_id,
        request={"image": image_id, "tier": target.tier, "again": again}, cell=target.cell,
    )  # fmt: skip


def run(parts: Parts, intent: Intent, within: Job | None = None) -> None:
    """Go on with a warm-up wherever it is, or with its undoing. Raises MaybeRunning, Late, NotAllowed.

    ``within`` is the flow that runs it: when that is told to stop, this stops where it is and stays open.
    """
    job = Job(parts, intent, within=within)
    if intent.phase != UNWINDING:
        try:
            job.close(DONE, _forward(job))
            return
        except Late:
            # It may still come, and taking it back would have to wait for it just as long.
            raise
        except (Refused, NotFound, Failed, NoRoom) as error:
            job.turn(str(error))
    shared.release(job)
    job.close(FAILED, job.intent.outcome)


def _forward(job: Job) -> str:
    parts = job.parts
    image = parts.images.get(job.access, job.intent.request["image"])
    target = parts.target(str(job.intent.cell), job.intent.request["tier"])
    if image.status != "active":
        raise Refused(f"Image {image.id} is {image.status}, not active.")
    place = (parts.places.places() or {}).get((target.cell, target.tier))
    if place is None:
        raise Refused(NEEDS_ADMIN)
    now = stands(parts, image, target)
    if now.is_warm and not job.objects():
        return f"{now.kind} is there"
    with parts.slots.of(target.cell, lambda taken: _turn(job, image, taken)):
        return _make(job, image, place)


def _turn(job: Job, image: Image, taken: Callable[[], bool]) -> None:
    """Wait for one of the cell's slots. Raises Late past the deadline of a volume."""
    if taken():
        return
    cell = job.intent.cell
    job.tell("wait", f"as many warm-ups run in cell {cell} as [images] parallel_per_cell says")
    shared.wait(job, lambda: taken() or None, _patience(job, image), f"There was no turn in cell {cell}")


def _make(job: Job, image: Image, place: Place) -> str:
    """Make the first source that can be made, and return its kind. Raises Refused with a reason for each."""
    whys = []
    for kind in _left(job):
        job.step("make", kind)
        try:
            MAKERS[kind](job, image, place)
            return str(kind)
        except (Refused, Failed) as error:
            whys.append(f"{kind}: {error}")
            job.tell("source", whys[-1])
            shared.release(job)
    raise Refused("; ".join(whys))


def _left(job: Job) -> list[str]:
    """Return the sources to try: from that on which the last worker was at."""
    kinds = list(job.parts.conf.images.sources)
    tried = [str(step.detail) for step in job.parts.journal.history(job.intent) if step.name == "make"]
    return kinds[kinds.index(tried[-1]) :] if tried and tried[-1] in kinds else kinds


def stands(parts: Parts, image: Image, target: Target) -> Standing:
    """Return how an image stands in a place now, by what is written and what Glance has told of it."""
    place = (parts.places.places() or {}).get((target.cell, target.tier))
    return standing(image, target.cell, target.tier, place, book.of_image(parts.journal.database, image.id))


def _copy(job: Job, image: Image, place: Place) -> None:
    """Have Glance copy the image into the cell's own Ceph."""
    store = place.store
    if store is None:
        raise Unsupported("no store of Glance lies in this cell's Ceph")
    if image.disk_format != "raw" or locked(image):
        raise Unsupported("only raw images that are not encrypted are cloned from Glance")
    if not job.parts.images.shows_locations(job.access, image.id):
        raise Unsupported("Glance tells services no locations, so cinder would not find the copy")
    began, images, asked = time.monotonic(), job.parts.images, 0

    def copied() -> Image | None:
        nonlocal asked
        seen = images.get(job.access, image.id)
        if seen.importing:
            # One import at a time holds the image: ours, or another's that is waited for.
            return None
        if store in seen.stores:
            return seen
        if asked == ATTEMPTS:
            raise Failed(f"Glance did not copy image {image.id} to store {store}; its log says why")
        asked += 1
        job.step("copy", store)
        with contextlib.suppress(InUse, BadRequest):
            images.copy(job.access, image.id, store)
        return None

    try:
        seen = shared.wait(job, copied, _patience(job, image), f"Image {image.id} was not copied to store {store}")
    except Late as error:
        # Nothing of ours is outside, and a Glance that died keeps its lock for an hour: another source serves.
        raise Failed(str(error)) from error
    _keep(job, seen, "glance", time.monotonic() - began)


def _snapshot(job: Job, image: Image, place: Place) -> None:
    """Make one volume of the image and one snapshot of it, of which volumes of every project are cloned."""
    if place.encrypted or locked(image):
        raise Unsupported("volumes of encrypted types and images have keys of their own and are never cloned")
    began, name = time.monotonic(), f"bfv-image-{image.id}"
    disk = outside.wait_ready(job, outside.volume(job, shared.ROLE, _spec(image, place, name)), _gib(image))
    outside.check_place(disk, place.target)
    taken = shared.snapshot(job, disk.id, name)
    _keep(job, image, "snapshot", time.monotonic() - began, volume_id=disk.id, snapshot_id=taken.id)


def _cache(job: Job, image: Image, place: Place) -> None:
    """Have cinder fill its own cache by a volume that is thrown away, and see that it did."""
    survey, backend = job.parts.places.survey(), place.target.backend
    if survey is None or backend is None:
        raise Unsupported("what cinder's cache holds is told to admins, of cells whose backend is configured")
    if place.encrypted or locked(image):
        raise Unsupported("cinder never caches encrypted volumes")
    thrown = [step.detail for step in job.parts.journal.history(job.intent) if step.name == THROW]
    if not thrown:
        began = time.monotonic()
        _drop_broken(job, survey, backend, image, {"error"})
        try:
            _throw_away(job, image, place)
        except (Failed, NoRoom) as error:
            # Clones of an image-volume whose bytes are gone fail for ever (cinder/volume/flows/manager/
            # create_volume.py:_create_from_image_cache sees the entry, and the driver no image).
            shared.release(job)
            if not _drop_broken(job, survey, backend, image, {"error", "available"}):
                raise
            job.tell("source", f"without cinder's image-volume once more, since: {error}")
            _throw_away(job, image, place)
        thrown = [f"{time.monotonic() - began:.3f}"]
        job.step(THROW, thrown[0])
    shared.release(job)
    if image.id not in {each.image_id for each in survey.cached(backend) if each.status == "available"}:
        raise Failed("cinder kept no image-volume: its cache is off, full, or its internal project is over quota")
    _keep(job, image, "cache", float(thrown[-1] or 0))


def _throw_away(job: Job, image: Image, place: Place) -> None:
    spec = _spec(image, place, f"bfv-warm-{image.id}")
    outside.wait_ready(job, outside.volume(job, shared.ROLE, spec), _gib(image))


def _drop_broken(job: Job, survey: Survey, backend: str, image: Image, states: Collection[str]) -> bool:
    """Delete cinder's image-volumes of an image that are in these states, and with them its entries; say if any was.

    Only where the cache's project is known: a volume of such a name may be a user's.
    """
    if job.parts.conf.images.cache_project is None:
        return False

    def found() -> list[str]:
        return [each.volume_id for each in survey.cached(backend) if each.image_id == image.id
                and each.status in (*states, "deleting")]  # fmt: skip

    broken = found()
    for key in broken:
        job.step("drop image-volume", key)
        with contextlib.suppress(InUse, NotFound):
            job.parts.backend.delete(job.access, key)
    shared.wait(job, lambda: not set(broken) & set(found()) or None, job.parts.timing.delete,
                f"Cinder did not delete its image-volume {', '.join(broken)}")  # fmt: skip
    return bool(broken)


MAKERS: dict[str, Callable[[Job, Image, Place], None]] = {"glance": _copy, "snapshot": _snapshot, "cache": _cache}


def _keep(job: Job, image: Image, kind: str, seconds: float, **ids: str) -> None:
    book.add(
        job.parts.journal.database, image_id=image.id, cell=job.intent.cell, tier=job.intent.request["tier"], kind=kind,
        version=version(image, kind), bytes=image.size, made_seconds=seconds, **ids,
    )  # fmt: skip


def _spec(image: Image, place: Place, name: str) -> DiskSpec:
    return DiskSpec(name, _gib(image), place.target, "image", image.id, "")


def _patience(job: Job, image: Image) -> float:
    return job.parts.timing.volume + job.parts.timing.volume_per_gib * _gib(image)


def _gib(image: Image) -> int:
    return max(1, decide.image_size(image))
