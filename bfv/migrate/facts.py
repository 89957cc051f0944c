# SPDX-License-Identifier: Apache-2.0
"""What a server's rows say for and against a conversion: pure, so that a plan can ask it of thousands."""

from collections.abc import Iterator, Mapping
from typing import Any

from bfv.migrate.contract import Facts
from cells.candidates import Candidate

# nova/compute/power_state.py
_RUNNING = 1
_LIFTED = {  # by vm_state (nova/compute/vm_states.py): what the owner or an operator does first
    "building": "wait until it is built",
    "paused": "unpause it, then stop it",
    "suspended": "resume it, then stop it",
    "rescued": "unrescue it",
    "resized": "confirm or revert its resize",
    "shelved": "unshelve it",
    "shelved_offloaded": "unshelve it",
    "soft-delete": "restore it, or let it be deleted",
    "error": "find out why, then reset its state (`openstack server set --state active`) and stop it",
}
_CONVERTIBLE = ("active", "stopped")


def facts_of(found: Candidate) -> Facts:
    """Return what a plan needs of a server."""
    server, flavor = found.server, found.flavor
    root = _root(found)
    return Facts(
        server_id=server["uuid"],
        project_id=server["project_id"] or "",
        user_id=server["user_id"] or "",
        name=server["display_name"] or "",
        host=server["host"],
        # Also one that nova could not start: somebody tried that in the middle of a conversion.
        is_off=server["vm_state"] in ("stopped", "error") and server["power_state"] != _RUNNING,
        image_id=server["image_ref"] or "",
        root_gb=flavor.root_gb,
        ephemeral_gb=flavor.ephemeral_gb,
        swap_mb=flavor.swap,
        config_drive=bool(server["config_drive"]),
        availability_zone=server["availability_zone"],
        is_volume_backed=root is not None and root["destination_type"] == "volume",
        locked=bool(server["locked"]),
        refusals=tuple(_refusals(found)),
        notes=tuple(_notes(found)),
    )


def _refusals(found: Candidate) -> Iterator[str]:
    yield from _of_state(found)
    yield from _of_disk(found)


def _of_state(found: Candidate) -> Iterator[str]:
    server = found.server
    state, task = server["vm_state"], server["task_state"]
    if task is not None:
        yield f"It is at work ({task}): wait until that has ended."
    if state not in _CONVERTIBLE:
        yield f"It is {state}: {_LIFTED.get(state, 'bring it to active or stopped')}."
    if state == "stopped" and server["power_state"] == _RUNNING:
        yield "Nova has it as stopped but its guest runs: wait until nova has stopped it (sync_power_state_interval)."
    if found.move is not None:
        yield f"A {found.move} of it is under way: let it end, or confirm or revert it."
    elif found.resizing:
        yield "It has a migration context, so a move of it has not ended: confirm or revert it."
    if server["hidden"]:
        yield "It is the hidden half of a resize between cells: confirm or revert that."
    if server["host"] is None:
        yield "It is on no host."


def _of_disk(found: Candidate) -> Iterator[str]:
    server, root = found.server, _root(found)
    roots = [each for each in found.devices if each["boot_index"] == 0]
    if len(roots) != 1:
        yield f"It has {len(roots)} root devices in nova's rows: repair these first."
        return
    if root is None or root["destination_type"] == "volume":
        return
    if root["source_type"] != "image" or not server["image_ref"]:
        yield "Its root is a local disk of no image: which bytes are on it is not in nova's rows."
    elif root["device_type"] == "cdrom" or found.image.get("disk_format") == "iso":
        yield "Its root is a CD (an ISO image): boot a server from a disk instead."
    if _short(root["device_name"]) != _short(server["root_device_name"]):
        yield f"Its root device is {server['root_device_name']} in one row and {root['device_name']} in another."
    if server["kernel_id"] or server["ramdisk_id"]:
        yield "It boots by a kernel or ramdisk beside its disk (an AMI image): rebuild it from a whole disk."
    if _is_encrypted(found):
        yield "Its local disks are encrypted by nova: their bytes are of no use to cinder. Copy its data by the guest."


def _notes(found: Candidate) -> Iterator[str]:
    flavor, root = found.flavor, _root(found)
    if root is None or root["destination_type"] == "volume":
        return
    if flavor.ephemeral_gb:
        yield f"Its ephemeral disks ({flavor.ephemeral_gb} GiB) stay in nova's pool."
    if flavor.swap:
        yield f"Its swap disk ({flavor.swap} MiB) stays in nova's pool."
    if found.server["config_drive"]:
        yield "Its config drive stays in nova's pool."
    if limits := sorted(key for key in flavor.extra_specs if key.startswith("quota:disk_")):
        yield f"Its flavor's limits ({', '.join(limits)}) hold for local disks only: give the volume type QoS specs."
    if root["disk_bus"] == "scsi" and len(found.devices) > 1:
        yield "Its disks are on SCSI and change their units: the volume gets 0, the others come after it."


def _root(found: Candidate) -> Mapping[str, Any] | None:
    return next((each for each in found.devices if each["boot_index"] == 0), None)


def _short(device: str | None) -> str:
    return (device or "").removeprefix("/dev/")


def _is_encrypted(found: Candidate) -> bool:
    wanted = (found.flavor.extra_specs.get("hw:ephemeral_encryption"), found.image.get("hw_ephemeral_encryption"))
    return (
        any(str(each).lower() == "true" for each in wanted)
        or found.server["ephemeral_key_uuid"] is not None
        or any(each["encrypted"] for each in found.devices if each["destination_type"] == "local")
    )
