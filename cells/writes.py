# SPDX-License-Identifier: Apache-2.0
"""May this account write? Asked before anything is begun, so that a missing right is not met halfway."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from cells.database import Database
from cells.rows import SATELLITES
from cells.schema_api import instance_mappings, request_specs
from cells.schema_cell import instances, tags

TABLES: Mapping[str, Sequence[sa.Table]] = {
    "api": (instance_mappings, request_specs),
    "cell": (instances, *SATELLITES, tags),
}


def check(database: Database, kind: str) -> None:
    """Raise NoRight unless rows of servers may be written here: ``kind`` is ``api`` or ``cell``.

    Statements that match no row: a database looks at the rights first. Changes nothing. Raises CellDown, BadCell.
    """
    with database.writer() as conn:
        for table in TABLES[kind]:
            nothing = sa.select(table).where(sa.false())
            conn.execute(table.insert().from_select(table.columns.keys(), nothing))
            conn.execute(table.update().where(sa.false()).values({table.columns.keys()[0]: None}))
