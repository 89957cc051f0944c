# SPDX-License-Identifier: Apache-2.0
"""The tables of nova's cell database that we use, equal to nova's to the index, so that one code runs on both.

Rows are deleted softly: ``deleted`` is 0 while they live and their own ``id`` afterwards.
Source of each: ``nova/db/main/models.py``, the class is named beside it.
"""

from typing import Any

import sqlalchemy as sa

from cells.schema_api import MYSQL, medium_text, timestamps

metadata = sa.MetaData()


# Indexes that statements name to MySQL (``cells.prebuilt.by_index``): without them it refuses these.
BY_UUID, BY_PROJECT = "uniq_instances0uuid", "instances_project_id_deleted_idx"
DEVICES_BY_SERVER = "block_device_mapping_instance_uuid_idx"
NAMED = {"instances": (BY_UUID, BY_PROJECT), "block_device_mapping": (DEVICES_BY_SERVER,)}


def _instance_uuid(constraint: str, *, nullable: bool) -> sa.Column[Any]:
    foreign_key = sa.ForeignKey("instances.uuid", name=constraint)
    return sa.Column("instance_uuid", sa.String(36), foreign_key, nullable=nullable)


# class Instance
instances = sa.Table(
    "instances",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("internal_id", sa.Integer),
    sa.Column("user_id", sa.String(255)),
    sa.Column("project_id", sa.String(255)),
    sa.Column("image_ref", sa.String(255)),
    sa.Column("kernel_id", sa.String(255)),
    sa.Column("ramdisk_id", sa.String(255)),
    sa.Column("launch_index", sa.Integer),
    sa.Column("key_name", sa.String(255)),
    sa.Column("key_data", medium_text()),
    sa.Column("power_state", sa.Integer),
    sa.Column("vm_state", sa.String(255)),
    sa.Column("memory_mb", sa.Integer),
    sa.Column("vcpus", sa.Integer),
    sa.Column("hostname", sa.String(255)),
    sa.Column("host", sa.String(255)),
    sa.Column("user_data", medium_text()),
    sa.Column("reservation_id", sa.String(255)),
    sa.Column("launched_at", sa.DateTime),
    sa.Column("terminated_at", sa.DateTime),
    sa.Column("display_name", sa.String(255)),
    sa.Column("display_description", sa.String(255)),
    sa.Column("availability_zone", sa.String(255)),
    sa.Column("locked", sa.Boolean),
    sa.Column("os_type", sa.String(255)),
    sa.Column("launched_on", medium_text()),
    sa.Column("instance_type_id", sa.Integer),
    sa.Column("vm_mode", sa.String(255)),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("architecture", sa.String(255)),
    sa.Column("root_device_name", sa.String(255)),
    sa.Column("access_ip_v4", sa.String(39)),
    sa.Column("access_ip_v6", sa.String(39)),
    sa.Column("config_drive", sa.String(255)),
    sa.Column("task_state", sa.String(255)),
    sa.Column("default_ephemeral_device", sa.String(255)),
    sa.Column("default_swap_device", sa.String(255)),
    sa.Column("progress", sa.Integer),
    sa.Column("auto_disk_config", sa.Boolean),
    sa.Column("shutdown_terminate", sa.Boolean),
    sa.Column("disable_terminate", sa.Boolean),
    sa.Column("root_gb", sa.Integer),
    sa.Column("ephemeral_gb", sa.Integer),
    sa.Column("cell_name", sa.String(255)),
    sa.Column("node", sa.String(255)),
    sa.Column("deleted", sa.Integer),
    sa.Column("locked_by", sa.Enum("owner", "admin")),
    sa.Column("cleaned", sa.Integer),
    sa.Column("ephemeral_key_uuid", sa.String(36)),
    sa.Column("hidden", sa.Boolean),
    sa.Column("compute_id", sa.BigInteger),
    sa.UniqueConstraint("uuid", name=BY_UUID),
    sa.Index("instances_uuid_deleted_idx", "uuid", "deleted"),
    sa.Index("instances_host_node_deleted_idx", "host", "node", "deleted"),
    sa.Index("instances_terminated_at_launched_at_idx", "terminated_at", "launched_at"),
    sa.Index("instances_host_deleted_cleaned_idx", "host", "deleted", "cleaned"),
    sa.Index("instances_task_state_updated_at_idx", "task_state", "updated_at"),
    sa.Index(BY_PROJECT, "project_id", "deleted"),
    sa.Index("instances_deleted_created_at_idx", "deleted", "created_at"),
    sa.Index("instances_project_id_idx", "project_id"),
    sa.Index("instances_updated_at_project_id_idx", "updated_at", "project_id"),
    sa.Index("instances_reservation_id_idx", "reservation_id"),
    sa.Index("instances_compute_id_deleted_idx", "compute_id", "deleted"),
    **MYSQL,
)

