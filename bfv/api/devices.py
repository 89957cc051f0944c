# SPDX-License-Identifier: Apache-2.0
"""The disks that POST /servers asks for: ``block_device_mapping_v2``, and the older ``block_device_mapping``.

``nova/block_device.py`` has the rules of both. What an entry says of its device (name, bus, type) is kept as a hint.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bfv import devicenames
from bfv.api.faults import Fault
from bfv.api.listing import is_true
from bfv.types import DiskDevice, RootDevice

INVALID = "Block Device Mapping is Invalid: "
HINTS = ("device_name", "device_type", "disk_bus", "guest_format", "tag")


def read(asked: Mapping[str, Any], image: str | None) -> tuple[RootDevice | None, tuple[DiskDevice, ...], str | None]:
    """Return the root device, if one is asked for, the disks beside it, and the image, if one is. Raises Fault 400."""
    new, old = asked.get("block_device_mapping_v2") or [], asked.get("block_device_mapping") or []
    if new and old:
        raise Fault(400, "Using different block_device_mapping syntaxes is not allowed in the same request.")
    devices = [_device(item) for item in new if not item.get("no_device")] if new else _older(old, image)
    roots = [device for device in devices if device.boot_index == 0]
    disks = tuple(device for device in devices if device.boot_index != 0)
    if len(roots) > 1:
        raise Fault(400, f"{INVALID}Boot sequence for the instance and image/block device mapping combination is not "
                         "valid.")  # fmt: skip
    if not roots:
        if image is None:
            raise Fault(400, "Missing imageRef attribute" if not devices else f"{INVALID}no device has boot_index 0, "
                             "and no imageRef is given.")  # fmt: skip
        return None, disks, image
    [root] = roots
    if not root.is_volume:
        if (root.source_type, root.uuid) != ("image", image):
            raise Fault(400, "Mapping image to local is not supported.")
        # What nova makes of a plain imageRef, and what `openstack server create` sends for one: no word on the disk.
        return None, disks, image
    if image is not None and (root.source_type, root.uuid) != ("image", image):
        raise Fault(400, "Both imageRef and block_device_mapping_v2 name a root; leave one of them out.")
    return RootDevice(**vars(root)), disks, image


def _device(item: Mapping[str, Any]) -> DiskDevice:
    source = item.get("source_type") or next(
        (kind for kind in ("volume", "snapshot", "image") if item.get(f"{kind}_id")), ""
    )
    if not source:
        raise Fault(400, f"{INVALID}source_type is missing.")
    key = item.get("uuid") or item.get(f"{source}_id")
    if source == "blank" and key:
        raise Fault(400, "Invalid device UUID.")
    if source != "blank" and not key:
        raise Fault(400, "Missing device UUID.")
    where, kind = item.get("destination_type") or "volume", item.get("volume_type") or None
    if kind and where == "local":
        raise Fault(400, "Specifying a volume_type with destination_type=local is not supported.")
    if kind and source == "volume":
        raise Fault(400, "Specifying volume type to existing volume is not supported.")
    if source in ("volume", "snapshot") and where == "local":
        raise Fault(400, f"{INVALID}a {source} is no local disk.")
    index = item.get("boot_index")
    return DiskDevice(
        source_type=source,
        uuid=key,
        destination_type=where,
        volume_size=int(item.get("volume_size") or 0) or None,
        volume_type=kind,
        delete_on_termination=is_true(item.get("delete_on_termination")),
        boot_index=int(index) if index is not None else -1,
        **{name: item.get(name) or None for name in HINTS},
    )


def _older(items: Sequence[Mapping[str, Any]], image: str | None) -> list[DiskDevice]:
    """Return the devices of the older form; without an image the one at the root's name boots, or else the first."""
    devices = []
    for item in items:
        name = item.get("virtual_name") or ""
        if item.get("no_device"):
            continue
        if name == "swap" or name.startswith("ephemeral"):
            guest = "swap" if name == "swap" else None
            devices.append(
                _device({**item, "source_type": "blank", "destination_type": "local", "guest_format": guest})
            )
        elif item.get("snapshot_id") or item.get("volume_id"):
            source = "snapshot" if item.get("snapshot_id") else "volume"
            devices.append(_device({**item, "source_type": source}))
        else:
            raise Fault(400, f"{INVALID}Unrecognized legacy format.")
    if image is None:
        named = [each for each in devices if devicenames.full(each.device_name) == devicenames.ROOT]
        first = (named or [each for each in devices if each.is_volume])[:1]
        return [RootDevice(**{**vars(each), "boot_index": 0}) if [each] == first else each for each in devices]
    return devices
