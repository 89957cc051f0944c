# SPDX-License-Identifier: Apache-2.0
"""What Cinder checks before it accepts a new volume (``cinder/volume/flows/api/create_volume.py``)."""

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import quotas
from bfv.mockcloud.block import MALFORMED, bad_input, invalid, snapshot_of, unfit, volume_of
from bfv.mockcloud.images import visible
from bfv.mockcloud.rbd import GIB
from bfv.mockcloud.state import Image, Volume, VolumeSnapshot, VolumeType
from bfv.mockcloud.wire import Json, Refusal, Request

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

# cinder/api/schemas/volumes.py; since 3.53 what is not here is refused.
KEYS = frozenset(
    (
        *("name", "description", "display_name", "display_description", "volume_type", "metadata", "snapshot_id"),
        *("source_volid", "consistencygroup_id", "size", "availability_zone", "multiattach", "image_id", "imageRef"),
        *("backup_id", "group_id", "OS-SCH-HNT:scheduler_hints"),
    )
)
LONGEST = 255


def make(cloud: "Cloud", request: Request) -> Volume:
    """Check a request and return the row that Cinder keeps of it. Raises 400, 404, 413."""
    whole = request.json()
    if not isinstance(whole, dict) or "volume" not in whole:
        raise Refusal(400, "'volume' is a required property")
    body: Json = whole["volume"]
    _check(body, request.minor)
    metadata = check_metadata(body.get("metadata") or {})
    snapshot = snapshot_of(cloud, request, body["snapshot_id"]) if body.get("snapshot_id") else None
    source = volume_of(cloud, request, body["source_volid"]) if body.get("source_volid") else None
    given = body.get("imageRef") or body.get("image_id")
    image = find_image(cloud, request, given) if given else None
    kind = _type(cloud, request, body.get("volume_type"), image, snapshot, source)
    size = _size(body.get("size"), image, snapshot, source)
    zone = _zone(cloud, kind, body.get("availability_zone"), snapshot, source)
    quotas.claim(cloud, request.who.project_id, kind.name, volumes=1, gigabytes=size)
    base = (snapshot and cloud.volumes[snapshot.volume_id]) or source
    volume = Volume(
        id=str(uuid.uuid4()),
        project_id=request.who.project_id,
        user_id=request.who.user.id,
        size=size,
        type_id=kind.id,
        availability_zone=zone,
        created_at=cloud.clock.now(),
        name=body.get("name", body.get("display_name")),
        description=body.get("description", body.get("display_description")),
        metadata=metadata,
        bootable=bool(base and base.bootable),
        image_metadata=dict(base.image_metadata) if base else {},
        multiattach=kind.extra_specs.get("multiattach") == "<is> True",
        snapshot_id=snapshot.id if snapshot else None,
        source_volid=source.id if source else None,
        image_id=image.id if image else None,
        request_id=request.id,
    )
    cloud.volumes[volume.id] = volume
    return volume


def _check(body: Mapping[str, Any], minor: int) -> None:
    """Refuse what the schema refuses."""
    if (stray := sorted(set(body) - KEYS)) and minor >= 53:
        names = ", ".join(repr(name) for name in stray)
        verb = "was" if len(stray) == 1 else "were"
        text = f"Additional properties are not allowed ({names} {verb} unexpected)"
        raise unfit("volume", body, text)
    size = body.get("size")
    if isinstance(size, str) and not size.isdigit():
        raise unfit("size", size, f"{size!r} does not match '^[0-9]+$'")
    if size is not None and int(size) < 1:
        raise unfit("size", size, f"{size} is less than the minimum of 1")
    for name in ("name", "description"):
        value = body.get(name)
        if not isinstance(value, str | None):
            raise unfit(name, value, f"{value!r} is not of type 'string', 'null'")
        if value is not None and len(value) > LONGEST:
            raise bad_input(f"{name} has {len(value)} characters, more than {LONGEST}.")


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata. Raises 400 for values that are no short strings."""
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise unfit(name, value, f"{value!r} is not of type 'string'")
        if len(value) > LONGEST:
            raise unfit(name, value, f"{value!r} is too long")
    return dict(metadata)


def find_image(cloud: "Cloud", request: Request, given: str) -> Image:
    """Return an image by id or name. Raises 400 for one that is not seen or not active."""
    seen = [
        each for each in cloud.images.values() if given in (each.id, each.fields["name"]) and visible(each, request)
    ]
    seen = [each for each in seen if each.id == given] or seen
    if len(seen) > 1:
        text = f"Multiple matches found for '{given}', use an ID to be more specific."
        raise Refusal(409, text)
    if not seen:
        raise Refusal(400, "Invalid image identifier or unable to access requested image.")
    return active(seen[0])


def active(image: Image) -> Image:
    """Return an image that may be used. Raises 400 for others."""
    if image.fields["status"] != "active":
        raise bad_input(f"Image {image.id} is not active.")
    return image


def _type(
    cloud: "Cloud",
    request: Request,
    given: str | None,
    image: Image | None,
    snapshot: VolumeSnapshot | None,
    source: Volume | None,
) -> VolumeType:
    """Return the type: the request's, the source's, the image's, the default."""
    base = source or (cloud.volumes[snapshot.volume_id] if snapshot else None)
    if given is None and base is not None:
        return cloud.types[base.type_id]
    wanted = given or (image.properties.get("cinder_img_volume_type") if image else None) or cloud.settings.cells[0]
    kind = find_type(cloud, request, wanted)
    if base is not None and not _alike(cloud.types[base.type_id], kind):
        hint = "either match source volume, or omit type argument" if source else "recommend omitting the type argument"
        raise bad_input(f"Invalid volume_type provided: {kind.id} (requested type is not compatible; {hint}).")
    return kind


