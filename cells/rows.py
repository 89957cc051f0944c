# SPDX-License-Identifier: Apache-2.0
"""A server as rows and rows as a server, without a connection: which field goes into which column of nova's."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import sqlalchemy as sa

from cells import encode
from cells.schema_cell import (
    block_device_mapping,
    instance_extra,
    instance_faults,
    instance_metadata,
    instance_system_metadata,
    instances,
    tags,
)
from cells.types import BlockDevice, Fault, Flavor, Server

# The tables whose rows live and die with a server.
SATELLITES = (instance_extra, instance_system_metadata, instance_metadata, block_device_mapping, instance_faults)

_LONGEST_MESSAGE = 255
_DEVICE = tuple(field.name for field in fields(BlockDevice))
# Fields of a server that are columns of the same name.
_PLAIN = tuple(field.name for field in fields(Server) if field.name in instances.c)

Row = dict[str, Any]


def server_rows(server: Server, now: dt.datetime) -> list[tuple[sa.Table, list[Row]]]:
    """Return all rows of a new server, table by table, parents first."""
    uuid = server.uuid
    of_server = {"instance_uuid": uuid, "created_at": now, "deleted": 0}
    faults = [fault_row(uuid, server.fault, server.host, now)] if server.fault else []
    return [
        (instances, [_instance_row(server, now)]),
        (instance_extra, [{**of_server, "flavor": encode.dump_instance_flavor(server.flavor)}]),
        (instance_system_metadata, pairs(uuid, server.system_metadata, now)),
        (instance_metadata, pairs(uuid, server.metadata, now)),
        (block_device_mapping, [{**of_server, **device_row(device)} for device in server.devices]),
        (instance_faults, faults),
        (tags, [{"resource_id": uuid, "tag": tag} for tag in server.tags]),
    ]


def _instance_row(server: Server, now: dt.datetime) -> Row:
    flavor = server.flavor
    return {
        **{name: getattr(server, name) for name in _PLAIN},
        "created_at": server.created_at or now,
        "deleted": 0,
        # Copies that nova's quota sums read; the flavor itself is in instance_extra.
        "instance_type_id": flavor.id, "memory_mb": flavor.memory_mb, "vcpus": flavor.vcpus,
        "root_gb": flavor.root_gb, "ephemeral_gb": flavor.ephemeral_gb,
        "launched_on": server.host,
        # What nova/compute/api.py:_validate_and_build_base_options and the models' defaults write for all servers.
        "kernel_id": "", "ramdisk_id": "", "progress": 0, "hidden": False,
        "cleaned": 0, "disable_terminate": False, "shutdown_terminate": False,
    }  # fmt: skip


def pairs(uuid: str, metadata: Mapping[str, str], now: dt.datetime) -> list[Row]:
    """Return the rows of a server's metadata, of either kind."""
    return [{"instance_uuid": uuid, "key": key, "value": value, "created_at": now, "deleted": 0}
            for key, value in metadata.items()]  # fmt: skip


def device_row(device: BlockDevice) -> Row:
    """Return the columns of a block device, without its server."""
    values = device_values({name: getattr(device, name) for name in _DEVICE})
    return {**values, "no_device": False, "encrypted": False}


def device_values(columns: Mapping[str, Any]) -> Row:
    """Return fields of a BlockDevice as columns. Raises TypeError for a name that it does not have."""
    if unknown := set(columns).difference(_DEVICE):
        raise TypeError(f"a block device has no {min(unknown)}")
    values = dict(columns)
    if "connection_info" in values:
        values["connection_info"] = encode.dump_connection_info(values["connection_info"])
    return values


def fault_row(uuid: str, fault: Fault, host: str | None, now: dt.datetime) -> Row:
    """Return the row of a fault; nova cuts its message too (``nova/compute/utils.py:add_instance_fault_from_exc``)."""
    return {"instance_uuid": uuid, "code": fault.code, "message": fault.message[:_LONGEST_MESSAGE],
            "details": fault.details, "host": host, "created_at": fault.created_at or now,
            "deleted": 0}  # fmt: skip


def to_device(row: Any) -> BlockDevice:
    """Return a block device of its row; NULL in an old one means False."""
    values = {name: getattr(row, name) for name in _DEVICE}
    values["connection_info"] = encode.load_connection_info(row.connection_info)
    values["delete_on_termination"] = bool(row.delete_on_termination)
    return BlockDevice(**values)


def to_fault(row: Any) -> Fault:
    """Return a fault of its row."""
    return Fault(row.code, row.message or "", row.details or "", row.created_at)


def to_server(
    row: Any,
    extra_flavor: str | None,
    *,
    system_metadata: Mapping[str, str],
    metadata: Mapping[str, str],
    devices: tuple[BlockDevice, ...],
    fault: Fault | None,
    tags: tuple[str, ...] = (),
    network_info: str | None = None,
) -> Server:
    """Return a server of its row of ``instances`` and what belongs to it."""
    values = {name: getattr(row, name) for name in _PLAIN}
    for name in ("project_id", "user_id", "display_name", "vm_state", "image_ref", "config_drive"):
        values[name] = values[name] or ""
    values["power_state"], values["launch_index"] = values["power_state"] or 0, values["launch_index"] or 0
    values["locked"] = bool(values["locked"])
    flavor = encode.load_instance_flavor(extra_flavor) or _flavor_of_columns(row)
    return Server(**values, flavor=flavor, system_metadata=system_metadata, metadata=metadata, devices=devices,
                  fault=fault, tags=tags, network_info=network_info or "[]")  # fmt: skip


def _flavor_of_columns(row: Any) -> Flavor:
    # A row whose instance_extra is lost still has its sizes.
    number = row.instance_type_id or 0
    return Flavor(number, "", "", row.vcpus or 0, row.memory_mb or 0, row.root_gb or 0, row.ephemeral_gb or 0)
