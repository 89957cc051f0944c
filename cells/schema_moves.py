# SPDX-License-Identifier: Apache-2.0
"""Servers on their way from host to host, equal to nova's table: one on its way is left alone.

Source: ``nova/db/main/models.py``, the class is named beside it.
"""

import sqlalchemy as sa

from cells import schema_cell
from cells.schema_api import MYSQL, timestamps

_BY_HOSTS = ("source_compute", "dest_compute", "source_node", "dest_node")
_PREFIX = dict.fromkeys(_BY_HOSTS, 100)

# class Migration
migrations = sa.Table(
    "migrations",
    schema_cell.metadata,
    *timestamps(),
    sa.Column("deleted_at", sa.DateTime),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("source_compute", sa.String(255)),
    sa.Column("dest_compute", sa.String(255)),
    sa.Column("dest_host", sa.String(255)),
    sa.Column("status", sa.String(255)),
    sa.Column("instance_uuid", sa.String(36), sa.ForeignKey("instances.uuid", name="fk_migrations_instance_uuid")),
    sa.Column("old_instance_type_id", sa.Integer),
    sa.Column("new_instance_type_id", sa.Integer),
    sa.Column("source_node", sa.String(255)),
    sa.Column("dest_node", sa.String(255)),
    sa.Column("deleted", sa.Integer),
    sa.Column("migration_type", sa.Enum("migration", "resize", "live-migration", "evacuation", name="migration_type")),
    sa.Column("hidden", sa.Boolean),
    sa.Column("memory_total", sa.BigInteger),
    sa.Column("memory_processed", sa.BigInteger),
    sa.Column("memory_remaining", sa.BigInteger),
    sa.Column("disk_total", sa.BigInteger),
    sa.Column("disk_processed", sa.BigInteger),
    sa.Column("disk_remaining", sa.BigInteger),
    sa.Column("uuid", sa.String(36)),
    sa.Column("cross_cell_move", sa.Boolean),
    sa.Column("user_id", sa.String(255)),
    sa.Column("project_id", sa.String(255)),
    sa.Column("dest_compute_id", sa.BigInteger),
    sa.Index("migrations_uuid", "uuid", unique=True),
    sa.Index("migrations_updated_at_idx", "updated_at"),
    sa.Index("migrations_instance_uuid_and_status_idx", "deleted", "instance_uuid", "status"),
    sa.Index("migrations_by_host_nodes_and_status_idx", "deleted", *_BY_HOSTS, "status",
             mysql_length=_PREFIX, mariadb_length=_PREFIX),
    sa.Index("migrations_by_src_host_nodes_and_status_idx", "deleted", "source_compute", "source_node", "status"),
    sa.Index("migrations_by_dest_host_nodes_and_status_idx", "deleted", "dest_compute", "dest_node", "status"),
    sa.Index("migrations_dest_compute_id_deleted_idx", "dest_compute_id", "deleted"),
    **MYSQL,
)  # fmt: skip
