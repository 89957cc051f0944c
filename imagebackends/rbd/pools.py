# SPDX-License-Identifier: Apache-2.0
"""The pools of all cells, and who may see what is in them: Ceph knows no projects, so they are kept here."""

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from imagebackends.errors import BadRequest, NotFound
from imagebackends.http import Settings
from imagebackends.rbd import disks
from imagebackends.rbd.bindings import Bindings
from imagebackends.rbd.disks import Claim, Key, Own, crc
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.rbd.types import Id, Image
from imagebackends.types import Access

Item = TypeVar("Item")
Value = TypeVar("Value")
TOGETHER = 8


class Pools:
    """Nova's pool of each configured cell."""

    def __init__(self, settings: Settings, bindings: Bindings) -> None:
        self._cells = {crc(name): name for name in settings.ceph}
        if len(self._cells) < len(settings.ceph):
            raise BadRequest(f"Two of these cells' names have one checksum; rename one: {', '.join(settings.ceph)}.")
        silent = settings.silent or (lambda *_: None)
        self.clusters = {
            name: Cluster(ceph, bindings, functools.partial(silent, name)) for name, ceph in settings.ceph.items()
        }

    def close(self) -> None:
        """End the connections when what runs has ended."""
        for cluster in self.clusters.values():
            cluster.close()

    def of(self, cell: str) -> Pool:
        """Return a cell's pool. Raises BadRequest for a cell without Ceph."""
        if cell not in self.clusters:
            known = ", ".join(self.clusters)
            raise BadRequest(f"Cell {cell} has no ceph.conf for the image backend rbd; those that have one: {known}.")
        cluster = self.clusters[cell]
        return cluster.pool(cluster.ceph.pool)

    def key(self, id: str, kind: str | None = None) -> Key:
        """Return an id of ours, parsed. Raises NotFound."""
        key = disks.parse(id, kind)
        if key is None or key.cell not in self._cells:
            raise NotFound(f"{ {'a': 'Attachment', 's': 'Snapshot'}.get(kind or '', 'Disk') } {id} could not be found.")
        return key

    def cell(self, key: Key) -> str:
        """Return the name of the cell that an id is of."""
        return self._cells[key.cell]

    def own(self, access: Access, key: Key) -> Own:
        """Return a disk of ours if these rights may see it. Raises NotFound."""
        cell = self.cell(key)
        own = self._look(cell, key.image)
        if own is None or not sees(access, own.image):
            raise NotFound(f"Disk {key.disk} could not be found.")
        return own

    def of_server(self, access: Access, server_id: str | None) -> list[Own]:
        """Return a server's disks, None: all servers'. With one cell down nobody knows them."""
        books = together(lambda cell: self.of(cell).values(), self.clusters)
        claimed = [
            (cell, image)
            for cell, book in zip(self.clusters, books, strict=True)
            for image, text in book.items()
            if (claim := Claim.read(text)) and claim.server and server_id in (None, claim.server)
        ]
        found = together(lambda pair: self._look(*pair), claimed)
        return [own for own in found if own and sees(access, own.image)]

    def _look(self, cell: str, image_id: str) -> Own | None:
        pool = self.of(cell)
        image = pool.find(Id(image_id))
        return Own(cell, pool, image, Claim.read(pool.value(image_id))) if image else None


def sees(access: Access, image: Image) -> bool:
    """Say whether an image is a disk of ours, and one that these rights may see."""
    project = disks.project(image)
    return project is not None and (access.everywhere or project == access.project_id)


def together(work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
    """Return what came of all items, several at once; the first error ends it."""
    with ThreadPoolExecutor(TOGETHER, thread_name_prefix="rbd-look") as threads:
        try:
            return list(threads.map(work, items))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
