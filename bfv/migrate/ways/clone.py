# SPDX-License-Identifier: Apache-2.0
"""To another pool of the same cluster by a clone of a snapshot: works with every Ceph since Mimic, and copies it all.

The clone is flattened behind its guest, in slots, and so loses what it shared with Glance's image.
"""

from bfv.migrate.move import Move
from bfv.migrate.plan import CLONE, GIB
from bfv.migrate.ways import aside
from imagebackends.rbd.types import SnapshotName

ORIGIN = "bfv-clone"


class Clone(aside.Aside):
    """Snapshot, clone (v2), flatten."""

    name = CLONE

    def transfer(self, move: Move) -> None:
        """Clone a snapshot, as large as its volume will be; the old image stays as it is."""
        assert move.image is not None, "it was looked at before"
        name = move.image.spec["name"]
        if aside.target(move) is None:
            found = move.old.look(name)
            if ORIGIN not in [each.name for each in found.snapshots]:
                move.job.step("snapshot", f"{move.plan.pool}/{name}@{ORIGIN}")
                move.old.snapshot(name, ORIGIN)
            thing = aside.asked(move)
            move.new.clone(SnapshotName(move.plan.pool, name, ORIGIN), move.new_name)
            aside.known(move, thing)
        if move.new.look(move.new_name).size < move.plan.gib * GIB:
            move.new.resize(move.new_name, move.plan.gib * GIB)

    def origin(self, move: Move) -> str | None:  # noqa: ARG002 (the contract's)
        """Return the snapshot that was cloned."""
        return ORIGIN

    def behind(self, move: Move) -> None:
        """Flatten."""
        name = f"volume-{move.volume_id}"
        if move.new.look(name).parent is not None:
            move.job.step("flatten", f"{move.plan.target_pool}/{name}")
            move.new.flatten(name)
