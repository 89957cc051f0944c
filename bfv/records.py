# SPDX-License-Identifier: Apache-2.0
"""The rows of a server: what the databases say about it at each time, in values that nova can read.

Accepted: a mapping without a cell. Booted: its row and block devices in its cell. Failed: an ERROR row with
its fault in its cell, or in cell0 if it never had one (nova/conductor/manager.py:_bury_in_cell0).
"""

import contextlib
import re
import uuid
from collections.abc import Mapping
from typing import Any

from bfv import devicenames
from bfv.job import Job
from bfv.journal import Intent
from bfv.types import Decision, DiskPlan, utcnow
from cells import encode, groups, servers
from cells.database import Database
from cells.errors import Exists, NotMapped
from cells.types import CELL0_UUID, BlockDevice, Fault, Flavor, Server
from imagebackends.types import Attachment, Disk

Bound = Mapping[str, tuple[Disk, Attachment]]
# nova/utils.py:SM_INHERITABLE_KEYS
INHERITED = ("min_ram", "min_disk", "disk_format", "container_format")


def flavor_of(intent: Intent) -> Flavor:
    """Return the flavor as it was when the request was accepted."""
    values = dict(intent.request["flavor"])
    return Flavor(**{**values, "projects": tuple(values["projects"])})


def ensure_mapped(job: Job) -> None:
    """Write the server's mapping, its request spec and its place in a server group unless they are there."""
    intent = job.intent
    boot, image = intent.request["boot"], intent.request["image"]
    group = boot.get("group")
    spec = encode.request_spec(
        server_id=intent.server_id,
        project_id=intent.project_id,
        user_id=intent.user_id,
        flavor=flavor_of(intent),
        image=image,
        is_bfv=True,
        availability_zone=boot["availability_zone"],
        scheduler_hints={"group": [group]} if group else None,
    )
    if group:
        with contextlib.suppress(NotMapped):
            # Before the mapping, which tells that all is written. A group that was deleted meanwhile binds nobody.
            groups.add_member(job.parts.api, group, intent.server_id)
    try:
        job.parts.registry.map_server(intent.server_id, intent.project_id, intent.user_id, spec)
    except Exists:
        # Written by the worker before us: the open intent is the only one that may map this id.
        return


def place(job: Job, cell: str) -> None:
    """Write which cell a server is in, with its mapping if the worker before us died before it wrote that."""
    registry, found = job.parts.registry, job.parts.cells.cell(cell)
    try:
        registry.assign(job.intent.server_id, found)
    except NotMapped:
        ensure_mapped(job)
        registry.assign(job.intent.server_id, found)


def record(job: Job, bound: Bound) -> None:
    """Write the booted server into its cell: its volumes are reserved, and a host may connect them."""
    servers.insert(job.cell_database, _server(job, "building", "spawning", bound))


def record_error(job: Job, reason: str) -> None:
    """Write the server as ERROR with its fault, into its cell, or into cell0 if it never had one."""
    fault = Fault(code=500, message=reason[:255], details=reason, created_at=utcnow())
    if job.intent.cell is None:
        place(job, CELL0_UUID)
        database = job.parts.cells.cell0()
    else:
        database = job.cell_database
    server = servers.find(database, job.intent.server_id)
    if server is None:
        servers.insert(database, _server(job, "error", None, {}, fault))
    elif server.vm_state != "error":
        set_error(database, server, reason)


def forget_outside(job: Job) -> None:
    """Take out of the row of a server that failed on its host what it has no more: its place and its volumes."""
    server = servers.find(job.cell_database, job.intent.server_id) if job.intent.cell else None
    if server is None or server.host is None:
        return
    for device in server.devices:
        servers.update_device(job.cell_database, device.uuid, volume_id=None, attachment_id=None, connection_info=None)
    # Last: it says that the rest is done (nova/compute/manager.py:_nil_out_instance_obj_host_and_node).
    servers.update(job.cell_database, server.uuid, host=None, node=None)


def set_error(database: Database, server: Server, reason: str) -> None:
    """Turn a server that has its row to ERROR, with the reason as its fault."""
    servers.set_fault(database, server.uuid, Fault(code=500, message=reason[:255], details=reason, created_at=utcnow()))
    servers.update(database, server.uuid, vm_state="error", task_state=None)


def connection_info(attached: Attachment) -> dict[str, Any]:
    """Return a connection as nova stores it (``nova/volume/cinder.py:_translate_attachment_ref``, plus the serial)."""
    data = {
        key: value for key, value in attached.connection.items() if key not in ("driver_volume_type", "attachment_id")
    }
    return {
        "driver_volume_type": attached.connection.get("driver_volume_type"),
        "data": data,
        "status": attached.status,
        "instance": attached.server_id,
        "attached_at": "",
        "detached_at": "",
        "volume_id": attached.disk_id,
        "serial": attached.disk_id,
    }


