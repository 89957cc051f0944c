# SPDX-License-Identifier: Apache-2.0
"""Give an accepted server its volumes and its place: one page, and any worker may go on at any line.

What each line leaves behind when the process dies there is told in ``bfv.journal``.
"""

from typing import cast

from bfv import groups, outside, records, spawn
from bfv.errors import Cancelled, Failed, Late, MaybeRunning, NoRoom, NotFound, Refused
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, FAILED, UNWINDING, Intent
from bfv.parts import Parts
from bfv.types import Decision, DiskPlan
from imagebackends.types import Attachment, Disk, DiskSpec, SourceKind


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
    disks = {plan.role: _disk(job, cell, decision.tier, plan) for plan in plans}
    for plan in plans:
        disks[plan.role] = _ready(job, cell, decision.tier, plan, disks[plan.role])
    bound: dict[str, tuple[Disk, Attachment]] = {}
    for role, disk in disks.items():
        bound[role] = (disk, outside.attachment(job, role, disk.id))
    job.step("record", cell)
    records.record(job, bound)
    if job.parts.driver is not None and host is not None:
        spawn.place_on_host(job, host)
    job.close(DONE)


def _disk(job: Job, cell: str, tier: str, plan: DiskPlan) -> Disk:
    if plan.source_type == "volume":
        assert plan.source_id is not None, "a volume that the user brings has an id"
        return outside.own_disk(job, plan.source_id)
    spec = DiskSpec(
        name=f"{job.intent.request['boot']['name']}-{plan.role}",
        size=plan.size,
        target=job.parts.target(cell, tier),
        source=cast(SourceKind, plan.source_type),
        source_id=plan.source_id,
        marker="",
    )
    return outside.volume(job, plan.role, spec)


def _ready(job: Job, cell: str, tier: str, plan: DiskPlan, disk: Disk) -> Disk:
    if plan.source_type == "volume":
        return disk
    try:
        ready = outside.wait_ready(job, disk, plan.size if plan.source_type == "image" else 0)
    except Late as error:
        job.parts.storage.failed(cell, str(error))
        raise
    outside.check_place(ready, job.parts.target(cell, tier))
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
