# SPDX-License-Identifier: Apache-2.0
"""Images as a boot needs them, read with the caller's own rights: what it may not see, it may not boot.

And images of servers: without bytes, they name snapshots.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from imagebackends.errors import BadRequest, InUse, NotAllowed, NotFound, Unsupported
from imagebackends.http import Settings, make_session, told
from imagebackends.types import Access, Image, NewImage

# What glance itself tells of an image (glance/api/v2/images.py:get_base_properties); all else are properties.
BASE = frozenset(
    (
        *("id", "name", "status", "size", "virtual_size", "min_disk", "min_ram", "disk_format", "container_format"),
        *("owner", "visibility", "created_at", "updated_at", "checksum", "os_hash_algo", "os_hash_value", "os_hidden"),
        *("protected", "tags", "self", "file", "schema", "stores", "locations", "direct_url"),
    )
)


class Images:
    """Images of one glance, with anybody's ``Access``."""

    def __init__(self, settings: Settings, session: Session | None = None) -> None:
        self._settings, self._session = settings, session or make_session(settings)

    def make(self, access: Access, new: NewImage) -> None:
        """Make a private image that has no bytes yet, raw; repeatable: one of its id in the same project is it.

        Raises BadRequest, NotAllowed, OverQuota, InUse for an id that is another's, MaybeRunning.
        """
        if taken := BASE.intersection(new.properties):
            raise BadRequest(f"An image has no property {min(taken)}: Glance has that name for itself; choose another.")
        body = {**new.properties, "id": new.id, "name": new.name, "visibility": "private", "disk_format": "raw",
                "container_format": "bare", "min_disk": new.min_disk, "min_ram": new.min_ram}  # fmt: skip
        try:
            with told(f"make image {new.id}", access):
                adapter(self._settings, self._session, access, retries=0).post("/v2/images", json=body)
        except InUse:
            if self.get(access, new.id).owner != access.project_id:
                raise

    def fill(self, access: Access, image_id: str) -> None:
        """Give an image no bytes at all, which makes it active; repeatable. Raises NotFound, InUse, MaybeRunning.

        ``nova/image/glance.py:_create_v2`` with force_activate.
        """
        path = f"/v2/images/{quote(image_id, safe='')}/file"
        try:
            with told(f"activate image {image_id}", access):
                plain = adapter(self._settings, self._session, access, retries=0)
                plain.put(path, data=b"", headers={"Content-Type": "application/octet-stream"})
        except InUse:
            if self.get(access, image_id).status != "active":
                raise

    def remove(self, access: Access, image_id: str) -> None:
        """Delete an image; one that is gone is no error. Raises NotAllowed, InUse, MaybeRunning."""
        try:
            with told(f"delete image {image_id}", access):
                adapter(self._settings, self._session, access, retries=0).delete(
                    f"/v2/images/{quote(image_id, safe='')}"
                )
        except NotFound:
            return

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

    def listed(self, access: Access) -> list[Image]:
        """Return all images that these rights are shown, by name."""
        with told("list the images", access):
            plain, path, found = adapter(self._settings, self._session, access), "/v2/images?sort=name:asc", []
            while path:
                answer = plain.get(path).json()
                found += [_image(each) for each in answer["images"]]
                path = answer.get("next")
        return found

    def copy(self, access: Access, image_id: str, store: str) -> None:
        """Start to copy an image's bytes to a store (import method copy-image); done when its ``stores`` name it.

        Raises InUse while another import of the image runs, NotAllowed, Refused for a store that is not there.
        """
        body = {"method": {"name": "copy-image"}, "stores": [store], "all_stores_must_succeed": True}
        with told(f"copy image {image_id} to store {store}", access):
            path = f"/v2/images/{quote(image_id, safe='')}/import"
            adapter(self._settings, self._session, access, retries=0).post(path, json=body)

    def shows_locations(self, access: Access, image_id: str) -> bool:
        """Say whether these rights are told where the bytes are, as cinder must be to clone them (2.17, 2024.2)."""
        path = f"/v2/images/{quote(image_id, safe='')}/locations"
        try:
            with told(f"look at the locations of image {image_id}", access):
                return bool(adapter(self._settings, self._session, access).get(path).json())
        except (NotAllowed, Unsupported, NotFound):
            return False


def adapter(settings: Settings, session: Session, access: Access, retries: int | None = None) -> Adapter:
    """Return a plain adapter to glance; it repeats calls unless told how often."""
    return Adapter(
        session,
        auth=access.auth,
        service_type="image",
        region_name=settings.region_name,
        interface=settings.interface,
        endpoint_override=settings.image_endpoint,
        global_request_id=access.request_id,
        connect_retries=settings.read_retries if retries is None else retries,
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
        # Glance's own notes on an import under way come and go (glance/async_/flows/api_image_import.py).
        properties={key: value for key, value in raw.items() if key not in BASE and not key.startswith("os_glance_")},
        stores=tuple(filter(None, (raw.get("stores") or "").split(","))),
        updated_at=raw.get("updated_at") or "",
        importing=bool(raw.get("os_glance_import_task") or raw.get("os_glance_importing_to_stores")),
        checksum=raw.get("checksum"),
        digest=raw.get("os_hash_value") or raw.get("checksum") or "",
    )
