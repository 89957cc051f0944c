# SPDX-License-Identifier: Apache-2.0
"""Bring a converted server back to its old disk, until ``purge``: rows first, then images.

An attachment must not go before its successor is in the rows: nova would remove a root device whose attachment cinder
does not have. So the rows come back first, which is this flow's point of no return, while the lock and the open
intent keep the guest off. Then the volume is let go of, disowned and brought back by its way.
"""

from bfv import outside
from bfv.errors import Conflict, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.migrate import guests, records, ways
from bfv.migrate.move import Move
from bfv.migrate.plan import opened
from bfv.migrate.run import CONVERTED, detach
from bfv.parts import Parts

UNDO = "unmigrate"


def run(parts: Parts, intent: Intent) -> None:
    """Go on with an undo wherever it is. Raises MaybeRunning, CellDown, NotAllowed."""
    job = Job(parts, intent)
    move = Move(job)
    if not job.passed("restore"):
        try:
            _ready(move)
        except (Refused, NotFound, Failed) as error:
            _give_up(move, str(error))
            return
        job.step("restore", f"root of {move.server_id} is {move.plan.pool}/{move.plan.image}")
    snapshot = move.snapshot
    assert snapshot is not None, "it was converted"
    records.restore(parts, move.database, snapshot, move.volume_id)
    detach(move)
    ways.of(str(move.plan.way)).unmake(move, untouched=job.passed("untouched"))
    _start(move)
    job.close(DONE)


def _ready(move: Move) -> None:
    """See that all can come back, and have the guest off. Raises Conflict with what lifts it."""
    job, guest = move.job, guests.of(move.parts)
    facts = next(iter(records.facts(move.parts, move.database, server_ids=[move.server_id])), None)
    if facts is None or not facts.is_volume_backed:
        raise NotFound(f"Server {move.server_id} could not be found with a volume as its root.")
    if not facts.is_off and not job.intent.request.get("stop"):
        raise Conflict(f"Server {move.server_id} runs: stop it first, or let `--stop-and-start` do that.")
    _volume_is_ours(move)
    if not job.passed("hold"):
        before = records.before(move.parts, move.database, move.server_id).rows["instances"][0]["updated_at"]
        if str(before) == job.intent.request.get("untouched"):
            job.step("untouched", "no guest ran since")
        job.step("hold", "locked already" if facts.locked else None)
        if not facts.locked:
            job.step("lock", facts.host)
    if job.passed("lock"):
        guest.lock(move.plan.cell, move.server_id)
    if not facts.is_off:
        job.step("stop", facts.host)
        guest.stop(move.plan.cell, move.server_id)
    image = move.new.look(f"volume-{move.volume_id}")
    for words in opened(image):
        raise Conflict(words)
    snapshot = move.snapshot
    assert snapshot is not None, "it was converted"
    records.check_restore(move.database, snapshot, move.volume_id)


def _volume_is_ours(move: Move) -> None:
    """Raise Conflict where the owner did what ends the right to undo, with the way that is left."""
    disk = outside.own_disk(move.job, str(move.volume_id))
    if disk.size != move.plan.gib:
        raise Conflict(
            f"Volume {disk.id} was extended from {move.plan.gib} to {disk.size} GiB; nova's disk would be cut, so this "
            f"cannot be undone any more. `bfv migrate purge` releases the old disk."
        )
    snapshot = move.snapshot
    image = snapshot.rows["instances"][0]["image_ref"] if snapshot else None
    if disk.image_id not in (None, image):
        raise Conflict(
            f"Server {move.server_id} was rebuilt from image {disk.image_id} and had {image}: its rows of then are of "
            "another disk, so this cannot be undone any more. `bfv migrate purge` releases the old disk."
        )
    snapshots = move.backend.snapshots_of(move.job.access, disk.id)
    if snapshots:
        raise Conflict(
            f"Volume {disk.id} has snapshots ({', '.join(snapshots)}); delete them first: nova's disk has none."
        )


def _give_up(move: Move, why: str) -> None:
    """Leave all as it is: converted, and given back to its owner."""
    job, guest = move.job, guests.of(move.parts)
    if job.passed("lock"):
        guest.unlock(move.plan.cell, move.server_id)
    if job.passed("stop"):
        guest.start(move.plan.cell, move.server_id)
    parts = move.parts
    ended = parts.journal.leave(job.intent, CONVERTED, why, job.intent.request, FAILED, outcome=why)
    parts.journal.release(ended[1])


def _start(move: Move) -> None:
    job, guest = move.job, guests.of(move.parts)
    if job.passed("lock"):
        job.step("unlock")
        guest.unlock(move.plan.cell, move.server_id)
    if job.passed("stop"):
        job.step("start", move.plan.host)
        guest.start(move.plan.cell, move.server_id)
