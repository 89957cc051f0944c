# SPDX-License-Identifier: Apache-2.0
"""Convert one server: one page, and any worker may go on at any line.

::

    1 image           the old disk by its id; what takes long is done while its guest still runs, and with a
                      placeholder all that is cinder's: 4 is then a matter of librbd alone, and 5 is only looked at
    2 lock, stop      nova keeps its owner's hands off; a crash here or below: the next worker goes on, or goes back
    3 records         all rows as they are, written down before anything is changed
    4 make            the volume, by the plan's way
    5 attachment      reserved, connected to the server's host, complete
    6 switch          the rows of the cell, one transaction: before it the old disk counts, after it the volume
    7 after           what lies in other systems: request spec, placement
    8 unlock, start   and the intent's objects go to an intent *converted*, open until purge or undo

Whatever fails before the switch is undone; whatever fails behind it stays open, says why, and is finished by
another ``run`` or by ``repair``. Between an attachment and the rows that name it nova would delete it at a reboot
(``nova/compute/manager.py:_delete_dangling_bdms``): the lock keeps reboots away, and who goes on looks for it and
attaches anew.
"""

import dataclasses

from bfv import outside
from bfv.errors import Cancelled, Conflict, Failed, MaybeRunning, NoRoom, NotFound, Refused
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, FAILED, UNWINDING, Intent
from bfv.migrate import adopt, guests, records, ways
from bfv.migrate.contract import Bound, Facts
from bfv.migrate.move import ROOT, Move
from bfv.migrate.plan import opened
from bfv.parts import Parts
from imagebackends.types import Disk

CONVERTED = "converted"
GUEST = "guest"


def run(parts: Parts, intent: Intent) -> None:
    """Go on with a conversion wherever it is, or with its undoing. Raises MaybeRunning, CellDown, NotAllowed."""
    job = Job(parts, intent, stoppable=True)
    move = Move(job)
    if intent.phase != UNWINDING and not move.is_switched():
        try:
            _to_the_switch(move)
        except Cancelled:
            job.turn("the server was deleted while it was converted")
        except (Refused, NotFound, Failed, NoRoom) as error:
            if move.is_switched():
                raise MaybeRunning(str(error)) from error
            job.turn(str(error))
    # The turn is the journal's: a switch that came through all the same is not undone by it.
    if job.intent.phase == UNWINDING and not move.is_switched():
        _back(move)
    else:
        _behind(Move(Job(parts, parts.journal.check(job.intent))))


def _to_the_switch(move: Move) -> None:
    job = move.job
    way = ways.of(str(move.plan.way))
    _see(move)
    placeholder = adopt.claim(move)
    early = _dressed(move, placeholder) if placeholder is not None else None
    way.prepare(move)
    _hold(move)
    _look(move)
    disk = way.make(move)
    bound = early if early is not None and _holds(move, early) else _dressed(move, disk)
    snapshot = move.snapshot
    assert snapshot is not None, "written before"
    job.step("switch", f"root of {move.server_id} is volume {disk.id}")
    records.switch(move.database, snapshot, bound)


def _may_go(move: Move) -> Facts:
    """Return what the server's rows say now. Raises NotFound; Conflict where they are against it or it runs."""
    facts = next(iter(records.facts(move.parts, move.database, server_ids=[move.server_id])), None)
    if facts is None:
        raise NotFound(f"Server {move.server_id} could not be found.")
    if not move.job.passed("hold"):
        if facts.refusals:
            raise Conflict(facts.refusals[0])
        if not facts.is_off and not move.job.intent.request.get("stop"):
            raise Conflict(f"Server {move.server_id} runs: stop it first, or let `--stop-and-start` do that.")
    return facts


def _hold(move: Move) -> None:
    """Keep the owner's hands off, and switch the guest off if that was asked for. Raises Conflict if it runs."""
    job, guest, facts = move.job, guests.of(move.parts), _may_go(move)
    if not job.passed("hold"):
        job.step("hold", "its owner or an administrator has locked it already" if facts.locked else None)
        if not facts.locked:
            job.step("lock", facts.host)
    if job.passed("lock"):
        guest.lock(move.plan.cell, move.server_id)
    if not facts.is_off:
        job.step("stop", facts.host)
        guest.stop(move.plan.cell, move.server_id)


def _see(move: Move) -> None:
    """Write down the old disk, once. Raises NotFound; Conflict where it is another than was planned."""
    job, plan = move.job, move.plan
    if move.image is None:
        _may_go(move)
        image = move.old.look(plan.image)
        if image.size != plan.size:
            raise Conflict(f"Its disk has {image.size} bytes and had {plan.size} when this was planned: plan again.")
        thing = job.ask("image", ROOT, {"pool": plan.pool, "name": image.name, "size": image.size})
        job.know(thing, image.id)
    elif move.image.external_id is None:
        job.know(move.image, move.old.look(plan.image).id)


