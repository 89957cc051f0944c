# SPDX-License-Identifier: Apache-2.0
"""The operator's word on a cell: nova's flag, which has no room for a reason, and beside it our own note why."""

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from bfv.tables import cell_notes
from bfv.types import utcnow
from cells.database import Database
from cells.registry import Registry
from cells.types import Cell


@dataclass(frozen=True)
class Note:
    """Why a cell was disabled, and when (naive UTC)."""

    reason: str
    at: dt.datetime


def disable(own: Database, registry: Registry, name: str, reason: str) -> Cell:
    """Let a cell get no new servers, and note why; repeatable. Raises NotMapped, CellDown.

    The note comes first: one of a cell that is not disabled says nothing, the other way round a reason is missing.
    """
    cell = registry.cell(name)

    def write(conn: sa.Connection) -> None:
        conn.execute(cell_notes.delete().where(cell_notes.c.cell_uuid == cell.uuid))
        conn.execute(cell_notes.insert().values(cell_uuid=cell.uuid, reason=reason, at=utcnow()))

    own.run(write)
    return registry.update_cell(cell.uuid, disabled=True)


def enable(own: Database, registry: Registry, name: str) -> Cell:
    """Let a cell get servers again; repeatable. Raises NotMapped, CellDown."""
    cell = registry.update_cell(name, disabled=False)
    forget(own, cell)
    return cell


def forget(own: Database, cell: Cell) -> None:
    """Remove the note on a cell."""
    own.run(lambda conn: conn.execute(cell_notes.delete().where(cell_notes.c.cell_uuid == cell.uuid)))


def notes(own: Database) -> dict[str, Note]:
    """Return the notes by the cell's uuid."""
    with own.reader() as conn:
        return {row.cell_uuid: Note(row.reason, row.at) for row in conn.execute(sa.select(cell_notes))}
