# SPDX-License-Identifier: Apache-2.0
"""All that a cell's rows say of one server, column by column, for whoever compares two of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cells.database import Database
from cells.errors import NotMapped
from cells.schema_cell import (
    block_device_mapping,
    instance_extra,
    instance_info_caches,
    instance_metadata,
    instance_system_metadata,
    instances,
)

_OF_SERVER = (instance_extra, instance_metadata, instance_system_metadata, block_device_mapping, instance_info_caches)


def server(db: Database, uuid: str) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the live rows of a server by table, oldest first; text that holds JSON is told as what it holds.

    Raises NotMapped, CellDown.
    """
    with db.reader() as conn:
        found = {instances.name: _rows(conn, instances, instances.c.uuid == uuid)}
        for table in _OF_SERVER:
            found[table.name] = _rows(conn, table, table.c.instance_uuid == uuid)
    if not found[instances.name]:
        raise NotMapped(f"Server {uuid} could not be found in cell {db.name}.")
    return found


def _rows(conn: sa.Connection, table: sa.Table, whose: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
    query = sa.select(table).where(whose, table.c.deleted == 0).order_by(table.c.id)
    return [{name: _held(value) for name, value in row._mapping.items()} for row in conn.execute(query)]


def _held(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
