# SPDX-License-Identifier: Apache-2.0
"""What a comparison found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

BACKENDS = ("cinder", "rbd")
State = Literal["cold", "warm"]


@dataclass(frozen=True)
class Cost:
    """What one act took: seconds, and calls of ours by whom they went to (cinder, glance, keystone, librbd)."""

    seconds: float
    calls: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Boot(Cost):
    """A root disk from the request to its connection on a host; sizes in bytes.

    ``cloned`` says that it has a parent in its own Ceph. ``fetched`` bytes came from Glance for it, and it holds
    ``held`` bytes in ``objects`` objects itself; None where its pool may not be read.
    """

    cloned: bool | None = None
    fetched: int | None = None
    held: int | None = None
    objects: int | None = None


@dataclass(frozen=True)
class Series:
    """All boots of one backend in one cell; ``why`` says what ended it early, and is empty if nothing did.

    ``per_minute`` is how many of a storm of ``storm`` boots at once are ready in a minute. ``held`` bytes are what all
    ``disks``, cold and warm, hold while they are there together. ``bytes_equal`` says whether each disk that was read
    is the image, byte by byte, with nothing but zeros behind; None: none could be read. ``unread`` says why, or how
    one differs.
    """

    backend: str
    cell: str
    boots: Mapping[State, Sequence[Boot]]
    deletes: Sequence[Cost] = ()
    snapshots: Sequence[Cost] = ()
    snapshot_deletes: Sequence[Cost] = ()
    storm: int = 0
    per_minute: float | None = None
    held: int | None = None
    disks: int = 0
    bytes_equal: bool | None = None
    unread: str = ""
    why: str = ""

    @property
    def same_cluster(self) -> bool | None:
        """Whether the image lies in this cell's own Ceph: its first disk was cloned, and of nothing of the cell's."""
        first = next(iter(self.boots.get("cold", ())), None)
        return first.cloned if first else None


@dataclass(frozen=True)
class Comparison:
    """Two series for each cell.

    ``left`` is what could not be removed yet, and who removes it; ``kept`` is what cinder never removes.
    """

    image_id: str
    image_name: str
    image_size: int
    disk_format: str
    disk_gib: int
    series: Sequence[Series]
    left: Sequence[str] = ()
    kept: Sequence[str] = ()

    def cells(self) -> list[str]:
        """Return the cells, in the order in which they were compared."""
        return list(dict.fromkeys(each.cell for each in self.series))

    def of(self, cell: str, backend: str) -> Series:
        """Return one series."""
        return next(each for each in self.series if (each.cell, each.backend) == (cell, backend))
