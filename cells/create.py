# SPDX-License-Identifier: Apache-2.0
"""Make the tables where no nova made them before: the standalone and the embedded mode."""

import sqlalchemy as sa

from cells import schema_api, schema_cell, schema_moves, schema_place, schema_quota
from cells.database import Database
from cells.errors import BadCell

# Imported for their tables, which are part of the two above.
_PARTS = (schema_moves, schema_place, schema_quota)
_MIGRATED_BY_NOVA = ("alembic_version", "migrate_version")


def create_api(database: Database) -> None:
    """Make the tables of an API database that are not there yet; repeatable. Raises BadCell, CellDown."""
    _create(database, schema_api.metadata)


def create_cell(database: Database) -> None:
    """Make the tables of a cell database that are not there yet; repeatable. Raises BadCell, CellDown."""
    _create(database, schema_cell.metadata)


def _create(database: Database, metadata: sa.MetaData) -> None:
    with database.writer() as conn:
        present = set(sa.inspect(conn).get_table_names())
        if migrated := present.intersection(_MIGRATED_BY_NOVA):
            raise BadCell(f"cell {database.name}: it has a table {min(migrated)}, so its tables are made and changed "
                          "by somebody else (nova-manage); none is made or altered here")  # fmt: skip
        metadata.create_all(conn)
