# SPDX-License-Identifier: Apache-2.0
"""Cinder's image-volume cache, one per backend (``cinder/image/cache.py``)."""

import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud.people import fixed_id
from bfv.mockcloud.rbd import GIB
from bfv.mockcloud.state import CacheEntry, Cell, Image, Volume

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def find(cloud: "Cloud", cell: Cell, image: Image) -> CacheEntry | None:
    """Return the entry of an image; one of an older state of it is removed, and with it its volume."""
    for entry in cloud.cache if cell.cached else ():
        if (entry.host, entry.image_id) == (cell.backend, image.id):
            if entry.image_updated_at == image.updated_at:
                return entry
            _evict(cloud, entry)
            return None
    return None


def _evict(cloud: "Cloud", entry: CacheEntry) -> None:
    from bfv.mockcloud import volumejobs

    cloud.cache.remove(entry)
    if stale := cloud.volumes.get(entry.volume_id):
        volumejobs.delete(cloud, stale)


def fill(cloud: "Cloud", cell: Cell, image: Image, first: Volume) -> None:
    """Make the entry: a clone of the first user's volume, with its type, description and metadata."""
    if not cell.cached:
        return
    pool = cell.cluster.pools["volumes"]
    made = Volume(
        id=str(uuid.uuid4()),
        project_id=cloud.internal_project,
        user_id=fixed_id("user", "cinder-internal"),
        size=-(-(image.fields["virtual_size"] or 1) // GIB),
        type_id=first.type_id,
        availability_zone=first.availability_zone,
        created_at=cloud.second(),
        status="available",
        updated_at=cloud.second(),
        host=cell.backend,
        name=f"image-{image.id}",
        description=first.description,
        metadata=dict(first.metadata),
        admin_metadata={"readonly": "True"},
        source_volid=first.id,
    )
    cloud.volumes[made.id] = made
    snapshot = pool.images[f"volume-{first.id}"].snapshot(f"volume-{made.id}.clone_snap", protected=True)
    pool.clone(snapshot, f"volume-{made.id}").resize(made.size * GIB)
    cloud.cache.append(CacheEntry(cell.backend, image.id, image.updated_at, made.id))
