# SPDX-License-Identifier: Apache-2.0
"""To another cluster: copied while the guest runs, then what changed meanwhile, and the last of it while it is off.

Each round is a snapshot of the old image and the difference from the round before, so the time off is that of the last
difference. Blocks of zeros are not written: what was sparse stays so.
"""

from bfv.migrate import slots, verify
from bfv.migrate.move import Move
from bfv.migrate.plan import COPY, GIB
from bfv.migrate.ways import aside

ROUNDS = 3
SMALL = 64 * 1024 * 1024
COPIED = "copied"


class Copy(aside.Aside):
    """Pre-copy, and a last difference."""

    name = COPY

    def prepare(self, move: Move) -> None:
        """Copy in rounds until little changes between two of them."""
        assert move.image is not None, "it was looked at before"
        if move.job.passed("last"):
            return
        for _ in range(ROUNDS):
            if self._round(move) < SMALL:
                return

    def transfer(self, move: Move) -> None:
        """Copy what changed since the last round; the guest is off."""
        if not move.job.passed("last"):
            move.job.step("last", move.job.said(COPIED))
        self._round(move)

    def origin(self, move: Move) -> str | None:
        """Return the snapshot of the last round."""
        found = move.lies(move.old)
        ours = [each.name for each in found.snapshots if each.name.startswith("bfv-copy-")] if found else []
        return max(ours, key=_number, default=None)

    def _round(self, move: Move) -> int:
        """Copy from one snapshot to the next; return how many bytes that were. The journal says which are copied."""
        assert move.image is not None, "it was looked at before"
        name, done = move.image.spec["name"], int(move.job.said(COPIED) or 0)
        base, now = _snapshot(done) if done else None, _snapshot(done + 1)
        if now not in [each.name for each in move.old.look(name).snapshots]:
            move.job.step("snapshot", f"{move.plan.pool}/{name}@{now}")
            move.old.snapshot(name, now)
        if aside.target(move) is None:
            thing = aside.asked(move)
            move.new.create(move.new_name, move.plan.gib * GIB)
            aside.known(move, thing)
        with slots.held(move):
            count = move.new.patch(move.new_name, verify.blocks(move.old, name, since=base, snapshot=now))
        move.job.step(COPIED, str(done + 1))
        if base is not None and base in [each.name for each in move.old.look(name).snapshots]:
            move.old.drop_snapshot(name, base)
        return count


def _snapshot(number: int) -> str:
    return f"bfv-copy-{number}"


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
