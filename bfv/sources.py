# SPDX-License-Identifier: Apache-2.0
"""What the disks of a server are made of: looked up with the caller's own rights, before anything is written.

A volume or a snapshot that is there already lies in the storage of one cell, and the server must go there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bfv import decide
from bfv.decide import Origin
from bfv.errors import BadRequest, NotFound, Unsupported
from bfv.parts import Parts
from bfv.types import BootRequest, DiskDevice, RootDevice
from imagebackends.backend import Snapshots
from imagebackends.glance import volume_snapshots
from imagebackends.types import Access, Disk, Image, Target


@dataclass(frozen=True)
class Disks:
    """The disks of a request: what its root is made of, the ``data`` volumes beside it, and the ``local`` disks.

    ``image`` is the one whose rules apply, None where it boots from something else.
    """

    root: Origin
    image: Image | None
    data: tuple[tuple[DiskDevice, Origin], ...] = ()
    local: tuple[DiskDevice, ...] = ()

    def only_cell(self) -> tuple[str, str] | None:
        """Return the one cell that holds what is there already, and why; None if none does. Raises BadRequest."""
        cells = {held[0]: held for origin in self._origins() if (held := origin.held)}
        if len(cells) > 1:
            told = "; ".join(f"cell {cell} {why}" for cell, why in cells.values())
            raise BadRequest(f"The volumes and snapshots of a server must lie in the storage of one cell: {told}.")
        return next(iter(cells.values()), None)

    def zone(self, *, across: bool) -> str | None:
        """Return the zone of the volumes that are there already. Raises BadRequest for two of them, unless across."""
        zones = sorted({origin.availability_zone for origin in self._origins() if origin.availability_zone})
        if len(zones) > 1 and not across:
            raise BadRequest(f"The volumes are in several availability zones: {', '.join(zones)}; use those of one.")
        return zones[0] if zones else None

    def _origins(self) -> tuple[Origin, ...]:
        return (self.root, *(origin for _, origin in self.data))


def disks(parts: Parts, access: Access, request: BootRequest, image: Image | None) -> Disks:
    """Return what all disks of a request are made of. Raises Refused, NotFound."""
    root, data = request.root, list(request.disks)
    if root is None:
        assert image is not None, "checked with the words"
        root, of_image = _of_image(image)
        # The request wins (nova/compute/api.py:_merge_bdms_lists).
        names = {device.device_name for device in data if device.device_name}
        data += [device for device in of_image if device.device_name not in names]
    decide.check_order([root, *data] if root else data)
    if root is None:
        assert image is not None, "as above"
        origin = Origin("image", image.id, decide.image_size(image))
    else:
        origin = find(parts, access, root)
        _check_root(root, origin)
    volumes = tuple((device, find(parts, access, device)) for device in data if device.is_volume)
    return Disks(origin, origin.image or image, volumes, tuple(device for device in data if not device.is_volume))


def _of_image(image: Image) -> tuple[RootDevice | None, list[DiskDevice]]:
    """Return the disks that an image of a volume-backed server names, none for another image."""
    items = volume_snapshots(image)
    if not items:
        return None, []
    roots = [item for item in items if item.get("boot_index") == 0]
    if len(roots) != 1 or not roots[0].get("snapshot_id"):
        raise BadRequest(f"Image {image.id} names no snapshot to boot from; make it anew from its server.")
    root = RootDevice(source_type="snapshot", uuid=roots[0]["snapshot_id"])
    return root, [_of_item(item) for item in items if item is not roots[0]]


def _of_item(item: Mapping[str, Any]) -> DiskDevice:
    source = item.get("source_type") or "snapshot"
    return DiskDevice(
        source_type=source,
        uuid=item.get(f"{source}_id"),
        volume_size=item.get("volume_size"),
        volume_type=item.get("volume_type"),
        delete_on_termination=bool(item.get("delete_on_termination")),
        boot_index=item["boot_index"] if isinstance(item.get("boot_index"), int) else -1,
        device_name=item.get("device_name"),
        tag=item.get("tag"),
        guest_format=item.get("guest_format"),
        device_type=item.get("device_type"),
        disk_bus=item.get("disk_bus"),
    )


def _check_root(root: RootDevice, origin: Origin) -> None:
    if root.source_type == "blank":
        raise BadRequest("A root of source type blank cannot boot; use image, snapshot or volume.")
    if root.source_type == "volume" and not origin.bootable:
        raise BadRequest(f"Volume {root.uuid} is not bootable; `openstack volume set --bootable` makes it so.")


def find(parts: Parts, access: Access, device: DiskDevice) -> Origin:
    """Return what a disk is made of. Raises Refused, NotFound."""
    if device.source_type == "blank":
        return Origin("blank", None)
    if not device.uuid:
        raise BadRequest("Missing device UUID.")
    if device.source_type == "image":
        image = parts.images.get(access, device.uuid)
        return Origin("image", image.id, decide.image_size(image), image=image)
    if device.source_type == "snapshot":
        return _snapshot(parts, access, device.uuid)
    if device.source_type == "volume":
        disk = parts.backend.get(access, device.uuid)
        if disk.project_id and disk.project_id != access.project_id:
            raise NotFound(f"Volume {disk.id} could not be found in project {access.project_id}.")
        check_free(disk)
        held = cell_of(parts, access, disk, f"holds volume {disk.id}")
        return Origin("volume", disk.id, disk.size, disk.availability_zone, held, bootable=disk.bootable)
    raise BadRequest(f"Source type {device.source_type} is none of volume, image, snapshot, blank.")


def check_free(disk: Disk) -> None:
    """Raise BadRequest for a volume that is not free, or that several servers may share."""
    if disk.multiattach:
        # nova/exception.py:MultiattachNotSupportedByVirtDriver, and its code: no driver of ours says that it can.
        raise BadRequest(f"Volume {disk.id} has 'multiattach' set, which is not supported for this instance.")
    if disk.status != "available":
        raise BadRequest(f"Invalid volume: volume {disk.id} is {disk.status}, not available.")


def cell_of_zone(parts: Parts, disk: Disk) -> str | None:
    """Return the cell of a volume's zone, None where several cells or none are in it: no call is needed to know."""
    cells = {target.cell for target in parts.targets if target.availability_zone == disk.availability_zone}
    return cells.pop() if len(cells) == 1 else None