def _look(move: Move) -> None:
    """See that nobody has the disk open, and write down all rows as they are, once. Raises Conflict."""
    if move.snapshot is None:
        found = move.lies(move.old)
        for words in opened(found) if found else ("Its disk is gone from nova's pool.",):
            raise Conflict(words)
        before = records.before(move.parts, move.database, move.server_id)
        move.job.ask("records", "before", before.to_dict())


def _dressed(move: Move, disk: Disk) -> Bound:
    """Return the volume with what a genuine one tells of its image, and as its host has it. Repeatable."""
    parts = move.parts
    before = move.snapshot or records.before(parts, move.database, move.server_id)
    move.job.step("describe", disk.id)
    move.backend.describe(move.job.access, disk.id, records.image_metadata(parts, before))
    return _attached(move, disk)


def _holds(move: Move, early: Bound) -> bool:
    """Return whether an attachment from before the guest was off is good: a reboot or a move may have come between."""
    found = move.parts.backend.attachments(move.job.access, disk_id=early.volume.id, server_id=move.server_id)
    hosts = [each.host for each in records.facts(move.parts, move.database, server_ids=[move.server_id])]
    return early.attachment_id in [each.id for each in found] and hosts == [move.plan.host]


def _attached(move: Move, disk: Disk) -> Bound:
    """Return the volume as its host has it; nova may have deleted the attachment of a worker that died."""
    job, backend = move.job, move.parts.backend
    connector = records.connector(move.parts, move.database, move.server_id)
    found = outside.attachment(job, ROOT, disk.id)
    try:
        connected = backend.connect(job.access, found.id, connector)
    except NotFound:
        thing = job.object("attachment", ROOT)
        assert thing is not None, "asked for above"
        job.gone(thing)
        found = outside.attachment(job, ROOT, disk.id)
        connected = backend.connect(job.access, found.id, connector)
    backend.complete(job.access, found.id)
    return Bound(disk, found.id, connected.connection)


def bound(move: Move) -> Bound:
    """Return what the rows name now, for what follows the switch."""
    disk = outside.own_disk(move.job, str(move.volume_id))
    thing = move.job.object("attachment", ROOT)
    return Bound(disk, str(thing.external_id) if thing else "", {})


def _behind(move: Move) -> None:
    """Finish what follows the switch, and give all that is left to the intent that purge or undo will end."""
    job, snapshot = move.job, move.snapshot
    assert snapshot is not None, "it is switched"
    job.step("after", "request spec and placement")
    records.after(move.parts, snapshot, bound(move))
    trouble = _start(move)
    request = {**job.intent.request, "untouched": None if job.passed("start") else _stamp(move)}
    ended, why = (FAILED, trouble) if trouble else (DONE, f"volume {move.volume_id}")
    job.intent, kept = move.parts.journal.leave(job.intent, CONVERTED, why, request, ended, outcome=why)
    move.parts.rights.lend(job.intent.id, kept.id)
    move.parts.journal.release(kept)


def _start(move: Move) -> str | None:
    """Give the guest back, running if we stopped it; return why it does not run."""
    job, guest = move.job, guests.of(move.parts)
    if job.passed("lock"):
        job.step("unlock")
        guest.unlock(move.plan.cell, move.server_id)
    if not job.passed("stop"):
        return None
    job.step("start", move.plan.host)
    try:
        guest.start(move.plan.cell, move.server_id)
    except (Failed, Conflict) as error:
        return f"It is converted and does not start: {error} `bfv migrate undo` brings the old disk back."
    return None


def _stamp(move: Move) -> str | None:
    """Return when its row was last changed: as long as that stays nobody has started it."""
    rows = records.before(move.parts, move.database, move.server_id).rows
    return str(rows["instances"][0]["updated_at"])


def _back(move: Move) -> None:
    """Undo what was made before the switch, and give the server back as it was."""
    job = move.job
    if move.image is not None and move.image.external_id is not None:
        detach(move)
        ways.of(str(move.plan.way)).unmake(move, untouched=True)
    if not job.intent.cancel:
        _give_back(move)
    job.close(CANCELLED if job.intent.cancel else FAILED)


def _give_back(move: Move) -> None:
    """Unlock the server, and start it if it was stopped here; one that is gone or does not start changes nothing."""
    job, guest = move.job, guests.of(move.parts)
    try:
        if job.passed("lock"):
            guest.unlock(move.plan.cell, move.server_id)
        if job.passed("stop"):
            job.step("start", move.plan.host)
            guest.start(move.plan.cell, move.server_id)
    except (NotFound, Failed, Conflict) as error:
        job.tell("not given back", str(error))


def detach(move: Move) -> None:
    """Let go of the volume: no row names the attachment any more. Repeatable."""
    thing = move.job.object("attachment", ROOT)
    if thing is not None:
        outside.release_one(move.job, thing)


def planned(plan: object, **more: object) -> dict[str, object]:
    """Return the request of a conversion as its intent keeps it."""
    return {"plan": dataclasses.asdict(plan), **more}  # type: ignore[call-overload]
