# SPDX-License-Identifier: Apache-2.0
"""A stretch of the API database's mappings, youngest first: what a page is cut from.

``instance_mappings.id`` grows in the order in which servers were accepted, the primary key serves it, and the index on
the project holds it too; so a stretch costs what is in it. There is no index on ``queued_for_delete`` and nova's tables
are never altered: where nobody archives, nearly all mappings of a stretch may be of deletes that were accepted. They
are read once, by one statement between two ids, and those that are queued come as numbers.
"""

import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from cells.listing.graves import Graves
from cells.listing.texts import constant, joined
from cells.prebuilt import Prebuilt, Values
from cells.registry import LIVE, Registry
from cells.schema_api import instance_mappings
from cells.types import Cell, ServerMapping
from cells.wire import Read

_C = instance_mappings.c
# Without a cell there is no row that could be alive: the delete of a server not yet placed is done.
_SUSPECT = sa.and_(_C.queued_for_delete.is_(sa.true()), _C.cell_id.is_not(None))
# Up to as many are read by their ids; of more, all queued ones of the stretch are read and the known left out.
_FEW = 200
# A page of so many is read with the rows of its deletes.
_SHORT = 100
# Above all ids.
_TOP = 1 << 62
# Of how many projects it is known how dense their servers are; and how much more than enough is read.
_PROJECTS, _MARGIN, _MORE = 10_000, 1.1, 16


class Row(NamedTuple):
    """As much of a mapping as most need: to read the whole of a thousand takes as long as to find them.

    ``cell_id`` is 0 while it has no cell.
    """

    id: int
    instance_uuid: str
    cell_id: int
    queued: bool


_CELL: ColumnElement[int] = sa.func.coalesce(_C.cell_id, 0)
_LAST = sa.select(sa.func.coalesce(sa.func.max(_C.id), 0)).scalar_subquery()
_LOWEST: ColumnElement[int] = sa.bindparam("lowest", type_=sa.BigInteger)
_BELOW = _C.id < sa.bindparam("below")


def _row(queued: bool) -> ColumnElement[Any]:
    """Return a ``Row`` as JSON, which is read at once; the id of a server is one."""
    end = constant(f",{str(queued).lower()}]")
    return joined(constant("["), _C.id, constant(',"'), _C.instance_uuid, constant('",'), _CELL, end)


def _stretch(of_one: bool, newest: bool, short: bool) -> Prebuilt:
    """Return what reads a stretch of one project or of all: the last id of all, the queued ones, and what is shown.

    It lies between ``below`` and ``lowest``, or is the ``newest``, with so many ids as ``wide`` says. Of a long one the
    queued are ids: nearly all are known and only counted out, and to make a row of each would take as long as all else.
    """
    newer = _C.id > _LAST - sa.bindparam("wide", type_=sa.BigInteger)
    return Prebuilt(sa.select(
        _LAST,
        sa.func.group_concat(sa.case((_SUSPECT, _row(True) if short else _C.id))),
        sa.func.group_concat(sa.case((LIVE, _row(False)))),
    ).where(*_whose(of_one), *([newer] if newest else [_C.id >= _LOWEST, _BELOW])))  # fmt: skip


def _whose(of_one: bool) -> list[ColumnElement[bool]]:
    return [_C.project_id == sa.bindparam("project")] if of_one else []


# By whether it is for one project only, whether it is the newest, and whether it is short.
_STRETCH = {key: _stretch(*key) for key in itertools.product((False, True), repeat=3)}
# The id of the mapping that is so far down.
_AT = {of_one: Prebuilt(sa.select(_C.id).where(*_whose(of_one), _BELOW).order_by(_C.id.desc()).limit(1)
                        .offset(sa.bindparam("skip"))) for of_one in (False, True)}  # fmt: skip
_LEAN = sa.select(_C.id, _C.instance_uuid, _CELL)
_SOME_QUEUED = Prebuilt(_LEAN.where(_C.id.in_(sa.bindparam("ids", expanding=True))))
_ALL_QUEUED = {of_one: Prebuilt(_LEAN.where(*_whose(of_one), _C.id >= _LOWEST, _BELOW, _SUSPECT))
               for of_one in (False, True)}  # fmt: skip
_WHOLE = Prebuilt(sa.select(_C.id, _C.instance_uuid, _C.project_id, _C.user_id, _C.cell_id, _C.queued_for_delete,
                            _C.created_at).where(_C.id.in_(sa.bindparam("ids", expanding=True))))  # fmt: skip


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


