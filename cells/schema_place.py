# SPDX-License-Identifier: Apache-2.0
"""Where servers may be: aggregates of nova's API database, hosts of its cell databases, equal to nova's tables.

Source: ``nova/db/api/models.py`` and ``nova/db/main/models.py``, the class is named beside each.
"""

import sqlalchemy as sa

from cells import schema_cell
from cells.schema_api import MYSQL, medium_text, metadata, timestamps

# class Aggregate
aggregates = sa.Table(
    "aggregates",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36)),
    sa.Column("name", sa.String(255)),
    sa.UniqueConstraint("name", name="uniq_aggregate0name"),
    sa.Index("aggregate_uuid_idx", "uuid"),
    **MYSQL,
)

# class AggregateHost
aggregate_hosts = sa.Table(
    "aggregate_hosts",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("host", sa.String(255)),
    sa.Column("aggregate_id", sa.Integer, sa.ForeignKey("aggregates.id"), nullable=False),
    sa.UniqueConstraint("host", "aggregate_id", name="uniq_aggregate_hosts0host0aggregate_id"),
    **MYSQL,
)

# class AggregateMetadata
aggregate_metadata = sa.Table(
    "aggregate_metadata",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("aggregate_id", sa.Integer, sa.ForeignKey("aggregates.id"), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("value", sa.String(255), nullable=False),
    sa.UniqueConstraint("aggregate_id", "key", name="uniq_aggregate_metadata0aggregate_id0key"),
    sa.Index("aggregate_metadata_key_idx", "key"),
    **MYSQL,
)

# class Service
services = sa.Table(
    "services",
    schema_cell.metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("host", sa.String(255)),
    sa.Column("binary", sa.String(255)),
    sa.Column("topic", sa.String(255)),
    sa.Column("report_count", sa.Integer, nullable=False),
    sa.Column("disabled", sa.Boolean),
    sa.Column("deleted", sa.Integer),
    sa.Column("disabled_reason", sa.String(255)),
    sa.Column("last_seen_up", sa.DateTime),
    sa.Column("forced_down", sa.Boolean),
    sa.Column("version", sa.Integer),
    sa.Column("uuid", sa.String(36)),
    sa.UniqueConstraint("host", "binary", "deleted", name="uniq_services0host0binary0deleted"),
    sa.UniqueConstraint("host", "topic", "deleted", name="uniq_services0host0topic0deleted"),
    sa.Index("services_uuid_idx", "uuid", unique=True),
    **MYSQL,
)

# class ComputeNode
compute_nodes = sa.Table(
    "compute_nodes",
    schema_cell.metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("service_id", sa.Integer),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("local_gb", sa.Integer, nullable=False),
    sa.Column("vcpus_used", sa.Integer, nullable=False),
    sa.Column("memory_mb_used", sa.Integer, nullable=False),
    sa.Column("local_gb_used", sa.Integer, nullable=False),
    sa.Column("hypervisor_type", medium_text(), nullable=False),
    sa.Column("hypervisor_version", sa.Integer, nullable=False),
    sa.Column("cpu_info", medium_text(), nullable=False),
    sa.Column("disk_available_least", sa.Integer),
    sa.Column("free_ram_mb", sa.Integer),
    sa.Column("free_disk_gb", sa.Integer),
    sa.Column("current_workload", sa.Integer),
    sa.Column("running_vms", sa.Integer),
    sa.Column("hypervisor_hostname", sa.String(255)),
    sa.Column("deleted", sa.Integer),
    sa.Column("host_ip", sa.String(39)),
    sa.Column("supported_instances", sa.Text),
    sa.Column("pci_stats", sa.Text),
    sa.Column("metrics", sa.Text),
    sa.Column("extra_resources", sa.Text),
    sa.Column("stats", sa.Text),
    sa.Column("numa_topology", sa.Text),
    sa.Column("host", sa.String(255)),
    sa.Column("ram_allocation_ratio", sa.Float),
    sa.Column("cpu_allocation_ratio", sa.Float),
    sa.Column("uuid", sa.String(36)),
    sa.Column("disk_allocation_ratio", sa.Float),
    sa.Column("mapped", sa.Integer),
    sa.UniqueConstraint(
        "host", "hypervisor_hostname", "deleted", name="uniq_compute_nodes0host0hypervisor_hostname0deleted"
    ),
    sa.Index("compute_nodes_uuid_idx", "uuid", unique=True),
    **MYSQL,
)
