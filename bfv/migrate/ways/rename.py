# SPDX-License-Identifier: Apache-2.0
"""In place: cinder has a backend on nova's own pool and manages the disk where it lies, which is a rename.

No byte moves and none can differ. Only its size may change: cinder counts whole GiB and refuses to extend to a size
that it believes in already (``cinder/volume/api.py``), so the image grows to that before it is managed.
"""

from bfv.errors import Failed
from bfv.migrate import adopt
from bfv.migrate.move import Move
from bfv.migrate.plan import GIB, RENAME
from bfv.migrate.ways import Way
from imagebackends.rbd.pool import Pool
from imagebackends.types import Disk


class Rename(Way):
    """Manage in place."""

    name = RENAME

    def make(self, move: Move) -> Disk:
        """Align and adopt."""
        assert move.image is not None, "it was looked at before it is moved"
        if move.volume is None:
            align(move, move.old)
        return adopt.adopt(move, move.image.spec["name"])

    def unmake(self, move: Move, *, untouched: bool) -> None:
        """Disown, rename, and shrink again what no guest has seen larger."""
        adopt.disown(move)
        adopt.name_back(move, move.old)
        if untouched:
            unalign(move)


def align(move: Move, pool: Pool) -> None:
    """Let the old disk be as large as its volume will be. Raises Failed where it is gone."""
    now = move.lies(pool)
    if now is None:
        raise Failed(f"Image {pool.name}/{move.plan.image} is gone: somebody moved or removed it.")
    if now.size < move.plan.gib * GIB:
        move.job.step("align", f"{now.size} bytes to {move.plan.gib} GiB")
        pool.resize(now.name, move.plan.gib * GIB)


def unalign(move: Move) -> None:
    """Let the old disk be as large as it was, where only we made it larger."""
    now = move.lies(move.old)
    if now is not None and now.size == move.plan.gib * GIB and now.size > move.plan.size:
        move.job.step("unalign", f"{now.size} bytes to {move.plan.size}")
        move.old.resize(now.name, move.plan.size)
