# SPDX-License-Identifier: Apache-2.0
"""In place: cinder has a backend on nova's own pool, and the disk becomes its volume where it lies, by a rename.

No byte moves and none can differ. Only its size may change: cinder counts whole GiB and refuses to extend to a size
that it believes in already (``cinder/volume/api.py``), so the image grows to that before it is managed.
"""

from bfv.errors import Failed
from bfv.migrate import adopt, placeholder
from bfv.migrate.move import Move
from bfv.migrate.plan import GIB, RENAME
from bfv.migrate.ways import Way
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.types import Image
from imagebackends.types import Disk


class Rename(Way):
    """Another name."""

    name = RENAME

    def make(self, move: Move) -> Disk:
        """Align and adopt: cinder renames what it manages, else the placeholder's name is taken here."""
        adopt.claim(move)
        image = align(move, move.old)
        if move.by_placeholder and image.name != move.new_name:
            placeholder.clear(move)
            move.job.step("rename", f"{image.name} to {move.new_name}")
            move.old.rename(image.name, move.new_name)
        return adopt.adopt(move)

    def bring_back(self, move: Move, *, untouched: bool) -> None:
        """Shrink again what no guest has seen larger."""
        if untouched:
            unalign(move)


def align(move: Move, pool: Pool) -> Image:
    """Let the old disk be as large as its volume will be, and return it. Raises Failed where it is gone."""
    now = move.lies(pool)
    if now is None:
        raise Failed(f"Image {pool.name}/{move.plan.image} is gone: somebody moved or removed it.")
    if now.size < move.plan.gib * GIB:
        move.job.step("align", f"{now.size} bytes to {move.plan.gib} GiB")
        pool.resize(now.name, move.plan.gib * GIB)
    return now


def unalign(move: Move) -> None:
    """Let the old disk be as large as it was, where only we made it larger."""
    now = move.lies(move.old)
    if now is not None and now.size == move.plan.gib * GIB and now.size > move.plan.size:
        move.job.step("unalign", f"{now.size} bytes to {move.plan.size}")
        move.old.resize(now.name, move.plan.size)
