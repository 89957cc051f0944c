# SPDX-License-Identifier: Apache-2.0
"""Remove what nothing needs from cinder's pools: its driver's remains, and our own sources that are retired.

It needs a ceph.conf of the cell: only Ceph knows what descends from what. Where there is none, all is kept and told.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bfv.errors import NotAllowed, NotFound, StorageError
from bfv.images import book, left, overview, retire
from bfv.images.warm import NEEDS_ADMIN
from bfv.parts import Parts
from bfv.types import new_request_id, utcnow
from cells.errors import Exists
from imagebackends.rbd import remains
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.types import Access

# A chain of clones is freed from its end, a link in each round.
ROUNDS = 8


@dataclass(frozen=True)
class Swept:
    """A thing that was found: ``state`` removed, found (with ``dry_run``) or kept, and why."""

    cell: str
    what: str
    bytes: int
    state: str
    why: str = ""


def sweep(parts: Parts, clusters: Mapping[str, Cluster], *, dry_run: bool = False) -> list[Swept]:
    """Remove all that can go, cell by cell, and return it. Raises NotAllowed without an admin's rights."""
    access = parts.rights.everywhere(new_request_id())
    if access is None:
        raise NotAllowed(NEEDS_ADMIN)
    overview.check(parts)
    done: list[Swept] = []
    places = parts.places.places() or {}
    for cell in parts.conf.cells:
        names = sorted({each.pool for (its, _), each in places.items() if its == cell and each.pool})
        pool = clusters[cell].pool(names[0]) if cell in clusters and names else None
        done += _sources(parts, cell, pool, dry_run)
        if pool is None:
            continue
        try:
            done += _remains(parts, access, cell, pool, dry_run)
        except StorageError as error:
            done.append(Swept(cell, pool.name, 0, "kept", str(error)))
    return [*done, *_left(parts, access)]


def _left(parts: Parts, access: Access) -> Iterator[Swept]:
    """Tell what is left of images of servers: it is their projects', and theirs to remove."""
    for each in left.look(parts, access, None):
        why = f"{each} It is project {each.project_id}'s, of server {each.server_id}; image {each.image_id} is gone."
        yield Swept("", f"snapshot {each.snapshot_id}", each.size << 30, "kept", why)


def _remains(parts: Parts, access: Access, cell: str, pool: Pool, dry_run: bool) -> Iterator[Swept]:
    def exists(volume_id: str) -> bool:
        try:
            parts.backend.get(access, volume_id)
        except NotFound:
            return False
        return True

    kept: set[str] = set()
    for _ in range(1 if dry_run else ROUNDS):
        found = [each for each in remains.find(pool, exists) if str(each) not in kept]
        if not found:
            return
        for each in found:
            why = None if dry_run else remains.remove(pool, each)
            if why:
                kept.add(str(each))
            yield Swept(cell, str(each), each.bytes, "found" if dry_run else "kept" if why else "removed", why or "")


def _sources(parts: Parts, cell: str, pool: Pool | None, dry_run: bool) -> Iterator[Swept]:
    for source in book.all_of(parts.journal.database, book.RETIRED, book.BROKEN):
        if source.cell != cell:
            continue
        if source.kind != "snapshot":
            # There is nothing of ours outside; how often it was made in a day tells whether cinder keeps it.
            if utcnow() - source.made_at > book.DAY:
                book.forget(parts.journal.database, source.id)
            continue
        what = f"source of image {source.image_id} (volume {source.volume_id})"
        why = _needed(pool, f"volume-{source.volume_id}")
        if why is None and not retire.rests(parts, source):
            why = "boots that began before it was retired may still ask for it"
        if why is None and not dry_run:
            why = _retired(parts, source)
        state = "kept" if why else "found" if dry_run else "removed"
        yield Swept(cell, what, source.bytes, state, why or "")


def _needed(pool: Pool | None, name: str) -> str | None:
    if pool is None:
        return "without a ceph_conf of this cell nobody knows what descends from it"
    try:
        # Cinder's own image-volume may be a clone of it, by a snapshot that its driver keeps.
        children = [each for each in pool.children(name) if not each.trashed]
    except NotFound:
        return None
    except StorageError as error:
        return str(error)
    return f"{len(children)} clones descend from it" if children else None


def _retired(parts: Parts, source: book.Source) -> str | None:
    try:
        intent = retire.begin(parts, source)
    except Exists:
        return "another process removes it"
    try:
        retire.run(parts, intent)
    except StorageError as error:
        parts.journal.release(intent)
        return f"{error}; `bfv repair` goes on"
    ended = parts.journal.get(intent.id)
    return ended.outcome if ended.phase == "failed" else None
