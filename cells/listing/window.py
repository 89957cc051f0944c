# SPDX-License-Identifier: Apache-2.0
"""A stretch of the API database's mappings, youngest first: what a page is cut from.

``instance_mappings.id`` grows in the order in which servers were accepted, the primary key serves it, and the index on
the project holds it too; so a stretch costs what is in it. There is no index on ``queued_for_delete`` and nova's tables
are never altered: mappings with it are passed over in the database and come here as numbers.
"""

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
    """As much of a mapping as most need: to read the whole of a thousand takes as long as to find them.

    ``cell_id`` is 0 while it has no cell.
    """

    id: int
    instance_uuid: str
    cell_id: int
    queued: bool


_LEAN = sa.select(_C.id, _C.instance_uuid, sa.func.coalesce(_C.cell_id, 0))
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


_NEEDED = _both(lambda *ours: _LEAN.where(*ours, _BELOW, _NOT_QUEUED).order_by(_C.id.desc())
                .limit(sa.bindparam("need")))  # fmt: skip
# One text and not a row for each: nearly all of them are known and only counted out.
_QUEUED_IDS = _both(lambda *ours: sa.select(sa.func.group_concat(_C.id)).where(*ours, *_QUEUED))
_HIGHEST_QUEUED_IDS = _both(_highest)
_ALL_QUEUED = _both(lambda *ours: _LEAN.where(*ours, *_QUEUED))
_WHOLE = Prebuilt(sa.select(_C.id, _C.instance_uuid, _C.project_id, _C.user_id, _C.cell_id, _C.queued_for_delete,
                            _C.created_at).where(_C.id.in_(sa.bindparam("ids", expanding=True))))  # fmt: skip
_SOME_QUEUED = Prebuilt(_LEAN.where(_C.id.in_(sa.bindparam("ids", expanding=True))))
_LAST = Prebuilt(sa.select(sa.func.coalesce(sa.func.max(_C.id), 0)))


@dataclass(frozen=True)
class Window:
    """Rows of mappings, youngest first, down to and with id ``end``; below it there is nothing if it is 0.

    Of those queued for delete it has the ones that may still be shown: with a cell, and not known to be deleted.
    """

    rows: Sequence[Row]
    cells: Mapping[int, Cell]
    end: int

    def mappings(self, ask: Read, rows: Sequence[Row]) -> dict[int, ServerMapping]:
        """Return rows as whole mappings by id, those that are still there."""
        whole = ask(_WHOLE, {"ids": [row.id for row in rows]}) if rows else ()
        return {
            # One that has got a cell that came meanwhile is told as without.
            key: ServerMapping(uuid, project, user, self.cells.get(cell or 0), queued, created)
            for key, uuid, project, user, cell, queued, created in whole
        }


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
        rows = _rows(ask(_NEEDED[of_one], {**within, "need": need}), queued=False)
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
        return _rows(ask(_SOME_QUEUED, {"ids": list(suspects)}), queued=True)
    # Thousands of parameters cost more than as many rows.
    return [row for row in _rows(ask(_ALL_QUEUED[of_one], within), queued=True) if row.id in suspects]


def _rows(lean: Sequence[tuple[Any, ...]], *, queued: bool) -> list[Row]:
    return [Row(key, uuid, cell, queued) for key, uuid, cell in lean]
