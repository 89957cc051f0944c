# SPDX-License-Identifier: Apache-2.0
"""Decide how a server boots: the rule, the size, what becomes of its other disks. Pure, no I/O.

Order of rules: an explicit root device, the image's property ``bfv_root``, the flavor's extra
spec ``bfv:root``, the project's rule, the cell's rule, the default. An automatic root goes with its
server, as the local disk did that it replaces; an explicit one keeps what its user said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bfv import devicenames
from bfv.errors import BadRequest, Refused
from bfv.fit import Size
from bfv.types import BootRequest, DiskDevice, DiskPlan, Handling, RootKind
from cells.types import Flavor
from imagebackends.types import Image

GIB = 1 << 30
IMAGE_PROPERTY = "bfv_root"
EXTRA_SPEC = "bfv:root"


@dataclass(frozen=True)
class Rules:
    """What the operator configured; ``min_size`` in GiB."""

    default: RootKind = "volume"
    by_project: Mapping[str, str] = field(default_factory=dict)
    by_cell: Mapping[str, str] = field(default_factory=dict)
    min_size: int = 1
    ephemeral: Handling = "driver"
    swap: Handling = "driver"
    config_drive: Handling = "driver"


@dataclass(frozen=True)
class Origin:
    """What a disk is made of: an image, a snapshot, a volume, or nothing (blank); ``size`` in GiB, 0 unknown.

    ``availability_zone`` is that of a volume that is there already, ``held`` the cell that holds a volume or snapshot,
    and why.
    """

    source_type: str
    source_id: str | None
    size: int = 0
    availability_zone: str | None = None
    held: tuple[str, str] | None = None
    image: Image | None = None
    bootable: bool = False


def root_kind(
    request: BootRequest, image: Image | None, flavor: Flavor, project_id: str, cell: str, rules: Rules
) -> tuple[RootKind, str]:
    """Return whether the root is a volume or local, and the rule that says so. Raises BadRequest."""
    if request.root is not None:
        return _kind(request.root.destination_type, "explicit block device mapping")
    if image is not None and image.properties.get("block_device_mapping"):
        return "volume", "image of a volume-backed server"
    asked = (
        (image.properties.get(IMAGE_PROPERTY) if image else None, f"image property {IMAGE_PROPERTY}"),
        (flavor.extra_specs.get(EXTRA_SPEC), f"flavor extra spec {EXTRA_SPEC}"),
        (rules.by_project.get(project_id), f"rule for project {project_id}"),
        (rules.by_cell.get(cell), f"rule for cell {cell}"),
    )
    for value, rule in asked:
        if value:
            return _kind(value, rule)
    return rules.default, "default"


def _kind(value: Any, rule: str) -> tuple[RootKind, str]:
    if value not in ("volume", "local"):
        raise BadRequest(f"{rule} says {value!r}; it must be 'volume' or 'local'.")
    return cast(RootKind, value), rule


def check_image(image: Image, flavor: Flavor) -> None:
    """Raise BadRequest for an image that cannot boot with this flavor."""
    if image.status != "active":
        raise BadRequest(f"Image {image.id} is {image.status}, not active; wait for its upload or have it reactivated.")
    if image.min_ram > flavor.memory_mb:
        raise BadRequest(
            f"Image {image.id} needs {image.min_ram} MiB of memory, flavor {flavor.name} has "
            f"{flavor.memory_mb}; choose a larger flavor."
        )
    if image.container_format not in ("bare", "") and not image.properties.get("block_device_mapping"):
        raise BadRequest(f"Image {image.id} has container format {image.container_format}; only 'bare' boots.")


def image_size(image: Image) -> int:
    """Return the GiB that an image needs: its virtual size, or else its size, rounded up; and min_disk."""
    bytes_needed = image.virtual_size or image.size
    return max(-(-bytes_needed // GIB), image.min_disk)


def root_disk(request: BootRequest, image: Image | None, flavor: Flavor, origin: Origin, rules: Rules) -> DiskPlan:
    """Return the plan of the root volume. Raises BadRequest for a size that is too small."""
    root = request.root
    explicit = root.volume_size if root else None
    if origin.source_type == "volume":
        size, why = origin.size, "the volume's own size"
    elif explicit:
        size, why = explicit, "asked in the block device mapping"
        if explicit < max(origin.size, 1):
            raise BadRequest(
                f"A root of {explicit} GiB is too small: {origin.source_type} {origin.source_id} "
                f"needs {origin.size} GiB."
            )
    else:
        sizes = {
            "flavor root_gb": flavor.root_gb,
            f"{origin.source_type} size": origin.size,
            "configured minimum": rules.min_size,
            "one GiB": 1,
        }
        why = max(sizes, key=lambda name: sizes[name])
        size = sizes[why]
    return DiskPlan(
        role="root",
        handling="volume",
        source_type=origin.source_type,
        source_id=origin.source_id,
        size=size,
        why=why,
        boot_index=0,
        delete_on_termination=root.delete_on_termination if root else True,
        image_id=image.id if image and origin.source_type == "image" else None,
        volume_type=request.volume_type or (root.volume_type if root else None),
        **(_hints(root) if root else {}),
    )


def _hints(device: DiskDevice) -> dict[str, Any]:
    """Return what is kept of a device as it was asked for."""
    return {
        "device_name": devicenames.full(device.device_name),
        "tag": device.tag,
        "guest_format": device.guest_format,
        "device_type": device.device_type,
        "disk_bus": device.disk_bus,
    }


def data_disk(number: int, device: DiskDevice, origin: Origin) -> DiskPlan:
    """Return the plan of a volume beside the root. Raises BadRequest for a size that is missing or too small."""
    if device.source_type == "volume":
        if device.volume_type:
            raise BadRequest("Specifying volume type to existing volume is not supported.")
        size, why = origin.size, "the volume's own size"
    elif device.volume_size:
        size, why = device.volume_size, "asked in the block device mapping"
        if size < origin.size:
            raise BadRequest(
                f"A disk of {size} GiB is too small: {origin.source_type} {origin.source_id} needs {origin.size} GiB."
            )
    elif device.source_type == "snapshot":
        size, why = origin.size, "the snapshot's own size"
    else:
        raise BadRequest(f"A disk of source type {device.source_type} needs a volume_size that is not zero.")
    if origin.image is not None and origin.image.status != "active":
        raise BadRequest(f"Image {origin.image.id} is {origin.image.status}, not active.")
    return DiskPlan(
        role=f"disk{number}",
        handling="volume",
        source_type=device.source_type,
        source_id=origin.source_id,
        size=size,
        why=why,
        boot_index=device.boot_index,
        delete_on_termination=device.delete_on_termination,
        image_id=origin.source_id if device.source_type == "image" else None,
        volume_type=device.volume_type,
        **_hints(device),
    )


def check_order(disks: Sequence[DiskDevice]) -> None:
    """Raise BadRequest for a boot order with gaps or two devices at one place, names or tags that are there twice.

    ``nova/compute/api.py:_validate_bdm``. Without a 0 among them, the automatic root is before them all.
    """
    order = sorted(each.boot_index for each in disks if each.boot_index >= 0)
    if order not in (list(range(len(order))), list(range(1, len(order) + 1))):
        raise BadRequest(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping "
            "combination is not valid."
        )
    names = [devicenames.full(each.device_name) for each in disks if each.device_name]
    volumes = [each.uuid for each in disks if each.source_type == "volume"]
    for what, found in (("device name", names), ("tag", [each.tag for each in disks if each.tag]), ("volume", volumes)):
        if len(set(found)) < len(found):
            raise BadRequest(f"Block Device Mapping is Invalid: a {what} is there twice.")


def other_disks(flavor: Flavor, rules: Rules, asked: Sequence[DiskDevice] = ()) -> tuple[DiskPlan, ...]:
    """Return the plans of the flavor's ephemeral and swap disks, or of smaller ones that are asked for in their place.

    Raises Refused where they are refused, BadRequest for larger ones.
    """
    plans = []
    local = [device for device in asked if not device.is_volume]
    for role, size, how, guest in (
        *_ephemeral(flavor, rules, [device for device in local if device.guest_format != "swap"]),
        *_swap(flavor, rules, [device for device in local if device.guest_format == "swap"]),
    ):
        if not size:
            continue
        if how == "refuse":
            raise Refused(
                f"Flavor {flavor.name} has a {role} disk, which this cloud does not give to servers "
                "that boot from volume; choose a flavor without it."
            )
        plans.append(
            DiskPlan(
                role=role,
                handling=how,
                source_type="blank",
                source_id=None,
                size=size,
                why=f"flavor {role}",
                guest_format=guest,
            )
        )
    return tuple(plans)


def _ephemeral(
    flavor: Flavor, rules: Rules, asked: Sequence[DiskDevice]
) -> list[tuple[str, int, Handling, str | None]]:
    if any(device.source_type != "blank" for device in asked):
        raise BadRequest("Mapping image to local is not supported.")
    if not asked:
        return [("ephemeral", flavor.ephemeral_gb, rules.ephemeral, None)]
    sizes = [device.volume_size or flavor.ephemeral_gb for device in asked]
    if sum(sizes) > flavor.ephemeral_gb:
        raise BadRequest("Ephemeral disks requested are larger than the instance type allows.")
    roles = ["ephemeral", *(f"ephemeral{number}" for number in range(1, len(sizes)))]
    return [(role, size, rules.ephemeral, each.guest_format)
            for role, size, each in zip(roles, sizes, asked, strict=True)]  # fmt: skip


def _swap(flavor: Flavor, rules: Rules, asked: Sequence[DiskDevice]) -> list[tuple[str, int, Handling, str | None]]:
    if len(asked) > 1:
        raise BadRequest("More than one swap drive requested.")
    mib = (asked[0].volume_size or 0) if asked else flavor.swap
    if mib > flavor.swap:
        raise BadRequest("Swap drive requested is larger than instance type allows.")
    return [("swap", -(-mib // 1024), rules.swap, "swap")]


def size(flavor: Flavor, rules: Rules, asked: Sequence[DiskDevice] = ()) -> Size:
    """Return what a server takes of its host: no disk for what is a volume. Raises what ``other_disks`` raises."""
    local = sum(plan.size for plan in other_disks(flavor, rules, asked) if plan.handling == "driver")
    return Size(flavor.vcpus, flavor.memory_mb, local)


def config_drive(request: BootRequest, rules: Rules) -> Handling | None:
    """Return who makes the config drive, None without one. Raises Refused."""
    if not request.config_drive:
        return None
    if rules.config_drive == "refuse":
        raise Refused("This cloud gives no config drive to servers that boot from volume; use the metadata service.")
    return "driver"


def notes(image: Image | None, root: DiskPlan) -> tuple[str, ...]:
    """Return what its user should know about the cost of this boot."""
    if image is None or root.source_type != "image" or image.disk_format == "raw":
        return ()
    return (
        f"image is {image.disk_format}, not raw: cinder downloads and converts it before the first clone, "
        "and never clones it from Glance; a raw image boots faster",
    )


def describe(plan: DiskPlan) -> str:
    """Return a disk plan as a short line for people."""
    source = f" from {plan.source_type} {plan.source_id}" if plan.source_id else ""
    life = "deleted with the server" if plan.delete_on_termination else "kept when the server is deleted"
    return f"{plan.role}: {plan.handling} of {plan.size} GiB ({plan.why}){source}, {life}"
