# SPDX-License-Identifier: Apache-2.0
"""What boots of an image are cloned from in each cell."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "image_sources",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("cell", sa.String(255), nullable=False),
        sa.Column("tier", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("volume_id", sa.String(36)),
        sa.Column("snapshot_id", sa.String(36)),
        sa.Column("made_seconds", sa.Float, nullable=False),
        sa.Column("clone_seconds", sa.Float),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("used_at", TIME),
        sa.Column("turned_at", TIME),
        sa.Column("reason", sa.Text),
        sa.Index("image_sources_image_id_idx", "image_id", "cell"),
        sa.Index("image_sources_state_idx", "state"),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("image_sources")
