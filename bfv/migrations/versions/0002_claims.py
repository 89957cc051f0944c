# SPDX-License-Identifier: Apache-2.0
"""Claims that keep quotas and server groups exact, the rows that are locked for them, and notes on cells."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "claims",
        sa.Column("intent_id", sa.String(36), primary_key=True),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("vcpus", sa.Integer, nullable=False),
        sa.Column("memory_mb", sa.Integer, nullable=False),
        sa.Column("disk_gb", sa.Integer, nullable=False),
        sa.Column("cell", sa.String(255)),
        sa.Column("host", sa.String(255)),
        sa.Column("group_uuid", sa.String(36)),
        sa.Column("counts", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Index("claims_server_id_idx", "server_id"),
        sa.Index("claims_project_id_idx", "project_id"),
        sa.Index("claims_group_uuid_idx", "group_uuid"),
        sa.Index("claims_cell_host_idx", "cell", "host"),
    )
    op.create_table(
        "locks",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("taken_at", TIME, nullable=False),
    )
    op.create_table(
        "cell_notes",
        sa.Column("cell_uuid", sa.String(36), primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", TIME, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("cell_notes", "locks", "claims"):
        op.drop_table(table)
