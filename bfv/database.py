# SPDX-License-Identifier: Apache-2.0
"""Make and upgrade the databases: ours by alembic, nova's tables only where there are none yet."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from bfv.errors import BadConfig
from bfv.parts import Parts
from cells import create
from cells.errors import NotMapped
from cells.types import CELL0_UUID

VERSION_TABLE = "bfv_version"


def script() -> Config:
    """Return alembic's configuration of our own migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(parts: Parts) -> str:
    """Bring our own database to the newest version and return it. Repeatable."""
    config = script()
    with parts.journal.database.writer() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
    return current(parts) or "-"


def current(parts: Parts) -> str | None:
    """Return the version of our own database, None before ``upgrade``."""
    with parts.journal.database.reader() as conn:
        return MigrationContext.configure(conn, opts={"version_table": VERSION_TABLE}).get_current_revision()


def check(parts: Parts) -> str:
    """Return the version of our own database. Raises BadConfig unless it is that of this code."""
    head = ScriptDirectory.from_config(script()).get_current_head()
    have = current(parts)
    if have is None or have != head:
        raise BadConfig(
            f"The journal's database has version {have or 'none'}, this bfv needs {head}: run `bfv db init`."
        )
    return have


def init(parts: Parts, cell0_connection: str | None) -> None:
    """Make our own database; with a URL for cell0 also nova's API tables and cell0, for standalone use. Repeatable.

    Tables that are missing in mapped cells are made, too. Raises BadCell where a real nova has made the API database:
    its tables are never made or altered here; CellDown.
    """
    upgrade(parts)
    if not cell0_connection:
        return
    create.create_api(parts.api)
    try:
        parts.registry.cell(CELL0_UUID)
    except NotMapped:
        add_cell(parts, "cell0", cell0_connection, uuid=CELL0_UUID)
    for cell in parts.registry.cells():
        # Cells of an older bfv lack the tables that it did not use.
        create.create_cell(parts.cells.of(cell))


def add_cell(parts: Parts, name: str, connection: str, uuid: str | None = None, **columns: Any) -> None:
    """Map a cell and make nova's tables in its database unless they are there. Raises Exists, BadCell."""
    cell = parts.registry.add_cell(name, connection, uuid=uuid, **columns)
    create.create_cell(parts.cells.of(cell))
