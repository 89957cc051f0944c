# SPDX-License-Identifier: Apache-2.0
"""The acts on the storage service, each written down before it is done and found again after a lost answer.

``volume`` and ``attachment`` are find-or-create by the journal: called again after any crash they go on where
the last worker stopped. ``release`` is their opposite, for whatever an intent still has outside.
"""

import dataclasses
import datetime as dt
import functools
from collections.abc import Mapping
from typing import Any

from bfv.errors import Failed, HasSnapshots, InUse, Late, MaybeRunning, NoRoom, NotFound, StorageError
from bfv.job import Job
from bfv.journal import Object
from bfv.types import plain, utcnow
from imagebackends.backend import ForceDeletes
from imagebackends.types import Attachment, Disk, DiskSpec, Target

BEING_MADE = ("creating", "downloading")
DELETIONS = 3


def volume(job: Job, role: str, spec: DiskSpec) -> Disk:
    """Return the volume that this intent makes for a role, asking for it at most once.

    Raises what ``Backend.create`` raises; MaybeRunning while a lost answer may still take effect.
    """
    known = job.object("volume", role)
    if known is None:
        return _create(job, role, spec)
    if known.external_id is None:
        return _find_again(job, known)
    try:
        return own_disk(job, known.external_id)
    except NotFound as error:
        raise Failed(f"Volume {known.external_id} was removed by somebody while the server was built.") from error


def own_disk(job: Job, disk_id: str) -> Disk:
    """Return a volume of the intent's project. Raises NotFound for any other.

    An administrator's rights reach every project, whichever they are scoped to: each step looks again.
    """
    disk = job.parts.backend.get(job.access, disk_id)
    if disk.project_id and disk.project_id != job.intent.project_id:
        raise NotFound(f"Volume {disk_id} could not be found in project {job.intent.project_id}.")
    return disk


def _create(job: Job, role: str, spec: DiskSpec) -> Disk:
    access = job.shared_access if spec.shared else job.access
    asked, create = plain(spec), job.parts.backend.create
    return job.make("volume", role, asked, lambda marker: create(access, dataclasses.replace(spec, marker=marker)))


def _find_again(job: Job, thing: Object) -> Disk:
    """Adopt what a lost creation left; once nothing can come any more, ask for it anew."""
    disk = _lost_volume(job, thing)
    if disk is not None:
        return disk
    job.gone(thing)
    return _create(job, thing.role, _spec(thing))


def _lost_volume(job: Job, thing: Object) -> Disk | None:
    """Return the volume of a lost answer, None once it cannot come any more. Raises MaybeRunning before."""
    since = thing.asked_at - dt.timedelta(seconds=job.parts.timing.clock_skew)
    found = job.parts.backend.find(job.access, _spec(thing), since.replace(tzinfo=dt.UTC))
    for copy in found.copies:
        job.tell(
            "copy",
            f"volume {copy.id} carries the marker of this server's volume; it is not ours and not touched",
        )
    if found.disk is not None:
        job.know(thing, found.disk.id)
        return found.disk
    wait_out(job, thing)
    return None


def wait_out(job: Job, thing: Object) -> None:
    """Raise MaybeRunning as long as a request without an answer may still take effect."""
    age = (utcnow() - thing.asked_at).total_seconds()
    if age < job.parts.timing.late_answer:
        raise MaybeRunning(
            f"No answer to the request for {thing}; it may still take effect for "
            f"{job.parts.timing.late_answer - age:.0f} seconds."
        )


def _spec(thing: Object) -> DiskSpec:
    values: Mapping[str, Any] = {
        **thing.spec,
        "target": Target(**thing.spec["target"]),
        "marker": thing.marker,
    }
    return DiskSpec(**values)


def wait_ready(job: Job, disk: Disk, image_gib: int) -> Disk:
    """Wait until a volume is made and return it; it must have landed where its target says.

    Raises NoRoom or Failed with the cloud's own words, Late past the deadline.
    """
    timing = job.parts.timing
    seconds = timing.volume + timing.volume_per_gib * image_gib
    try:
        ready = job.parts.waits.until(job.watch_access, disk, _is_made, seconds, job.check)
    except MaybeRunning as error:
        raise Late(str(error)) from error
    if ready is None:
        raise Failed(f"Volume {disk.id} was removed by somebody while it was made.")
    if ready.status == "error":
        _explain(job, ready)
    return ready


def _is_made(disk: Disk | None) -> bool:
    return disk is None or disk.status not in BEING_MADE


def check_place(disk: Disk, target: Target) -> None:
    """Raise Failed for a volume that landed on another backend than its cell's: never a surprise later."""
    if target.backend and disk.backend and disk.backend != target.backend:
        raise Failed(
            f"Volume {disk.id} landed on {disk.backend} instead of {target.backend} of cell {target.cell}; "
            f"check the volume type {target.volume_type} and its zone with `bfv check`."
        )
    if target.availability_zone and disk.availability_zone and disk.availability_zone != target.availability_zone:
        raise Failed(
            f"Volume {disk.id} landed in zone {disk.availability_zone} instead of "
            f"{target.availability_zone} of cell {target.cell}."
        )


def _explain(job: Job, disk: Disk) -> None:
    words = job.parts.backend.explain(job.access, disk.id)
    text = f"Cinder could not make volume {disk.id}: {words or 'it gives no reason'}"
    # cinder/message/message_field.py: what the scheduler says when no backend passes its filters.
    if words and "weighted backend" in words:
        raise NoRoom(text)
    raise Failed(text)


