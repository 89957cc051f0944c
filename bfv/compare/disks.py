# SPDX-License-Identifier: Apache-2.0
"""What a root disk is in its Ceph: whose clone, what it holds itself, and whether its bytes are the image's."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bfv.errors import NotAllowed, NotFound, Refused
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.types import Image

CHUNK = 4 * 1024 * 1024
OBJECT = 4 * 1024 * 1024
GIB = 1024**3


@dataclass(frozen=True)
class Found:
    """A disk in Ceph; ``parent`` is the name of the image that it is a clone of, ``clones`` those of its own."""

    parent: str | None
    clones: tuple[str, ...]
    held: int
    objects: int


def place(cluster: Cluster, connection: Mapping[str, Any]) -> tuple[Pool, str]:
    """Return the pool and the image that a host is told to use (``cinder/volume/drivers/rbd.py``)."""
    pool, _, name = str(connection["name"]).partition("/")
    return cluster.pool(pool), name


def look(cluster: Cluster, connection: Mapping[str, Any]) -> Found | None:
    """Return what a disk is, None where this cephx user may not read its pool."""
    pool, name = place(cluster, connection)
    with contextlib.suppress(NotAllowed, NotFound, Refused):
        image, held = pool.look(name), [each for each in pool.held(name) if each.exists]
        objects = {number for each in held for number in range(each.offset // OBJECT, -(-each.end // OBJECT))}
        parent, clones = image.parent.image if image.parent else None, tuple(each.image for each in pool.children(name))
        return Found(parent, clones, sum(each.length for each in held), len(objects))
    return None


def differs(cluster: Cluster, connection: Mapping[str, Any], image: Image, sha256: str, size: int) -> str:
    """Compare a disk of ``size`` bytes with its image, byte by byte; return how it differs, "" if it does not."""
    pool, name = place(cluster, connection)
    found = pool.look(name).size
    if found != size:
        return f"{pool.name}/{name} has {found} bytes instead of {size}"
    total, offset = hashlib.sha256(), 0
    while offset < image.size:
        total.update(part := pool.read(name, offset, min(CHUNK, image.size - offset)))
        offset += len(part)
    if total.hexdigest() != sha256:
        return f"{pool.name}/{name} has other bytes than image {image.id}"
    for extent in pool.diff(name):
        start = max(extent.offset, image.size)
        while extent.exists and start < extent.end:
            part = pool.read(name, start, min(CHUNK, extent.end - start))
            if part.count(0) < len(part):
                return f"{pool.name}/{name} has bytes behind the image's end"
            start += len(part)
    return ""
