# SPDX-License-Identifier: Apache-2.0
"""Ceph block devices in memory: sparse bytes, snapshots, clones and their parents; only what the services above call.

What a removal does to children is what clone v2 does (librbd with ``require_min_compat_client`` mimic or later).
"""

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

OBJECT = 4 * 1024 * 1024
GIB = 1024**3


class RbdError(Exception):
    """librbd would refuse this."""


@dataclass(eq=False)
class Snapshot:
    """A moment of an image; ``objects`` shares its bytes with the image. Removed under a clone, it is ``trashed``."""

    image: "Image"
    name: str
    size: int
    objects: dict[int, bytes]
    parent: "Snapshot | None"
    overlap: int
    trashed: bool = False
    protected: bool = False
    id: int = 0
    # What librbd calls it in the trash.
    trash_name: str = field(default_factory=lambda: str(uuid.uuid4()))

    def read(self, number: int) -> bytes | None:
        """Return one object's bytes, its parent's where it has none, None for zeros."""
        return object_of(self.objects, self.parent, self.overlap, number)


@dataclass(eq=False)
class Image:
    """A block device."""

    pool: "Pool"
    name: str
    size: int
    objects: dict[int, bytes] = field(default_factory=dict)
    snapshots: list[Snapshot] = field(default_factory=list)
    parent: Snapshot | None = None
    overlap: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    created_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    metadata: dict[str, str] = field(default_factory=dict)
    # Those who have it open for writing, and who holds its lock: (client, cookie, address).
    watchers: list[tuple[str, str, str]] = field(default_factory=list)
    locker: tuple[str, str, str] | None = None
    # Of librbd's live migration (``bfv.mockcloud.moving``), and the snapshots that it had before.
    moving: Any = None
    kept: list[int] = field(default_factory=list)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes, zeros where nothing was written."""
        length = max(0, min(length, self.size - offset))
        return b"".join(self._pieces(offset, length))

    def _pieces(self, offset: int, length: int) -> Iterator[bytes]:
        end = offset + length
        while offset < end:
            number, start = divmod(offset, OBJECT)
            take = min(OBJECT - start, end - offset)
            data = object_of(self.objects, self.parent, self.overlap, number)
            yield bytes(take) if data is None else data[start : start + take].ljust(take, b"\0")
            offset += take

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes; the first write to an object of a clone copies the parent's up. Raises RbdError past the end."""
        if offset + len(data) > self.size:
            raise RbdError(f"write past the end of {self.name}")
        view = memoryview(data)
        while view:
            number, start = divmod(offset, OBJECT)
            part = bytes(view[: OBJECT - start])
            if len(part) < OBJECT:
                old = (object_of(self.objects, self.parent, self.overlap, number) or b"").ljust(start, b"\0")
                part = old[:start] + part + old[start + len(part) :]
            self.objects[number] = part
            view, offset = view[OBJECT - start :], (number + 1) * OBJECT

    def discard(self, offset: int, length: int) -> None:
        """Make bytes zeros; whole objects without a parent below them are dropped."""
        end = min(offset + length, self.size)
        while offset < end:
            number, start = divmod(offset, OBJECT)
            take = min(OBJECT - start, end - offset)
            under = self.parent is not None and number * OBJECT < self.overlap
            if take == OBJECT and not under:
                self.objects.pop(number, None)
            elif under or number in self.objects:
                self.write(offset, bytes(take))
            offset += take

    def fill(self, data: bytes) -> None:
        """Write an image's bytes from the start, leaving out what is zero: a sparse import."""
        for start in range(0, len(data), OBJECT):
            part = data[start : start + OBJECT]
            if part.count(0) == len(part):
                self.objects.pop(start // OBJECT, None)
                if self.parent is None:
                    continue
            self.write(start, part)

    def resize(self, size: int) -> None:
        """Grow or shrink."""
        self.size = size
        self.overlap = min(self.overlap, size)
        kept = {number: data for number, data in self.objects.items() if number * OBJECT < size}
        self.objects = {number: data[: size - number * OBJECT] for number, data in kept.items()}

    def snapshot(self, name: str, protected: bool = False) -> Snapshot:
        """Make a snapshot."""
        number = self.pool.cluster.next_snapshot()
        made = Snapshot(
            self, name, self.size, dict(self.objects), self.parent, self.overlap, protected=protected, id=number
        )
        self.snapshots.append(made)
        return made

    def find(self, name: str) -> Snapshot:
        """Return a snapshot. Raises RbdError."""
        for each in self.snapshots:
            if each.name == name and not each.trashed:
                return each
        raise RbdError(f"no snapshot {name} of {self.name}")

    def remove_snapshot(self, name: str) -> None:
        """Remove a snapshot; one with clones goes to the trash until the last of them is gone."""
        snapshot = self.find(name)
        if self.pool.cluster.children(snapshot):
            snapshot.trashed = True
        else:
            self.snapshots.remove(snapshot)

    def flatten(self) -> None:
        """Copy all of the parent's bytes and forget it."""
        if self.parent is not None:
            for number in range((self.overlap + OBJECT - 1) // OBJECT):
                data = object_of(self.objects, self.parent, self.overlap, number)
                if data is not None:
                    self.objects[number] = data
        self.detach()

    def detach(self) -> None:
        """Let go of the parent, whose trashed snapshot goes with its last clone."""
        parent, self.parent, self.overlap = self.parent, None, 0
        if parent is not None and parent.trashed and not self.pool.cluster.children(parent):
            parent.image.snapshots.remove(parent)

    @property
    def used(self) -> int:
        """How many bytes it holds itself."""
        return sum(len(data) for data in self.objects.values())

    def parent_name(self) -> str | None:
        """Return ``pool/image@snapshot``, None without a parent."""
        parent = self.parent
        return f"{parent.image.pool.name}/{parent.image.name}@{parent.name}" if parent else None


def object_of(objects: dict[int, bytes], parent: Snapshot | None, overlap: int, number: int) -> bytes | None:
    """Return one object of an image or a snapshot, its parent's where it has none, None for zeros."""
    if number in objects:
        return objects[number]
    if parent is None or number * OBJECT >= overlap:
        return None
    data = parent.read(number)
    return data[: overlap - number * OBJECT] if data is not None else None


class Pool:
    """Images by name, and those in the trash."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.cluster, self.name = cluster, name
        self.images: dict[str, Image] = {}
        self.trash: list[Image] = []
        # Sources of live migrations: nowhere to be seen, and in the trash where they break its listing.
        self.moved: list[Image] = []
        # Keys and values of objects that are no images' (omap).
        self.omaps: dict[str, dict[str, bytes]] = {}

    def create(self, name: str, size: int) -> Image:
        """Make an empty image. Raises RbdError for a name that exists."""
        if name in self.images:
            raise RbdError(f"{name} exists")
        return self.images.setdefault(name, Image(self, name, size))

    def clone(self, snapshot: Snapshot, name: str) -> Image:
        """Make a clone of a snapshot of this cluster."""
        made = self.create(name, snapshot.size)
        made.parent, made.overlap = snapshot, snapshot.size
        return made

    def rename(self, old: str, new: str) -> None:
        """Rename an image."""
        image = self.images.pop(old)
        image.name = new
        self.images[new] = image

    def remove(self, name: str) -> None:
        """Remove an image; one with snapshots that clones hang on goes to the trash."""
        image = self.images.pop(name)
        if image.snapshots:
            self.trash.append(image)
        else:
            image.detach()


class Cluster:
    """A Ceph: pools by name."""

    def __init__(self, fsid: str, pools: tuple[str, ...] = ("images", "volumes", "vms")) -> None:
        self.fsid = fsid
        self.pools = {name: Pool(self, name) for name in pools}
        # Addresses of clients that may not write any more.
        self.blocklist: set[str] = set()
        # Ceph's require_min_compat_client.
        self.oldest = "mimic"
        self._snapshots = 0

    def next_snapshot(self) -> int:
        """Return the id of a new snapshot."""
        self._snapshots += 1
        return self._snapshots

    def images(self) -> Iterator[Image]:
        """Return all images, those in the trash too."""
        for pool in self.pools.values():
            yield from pool.images.values()
            yield from pool.trash

    def children(self, snapshot: Snapshot) -> list[Image]:
        """Return the clones of a snapshot."""
        return [image for image in self.images() if image.parent is snapshot]