def attachment(job: Job, role: str, disk_id: str, known_ids: frozenset[str] = frozenset(), *,
               later: bool = False) -> Attachment:  # fmt: skip
    """Return the reservation that this intent makes of a volume, asking for it at most once.

    ``known_ids`` are older attachments of the same volume and server, which are not it. Its id is written down at
    once, or ``later``: with the next line of this job.
    """
    thing = job.object("attachment", role)
    if thing is not None and thing.external_id is not None:
        return Attachment(thing.external_id, disk_id, job.intent.server_id, "reserved")
    if thing is not None:
        found = _lost_attachment(job, thing)
        if found is not None:
            return found
        job.gone(thing)
    access, attach, server_id = job.access, job.parts.backend.attach, job.intent.server_id
    asked = {"disk_id": disk_id, "known": sorted(known_ids)}
    return job.make("attachment", role, asked, lambda _: attach(access, disk_id, server_id), later=later)


def _lost_attachment(job: Job, thing: Object) -> Attachment | None:
    """Return the attachment of a lost answer, None once it cannot come any more. Raises MaybeRunning before."""
    disk_id, older = thing.spec["disk_id"], set(thing.spec["known"])
    try:
        made = job.parts.backend.attachments(job.access, disk_id=disk_id, server_id=job.intent.server_id)
    except NotFound:
        return None
    for candidate in made:
        if candidate.id not in older:
            job.know(thing, candidate.id)
            return candidate
    wait_out(job, thing)
    return None


def release(job: Job) -> list[str]:
    """Remove all that the intent has outside: attachments first, then volumes; return what had to be kept.

    Goes on after a failure and raises it at the end, so that as little as possible is left. What cinder could not
    delete is MaybeRunning: its storage may come back, so it is asked again until it is left to `bfv repair`.
    """
    kept: list[str] = []
    trouble: StorageError | None = None
    things = job.objects()
    for thing in sorted(things, key=lambda thing: (thing.kind != "attachment", thing.id)):
        try:
            release_one(job, thing)
        except HasSnapshots as error:
            kept.append(str(error))
            job.gone(thing)
        except StorageError as error:
            trouble = trouble or error
    if isinstance(trouble, Failed):
        raise MaybeRunning(str(trouble)) from trouble
    if trouble is not None:
        raise trouble
    return kept


def release_one(job: Job, thing: Object) -> None:
    """Remove a volume or an attachment, also one whose answer was lost. Raises what ``release`` raises."""
    external_id = thing.external_id
    if external_id is None:
        lost = _lost_attachment(job, thing) if thing.kind == "attachment" else _lost_volume(job, thing)
        external_id = lost.id if lost is not None else None
    if external_id is not None:
        job.still_ours()
        if thing.kind == "attachment":
            job.parts.backend.detach(job.access, external_id)
        else:
            remove_volume(job, external_id)
    job.gone(thing)


def remove_volume(job: Job, disk_id: str) -> None:
    """Delete a volume and wait until it is gone; one that is gone already is no error.

    A volume that is still being made cannot be deleted: it is waited for. One that is busy goes back to `available`
    without a word, and to `error_deleting` where its storage fails, which may pass (cinder/volume/manager.py:
    delete_volume): it is tried again, DELETIONS times in all. Raises HasSnapshots, InUse, Failed, MaybeRunning.
    """
    tries, now = 0, None
    while tries < DELETIONS:
        job.still_ours()
        try:
            disk = own_disk(job, disk_id)
            if disk.status not in (*BEING_MADE, "deleting"):
                disk = _ask_to_delete(job, disk)
            now = _next_state(job, disk)
        except NotFound:
            return
        if now is None:
            return
        tries += disk.status == "deleting"
    if now and now.status == "error_deleting":
        raise Failed(
            f"Cinder could not delete volume {disk_id}; see cinder-volume's log, then delete the server again."
        )
    raise InUse(
        f"Volume {disk_id} is busy: cinder took its deletion back {DELETIONS} times; delete it when nobody uses it."
    )


def _next_state(job: Job, disk: Disk) -> Disk | None:
    """Wait until a volume that is on its way is in another state, None: gone. Raises MaybeRunning, NotFound."""
    done = functools.partial(_differs, disk.status)
    try:
        return job.parts.waits.until(
            job.watch_access, disk, done, job.parts.timing.delete, job.still_ours, vanishing=True
        )
    except MaybeRunning as late:
        if disk.status not in BEING_MADE:
            raise
        # Cinder casts a creation once: who took it from the queue and died has it lost (cinder/volume/rpcapi.py).
        raise MaybeRunning(
            f"{late} If a cinder-volume died that had it, nobody makes it any more: when its log says so, "
            f"`openstack volume set --state error {disk.id}`, and it is deleted."
        ) from late


def _ask_to_delete(job: Job, disk: Disk) -> Disk:
    backend = job.parts.backend
    try:
        if disk.status == "error_deleting" and isinstance(backend, ForceDeletes):
            # Where the service user is no administrator this says so; an administrator's word is needed then.
            backend.force_delete(job.watch_access, disk.id)
        else:
            backend.delete(job.access, disk.id)
    except InUse:
        # A request that the network doubled: the second is refused since the first is at work.
        now = own_disk(job, disk.id)
        if now.status != "deleting":
            raise
        return now
    return dataclasses.replace(disk, status="deleting")


def _differs(status: str, disk: Disk | None) -> bool:
    return disk is None or disk.status != status