def _server(job: Job, vm_state: str, task_state: str | None, bound: Bound, fault: Fault | None = None) -> Server:
    intent, boot = job.intent, job.intent.request["boot"]
    devices = _devices(intent.server_id, job.decision, bound)
    return Server(
        uuid=intent.server_id,
        project_id=intent.project_id,
        user_id=intent.user_id,
        display_name=boot["name"],
        display_description=boot["description"],
        hostname=boot.get("hostname") or hostname(boot["name"], intent.server_id),
        vm_state=vm_state,
        task_state=task_state,
        flavor=flavor_of(intent),
        image_ref="",
        reservation_id=reservation(intent),
        launch_index=boot.get("launch_index") or 0,
        tags=tuple(boot.get("tags") or ()),
        availability_zone=boot["availability_zone"] or _zone(job),
        root_device_name=devices[0].device_name,
        config_drive="True" if boot["config_drive"] else "",
        key_name=boot["key_name"],
        key_data=boot.get("key_data"),
        user_data=job.parts.journal.payload(intent).get("user_data") if boot.get("has_user_data", True) else None,
        created_at=intent.created_at,
        metadata=boot["metadata"],
        system_metadata=image_metadata(intent.request["image"]),
        devices=devices,
        fault=fault,
    )


def reservation(boot: Intent) -> str:
    """Return the id that the servers of one request share (``nova/compute/api.py``: r- and eight letters)."""
    return boot.request["boot"].get("reservation_id") or f"r-{boot.id[:8]}"


def _zone(job: Job) -> str | None:
    """Return the zone of the server's host, as it was decided: no cell has to ask for it (nova's LP#1781286)."""
    cell, decision = job.intent.cell, job.decision
    if cell is None:
        return None
    return decision.zones.get(cell) or job.parts.target(cell, decision.tier).availability_zone


def hostname(name: str, server_id: str) -> str:
    """Return the host name that a server's name becomes (nova/utils.py:sanitize_hostname)."""
    text = re.sub(r"[ _.]", "-", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^\w-]+", "", text).lower().strip("-")[:63] or f"server-{server_id}"


def image_metadata(image: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the ``image_*`` keys of a server's system metadata (nova/utils.py:get_system_metadata_from_image)."""
    found = {"image_base_image_ref": ""}
    if image is None:
        return found
    for key, value in image["properties"].items():
        if isinstance(value, str | int | float | bool):
            found[f"image_{key}"] = str(value)[:255]
    found.update({f"image_{key}": str(image[key]) for key in INHERITED})
    return found


def _devices(server_id: str, decision: Decision, bound: Bound) -> tuple[BlockDevice, ...]:
    """Return the rows of all disks, the root first; each volume has a name, as it was asked for or the next one."""
    plans = sorted(decision.disks, key=lambda plan: plan.boot_index != 0)
    names = {plan.role: plan.device_name for plan in plans}
    for plan in plans:
        if plan.boot_index == 0 and devicenames.ROOT not in names.values():
            names[plan.role] = plan.device_name or devicenames.ROOT
        elif plan.handling == "volume" and plan.device_name is None:
            names[plan.role] = devicenames.following(names.values())
    return tuple(_device(server_id, plan, bound, names[plan.role]) for plan in plans)


def _device(server_id: str, plan: DiskPlan, bound: Bound, name: str | None) -> BlockDevice:
    # The id is made from the server's, so that a second writer of the same rows makes the same rows.
    device_id = str(uuid.uuid5(uuid.UUID(server_id), plan.role))
    if plan.handling == "driver":
        return BlockDevice(
            uuid=device_id,
            source_type="blank",
            destination_type="local",
            boot_index=-1,
            volume_size=plan.size,
            delete_on_termination=True,
            guest_format=plan.guest_format,
            device_name=name,
            device_type=plan.device_type or "disk",
            disk_bus=plan.disk_bus,
            tag=plan.tag,
        )
    disk, attached = bound.get(plan.role, (None, None))
    return BlockDevice(
        uuid=device_id,
        source_type=plan.source_type,
        destination_type="volume",
        boot_index=plan.boot_index,
        image_id=plan.image_id,
        snapshot_id=plan.source_id if plan.source_type == "snapshot" else None,
        volume_id=disk.id if disk else None,
        volume_size=plan.size,
        volume_type=disk.volume_type if disk else None,
        attachment_id=attached.id if attached else None,
        delete_on_termination=plan.delete_on_termination,
        device_name=name,
        guest_format=plan.guest_format,
        device_type=plan.device_type,
        disk_bus=plan.disk_bus,
        tag=plan.tag,
    )
