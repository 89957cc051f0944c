# SPDX-License-Identifier: Apache-2.0
"""Decide how a server boots: the rule, the size, what becomes of its other disks. Pure, no I/O.

Order of rules: an explicit root device, the image's property ``bfv_root``, the flavor's extra
spec ``bfv:root``, the project's rule, the cell's rule, the default. An automatic root goes with its
server, as the local disk did that it replaces; an explicit one keeps what its user said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from bfv.errors import BadRequest, Refused
from bfv.fit import Size
from bfv.types import BootRequest, DiskPlan, Handling, RootKind
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
    """What the root is made of: the image, or what the root device named; ``size`` in GiB, 0 unknown.

    ``availability_zone`` is that of a volume that is there already.
    """

    source_type: str
    source_id: str
    size: int = 0
    availability_zone: str | None = None


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
    )


def other_disks(flavor: Flavor, rules: Rules) -> tuple[DiskPlan, ...]:
    """Return the plans of the flavor's ephemeral and swap disks. Raises Refused where they are refused."""
    plans = []
    swap_gib = -(-flavor.swap // 1024)
    for role, size, how, guest in (
        ("ephemeral", flavor.ephemeral_gb, rules.ephemeral, None),
        ("swap", swap_gib, rules.swap, "swap"),
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


def size(flavor: Flavor, rules: Rules) -> Size:
    """Return what a server takes of its host: no disk for what is a volume. Raises what ``other_disks`` raises."""
    local = sum(plan.size for plan in other_disks(flavor, rules) if plan.handling == "driver")
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
