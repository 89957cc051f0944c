# SPDX-License-Identifier: Apache-2.0
"""What Glance sees in an image's bytes, and the bytes themselves in a cell's Ceph."""

import contextlib
import struct
from typing import TYPE_CHECKING

from bfv.mockcloud.rbd import RbdError

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cell

QCOW2 = b"QFI\xfb"
SECTOR = 512
BOOT_SIGNATURE = b"\x55\xaa"
# oslo_utils/imageutils/format_inspector.py:GPTInspector: four entries of 16 bytes, the type is the fifth byte.
PARTITIONS = range(446, 510, 16)
# What a format begins with, and where.
MAGIC = {"qcow2": (0, QCOW2), "vmdk": (0, b"KDMV"), "vhdx": (0, b"vhdxfile"), "iso": (32769, b"CD001")}


def trouble(disk_format: str, data: bytes) -> str | None:
    """Say why Glance refuses these bytes, None if it takes them (``glance/common/utils.py``).

    A raw image with a boot signature and no partition is refused; so is one that claims a format and has another.
    """
    if disk_format == "raw":
        signed = len(data) >= SECTOR and data[510:512] == BOOT_SIGNATURE
        entries = [data[start : start + 16] for start in PARTITIONS] if signed else []
        if signed and (not any(entry[4] for entry in entries) or any(entry[0] not in (0, 0x80) for entry in entries)):
            return "Image failed safety checks"
        return None
    offset, magic = MAGIC.get(disk_format, (0, b""))
    if not data[offset:].startswith(magic):
        return f"Image disk_format {disk_format} does not match stream data raw"
    return None


def virtual_size(disk_format: str, data: bytes) -> int | None:
    """Return the size that a disk of this image has; Glance does not know it of an empty one."""
    if disk_format == "qcow2" and len(data) >= 32:
        return int(struct.unpack(">Q", data[24:32])[0])
    return len(data) or None


def store(cell: "Cell", image_id: str, data: bytes) -> None:
    """Keep an image as Glance's rbd store does: an image and a snapshot that clones hang on."""
    image = cell.cluster.pools["images"].create(image_id, len(data))
    image.fill(data)
    image.snapshot("snap")


def read(cell: "Cell", image_id: str) -> bytes:
    """Return an image's bytes."""
    image = cell.cluster.pools["images"].images[image_id]
    return image.read(0, image.size)


def remove(cell: "Cell", image_id: str) -> None:
    """Remove an image's bytes, as far as no clone needs them."""
    pool = cell.cluster.pools["images"]
    image = pool.images.get(image_id)
    if image is None:
        return
    with contextlib.suppress(RbdError):
        image.remove_snapshot("snap")
    pool.remove(image_id)
