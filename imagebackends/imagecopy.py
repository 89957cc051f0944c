# SPDX-License-Identifier: Apache-2.0
"""A private copy of an image in Glance, of an id that the caller chose: nothing has ever cached it."""

import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from keystoneauth1.session import Session

from imagebackends.errors import NotFound
from imagebackends.glance import adapter
from imagebackends.http import Settings, told
from imagebackends.types import Access, Image

CHUNK = 4 * 1024 * 1024


def digest(settings: Settings, session: Session, access: Access, image: Image) -> str:
    """Read an image from Glance and return the SHA-256 of its bytes."""
    total = hashlib.sha256()
    for chunk in _read(settings, session, access, image, total):
        del chunk
    return total.hexdigest()


def copy(settings: Settings, session: Session, access: Access, image: Image, new_id: str, name: str) -> str:
    """Make the copy, and return the SHA-256 of its bytes; they go through this process once.

    Each call is sent once. After an error the image may be there all the same: ``remove`` it.
    """
    glance = adapter(settings, session, access)
    body = {
        "id": new_id,
        "name": name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "visibility": "private",
    }
    total = hashlib.sha256()
    with told(f"copy image {image.id} to {new_id}", access):
        glance.post("/v2/images", json=body, connect_retries=0)
        glance.put(
            f"/v2/images/{new_id}/file",
            data=_read(settings, session, access, image, total),
            headers={"Content-Type": "application/octet-stream"},
            connect_retries=0,
        )
    return total.hexdigest()


def remove(settings: Settings, session: Session, access: Access, image_id: str) -> None:
    """Delete an image; one that is gone already is no error. Raises InUse while Ceph keeps it for its clones."""
    try:
        with told(f"delete image {image_id}", access):
            adapter(settings, session, access).delete(f"/v2/images/{image_id}", connect_retries=0)
    except NotFound:
        return


def _read(settings: Settings, session: Session, access: Access, image: Image, total: Any) -> Iterator[bytes]:
    with told(f"read image {image.id}", access):
        path = f"/v2/images/{quote(image.id, safe='')}/file"
        answer: Any = adapter(settings, session, access).get(path, stream=True)
        with answer:
            for chunk in answer.iter_content(CHUNK):
                total.update(chunk)
                yield chunk
