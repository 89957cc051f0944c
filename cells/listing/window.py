# SPDX-License-Identifier: Apache-2.0
"""A stretch of the API database's mappings, youngest first: what a page is cut from.

``instance_mappings.id`` grows in the order in which servers were accepted, the primary key serves it, and the index on
the project holds it too; so a stretch costs what is in it. There is no index on ``queued_for_delete`` and nova's tables
are never altered: mappings with it are passed over in the database and come here as numbers.
"""

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from cells.listing.graves import Graves
from cells.prebuilt import Prebuilt, Values
from cells.registry import Registry
from cells.schema_api import instance_mappings
from cells.types import Cell, ServerMapping
from cells.wire import Read

_C = instance_mappings.c
# NULL is a row that nova has not migrated: it is shown (nova/objects/instance_mapping.py).
_NOT_QUEUED = sa.or_(_C.queued_for_delete.is_(None), _C.queued_for_delete.is_(sa.false()))
# Up to as many are read by their ids; of more, all queued ones of the stretch are read and the known left out.
_FEW = 200


class Row(NamedTuple):
    """A mapping, a row of ``instance_mappings``."""

    id: int
    instance_uuid: str
    project_id: str
    user_id: str | None
    cell_id: int | None
    queued_for_delete: bool | None
    created_at: dt.datetime


_MAPPINGS = sa.select(*(_C[name] for name in Row._fields))
_BELOW = _C.id < sa.bindparam("below")
_QUEUED = (_C.id < sa.bindparam("below"), _C.id > sa.bindparam("lowest"), _C.queued_for_delete.is_(sa.true()),
           # Without a cell there is no row that could be alive: the delete of a server not yet placed is done.
           _C.cell_id.is_not(None))  # fmt: skip


def _both(build: Callable[..., sa.Select[Any]]) -> dict[bool, Prebuilt]:
    """Return a statement by whether it is for one project only."""
    ours = _C.project_id == sa.bindparam("project")
    return {True: Prebuilt(build(ours)), False: Prebuilt(build())}


def _highest(*ours: Any) -> sa.Select[Any]:
    some = sa.select(_C.id).where(*ours, *_QUEUED).order_by(_C.id.desc()).limit(sa.bindparam("most")).subquery()
    return sa.select(sa.func.group_concat(some.c.id))


_NEEDED = _both(lambda *ours: _MAPPINGS.where(*ours, _BELOW, _NOT_QUEUED).order_by(_C.id.desc())
                .limit(sa.bindparam("need")))  # fmt: skip
# One text and not a row for each: nearly all of them are known and only counted out.
_QUEUED_IDS = _both(lambda *ours: sa.select(sa.func.group_concat(_C.id)).where(*ours, *_QUEUED))
_HIGHEST_QUEUED_IDS = _both(_highest)
_ALL_QUEUED = _both(lambda *ours: _MAPPINGS.where(*ours, *_QUEUED))
_SOME_QUEUED = Prebuilt(_MAPPINGS.where(_C.id.in_(sa.bindparam("ids", expanding=True))))
_LAST = Prebuilt(sa.select(sa.func.coalesce(sa.func.max(_C.id), 0)))


@dataclass(frozen=True)
class Window:
    """Rows of mappings, youngest first, down to and with id ``end``; below it there is nothing if it is 0.

    Of those queued for delete it has the ones that may still be shown: with a cell, and not known to be deleted.
    """

    rows: Sequence[Row]
    cells: Mapping[int, Cell]
    end: int

    def mapping(self, row: Row) -> ServerMapping:
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
    of_one = project_id is not None
    with registry.database.snapshot() as ask:
        cells = registry.cells_by_id(ask)
        below = ask(_LAST, {})[0][0] + 1 if below is None else below
        within: Values = {"below": below, **({"project": project_id} if of_one else {})}
        rows = list(map(Row._make, ask(_NEEDED[of_one], {**within, "need": need})))
        lowest = rows[-1].id if len(rows) == need else 0
        within = {**within, "lowest": lowest}
        # To sort and cut them off costs half as much again.
        statement = _QUEUED_IDS if below - lowest <= most_queued else _HIGHEST_QUEUED_IDS
        ids = _numbers(ask(statement[of_one], {**within, "most": most_queued})[0][0])
        suspects = graves.without(ids)
        end = min(ids) if len(ids) >= most_queued else lowest
        if suspects:
            rows += _queued(ask, suspects, of_one, within)
    if suspects or end > lowest:
        rows = sorted((row for row in rows if row.id >= end), reverse=True)
    return Window(rows, cells, end)


@functools.lru_cache(maxsize=8)
def _numbers(text: str | None) -> frozenset[int]:
    # Who lists the same servers again gets the same text again.
    return frozenset(map(int, text.split(","))) if text else frozenset()


def _queued(ask: Read, suspects: set[int], of_one: bool, within: Values) -> list[Row]:
    if len(suspects) < _FEW:
        return list(map(Row._make, ask(_SOME_QUEUED, {"ids": list(suspects)})))
    # Thousands of parameters cost more than as many rows.
    return [row for row in map(Row._make, ask(_ALL_QUEUED[of_one], within)) if row.id in suspects]
