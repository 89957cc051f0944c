# SPDX-License-Identifier: Apache-2.0
"""Lists of servers over many cells, page by page, also while some of them are down.

In the order in which they were accepted, youngest first, the API database alone knows which servers a page has; each
cell on the page is asked once, all at the same time. That order is the same whether a cell answers or not, so pages
neither skip nor repeat a server while cells go down and come back. Other orders and filters are in ``merge``.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field

import sqlalchemy as sa

from cells.database import Database
from cells.errors import NotMapped
from cells.listing import detail, merge, window
from cells.listing.graves import Graves
from cells.listing.minimal import of_mapping, with_build_requests
from cells.listing.query import Query
from cells.listing.values import Brief, Detail, Entry, Page, Unplaced
from cells.pool import Cells
from cells.registry import Registry
from cells.schema_api import instance_mappings
from cells.schema_cell import instances
from cells.types import Cell, Down, Up


@dataclass
class _Asked:
    """What is to be asked of one cell: servers by mapping id, apart those that a delete was accepted for."""

    cell: Cell
    plain: dict[int, str] = field(default_factory=dict)
    queued: dict[int, str] = field(default_factory=dict)

    def answer(self, database: Database, graves: Graves, with_detail: bool) -> dict[str, Detail | Brief]:
        with database.reader() as conn:
            alive = _alive(conn, self.queued, graves) if self.queued else ()
            return detail.read(conn, self.cell.name, [*self.plain.values(), *alive], detail=with_detail)


class Listing:
    """Lists servers; keep one for the life of a process, it learns which deletes are done (see ``graves``)."""

    def __init__(self, registry: Registry, cells: Cells, graves: Graves | None = None) -> None:
        self.registry, self.cells = registry, cells
        self._graves = graves or Graves()

    def page(self, query: Query, building: Container[str] = ()) -> Page:
        """Return one page.

        ``building`` are the ids of servers that are mapped to a cell before they have their row there: while that is
        missing they are ``Unplaced`` in the default order, and nowhere in others.
        Raises NotMapped for a marker that is not mapped or not the project's (one deleted meanwhile is good), BadQuery,
        and CellDown for the API database, or for the marker's cell where only that knows its place.
        """
        if not query.by_mapping:
            return merge.page(self.registry, self.cells, query)
        return self._page(query, building, None if query.marker is None else self._marker(query))[0]

    def stream(self, query: Query, building: Container[str] = ()) -> Iterator[Entry]:
        """Yield all servers after the query's marker, read in pages of its limit and never more than one at a time.

        A cell that goes down on the way is told by ``Minimal`` entries on the default path; on the other its servers
        are missing from then on. Raises what ``page`` raises.
        """
        if not query.by_mapping:
            yield from merge.stream(self.registry, self.cells, query)
            return
        below = None if query.marker is None else self._marker(query)
        while below != 0:
            page, below = self._page(query, building, below)
            yield from page.servers

    def _marker(self, query: Query) -> int:
        mappings = instance_mappings.c
        at = sa.select(mappings.id).where(mappings.instance_uuid == query.marker)
        if query.project_id is not None:
            at = at.where(mappings.project_id == query.project_id)
        with self.registry.database.reader() as conn:
            key: int | None = conn.execute(at).scalar()
        if key is None:
            raise NotMapped(f"Marker {query.marker} could not be found.")
        return key

    def _page(self, query: Query, building: Container[str], below: int | None) -> tuple[Page, int]:
        """Return a page of mappings under an id, and the id to go on under, 0 at the end."""
        found: list[tuple[int, Entry]] = []
        downs: dict[int, Down] = {}
        while below != 0 and len(found) < query.limit:
            stretch = window.read(self.registry, self._graves, query.project_id, below, query.limit - len(found))
            found += self._entries(query, building, stretch, downs)
            below = stretch.end
        servers = tuple(entry for _, entry in found[: query.limit])
        full = len(servers) == query.limit
        page = Page(servers, servers[-1].uuid if full else None, tuple(downs.values()))
        return page, found[query.limit - 1][0] if full else 0

    def _entries(self, query: Query, building: Container[str], stretch: window.Window,
                 downs: dict[int, Down]) -> Iterator[tuple[int, Entry]]:  # fmt: skip
        """Yield what is shown of a stretch, by mapping id; ``downs`` are cells found down, none is asked again."""
        values = self._ask(query, stretch, downs)
        unplaced = self._unplaced(stretch)
        for row in stretch.rows:
            entry: Entry | None
            if row.cell_id is None:
                entry = unplaced[row.instance_uuid]
            elif row.cell_id in values:
                entry = values[row.cell_id].get(row.instance_uuid)
                if entry is None and row.instance_uuid in building and not row.queued_for_delete:
                    entry = Unplaced(stretch.mapping(row))
            elif row.queued_for_delete:
                entry = None
            else:
                entry = of_mapping(stretch.mapping(row), downs[row.cell_id].reason)
            if entry is not None:
                yield row.id, entry

    def _ask(self, query: Query, stretch: window.Window,
             downs: dict[int, Down]) -> dict[int, dict[str, Detail | Brief]]:  # fmt: skip
        asked: dict[str, _Asked] = {}
        for row in stretch.rows:
            if row.cell_id is not None and row.cell_id not in downs:
                cell = stretch.cells[row.cell_id]
                of_cell = asked.get(cell.uuid) or asked.setdefault(cell.uuid, _Asked(cell))
                (of_cell.queued if row.queued_for_delete else of_cell.plain)[row.id] = row.instance_uuid
        answers = self.cells.gather(
            [one.cell for one in asked.values()],
            lambda cell, database: asked[cell.uuid].answer(database, self._graves, query.detail),
        )
        downs.update({answer.cell.id: answer for answer in answers.values() if isinstance(answer, Down)})
        return {answer.cell.id: answer.value for answer in answers.values() if isinstance(answer, Up)}

    def _unplaced(self, stretch: window.Window) -> dict[str, Unplaced]:
        without = [stretch.mapping(row) for row in stretch.rows if row.cell_id is None]
        return {entry.uuid: entry for entry in with_build_requests(self.registry, without)}


def list_servers(registry: Registry, cells: Cells, query: Query) -> Page:
    """Return one page; who lists more than once keeps a ``Listing``, whose ``page`` this is."""
    return Listing(registry, cells).page(query)


def _alive(conn: sa.Connection, queued: dict[int, str], graves: Graves) -> set[str]:
    """Return which servers that a delete was accepted for are still there, and bury the others."""
    # The index on (uuid, deleted) has the whole answer, and those that are deleted come back as one number.
    asked = instances.c.uuid.in_(list(queued.values()))
    alive_id = sa.case((instances.c.deleted == 0, instances.c.uuid)).label("alive")
    counted = conn.execute(sa.select(alive_id, sa.func.count()).where(asked).group_by("alive")).all()
    alive = {row[0] for row in counted} - {None}
    gone = {key: uuid for key, uuid in queued.items() if uuid not in alive}
    if sum(row[1] for row in counted) == len(queued):
        graves.add(gone)
    else:
        there = set(conn.execute(sa.select(instances.c.uuid).where(asked)).scalars())
        graves.add((key for key, uuid in gone.items() if uuid in there),
                   (key for key, uuid in gone.items() if uuid not in there))  # fmt: skip
    return alive