# class InstanceExtra
instance_extra = sa.Table(
    "instance_extra",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("deleted", sa.Integer),
    sa.Column("id", sa.Integer, primary_key=True),
    _instance_uuid("instance_extra_instance_uuid_fkey", nullable=False),
    sa.Column("numa_topology", sa.Text),
    sa.Column("pci_requests", sa.Text),
    sa.Column("flavor", sa.Text),
    sa.Column("vcpu_model", sa.Text),
    sa.Column("migration_context", sa.Text),
    sa.Column("keypairs", sa.Text),
    sa.Column("device_metadata", sa.Text),
    sa.Column("trusted_certs", sa.Text),
    sa.Column("vpmems", sa.Text),
    sa.Column("resources", sa.Text),
    sa.Index("instance_extra_idx", "instance_uuid"),
    **MYSQL,
)

# class InstanceSystemMetadata
instance_system_metadata = sa.Table(
    "instance_system_metadata",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    _instance_uuid("instance_system_metadata_ibfk_1", nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("value", sa.String(255)),
    sa.Column("deleted", sa.Integer),
    sa.Index("instance_uuid", "instance_uuid"),
    **MYSQL,
)

# class InstanceMetadata
instance_metadata = sa.Table(
    "instance_metadata",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.String(255)),
    sa.Column("value", sa.String(255)),
    _instance_uuid("instance_metadata_instance_uuid_fkey", nullable=True),
    sa.Column("deleted", sa.Integer),
    sa.Index("instance_metadata_instance_uuid_idx", "instance_uuid"),
    **MYSQL,
)

# class BlockDeviceMapping
block_device_mapping = sa.Table(
    "block_device_mapping",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("device_name", sa.String(255)),
    sa.Column("delete_on_termination", sa.Boolean),
    sa.Column("snapshot_id", sa.String(36)),
    sa.Column("volume_id", sa.String(36)),
    sa.Column("volume_size", sa.Integer),
    sa.Column("no_device", sa.Boolean),
    sa.Column("connection_info", medium_text()),
    _instance_uuid("block_device_mapping_instance_uuid_fkey", nullable=True),
    sa.Column("deleted", sa.Integer),
    sa.Column("source_type", sa.String(255)),
    sa.Column("destination_type", sa.String(255)),
    sa.Column("guest_format", sa.String(255)),
    sa.Column("device_type", sa.String(255)),
    sa.Column("disk_bus", sa.String(255)),
    sa.Column("boot_index", sa.Integer),
    sa.Column("image_id", sa.String(36)),
    sa.Column("tag", sa.String(255)),
    sa.Column("attachment_id", sa.String(36)),
    sa.Column("uuid", sa.String(36)),
    sa.Column("volume_type", sa.String(255)),
    sa.Column("encrypted", sa.Boolean),
    sa.Column("encryption_secret_uuid", sa.String(36)),
    sa.Column("encryption_format", sa.String(128)),
    sa.Column("encryption_options", sa.String(4096)),
    sa.UniqueConstraint("uuid", name="uniq_block_device_mapping0uuid"),
    sa.Index("snapshot_id", "snapshot_id"),
    sa.Index("volume_id", "volume_id"),
    sa.Index(DEVICES_BY_SERVER, "instance_uuid"),
    sa.Index("block_device_mapping_instance_uuid_device_name_idx", "instance_uuid", "device_name"),
    sa.Index("block_device_mapping_instance_uuid_volume_id_idx", "instance_uuid", "volume_id"),
    **MYSQL,
)

# class InstanceFault
instance_faults = sa.Table(
    "instance_faults",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    _instance_uuid("fk_instance_faults_instance_uuid", nullable=True),
    sa.Column("code", sa.Integer, nullable=False),
    sa.Column("message", sa.String(255)),
    sa.Column("details", medium_text()),
    sa.Column("host", sa.String(255)),
    sa.Column("deleted", sa.Integer),
    sa.Index("instance_faults_host_idx", "host"),
    sa.Index("instance_faults_instance_uuid_deleted_created_at_idx", "instance_uuid", "deleted", "created_at"),
    **MYSQL,
)

# class InstanceInfoCache
instance_info_caches = sa.Table(
    "instance_info_caches",
    metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("network_info", medium_text()),
    sa.Column(
        "instance_uuid",
        sa.String(36),
        sa.ForeignKey("instances.uuid", name="instance_info_caches_instance_uuid_fkey"),
        nullable=False,
    ),
    sa.Column("deleted", sa.Integer),
    sa.UniqueConstraint("instance_uuid", name="uniq_instance_info_caches0instance_uuid"),
    **MYSQL,
)

# class Tag
tags = sa.Table(
    "tags",
    metadata,
    sa.Column("resource_id", sa.String(36), primary_key=True),
    sa.Column("tag", sa.String(80), primary_key=True),
    sa.Index("tags_tag_idx", "tag"),
    **MYSQL,
)
