# SPDX-License-Identifier: Apache-2.0
"""To another pool of the same cluster by librbd's live migration: prepared, adopted, and executed behind the guest.

What counts at each moment is asked of librbd: the old id lies in nova's pool (not prepared), or an image of the
target's pool is the target of a migration. A snapshot made before the guest's first write shows the old bytes through
all of it, so it is read before and after ``execute`` and compared; cinder does not know of it, so it goes again.
``purge`` commits.
"""

from bfv.errors import Failed
from bfv.journal import Object
from bfv.migrate import adopt, placeholder, slots, verify
from bfv.migrate.move import Move
from bfv.migrate.plan import LIVE
from bfv.migrate.ways import Way
from bfv.migrate.ways.rename import align, unalign
from imagebackends.rbd.types import Id
from imagebackends.types import Disk

PROOF = "bfv-proof"
TARGET = "target"


class Live(Way):
    """Prepare, adopt, execute, commit."""

    name = LIVE

    def make(self, move: Move) -> Disk:
        """Prepare, adopt what is prepared, and keep its bytes in a snapshot."""
        assert move.image is not None, "it was looked at before it is moved"
        adopt.claim(move)
        if _target(move) is None:
            align(move, move.old)
            thing = move.job.object("image", TARGET) or move.job.ask("image", TARGET, {"pool": move.plan.target_pool})
            placeholder.clear(move)
            move.old.prepare_migration(move.image.spec["name"], move.new, move.new_name)
            _know(move, thing)
        disk = adopt.adopt(move)
        name = _target(move)
        if name is None:
            raise Failed(f"Volume {disk.id} is in {move.plan.target_pool} not the target of a migration.")
        if PROOF not in _snapshots(move, name):
            move.job.step("proof", name)
            move.new.snapshot(name, PROOF)
        return disk

    def bring_back(self, move: Move, *, untouched: bool) -> None:
        """Abort: librbd copies back what was written since."""
        name = _target(move)
        if name is not None:
            move.job.step("abort", f"{move.plan.target_pool}/{name}")
            move.new.abort_migration(name)
        if untouched:
            unalign(move)

    def settle(self, move: Move) -> None:
        """Execute between two readings of the snapshot; the first one's digest outlives a crash in the journal."""
        job, name = move.job, _named(move)
        state = move.new.migration(name)
        if state is None:
            return
        with slots.held(move):
            before = job.said("digest")
            if before is None:
                before = verify.digest(move.new, name, PROOF)
                job.step("digest", before)
            if state != "executed":
                job.step("execute", f"{move.plan.target_pool}/{name}")
                move.new.execute_migration(name)
            verify.same(before, verify.digest(move.new, name, PROOF), f"{move.plan.target_pool}/{name}")

    def release(self, move: Move, *, verified: bool = True) -> None:  # noqa: ARG002 - librbd executes before it commits
        """Commit, and remove the snapshot."""
        name = _named(move)
        if move.new.find(name) is None:
            return
        state = move.new.migration(name)
        if state in ("prepared", "executing"):
            with slots.held(move):
                move.new.execute_migration(name)
        if state is not None:
            move.new.commit_migration(name)
        if PROOF in _snapshots(move, name):
            move.new.drop_snapshot(name, PROOF)


def _know(move: Move, thing: Object) -> None:
    """Write down the id that the disk has in the target's pool, by which it is found whatever its name."""
    move.job.know(thing, move.new.look(move.new_name).id)


def _named(move: Move) -> str:
    return f"volume-{move.volume_id}"


def _target(move: Move) -> str | None:
    """Return the name of the image in the target's pool that a migration leads to, None where there is none."""
    thing = move.job.object("image", TARGET)
    if thing is None or move.image is None:
        return None
    # Prepared by a worker that died before it wrote down the id: then nobody has renamed it.
    image = move.new.find(Id(thing.external_id) if thing.external_id else move.new_name)
    if image is None or "migrating" not in image.features:
        return None
    if thing.external_id is None:
        _know(move, thing)
    return image.name


def _snapshots(move: Move, name: str) -> list[str]:
    return [each.name for each in move.new.look(name).snapshots if not each.trashed]
