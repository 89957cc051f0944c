# SPDX-License-Identifier: Apache-2.0
"""Give an accepted server its volumes and its place: one page, and any worker may go on at any line.

What each line leaves behind when the process dies there is told in ``bfv.journal``.
"""

import contextlib
import dataclasses
import functools
from typing import cast

from bfv import choose, groups, outside, records, spawn, together
from bfv.errors import (
    BadRequest,
    Cancelled,
    Failed,
    InUse,
    Late,
    LeaseLost,
    MaybeRunning,
    NoRoom,
    NotFound,
    Refused,
    StorageError,
)
from bfv.images import use
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, FAILED, UNWINDING, Intent
from bfv.parts import Parts
from bfv.types import Decision, DiskPlan
from imagebackends.types import Disk, DiskSpec, SourceKind, Target


def begin(parts: Parts, intent: Intent) -> None:
    """Reserve the volumes that the user brings, within the request, and map the server: from here it is listed.

    Of two boots that want one volume the later is refused and never was, as in nova
    (``nova/compute/api.py:_check_attach_and_reserve_volume``). A lost answer is the flow's to settle. Raises Refused,
    NotFound, Failed where the volumes are free again, or will be.
    """
    job = Job(parts, intent, stoppable=True)
    brought = [plan for plan in job.decision.disks if plan.source_type == "volume"]
    # Read once, before many threads do.
    job.objects()
    try:
        together.each(lambda plan: outside.attachment(job, plan.role, str(plan.source_id)), brought)
    except (MaybeRunning, LeaseLost):
        pass
    except StorageError as error:
        # As if it was deleted: nobody was told of this server.
        job.turn(str(error), cancel=True)
        with contextlib.suppress(StorageError):
            _back(job)
        if isinstance(error, InUse):
            raise BadRequest(f"Invalid volume: {error}", request_id=error.request_id) from error
        raise
    records.ensure_mapped(job)


def run(parts: Parts, intent: Intent) -> None:
    """Go on with a boot wherever it is, or with its undoing. Raises MaybeRunning, CellDown, NotAllowed."""
    job = Job(parts, intent, stoppable=True)
    if intent.phase != UNWINDING:
        try:
            _forward(job)
            return
        except Cancelled:
            job.turn("the server was deleted while it was built")
        except (Refused, NotFound, Failed, NoRoom) as error:
            job.turn(str(error))
    _back(job)


def _forward(job: Job) -> None:
    decision = job.decision
    start = decision.cells.index(job.intent.cell) if job.intent.cell in decision.cells else 0
    cells = decision.cells[start:]
    for cell, following in zip(cells, (*cells[1:], None), strict=True):
        try:
            _enter(job, cell)
            _build(job, cell, decision)
            return
        except NoRoom as error:
            if following is None:
                raise Failed(str(error)) if isinstance(error, Late) else error from error
            _go_on(job, error, following)


def _go_on(job: Job, error: NoRoom, cell: str) -> None:
    """Leave a cell for the next one, with nothing of ours in it; what cannot be removed now is removed later."""
    job.step("no room", f"cell {job.intent.cell}: {error}")
    spawn.withdraw(job)
    if not isinstance(error, Late):
        try:
            outside.release(job)
            return
        except MaybeRunning as trouble:
            error = Late(str(trouble))
    job.leave(str(error), cell=cell)


def _enter(job: Job, cell: str) -> None:
    job.step("cell", cell, cell=cell)
    records.place(job, cell)
    if cell != job.decision.cells[0]:
        groups.move(job, cell)


def _build(job: Job, cell: str, decision: Decision) -> None:
    host = decision.hosts.get(cell)
    if job.parts.driver is not None and host is None:
        raise NoRoom(f"No host of cell {cell} reports; nothing there can run the server.")
    plans = [plan for plan in decision.disks if plan.handling == "volume"]
    # Written down and read once, before many threads do.
    job.objects()
    disks = together.each(lambda plan: _disk(job, cell, plan), plans)
    ready = together.each(lambda made: _ready(job, cell, *made), zip(plans, disks, strict=True))
    bind = functools.partial(outside.attachment, job, later=True)
    bound = together.each(lambda of: bind(of[0].role, of[1].id), zip(plans, ready, strict=True))
    job.step("record", cell)
    records.record(job, {plan.role: (disk, made) for plan, disk, made in zip(plans, ready, bound, strict=True)})
    if job.parts.driver is not None and host is not None:
        spawn.place_on_host(job, host)
    job.close(DONE)


def _disk(job: Job, cell: str, plan: DiskPlan) -> Disk:
    if plan.source_type == "volume":
        assert plan.source_id is not None, "a volume that the user brings has an id"
        return outside.own_disk(job, plan.source_id)
    spec = DiskSpec(
        name=f"{job.intent.request['boot']['name']}-{plan.role}",
        size=plan.size,
        target=_target(job, cell, plan),
        source=cast(SourceKind, plan.source_type),
        source_id=plan.source_id,
        marker="",
    )
    return use.volume(job, plan.role, spec)


def _target(job: Job, cell: str, plan: DiskPlan) -> Target:
    """Return where a disk goes: the root by the tier that was decided, another by the type that was asked for."""
    if plan.boot_index == 0:
        return job.parts.target(cell, job.decision.tier)
    target = choose.target_of(job.parts.targets, cell, plan.volume_type)
    if plan.source_type == "snapshot" and plan.volume_type is None:
        # Cinder makes it of the type that the snapshot's volume has.
        return dataclasses.replace(target, volume_type=None)
    return target


def _ready(job: Job, cell: str, plan: DiskPlan, disk: Disk) -> Disk:
    if plan.source_type == "volume":
        return disk
    try:
        ready = outside.wait_ready(job, disk, plan.size if plan.source_type == "image" else 0)
    except Late as error:
        job.parts.storage.failed(cell, str(error))
        raise
    outside.check_place(ready, _target(job, cell, plan))
    use.made(job, plan.role)
    job.parts.storage.ok(cell)
    return ready


def _back(job: Job) -> None:
    """Tell the user why, remove all that is outside, and only then end the intent."""
    if not job.intent.cancel:
        records.record_error(job, job.intent.outcome or "it failed")
    spawn.give_up(job)
    kept = outside.release(job)
    records.forget_outside(job)
    for line in kept:
        job.tell("kept", line)
    job.close(CANCELLED if job.intent.cancel else FAILED)
