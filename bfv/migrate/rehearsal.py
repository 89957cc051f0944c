# SPDX-License-Identifier: Apache-2.0
"""Try each way on a scratch image in the operator's own pools, before the first server: rights and backends are proven.

The scratch image goes there and back as a disk does, its bytes are compared, and nothing of it is left: what a crash
leaves is removed by ``repair``, for it is an intent as any other, of a server that never was.
"""

import dataclasses
import uuid
from collections.abc import Iterator, Sequence

from bfv.errors import Failed, MaybeRunning, NoRoom, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, UNWINDING, Intent
from bfv.migrate import verify, ways
from bfv.migrate.move import ROOT, Move
from bfv.migrate.plan import GIB, Plan
from bfv.migrate.run import planned
from bfv.parts import Parts
from bfv.types import new_request_id

VERB = "rehearse"
BYTES = b"bfv rehearses\n" * 1000


def of_each(parts: Parts, plans: Sequence[Plan]) -> Iterator[Intent]:
    """Yield a new intent, held by this process, for each way between two pools that plans take."""
    access = parts.rights.everywhere(new_request_id())
    if access is None:
        raise Refused("Cinder manages images for administrators alone: give the service user the role admin.")
    ways_there = {(each.cell, each.way, each.pool, each.reach, each.target_pool): each for each in plans}
    for plan in ways_there.values():
        server_id = str(uuid.uuid4())
        scratch = dataclasses.replace(
            plan, server_id=server_id, name="bfv-rehearsal", project_id=access.project_id, host=None, running=False,
            image=f"bfv-rehearsal-{server_id}", size=GIB, gib=1, parent=None, notes=())  # fmt: skip
        yield parts.journal.open(
            VERB, server_id, project_id=access.project_id, user_id="-", request_id=access.request_id,
            request=planned(scratch), cell=plan.cell)  # fmt: skip


def run(parts: Parts, intent: Intent) -> None:
    """Go there and back, or back alone after a crash. Raises MaybeRunning, CellDown."""
    job = Job(parts, intent)
    move = Move(job)
    if intent.phase != UNWINDING:
        why = "another worker began it" if job.passed("there") else _there(move)
        if why is not None:
            job.turn(why)
    _clean(move)
    job.close(FAILED if job.intent.phase == UNWINDING else DONE)


def _there(move: Move) -> str | None:
    """Take the way and come back; return why that did not work."""
    job, name = move.job, move.plan.image
    job.step("there", f"{move.plan.way}: {move.plan.pool}/{name} to {move.plan.goes_to().backend}")
    way = ways.of(str(move.plan.way))
    try:
        thing = job.ask("image", ROOT, {"pool": move.plan.pool, "name": name, "size": GIB})
        move.old.create(name, GIB)
        job.know(thing, move.old.look(name).id)
        move.old.fill(name, [BYTES])
        before = verify.digest(move.old, name)
        way.make(move)
        way.settle(move)
        way.unmake(move, untouched=True)
        verify.same(before, verify.digest(move.old, name), f"{move.plan.pool}/{name}")
    except (Refused, NotFound, Failed, NoRoom) as error:
        return str(error)
    return None


def _clean(move: Move) -> None:
    """Remove all that is left."""
    thing = move.image
    if thing is None:
        return
    if thing.external_id is None:
        made = move.old.find(move.plan.image)
        if made is None:
            move.job.gone(thing)
            return
        move.job.know(thing, made.id)
    ways.of(str(move.plan.way)).unmake(move, untouched=True)
    if move.old.find(move.plan.image) is not None:
        move.old.remove(move.plan.image)
    move.job.gone(move.image or thing)


def failed(intent: Intent) -> None:
    """Raise Failed where a rehearsal that ended did not succeed, MaybeRunning where it did not end."""
    plan = intent.request["plan"]
    words = f"The rehearsal of the way {plan['way']} in cell {plan['cell']} did not succeed"
    if intent.is_open:
        raise MaybeRunning(f"{words}: it is left to `bfv repair`. No server was touched.")
    if intent.phase != DONE:
        raise Failed(f"{words}: {intent.outcome} No server was touched.")
