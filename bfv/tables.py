# SPDX-License-Identifier: Apache-2.0
"""The tables of bfv's own database; ``bfv.journal`` says what they mean, ``bfv/migrations`` makes them."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData()
# MySQL's DATETIME drops fractions of a second, which order the history.
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")

intents = sa.Table(
    "intents",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("verb", sa.String(16), nullable=False),
    sa.Column("server_id", sa.String(36), nullable=False),
    # The verb, or a name for several, while it is open and the id when it is closed: one open intent of a slot for each
    # server.
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
    sa.Index("intents_slot_idx", "slot"),
    sa.Index("intents_owner_idx", "owner"),
    sa.Index("intents_project_id_idx", "project_id", "created_at"),
)
objects = sa.Table(
    "objects",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("intent_id", sa.String(36), sa.ForeignKey("intents.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("role", sa.String(36), nullable=False),
    sa.Column("marker", sa.String(64), nullable=False),
    sa.Column("asked_at", TIME, nullable=False),
    sa.Column("external_id", sa.String(36)),
    sa.Column("gone", sa.Boolean, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Index("objects_intent_id_idx", "intent_id"),
    sa.Index("objects_external_id_idx", "external_id"),
)
steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("intent_id", sa.String(36), sa.ForeignKey("intents.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(32), nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("at", TIME, nullable=False),
    sa.Index("steps_intent_id_idx", "intent_id"),
)
payloads = sa.Table(
    "payloads",
    metadata,
    sa.Column("intent_id", sa.String(36), sa.ForeignKey("intents.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)
# What an accepted server takes until its rows in its cell tell it: `bfv.claims`.
claims = sa.Table(
    "claims",
    metadata,
    # Of the boot: it ends with it. No foreign key, for it is written first, and a group's outlives its intent.
    sa.Column("intent_id", sa.String(36), primary_key=True),
    sa.Column("server_id", sa.String(36), nullable=False),
    sa.Column("project_id", sa.String(255), nullable=False),
    sa.Column("user_id", sa.String(255), nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("disk_gb", sa.Integer, nullable=False),
    # Where it goes, and the server group whose rule it keeps.
    sa.Column("cell", sa.String(255)),
    sa.Column("host", sa.String(255)),
    sa.Column("group_uuid", sa.String(36)),
    # While the intent is open. A group's rule needs the host longer, until the server is deleted.
    sa.Column("counts", sa.Boolean, nullable=False),
    sa.Column("created_at", TIME, nullable=False),
    sa.Index("claims_server_id_idx", "server_id"),
    sa.Index("claims_project_id_idx", "project_id"),
    sa.Index("claims_group_uuid_idx", "group_uuid"),
    sa.Index("claims_cell_host_idx", "cell", "host"),
)
# A row to lock: claims of one project, and of its groups, are made one after the other.
locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("taken_at", TIME, nullable=False),
)
# The operator's word on a cell beside nova's flag: why, who and when.
cell_notes = sa.Table(
    "cell_notes",
    metadata,
    sa.Column("cell_uuid", sa.String(36), primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),
)
# What boots of an image are cloned from in a cell: `bfv.images.book`.
image_sources = sa.Table(
    "image_sources",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("image_id", sa.String(36), nullable=False),
    sa.Column("cell", sa.String(255), nullable=False),
    sa.Column("tier", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # Of which state of the image it is: what must be equal for it to be used.
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("volume_id", sa.String(36)),
    sa.Column("snapshot_id", sa.String(36)),
    # Seconds that it took to make, and that a boot's volume takes from it.
    sa.Column("made_seconds", sa.Float, nullable=False),
    sa.Column("clone_seconds", sa.Float),
    sa.Column("made_at", TIME, nullable=False),
    sa.Column("used_at", TIME),
    sa.Column("turned_at", TIME),
    sa.Column("reason", sa.Text),
    sa.Index("image_sources_image_id_idx", "image_id", "cell"),
    sa.Index("image_sources_state_idx", "state"),
)