def _alike(one: VolumeType, other: VolumeType) -> bool:
    name = "volume_backend_name"
    return one.extra_specs.get(name) == other.extra_specs.get(name)


def find_type(cloud: "Cloud", request: Request, wanted: str) -> VolumeType:
    """Return a type by id or name. Raises 404."""
    for kind in cloud.types.values():
        if wanted in (kind.id, kind.name) and (kind.is_public or request.who.admin):
            return kind
    try:
        uuid.UUID(wanted)
    except ValueError as error:
        raise Refusal(404, f"Volume type with name {wanted} could not be found.") from error
    raise Refusal(404, f"Volume type {wanted} could not be found.")


def _size(given: Any, image: Image | None, snapshot: VolumeSnapshot | None, source: Volume | None) -> int:
    """Return the size in GiB. Raises 400 for one that is too small for its source."""
    if source is not None and source.status not in ("available", "in-use"):
        raise invalid("Originating source volume status must be one of 'available, in-use' values")
    if snapshot is not None and snapshot.status != "available":
        raise Refusal(400, "Invalid snapshot: Originating snapshot status must be one of 'available' values")
    least = snapshot.size if snapshot else source.size if source else None
    if given is None and least is None:
        raise Refusal(400, MALFORMED)
    size = int(given) if given is not None else int(least or 0)
    if snapshot is not None and size < snapshot.size:
        text = f"Volume size '{size}'GB cannot be smaller than the snapshot size {snapshot.size}GB."
        raise bad_input(f"{text} They must be >= original snapshot size.")
    if source is not None and size < source.size:
        text = f"Volume size '{size}'GB cannot be smaller than original volume size  {source.size}GB."
        raise bad_input(f"{text} They must be >= original volume size.")
    if image is not None:
        check_fit(image, size)
    return size


def check_fit(image: Image, size: int) -> None:
    """Refuse an image that does not fit (``cinder/volume/volume_utils.py:check_image_metadata``)."""
    if size < gib(image.fields["size"]):
        whole = gib(image.fields["size"])
        raise bad_input(f"Size of specified image {whole}GB is larger than volume size {size}GB.")
    if size < (image.fields["min_disk"] or 0):
        least = image.fields["min_disk"]
        raise bad_input(f"Volume size {size}GB cannot be smaller than the image minDisk size {least}GB.")
    if size < gib(image.fields["virtual_size"]):
        whole = gib(image.fields["virtual_size"])
        raise bad_input(f"Image virtual size is {whole}GB and doesn't fit in a volume of size {size}GB.")


def gib(size: int | None) -> int:
    """Return bytes as GiB, rounded up."""
    return -(-(size or 0) // GIB)


def _zone(
    cloud: "Cloud",
    kind: VolumeType,
    given: str | None,
    snapshot: VolumeSnapshot | None,
    source: Volume | None,
) -> str:
    """Return the zone: the source's, the request's, the type's, the default. Raises 400 where they disagree."""
    base = source or (cloud.volumes[snapshot.volume_id] if snapshot else None)
    listed = [each.strip() for each in kind.extra_specs.get("RESKEY:availability_zones", "").split(",") if each.strip()]
    allowed = [base.availability_zone] if base else listed or list(cloud.cells)
    if given is not None and given not in allowed:
        raise Refusal(400, f"Availability zone '{given}' is invalid.")
    return given or allowed[0]