class _Density(NamedTuple):
    """How many ids, and how many of its mappings, a project takes for each of its servers that is shown."""

    ids: float = math.inf
    mappings: float = 1.25


class Windows:
    """Reads stretches; keep it, it learns how dense the servers of a project are.

    A stretch is bounded by how many ids it spans, at most ``widest`` (its text must not be cut: ``cells.dbapi``), or
    where they are too sparse by how many mappings it has, at most ``most``.
    """

    def __init__(self, registry: Registry, graves: Graves, widest: int = 200_000, most: int = 20_000) -> None:
        self._registry, self._graves, self._widest, self._most = registry, graves, widest, most
        self._dense: dict[str | None, _Density] = {}

    def read(self, project_id: str | None, below: int | None, need: int) -> Window:
        """Return a stretch of mappings under id ``below`` with at most ``need`` that are not queued for delete.

        It may have fewer, and none at all, though there are more: what it holds in memory has a bound. Raises CellDown.
        """
        with self._registry.cells_ahead() as cells_by_id:
            lowest, shown, queued = self._ask(project_id, below, need)
            cells = cells_by_id()
        rows = sorted(map(Row._make, shown), reverse=True)
        end = rows[need - 1].id if len(rows) >= need else lowest
        rows = rows[:need]
        suspects = [each for each in self._graves.without(frozenset(queued)) if each >= end]
        if suspects:
            known = queued if isinstance(queued, dict) else self._queued(suspects, project_id, below, end)
            rows = sorted([*rows, *(known[key] for key in suspects if key in known)], reverse=True)
        if not cells.keys() >= {row.cell_id for row in rows if row.cell_id}:
            cells = {cell.id: cell for cell in self._registry.cells()}  # One came in this moment.
        return Window(rows, cells, end)

    def _ask(self, project_id: str | None, below: int | None,
             need: int) -> tuple[int, list[list[Any]], frozenset[int] | dict[int, Row]]:  # fmt: skip
        """Return the lowest id of a stretch, what is shown in it, and the queued ones: their rows, or ids alone."""
        ask, of_one, short = self._registry.database.rows, project_id is not None, need <= _SHORT
        given: Values = {"project": project_id} if of_one else {}
        dense = self._dense.get(project_id, _Density())
        wide = need * dense.ids * _MARGIN + _MORE
        if wide > self._widest:
            skip = min(self._most, int(need * dense.mappings * _MARGIN) + _MORE)
            at = ask(_AT[of_one], {**given, "below": below or _TOP, "skip": skip})
            bounds = {"below": below or _TOP, "lowest": at[0][0] if at else 0}
        elif below is None:
            bounds = {"wide": int(wide)}
        else:
            bounds = {"below": below, "lowest": below - int(wide)}
        ((last, text, shown_text),) = ask(_STRETCH[of_one, "wide" in bounds, short], {**given, **bounds})
        top = last + 1 if below is None else below
        lowest = max(0, bounds["lowest"] if "lowest" in bounds else top - bounds["wide"])
        shown = _read(shown_text)
        queued = {row[0]: Row._make(row) for row in _read(text)} if short else _numbers(text)
        self._learn(project_id, top - lowest, len(queued) + len(shown), len(shown))
        return lowest if lowest > 1 else 0, shown, queued

    def _learn(self, project_id: str | None, ids: int, mappings: int, shown: int) -> None:
        if len(self._dense) > _PROJECTS:
            self._dense = {}
        # Where nothing is shown the next stretch is as long as it may be.
        found = _Density(ids / shown, mappings / shown) if shown else _Density(mappings=self._most)
        self._dense[project_id] = found

    def _queued(self, suspects: list[int], project_id: str | None, below: int | None, end: int) -> dict[int, Row]:
        ask, of_one = self._registry.database.rows, project_id is not None
        if len(suspects) < _FEW:
            rows = ask(_SOME_QUEUED, {"ids": suspects})
        else:
            # Thousands of parameters cost more than as many rows.
            given = {"project": project_id} if of_one else {}
            rows = ask(_ALL_QUEUED[of_one], {**given, "lowest": end, "below": below or _TOP})
        return {key: Row(key, uuid, cell, True) for key, uuid, cell in rows}


@functools.lru_cache(maxsize=8)
def _numbers(text: str | None) -> frozenset[int]:
    # Who lists the same servers again gets the same text again.
    return frozenset(_read(text))


def _read(text: str | None) -> list[Any]:
    found: list[Any] = json.loads(f"[{text or ''}]")
    return found
