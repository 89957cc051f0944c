# SPDX-License-Identifier: Apache-2.0
"""A volume that cinder makes for the owner, whose empty image then gives way to the server's disk: no manage needed.

It is made and attached while the guest still runs, so that no call to cinder lies in the time off; and an attached
volume is one that nobody deletes while it gets its bytes. It is made empty, not of the server's image: what cinder
clones for its cache would leave a snapshot behind when its image goes without cinder's knowledge
(``cinder/volume/drivers/rbd.py:_delete_clone_parent_refs``). Image metadata and the bootable flag are written as for a
managed one. A volume whose image is gone cinder deletes without a word (``delete_volume``, ImageNotFound), which is
how it goes again: after the disk has got its own name back, never before.
"""

from bfv import outside
from bfv.errors import Failed
from bfv.migrate.move import ROOT, Move
from imagebackends.rbd.types import Id
from imagebackends.types import Disk, DiskSpec

PLACEHOLDER = "placeholder"


def claim(move: Move) -> Disk:
    """Return the volume, made empty for the owner, its own image known by its id. Repeatable.

    Raises Failed, NoRoom, Refused, MaybeRunning.
    """
    job, plan = move.job, move.plan
    spec = DiskSpec(f"{plan.name}-root"[:255], plan.gib, plan.goes_to(), "blank", None, marker="")
    disk = outside.volume(job, ROOT, spec)
    if job.object("image", PLACEHOLDER) is None:
        disk = outside.wait_ready(job, disk, 0)
        outside.check_place(disk, plan.goes_to())
        thing = job.ask("image", PLACEHOLDER, {"pool": plan.target_pool})
        job.know(thing, move.new.look(f"volume-{disk.id}").id)
    return disk


def clear(move: Move) -> None:
    """Remove the placeholder's own image, so that the disk may have its name. Repeatable."""
    found = own_image(move)
    if found is not None:
        move.job.step("clear", f"{move.plan.target_pool}/{found}")
        move.new.remove(found)


def own_image(move: Move) -> str | None:
    """Return the name of the placeholder's own image, None where it has given way."""
    thing = move.job.object("image", PLACEHOLDER)
    if thing is None:
        return None
    found = move.new.find(Id(thing.external_id) if thing.external_id else f"volume-{move.volume_id}")
    if found is not None and thing.external_id is None:
        # Written down by a worker that died before it knew the id: nothing was put in its place yet.
        move.job.know(thing, found.id)
    return found.name if found else None


def drop(move: Move) -> None:
    """Have cinder delete the volume, which bears no bytes of the server any more. Repeatable.

    Raises Failed where an image bears its name that is not the placeholder's own, InUse, MaybeRunning.
    """
    thing, own = move.volume, move.job.object("image", PLACEHOLDER)
    if thing is None:
        return
    # Before its own image is known nothing has its place: a cinder-volume may have died between making and saying so.
    if own is not None and own_image(move) is None and move.new.find(f"volume-{thing.external_id}") is not None:
        raise Failed(f"Volume {thing.external_id} still bears the disk of server {move.server_id}.")
    outside.release_one(move.job, thing)
    if own is not None:
        move.job.gone(own)
