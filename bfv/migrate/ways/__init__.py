# SPDX-License-Identifier: Apache-2.0
"""The ways from an image of nova's pool to a volume: one module each, with one contract.

A way knows images and volumes and no rows. Each of its acts may be asked for again at any line.
"""

import abc

from bfv.migrate import adopt
from bfv.migrate.move import Move
from imagebackends.types import Disk


class Way(abc.ABC):
    """How a disk becomes a volume, and how it comes back."""

    name: str

    def prepare(self, move: Move) -> None:  # noqa: B027
        """Do what may be done while the guest still runs: all that takes long. Raises Failed, MaybeRunning."""

    @abc.abstractmethod
    def make(self, move: Move) -> Disk:
        """Return the volume, available and with the disk's bytes. Raises Failed, Refused, MaybeRunning."""

    def unmake(self, move: Move, *, untouched: bool) -> None:
        """Bring the disk back to nova's pool, by its name, with what was written since; the volume is gone then.

        No guest has it open, and no row names the volume. ``untouched`` says that no guest ran since ``make``.
        """
        adopt.disown(move)
        self.bring_back(move, untouched=untouched)
        adopt.name_back(move, move.old)
        adopt.drop(move)

    @abc.abstractmethod
    def bring_back(self, move: Move, *, untouched: bool) -> None:
        """Have the disk in nova's pool as it was, by whatever name, and nothing of it in the target's. Repeatable."""

    def settle(self, move: Move) -> None:  # noqa: B027 - most ways have nothing left to do
        """Do what is left to do behind a running guest: copy and compare. Raises Failed where bytes differ."""

    def release(self, move: Move, *, verified: bool = True) -> None:  # noqa: B027
        """Remove what is left of the old disk, for ever; only what ``settle`` compared, unless the server is gone."""


def of(name: str) -> Way:
    """Return a way by its name."""
    from bfv.migrate.ways import clone, copy, live, rename

    found: list[Way] = [rename.Rename(), live.Live(), clone.Clone(), copy.Copy()]
    return {way.name: way for way in found}[name]
