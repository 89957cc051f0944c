# SPDX-License-Identifier: Apache-2.0
"""Images as a boot needs them, read with the caller's own rights: what it may not see, it may not boot."""

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from imagebackends.errors import BadRequest, NotFound
from imagebackends.http import Settings, make_session, told
from imagebackends.types import Access, Image

# What glance itself tells of an image (glance/api/v2/images.py:get_base_properties); all else are properties.
BASE = frozenset(
    (
        *("id", "name", "status", "size", "virtual_size", "min_disk", "min_ram", "disk_format", "container_format"),
        *("owner", "visibility", "created_at", "updated_at", "checksum", "os_hash_algo", "os_hash_value", "os_hidden"),
        *("protected", "tags", "self", "file", "schema", "stores", "locations", "direct_url"),
    )
)


class Images:
    """Reads images of one glance, with anybody's ``Access``."""

    def __init__(self, settings: Settings, session: Session | None = None) -> None:
        self._settings, self._session = settings, session or make_session(settings)

    def get(self, access: Access, image_id: str) -> Image:
        """Return an image. Raises NotFound, MaybeRunning."""
        if not image_id:
            raise NotFound("An image without an id could not be found.", request_id=access.request_id)
        with told(f"look at image {image_id}", access):
            path = f"/v2/images/{quote(image_id, safe='')}"
            return _image(adapter(self._settings, self._session, access).get(path).json())

    def find(self, access: Access, name_or_id: str) -> Image:
        """Return an image by id, else by name. Raises NotFound, BadRequest for a name of several images."""
        try:
            return self.get(access, str(uuid.UUID(name_or_id)))
        except ValueError:
            pass
        with told(f"look for image {name_or_id}", access):
            answer = adapter(self._settings, self._session, access).get("/v2/images", params={"name": name_or_id})
            found = [_image(each) for each in answer.json()["images"]]
        if not found:
            raise NotFound(f"Image {name_or_id} could not be found.", request_id=access.request_id)
        if len(found) > 1:
            ids = ", ".join(each.id for each in found)
            words = f"Several images are called {name_or_id}; say which by its id: {ids}."
            raise BadRequest(words, request_id=access.request_id)
        return found[0]


def adapter(settings: Settings, session: Session, access: Access) -> Adapter:
    """Return a plain adapter to glance."""
    return Adapter(
        session,
        auth=access.auth,
        service_type="image",
        region_name=settings.region_name,
        interface=settings.interface,
        endpoint_override=settings.image_endpoint,
        global_request_id=access.request_id,
        connect_retries=settings.read_retries,
    )


def volume_snapshots(image: Image) -> list[dict[str, Any]]:
    """Return the disks of an image of a volume-backed server (nova/compute/api.py:snapshot_volume_backed), or [].

    Raises BadRequest for a mapping that is no list of objects.
    """
    text = image.properties.get("block_device_mapping")
    if not text:
        return []
    try:
        items = json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise BadRequest(f"Image {image.id} has a block_device_mapping that is no JSON.") from error
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise BadRequest(f"Image {image.id} has a block_device_mapping that is no list of mappings.")
    return [dict(item) for item in items if item.get("destination_type", "volume") == "volume"]


def _image(raw: Mapping[str, Any]) -> Image:
    return Image(
        id=raw["id"],
        name=raw.get("name") or "",
        status=raw["status"],
        size=raw.get("size") or 0,
        virtual_size=raw.get("virtual_size"),
        min_disk=raw.get("min_disk") or 0,
        min_ram=raw.get("min_ram") or 0,
        disk_format=raw.get("disk_format") or "",
        container_format=raw.get("container_format") or "",
        owner=raw.get("owner") or "",
        visibility=raw.get("visibility") or "",
        properties={key: value for key, value in raw.items() if key not in BASE},
        checksum=raw.get("checksum"),
    )
