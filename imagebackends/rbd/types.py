# SPDX-License-Identifier: Apache-2.0
"""What is told of an image in a pool of Ceph: values that outlive the handle they were read by."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Id:
    """librbd's own id of an image: a rename does not change it, the trash neither; a move to another pool does."""

    value: str


@dataclass(frozen=True)
class SnapshotName:
    """A snapshot of an image of a pool; librbd names one in the trash by a uuid."""

    pool: str
    image: str
    snapshot: str


@dataclass(frozen=True)
class Snapshot:
    """A snapshot; ``size`` in bytes; ``trashed`` is one that was removed and lives on for its clones."""

    id: int
    name: str
    size: int
    trashed: bool = False


@dataclass(frozen=True)
class Locker:
    """Who holds a lock: ``client`` and ``cookie`` name it when it is broken."""

    client: str
    cookie: str
    address: str


@dataclass(frozen=True)
class Image:
    """An image; ``size`` in bytes, ``created_at`` in UTC without saying so, as the whole floor tells times.

    ``watchers`` are the addresses of those who have it open for writing, ``lockers`` those who hold its lock. A guest
    that runs is both; one whose host is cut off is a locker alone.
    """

    id: str
    name: str
    size: int
    created_at: dt.datetime
    features: frozenset[str] = frozenset()
    parent: SnapshotName | None = None
    snapshots: tuple[Snapshot, ...] = ()
    watchers: tuple[str, ...] = ()
    lockers: tuple[Locker, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Child:
    """A clone of one of an image's snapshots."""

    pool: str
    image: str
    id: str
    trashed: bool


@dataclass(frozen=True)
class Trashed:
    """An image in a pool's trash, and the name that it had."""

    id: str
    name: str
    deleted_at: dt.datetime


@dataclass(frozen=True)
class Extent:
    """A run of bytes that differs; ``exists`` is False where it became zeros."""

    offset: int
    length: int
    exists: bool

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.length
