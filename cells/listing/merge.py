# SPDX-License-Identifier: Apache-2.0
"""Lists with a filter or an order that only the cells know: each cell sorts its own, and the finished lists are merged.

Every cell that can have rows gives at most a page's worth of keys, all cells at the same time, and only the servers
that the page takes are then read in full. Which order: ``order``. A cell that gives no answer is reported with the
page and its servers are missing from it. A page goes on after the values of the last row of the one before, so it
neither repeats a server nor skips one whose values stay as they are. Servers without a cell are not in these lists
(``minimal.unplaced`` has them).
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import sqlalchemy as sa

from cells.database import Database
from cells.errors import CellDown, NotMapped
from cells.listing import detail, filters, order
from cells.listing.query import Query
from cells.listing.values import Brief, Detail, Entry, Minimal, Page
from cells.pool import Cells
from cells.prebuilt import Prebuilt
from cells.registry import Registry
from cells.schema_api import flavors, instance_mappings
from cells.schema_cell import instances
from cells.types import Cell, Down, Up

_CELLS_OF = Prebuilt(sa.select(instance_mappings.c.cell_id)
                     .where(instance_mappings.c.project_id == sa.bindparam("project")).distinct())  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    """A server on its way through the merge: its place, and as much of it as a list without details shows."""

    key: order.Key
    brief: Brief
    cell: Cell


def page(registry: Registry, cells: Cells, query: Query) -> Page:
    """Return one page. Raises what ``Listing.page`` raises."""
    where = filters.conditions(_with_flavor(registry, query))
    start = None if query.marker is None else _marker_values(registry, cells, query)
    return _page(registry, cells, query, where, start)[0]


def stream(registry: Registry, cells: Cells, query: Query) -> Iterator[Entry]:
    """Yield all servers after the query's marker, a page at a time. Raises what ``Listing.page`` raises."""
    where = filters.conditions(_with_flavor(registry, query))
    start = None if query.marker is None else _marker_values(registry, cells, query)
    while True:
        found, start = _page(registry, cells, query, where, start)
        yield from found.servers
        if start is None:
            return


def _page(registry: Registry, cells: Cells, query: Query, where: Sequence[filters.Condition],
          start: Sequence[Any] | None) -> tuple[Page, Sequence[Any] | None]:  # fmt: skip
    """Return a page and the values of its last row, None if it is the last page."""
    answers = cells.gather(
        _cells_to_ask(registry, query.project_id),
        lambda cell, database: _rows(cell, database, query, where, start),
    )
    lists = [answer.value for answer in answers.values() if isinstance(answer, Up)]
    downs = {uuid: answer for uuid, answer in answers.items() if isinstance(answer, Down)}
    rows = list(islice(heapq.merge(*lists, key=lambda row: row.key), query.limit))
    servers: list[Entry] = []
    servers += _in_full(cells, query, rows, where, downs) if query.detail else [row.brief for row in rows]
    full = len(rows) == query.limit
    marker = rows[-1].brief.uuid if full else None
    return Page(tuple(servers), marker, tuple(downs.values())), rows[-1].key.values if full else None


def _rows(cell: Cell, database: Database, query: Query, where: Sequence[filters.Condition],
          start: Sequence[Any] | None) -> list[_Row]:  # fmt: skip
    keys = order.columns(query.order)
    # By position and not by name: a sort key may be a column that a brief entry has too.
    statement = sa.select(*(column.label(f"key_{column.name}") for column in keys), *detail.BRIEF).where(*where)
    if start is not None:
        statement = statement.where(order.after(query.order, start))
    statement = statement.order_by(*order.order_by(query.order)).limit(query.limit)
    with database.reader() as conn:
        return [
            _Row(order.Key(query.order, row[: len(keys)]), Brief(cell.name, *row[len(keys) :]), cell)
            for row in map(tuple, conn.execute(statement))
        ]


def _in_full(cells: Cells, query: Query, rows: Sequence[_Row], where: Sequence[filters.Condition],
             downs: dict[str, Down]) -> list[Entry]:  # fmt: skip
    """Return the rows with their details; a cell that went down since is noted and leaves ``Minimal`` entries."""
    statement = detail.statement(where, system_metadata=query.system_metadata)
    asked: dict[str, tuple[Cell, list[str]]] = {}
    for row in rows:
        asked.setdefault(row.cell.uuid, (row.cell, []))[1].append(row.brief.uuid)

    def read(cell: Cell, database: Database) -> dict[str, Detail]:
        return detail.read(cell.name, database, statement, asked[cell.uuid][1])

    answers = cells.gather([cell for cell, _ in asked.values()], read)
    entries: list[Entry] = []
    for brief, answer in ((row.brief, answers[row.cell.uuid]) for row in rows):
        if isinstance(answer, Down):
            downs[answer.cell.uuid] = answer
            entries.append(Minimal(brief.uuid, brief.project_id or "", brief.user_id, brief.created_at, brief.cell,
                                   answer.reason))  # fmt: skip
        elif brief.uuid in answer.value:
            entries.append(answer.value[brief.uuid])
    return entries


def _cells_to_ask(registry: Registry, project_id: str | None) -> list[Cell]:
    with registry.database.snapshot() as ask:
        cells = registry.cells_by_id(ask)
        if project_id is None:
            return list(cells.values())
        return [cells[key] for (key,) in ask(_CELLS_OF, {"project": project_id}) if key is not None]


def _with_flavor(registry: Registry, query: Query) -> Query:
    """Return the query with the number of its flavor in place of the id; one that is not there finds no server.

    ``nova/compute/api.py:API.get_all``.
    """
    if "flavor" not in query.filters:
        return query
    with registry.database.reader() as conn:
        numbers = conn.execute(sa.select(flavors.c.id).where(flavors.c.flavorid == query.filters["flavor"])).scalars()
        return replace(query, filters={**query.filters, "flavor": list(numbers)})


def _marker_values(registry: Registry, cells: Cells, query: Query) -> Sequence[Any]:
    """Return the sort values of the marker from its cell, also if it was deleted meanwhile.

    Raises NotMapped, and CellDown when its cell gives no answer: the mapping does not have them.
    """
    mapping = registry.find_mapping(str(query.marker))
    if mapping is None or mapping.cell is None or query.project_id not in (None, mapping.project_id):
        raise NotMapped(f"Marker {query.marker} could not be found.")
    values = sa.select(*order.columns(query.order)).where(instances.c.uuid == query.marker)

    def read(_: Cell, database: Database) -> Any:
        with database.reader() as conn:
            return conn.execute(values).first()

    answer = cells.gather([mapping.cell], read)[mapping.cell.uuid]
    if isinstance(answer, Down):
        raise CellDown(mapping.cell.name, f"where its server {query.marker}, the marker, stands in this order is only "
                                          f"known there ({answer.reason})")  # fmt: skip
    if answer.value is None:
        raise NotMapped(f"Marker {query.marker} could not be found.")
    return tuple(answer.value)
