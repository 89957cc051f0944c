# SPDX-License-Identifier: Apache-2.0
"""An image becomes a volume, and a volume an image again: each asked for at most once, and found again after a crash.

A managed volume is never deleted by a conversion: what cinder calls failed may bear the disk's only bytes. It is
disowned, and its image gets the name back that it had. One that was made beforehand is `bfv.migrate.placeholder`'s.
"""

import dataclasses
import time

from bfv import outside
from bfv.errors import Failed, MaybeRunning, NotFound
from bfv.journal import Object
from bfv.migrate import placeholder
from bfv.migrate.move import ROOT, Move
from bfv.types import utcnow
from imagebackends.rbd.pool import Pool
from imagebackends.types import Access, Adoption, Disk

BEING_MADE = ("creating", "managing")
BROKEN = ("error", "error_managing")
LOOK = 0.1


def claim(move: Move) -> Disk | None:
    """Return the volume that is made beforehand, where one is, else None: cinder manages the disk later. Repeatable."""
    return placeholder.claim(move) if move.by_placeholder else None


def adopt(move: Move) -> Disk:
    """Return the volume that an image of the target's pool becomes. Raises Failed, Refused, MaybeRunning."""
    if move.by_placeholder:
        return placeholder.claim(move)
    job, thing, image = move.job, move.volume, move.plan.image
    if thing is None:
        _ask(move, image)
    elif thing.external_id is None:
        found = _lost(move, thing)
        if found is None:
            job.gone(thing)
            _ask(move, image)
    assert move.volume_id is not None, "it is known by now"
    disk = outside.own_disk(job, move.volume_id)
    made = move.parts.waits.until(job.watch_access, disk, _is_made, move.parts.timing.volume, job.check)
    if made is None:
        raise Failed(f"Volume {disk.id} was removed by somebody while cinder adopted it.")
    if made.status in BROKEN:
        raise Failed(
            f"Cinder could not manage {move.plan.target_pool}/{image} as volume {made.id} and gives no reason; see "
            f"cinder-volume's log. Its type ({made.volume_type}) must lead to {move.plan.goes_to().backend}."
        )
    outside.check_place(made, move.plan.goes_to())
    return made


def _ask(move: Move, image: str) -> None:
    job, access = move.job, move.job.access
    what = Adoption(name=f"{move.plan.name}-root"[:255], image=image, target=move.plan.goes_to(), marker="")
    asked, take = dataclasses.asdict(what), move.backend.adopt
    job.make("volume", ROOT, asked, lambda marker: take(access, dataclasses.replace(what, marker=marker)))


def _lost(move: Move, thing: Object) -> Disk | None:
    """Return the volume of a lost answer, None once it cannot come any more. Raises MaybeRunning before."""
    found: Disk | None = move.backend.adopted(move.job.access, thing.marker)
    if found is not None:
        move.job.know(thing, found.id)
        return found
    age, limit = (utcnow() - thing.asked_at).total_seconds(), move.parts.timing.late_answer
    if age < limit:
        raise MaybeRunning(f"No answer to the request to manage {thing.spec['image']}; it may still come for "
                           f"{limit - age:.0f} seconds.")  # fmt: skip
    return None


def _is_made(disk: Disk | None) -> bool:
    return disk is None or disk.status not in BEING_MADE


def disown(move: Move) -> None:
    """Have cinder forget a managed volume, if it came so far; its image stays, by whatever name. Repeatable.

    Raises InUse, MaybeRunning, NotAllowed.
    """
    job, thing = move.job, move.volume
    if thing is None or move.by_placeholder:
        return
    volume_id = thing.external_id
    if volume_id is None:
        lost = _lost(move, thing)
        volume_id = lost.id if lost else None
    if volume_id is not None:
        _forget(move, job.access, volume_id)
    job.gone(thing)


def _forget(move: Move, access: Access, volume_id: str) -> None:
    deadline = time.monotonic() + move.parts.timing.delete
    while True:
        move.job.still_ours()
        try:
            disk = outside.own_disk(move.job, volume_id)
        except NotFound:
            return
        if disk.status not in (*BEING_MADE, "unmanaging", "deleting"):
            move.job.step("disown", f"volume {volume_id}")
            move.backend.disown(access, volume_id)
        if time.monotonic() > deadline:
            raise MaybeRunning(f"Volume {volume_id} is still {disk.status}.")
        time.sleep(LOOK)


def drop(move: Move) -> None:
    """Remove a volume that was made beforehand, now that it bears nothing. Repeatable."""
    if move.by_placeholder:
        placeholder.drop(move)


def name_back(move: Move, pool: Pool) -> None:
    """Give the old disk its name again where it bears the volume's: unmanage does not. Repeatable."""
    assert move.image is not None, "it was looked at before it was moved"
    now, name = move.lies(pool), move.image.spec["name"]
    if now is not None and now.name != name:
        move.job.step("name back", f"{now.name} to {name}")
        pool.rename(now.name, name)
