# SPDX-License-Identifier: Apache-2.0
"""What the ways have in common that make a second image: the old one is put aside until purge, and compared.

Aside is by another name: nova would start a server from the old bytes, silently, if it found them where they were, and
it removes at a server's end whatever begins with its id (``nova/storage/rbd_utils.py:cleanup_volumes``). What a guest
wrote since is known by a snapshot of the new image made before it started: an undo copies that back.
"""

from bfv.errors import Failed
from bfv.journal import Object
from bfv.migrate import adopt, placeholder, slots, verify
from bfv.migrate.move import Move
from bfv.migrate.plan import GIB
from bfv.migrate.ways import Way
from imagebackends.rbd.types import Id
from imagebackends.types import Disk

PROOF = "bfv-proof"
TARGET = "target"
ASIDE = "bfv-aside-"


class Aside(Way):
    """A second image becomes the volume. A subclass makes it: ``transfer``, and tells what it was made of."""

    def transfer(self, move: Move) -> None:
        """Make the second image, complete, by the old one's name in the target's pool; repeatable while it is new."""
        raise NotImplementedError

    def origin(self, move: Move) -> str | None:
        """Return the snapshot of the old image whose bytes the second one got, None: its head."""
        raise NotImplementedError

    def behind(self, move: Move) -> None:
        """Do what is left to do to the second image behind its guest."""

    def make(self, move: Move) -> Disk:
        """Make the image, adopt it, keep its bytes in a snapshot, and put the old one aside."""
        assert move.image is not None, "it was looked at before"
        name = move.image.spec["name"]
        adopt.claim(move)
        # What cinder has begun to manage is complete; what no volume bears yet, and is not aside, may not be.
        if move.volume is None or (move.by_placeholder and old_name(move) == name):
            self.transfer(move)
        disk = adopt.adopt(move)
        new = target(move)
        if new is None:
            raise Failed(f"The image of volume {disk.id} is gone from {move.plan.target_pool}.")
        if PROOF not in snapshots(move, new):
            move.job.step("proof", new)
            move.new.snapshot(new, PROOF)
        old = old_name(move)
        if old == name:
            move.job.step("aside", f"{move.plan.pool}/{name}")
            move.old.rename(name, f"{ASIDE}{name}")
        return disk

    def settle(self, move: Move) -> None:
        """Finish the second image and compare it with the old one."""
        new, old = f"volume-{move.volume_id}", old_name(move)
        if old is None:
            raise Failed(f"The old disk of server {move.server_id} is gone from {move.plan.pool}: nothing is compared.")
        with slots.held(move):
            self.behind(move)
            before = verify.digest(move.old, old, self.origin(move))
            verify.same(before, verify.digest(move.new, new, PROOF), f"{move.plan.target_pool}/{new}")

    def bring_back(self, move: Move, *, untouched: bool) -> None:
        """Copy back what the guest wrote, remove the second image and our snapshots of the old one."""
        new = target(move)
        if new is not None:
            if not untouched and PROOF in snapshots(move, new) and not move.job.intent.request.get("discard_writes"):
                _copy_back(move, new)
            move.job.step("remove", f"{move.plan.target_pool}/{new}")
            for each in snapshots(move, new):
                move.new.drop_snapshot(new, each)
            move.new.remove(new)
        thing = move.job.object("image", TARGET)
        if thing is not None:
            move.job.gone(thing)
        drop_ours(move)

    def release(self, move: Move, *, verified: bool = True) -> None:  # noqa: ARG002 - the caller has settled it
        """Remove the snapshot, then the old image."""
        new, old = f"volume-{move.volume_id}", old_name(move)
        if move.new.find(new) is not None:
            if move.new.look(new).parent is not None:
                self.behind(move)
            if PROOF in snapshots(move, new):
                move.new.drop_snapshot(new, PROOF)
        else:
            _empty_trash(move)
        if old is not None:
            drop_ours(move)
            move.old.remove(old)


def _empty_trash(move: Move) -> None:
    """Remove the new image for good that cinder has deleted: with our snapshot in it that goes to the trash and stays.

    (``cinder/volume/drivers/rbd.py:_delete_volume``.)
    """
    thing = move.job.object("image", TARGET)
    image = Id(thing.external_id) if thing is not None and thing.external_id else None
    found = move.new.find(image) if image else None
    if image is None or found is None:
        return
    move.job.step("empty trash", f"{move.plan.target_pool}/{found.name}")
    for each in found.snapshots:
        if not each.trashed:
            move.new.drop_snapshot(image, each.name)
    move.new.purge(image.value)


def _copy_back(move: Move, new: str) -> None:
    """Write what the guest wrote into the old image, and see that both are the same then."""
    old = old_name(move)
    if old is None:
        raise Failed(f"The old disk of server {move.server_id} is gone from {move.plan.pool}: it cannot come back.")
    move.job.step("copy back", f"{move.plan.target_pool}/{new} to {move.plan.pool}/{old}")
    if move.old.look(old).size < move.plan.gib * GIB:
        move.old.resize(old, move.plan.gib * GIB)
    with slots.held(move):
        move.old.patch(old, verify.blocks(move.new, new, since=PROOF))
        verify.same(verify.digest(move.new, new), verify.digest(move.old, old), f"{move.plan.pool}/{old}")


def asked(move: Move) -> Object:
    """Return the second image as the journal knows it, written down before it is made.

    Raises Failed where somebody else's image bears its name.
    """
    thing = move.job.object("image", TARGET)
    if thing is not None:
        return thing
    placeholder.clear(move)
    if move.new.find(move.new_name) is not None:
        raise Failed(f"There is an image {move.plan.target_pool}/{move.new_name} already; see whose it is.")
    return move.job.ask("image", TARGET, {"pool": move.plan.target_pool})


def known(move: Move, thing: Object) -> None:
    """Write down the second image's id, by which it is found whatever its name."""
    move.job.know(thing, move.new.look(move.new_name).id)


def target(move: Move) -> str | None:
    """Return the second image's name now, None where there is none."""
    thing = move.job.object("image", TARGET)
    if thing is None or move.image is None:
        return None
    # Made by a worker that died before it wrote down the id: then nobody has renamed it.
    found = move.new.find(Id(thing.external_id) if thing.external_id else move.new_name)
    if found is not None and thing.external_id is None:
        move.job.know(thing, found.id)
    return found.name if found else None


def old_name(move: Move) -> str | None:
    """Return the old image's name now, None where it is gone."""
    found = move.lies(move.old)
    return found.name if found else None


def snapshots(move: Move, name: str) -> list[str]:
    """Return the names of a new image's snapshots."""
    return [each.name for each in move.new.look(name).snapshots if not each.trashed]


def drop_ours(move: Move) -> None:
    """Remove our snapshots of the old image."""
    found = move.lies(move.old)
    for each in found.snapshots if found else ():
        if not each.trashed and each.name.startswith("bfv-"):
            assert found is not None, "it has snapshots"
            move.old.drop_snapshot(found.name, each.name)
