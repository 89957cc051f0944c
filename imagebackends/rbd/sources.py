# SPDX-License-Identifier: Apache-2.0
"""Where an image's bytes are: in this cell's own Ceph, to be cloned, or with Glance, to be fetched.

The rule is nova's (``nova/storage/rbd_utils.py:is_cloneable``): a raw image, a location with this cluster's fsid.
"""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, unquote

from keystoneauth1.session import Session

from imagebackends.errors import BadRequest, MaybeRunning, NotAllowed, NotFound, StorageError, Unsupported
from imagebackends.glance import Images, adapter
from imagebackends.http import Settings, told
from imagebackends.rbd.disks import FAILED, GIB, READY, STATE, WHY
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.rbd.types import Id, SnapshotName
from imagebackends.types import Access, DiskSpec, Image

LOG = logging.getLogger(__name__)
# Images that are fetched at once into a cell by this process; each takes a stream from Glance and one into Ceph.
TURNS = 2
WAITING = 64
CHUNK = 4 * 1024 * 1024
SNAPSHOT = "snap"  # glance_store/_drivers/rbd.py:DEFAULT_SNAPNAME
PLAIN = ("raw", "iso")


class Sources:
    """Reads Glance with anybody's ``Access``, and a cell's Ceph."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings, self._session = settings, session
        self._images = Images(settings, session)

    def check(self, access: Access, spec: DiskSpec) -> Image:
        """Return the image, read with the caller's rights. Raises NotFound, BadRequest, Unsupported."""
        image = self._images.get(access, spec.source_id or "")
        if image.status != "active":
            raise BadRequest(f"Image {image.id} is {image.status}; only an active one can be booted.")
        if image.disk_format not in PLAIN:
            raise Unsupported(
                f"Image {image.id} is {image.disk_format}: the rbd image backend takes raw images only. Convert it "
                f"(qemu-img convert -O raw), or boot from a volume: cinder converts."
            )
        smallest = max(image.size, image.virtual_size or 0, image.min_disk * GIB)
        if spec.size * GIB < smallest:
            raise BadRequest(f"Image {image.id} needs {-(-smallest // GIB)} GiB, and {spec.size} GiB were asked for.")
        return image

    def parent(self, access: Access, image: Image, cluster: Cluster) -> SnapshotName | None:
        """Return the snapshot in this cluster that an image can be cloned from, or None.

        Glance tells locations to services alone, unless it was told to show them. To others it may say nothing; then
        the image is looked for under the name that Glance's store gives it, where the operator named that pool.
        """
        if image.disk_format != "raw":
            return None
        locations = self._locations(access, image)
        pool = cluster.ceph.images_pool
        guesses = [SnapshotName(pool, image.id, SNAPSHOT)] if pool and locations is None else []
        for each in [*_in(locations or [], cluster), *guesses]:
            if self._is_whole(each, image, cluster):
                return each
        return None

    def _is_whole(self, name: SnapshotName, image: Image, cluster: Cluster) -> bool:
        """Glance makes the snapshot when all bytes are there; one of another size is another image's."""
        found = cluster.pool(name.pool).find(name.image)
        return found is not None and (name.snapshot, image.size) in ((s.name, s.size) for s in found.snapshots)

    def _locations(self, access: Access, image: Image) -> list[str] | None:
        """Return the locations that Glance tells, None when it may not tell this caller."""
        path = f"/v2/images/{quote(image.id, safe='')}"
        with told(f"look at the locations of image {image.id}", access):
            glance = adapter(self._settings, self._session, access)
            shown = glance.get(path).json()
            listed = shown.get("locations") or ([{"url": shown["direct_url"]}] if shown.get("direct_url") else None)
        if listed is None:
            try:
                # Images API 2.17 (2024.2).
                with told(f"look at the locations of image {image.id}", access):
                    listed = glance.get(f"{path}/locations").json()
            except (NotAllowed, NotFound):
                return None
        return [each["url"] for each in listed]

    def bytes_of(self, access: Access, image: Image) -> Iterator[bytes]:
        """Yield an image's bytes as Glance sends them. Raises MaybeRunning when fewer come than there are."""
        with told(f"fetch image {image.id}", access):
            glance = adapter(self._settings, self._session, access)
            answer: Any = glance.get(f"/v2/images/{quote(image.id, safe='')}/file", stream=True)
            with answer:
                yield from answer.iter_content(CHUNK)


class Fetches:
    """Fetches images into new disks behind the answer; what goes wrong is written onto the disk.

    Each cell has threads and turns of its own: where one's Ceph is silent, the others' disks are made all the same.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._lock = threading.Lock()
        self._lanes: dict[str, tuple[ThreadPoolExecutor, threading.Semaphore]] = {}

    def close(self) -> None:
        """Wait for those that run."""
        for threads, _ in self._lanes.values():
            threads.shutdown()

    def _lane(self, conf: str) -> tuple[ThreadPoolExecutor, threading.Semaphore]:
        with self._lock:
            if conf not in self._lanes:
                # More threads than turns: a disk is open, and so seen to be in the making, while it waits for its turn.
                threads = ThreadPoolExecutor(WAITING, thread_name_prefix=f"rbd-fetch-{conf}")
                self._lanes[conf] = threads, threading.Semaphore(TURNS)
            return self._lanes[conf]

    def start(self, access: Access, image: Image, pool: Pool, new: Id) -> None:
        """Begin to fetch an image with the caller's rights."""
        threads, turns = self._lane(pool.cluster.ceph.conf)
        threads.submit(self._fetch, access, image, pool, new, turns)

    def _fetch(self, access: Access, image: Image, pool: Pool, new: Id, turns: threading.Semaphore) -> None:
        try:
            count = pool.fill(new, self._in_turn(access, image, turns))
            if count != image.size:
                raise MaybeRunning(f"Glance sent {count} bytes of image {image.id}, which has {image.size}.")
            end = {STATE: READY}
        except Exception as error:
            LOG.warning("Image %s was not fetched into disk %s: %s", image.id, new.value, error)
            end = {WHY: str(error), STATE: FAILED}
        try:
            pool.set_metadata(new, end)
        except StorageError as error:
            # Nobody has it open any more, so it becomes one whose maker died.
            LOG.warning("How disk %s ended could not be written onto it: %s", new.value, error)

    def _in_turn(self, access: Access, image: Image, turns: threading.Semaphore) -> Iterator[bytes]:
        with turns:
            yield from self._sources.bytes_of(access, image)


def _in(locations: list[str], cluster: Cluster) -> Iterator[SnapshotName]:
    """Yield the locations that are snapshots of this cluster (``rbd://fsid/pool/image/snapshot``)."""
    for url in locations:
        parts = [unquote(part) for part in url.removeprefix("rbd://").split("/")]
        if url.startswith("rbd://") and len(parts) == 4 and all(parts) and parts[0] == cluster.fsid:
            yield SnapshotName(*parts[1:])
