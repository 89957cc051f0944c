# SPDX-License-Identifier: Apache-2.0
"""A stretch of the API database's mappings, youngest first: what a page is cut from.

``instance_mappings.id`` grows in the order in which servers were accepted, the primary key serves it, and the index on
the project holds it too; so a stretch costs what is in it. There is no index on ``queued_for_delete`` and nova's tables
are never altered: mappings with it are passed over in the database and come here as numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cells.listing.graves import Graves
from cells.registry import Registry
from cells.schema_api import instance_mappings
from cells.types import Cell, ServerMapping

_C = instance_mappings.c
_MAPPINGS = sa.select(_C.id, _C.instance_uuid, _C.project_id, _C.user_id, _C.cell_id, _C.queued_for_delete,
                      _C.created_at).order_by(_C.id.desc())  # fmt: skip
# Of a server queued for delete its cell tells all that is shown, or nothing is.
_QUEUED = sa.select(_C.id, _C.instance_uuid, _C.cell_id, _C.queued_for_delete)
# NULL is a row that nova has not migrated: it is shown (nova/objects/instance_mapping.py).
_NOT_QUEUED = sa.or_(_C.queued_for_delete.is_(None), _C.queued_for_delete.is_(sa.false()))
# Up to as many are read by their ids; of more, all queued ones of the stretch are read and the known left out.
_FEW = 200


@dataclass(frozen=True)
class Window:
    """Rows of mappings, youngest first, down to and with id ``end``; below it there is nothing if it is 0.

    Of those queued for delete it has the ones that may still be shown: with a cell, and not known to be deleted.
    """

    rows: Sequence[Any]
    cells: Mapping[int, Cell]
    end: int

    def mapping(self, row: Any) -> ServerMapping:
        """Return a row as a value; most rows of a page are never needed as one."""
        cell = None if row.cell_id is None else self.cells[row.cell_id]
        return ServerMapping(row.instance_uuid, row.project_id, row.user_id, cell, row.queued_for_delete,
                             row.created_at)  # fmt: skip


def read(registry: Registry, graves: Graves, project_id: str | None, below: int | None, need: int,
         most_queued: int = 20_000) -> Window:  # fmt: skip
    """Return the stretch of mappings under id ``below`` with ``need`` that are not queued for delete.

    It has fewer when there are no more, or when more than ``most_queued`` others lie between: its memory has a bound.
    Raises CellDown.
    """
    within = [] if project_id is None else [_C.project_id == project_id]
    if below is not None:
        within.append(_C.id < below)
    with registry.database.reader() as conn:
        cells = registry.cells_by_id(conn)
        rows: list[Any] = [*conn.execute(_MAPPINGS.where(*within, _NOT_QUEUED).limit(need)).all()]
        lowest = rows[-1].id if len(rows) == need else 0
        # Without a cell there is no row that could be alive: the delete of a server not yet placed is done.
        queued = [*within, _C.id > lowest, _C.queued_for_delete.is_(sa.true()), _C.cell_id.is_not(None)]
        suspects, end = _suspects(conn, graves, queued, lowest, most_queued)
        if suspects:
            # Thousands of parameters cost more than as many rows.
            some = [_C.id.in_(suspects)] if len(suspects) < _FEW else [*queued, _C.id >= end]
            rows += [row for row in conn.execute(_QUEUED.where(*some)) if row.id in suspects]
        if suspects or end > lowest:
            rows = sorted((row for row in rows if row.id >= end), key=lambda row: row.id, reverse=True)
    return Window(rows, cells, end)


def _suspects(conn: sa.Connection, graves: Graves, queued: list[sa.ColumnElement[bool]],
              end: int, most: int) -> tuple[set[int], int]:  # fmt: skip
    """Return which queued mappings may be alive, and ``end``, raised if there were too many to look at all."""
    some = sa.select(_C.id).where(*queued).order_by(_C.id.desc()).limit(most).subquery()
    # One text and not a row for each: nearly all of them are known and only counted out.
    ids = sa.select(sa.func.group_concat(some.c.id), sa.func.count(), sa.func.min(some.c.id))
    text, count, lowest = conn.execute(ids).one()
    if not count:
        return set(), end
    return graves.without(map(int, text.split(","))), lowest if count == most else end
