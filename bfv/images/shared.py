# SPDX-License-Identifier: Apache-2.0
"""Acts on the shared snapshot, journalled as all acts outside: written down first, found again after a lost answer."""

import time
from collections.abc import Callable
from typing import TypeVar

from bfv import outside
from bfv.errors import Failed, Late, MaybeRunning, NotFound, Unsupported
from bfv.job import Job
from bfv.journal import Object
from imagebackends.backend import Warms
from imagebackends.types import Snapshot

Value = TypeVar("Value")
ROLE = "source"
FIRST, LONGEST = 0.1, 2.0


def snapshot(job: Job, disk_id: str, name: str) -> Snapshot:
    """Return the snapshot that this intent takes of a disk, asking for it at most once, once it is usable.

    Raises Failed, Late past the deadline, MaybeRunning while a lost answer may still take effect.
    """
    backend = _backend(job)
    thing = job.object("snapshot", ROLE)
    if thing is not None and thing.external_id is None:
        found = _lost(job, thing)
        thing = job.object("snapshot", ROLE) if found else None
    if thing is None:
        take, access = backend.take_snapshot, job.access
        key = job.make("snapshot", ROLE, {"disk_id": disk_id}, lambda marker: take(access, disk_id, name, marker)).id
    else:
        key = str(thing.external_id)
    return _ready(job, key)


def _ready(job: Job, key: str) -> Snapshot:
    def made() -> Snapshot | None:
        try:
            found = _backend(job).snapshot(job.access, key)
        except NotFound as error:
            raise Failed(f"Snapshot {key} was removed by somebody while it was made.") from error
        if found.status not in ("creating", "available"):
            raise Failed(f"Cinder could not make snapshot {key}: it is {found.status}.")
        return found if found.status == "available" else None

    return wait(job, made, job.parts.timing.volume, f"Snapshot {key} was not made")


def wait(job: Job, look: Callable[[], Value | None], seconds: float, words: str) -> Value:
    """Return what ``look`` finds, asked again and again with growing intervals. Raises Late past the deadline."""
    began, pause = time.monotonic(), FIRST
    while True:
        try:
            found = look()
        except MaybeRunning:
            # No answer is no news, and the deadline is ours.
            found = None
        if found is not None:
            return found
        if time.monotonic() - began > seconds:
            raise Late(f"{words} in {seconds:.0f} seconds.")
        job.check()
        time.sleep(pause)
        pause = min(LONGEST, max(pause, (time.monotonic() - began) / 10))


def _lost(job: Job, thing: Object) -> Snapshot | None:
    """Adopt what a lost request left; None once it cannot come any more. Raises MaybeRunning before."""
    try:
        found = _backend(job).find_snapshot(job.access, thing.spec["disk_id"], thing.marker)
    except NotFound:
        found = None
    if found is not None:
        job.know(thing, found.id)
        return found
    outside.wait_out(job, thing)
    job.gone(thing)
    return None


def release(job: Job) -> None:
    """Remove all that the intent has outside, its snapshot first. Raises what ``outside.release`` does."""
    for thing in job.objects():
        if thing.kind == "snapshot":
            found = thing.external_id or getattr(_lost(job, thing), "id", None)
            if found is not None:
                drop(job, found)
                job.gone(job.object("snapshot", ROLE) or thing)
    outside.release(job)


def drop(job: Job, key: str) -> None:
    """Remove a snapshot and wait until it is gone; one that is gone already is no error. Raises Failed, Late, InUse."""
    backend = _backend(job)
    job.still_ours()
    try:
        if backend.snapshot(job.access, key).status != "deleting":
            backend.drop_snapshot(job.access, key)
    except NotFound:
        return

    def gone() -> bool | None:
        try:
            status = backend.snapshot(job.access, key).status
        except NotFound:
            return True
        if status != "deleting":
            raise Failed(f"Cinder could not delete snapshot {key}: it is {status}.")
        return None

    wait(job, gone, job.parts.timing.delete, f"Snapshot {key} was not removed")


def _backend(job: Job) -> Warms:
    backend = job.parts.backend
    if not isinstance(backend, Warms):
        raise Unsupported("This image backend has no shared snapshots.")
    return backend
