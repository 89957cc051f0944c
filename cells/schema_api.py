# SPDX-License-Identifier: Apache-2.0
"""The tables of nova's API database that we use, equal to nova's to the index, so that one code runs on both.

Nova never deletes softly here. Source of each: ``nova/db/api/models.py``, the class is named beside it.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData()
MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb3",
         "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb3"}  # fmt: skip


def medium_text() -> sa.types.TypeEngine[Any]:
    """Return nova's ``MediumText``: TEXT, and MEDIUMTEXT where TEXT ends at 64 KiB."""
    return sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def timestamps() -> list[sa.Column[Any]]:
    """Return ``created_at`` and ``updated_at``, naive UTC (``oslo_db/sqlalchemy/models.py:TimestampMixin``)."""
    return [sa.Column("created_at", sa.DateTime), sa.Column("updated_at", sa.DateTime)]


# class CellMapping
cell_mappings = sa.Table(
    "cell_mappings",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("name", sa.String(255)),
    sa.Column("transport_url", sa.Text),
    sa.Column("database_connection", sa.Text),
    sa.Column("disabled", sa.Boolean),
    sa.UniqueConstraint("uuid", name="uniq_cell_mappings0uuid"),
    sa.Index("uuid_idx", "uuid"),
    **MYSQL,
)

# class InstanceMapping
instance_mappings = sa.Table(
    "instance_mappings",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("instance_uuid", sa.String(36), nullable=False),
    sa.Column("cell_id", sa.Integer, sa.ForeignKey("cell_mappings.id")),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("queued_for_delete", sa.Boolean),
    sa.Column("user_id", sa.String(255)),
    sa.UniqueConstraint("instance_uuid", name="uniq_instance_mappings0instance_uuid"),
    sa.Index("instance_uuid_idx", "instance_uuid"),
    sa.Index("project_id_idx", "project_id"),
    sa.Index("instance_mappings_user_id_project_id_idx", "user_id", "project_id"),
    **MYSQL,
)

# class HostMapping
host_mappings = sa.Table(
    "host_mappings",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("cell_id", sa.Integer, sa.ForeignKey("cell_mappings.id"), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.UniqueConstraint("host", name="uniq_host_mappings0host"),
    sa.Index("host_idx", "host"),
    **MYSQL,
)

# class RequestSpec
request_specs = sa.Table(
    "request_specs",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("instance_uuid", sa.String(36), nullable=False),
    sa.Column("spec", medium_text(), nullable=False),
    sa.UniqueConstraint("instance_uuid", name="uniq_request_specs0instance_uuid"),
    sa.Index("request_spec_instance_uuid_idx", "instance_uuid"),
    **MYSQL,
)

# class Flavors
flavors = sa.Table(
    "flavors",
    metadata,
    *timestamps(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("swap", sa.Integer, nullable=False),
    sa.Column("vcpu_weight", sa.Integer),
    sa.Column("flavorid", sa.String(255), nullable=False),
    sa.Column("rxtx_factor", sa.Float),
    sa.Column("root_gb", sa.Integer),
    sa.Column("ephemeral_gb", sa.Integer),
    sa.Column("disabled", sa.Boolean),
    sa.Column("is_public", sa.Boolean),
    sa.Column("description", sa.Text),
    sa.UniqueConstraint("flavorid", name="uniq_flavors0flavorid"),
    sa.UniqueConstraint("name", name="uniq_flavors0name"),
    **MYSQL,
)

# class FlavorExtraSpecs
flavor_extra_specs = sa.Table(
    "flavor_extra_specs",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("flavor_id", sa.Integer, sa.ForeignKey("flavors.id"), nullable=False),
    sa.Column("key", sa.String(255), nullable=False),
    sa.Column("value", sa.String(255)),
    sa.UniqueConstraint("flavor_id", "key", name="uniq_flavor_extra_specs0flavor_id0key"),
    sa.Index("flavor_extra_specs_flavor_id_key_idx", "flavor_id", "key"),
    **MYSQL,
)

# class FlavorProjects
flavor_projects = sa.Table(
    "flavor_projects",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("flavor_id", sa.Integer, sa.ForeignKey("flavors.id"), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.UniqueConstraint("flavor_id", "project_id", name="uniq_flavor_projects0flavor_id0project_id"),
    **MYSQL,
)

# class BuildRequest
build_requests = sa.Table(
    "build_requests",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("instance_uuid", sa.String(36)),
    sa.Column("instance", medium_text()),
    sa.Column("block_device_mappings", medium_text()),
    sa.Column("tags", sa.Text),
    sa.UniqueConstraint("instance_uuid", name="uniq_build_requests0instance_uuid"),
    sa.Index("build_requests_instance_uuid_idx", "instance_uuid"),
    sa.Index("build_requests_project_id_idx", "project_id"),
    **MYSQL,
)

# class KeyPair
key_pairs = sa.Table(
    "key_pairs",
    metadata,
    *timestamps(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("fingerprint", sa.String(255)),
    sa.Column("public_key", sa.Text),
    sa.Column("type", sa.Enum("ssh", "x509"), nullable=False, server_default=sa.text("'ssh'")),
    sa.UniqueConstraint("user_id", "name", name="uniq_key_pairs0user_id0name"),
    **MYSQL,
)
