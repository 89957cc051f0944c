# SPDX-License-Identifier: Apache-2.0
"""The journal: intents, their objects outside, their history, their short-lived payload."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make the four tables."""
    op.create_table(
        "intents",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("server_id", sa.String(36), nullable=False),
        sa.Column("slot", sa.String(36), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("cell", sa.String(255)),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("cancel", sa.Boolean, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("owner", sa.String(255)),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_until", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("closed_at", TIME),
        sa.UniqueConstraint("server_id", "slot", name="uniq_intents0server_id0slot"),
    )
    op.create_index("intents_slot_idx", "intents", ["slot"])
    op.create_index("intents_owner_idx", "intents", ["owner"])
    op.create_index("intents_project_id_idx", "intents", ["project_id", "created_at"])
    op.create_table(
        "objects",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("intent_id", sa.String(36), sa.ForeignKey("intents.id", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("role", sa.String(36), nullable=False),
        sa.Column("marker", sa.String(64), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("external_id", sa.String(36)),
        sa.Column("gone", sa.Boolean, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
    )
    op.create_index("objects_intent_id_idx", "objects", ["intent_id"])
    op.create_index("objects_external_id_idx", "objects", ["external_id"])
    op.create_table(
        "steps",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("intent_id", sa.String(36), sa.ForeignKey("intents.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_index("steps_intent_id_idx", "steps", ["intent_id"])
    op.create_table(
        "payloads",
        sa.Column("intent_id", sa.String(36), sa.ForeignKey("intents.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