def cell_of(parts: Parts, access: Access, disk: Disk, why: str) -> tuple[str, str]:
    """Return the cell whose storage holds a volume: by its backend where that is seen, else by its zone."""
    everywhere = parts.rights.everywhere(access.request_id)
    if disk.backend is None and everywhere is not None:
        disk = parts.backend.get(everywhere, disk.id)
    for target in parts.targets:
        if _holds(target, disk.backend, disk.availability_zone):
            return target.cell, why
    raise BadRequest(f"Volume {disk.id} is in the storage of no cell (zone {disk.availability_zone}).")


def _holds(target: Target, backend: str | None, zone: str | None) -> bool:
    if backend and target.backend:
        return backend == target.backend
    return target.availability_zone is not None and target.availability_zone == zone


def _snapshot(parts: Parts, access: Access, snapshot_id: str) -> Origin:
    if not isinstance(parts.backend, Snapshots):
        raise Unsupported("This image backend has no snapshots to boot from.")
    snapshot = parts.backend.snapshot(access, snapshot_id)
    if snapshot.project_id and snapshot.project_id != access.project_id:
        raise NotFound(f"Snapshot {snapshot_id} could not be found in project {access.project_id}.")
    if snapshot.status != "available":
        raise BadRequest(f"Snapshot {snapshot.id} is {snapshot.status}, not available.")
    everywhere = parts.rights.everywhere(access.request_id)
    disk = parts.backend.get(everywhere or access, snapshot.volume_id)
    held = cell_of(parts, access, disk, f"holds snapshot {snapshot.id}")
    return Origin("snapshot", snapshot.id, snapshot.size, held=held)
