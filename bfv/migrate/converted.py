# SPDX-License-Identifier: Apache-2.0
"""What becomes of a converted server until its old disk is released: an intent that stays open, and holds what is left.

It does behind the running guest what its way has left to do, and then waits for ``purge`` or ``undo``, each an intent
of its own that gets all objects. A server that is deleted meanwhile takes its volume along: what is left of the old
disk goes first, for cinder takes back the deletion of a volume whose migration is not committed, without a word.
"""

from bfv import outside
from bfv.errors import HasSnapshots, InUse, NotFound
from bfv.job import Job
from bfv.journal import DONE, Intent
from bfv.migrate import ways
from bfv.migrate.move import Move
from bfv.parts import Parts

SETTLED, PURGE = "settled", "purge"


def run(parts: Parts, intent: Intent) -> None:
    """Settle what is converted, and let it wait; end it if its server is gone.

    Raises Failed, MaybeRunning, CellDown.
    """
    move = Move(Job(parts, intent))
    if intent.cancel or move.is_switched() is None:
        _bury(move)
        return
    if not move.job.passed(SETTLED):
        settle(move)
    parts.journal.release(move.job.intent)


def settle(move: Move) -> None:
    """Copy and compare, behind the running guest. Raises Failed where bytes differ."""
    ways.of(str(move.plan.way)).settle(move)
    move.job.step(SETTLED, f"volume {move.volume_id}")


def _bury(move: Move) -> None:
    """Release the old disk of a server that is deleted, and its volume with it if nobody else has removed that."""
    job = move.job
    job.step("bury", "the server is deleted")
    ways.of(str(move.plan.way)).release(move, verified=False)
    kept = None
    # A DELETE of ours removes the volume itself, and knows better whether it should go.
    if not job.intent.cancel and move.volume_id is not None:
        kept = _remove_volume(move, move.volume_id)
    job.close(DONE, kept)


def _remove_volume(move: Move, volume_id: str) -> str | None:
    snapshot = move.snapshot
    assert snapshot is not None, "it was converted"
    [root] = snapshot.rows["block_device_mapping"]
    if not root["delete_on_termination"]:
        return f"Volume {volume_id} is kept: delete_on_termination is false."
    try:
        disk = outside.own_disk(move.job, volume_id)
        if disk.servers or disk.status not in ("available", "error", "deleting"):
            return f"Volume {volume_id} is kept: it is {disk.status}."
        outside.remove_volume(move.job, volume_id)
    except NotFound:
        return None
    except (HasSnapshots, InUse) as error:
        return f"Volume {volume_id} is kept: {error}"
    return None


def purge(parts: Parts, intent: Intent) -> None:
    """Release what is left of the old disk: from now on there is no way back. Raises Failed, MaybeRunning, CellDown."""
    move = Move(Job(parts, intent))
    if move.is_switched() is None:
        _bury(move)
        return
    if not (move.job.passed(SETTLED) or intent.request.get(SETTLED)):
        settle(move)
    move.job.step("release", f"{move.plan.pool}/{move.plan.image}")
    ways.of(str(move.plan.way)).release(move)
    move.job.close(DONE)
