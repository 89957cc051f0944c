# SPDX-License-Identifier: Apache-2.0
"""Lists of servers over many cells, page by page, also while some of them are down.

In the order in which they were accepted, youngest first, the API database alone knows which servers a page has; each
cell on the page is asked once, all at the same time. That order is the same whether a cell answers or not, so pages
neither skip nor repeat a server while cells go down and come back. Other orders and filters are in ``merge``.
"""

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from typing import TypeAlias

import sqlalchemy as sa

from cells.errors import NotMapped
from cells.listing import detail, merge, window
from cells.listing.graves import Graves
from cells.listing.minimal import of_mapping, with_build_requests
from cells.listing.query import Query
from cells.listing.values import Brief, Detail, Entry, Page, Unplaced
from cells.pool import Cells
from cells.prebuilt import Prebuilt
from cells.registry import Registry
from cells.schema_api import instance_mappings
from cells.schema_cell import instances
from cells.types import Cell, Down, Up
from cells.wire import Row

_MARKER = Prebuilt(sa.select(instance_mappings.c.id, instance_mappings.c.project_id)
                   .where(instance_mappings.c.instance_uuid == sa.bindparam("marker")))  # fmt: skip
_DELETED = Prebuilt(sa.select(instances.c.uuid, instances.c.deleted)
                    .where(instances.c.uuid.in_(sa.bindparam("uuids", expanding=True))))  # fmt: skip
_Found: TypeAlias = Mapping[str, Detail | Brief]
_NOTHING: _Found = {}
Building: TypeAlias = Callable[[], Container[str]]


class Listing:
    """Lists servers; keep one for the life of a process, it learns which deletes are done (see ``graves``)."""

    def __init__(self, registry: Registry, cells: Cells, graves: Graves | None = None) -> None:
        self.registry, self.cells = registry, cells
        self._graves = graves or Graves()
        self._windows = window.Windows(registry, self._graves)

    def page(self, query: Query, building: Building = tuple) -> Page:
        """Return one page.

        ``building`` returns the ids of servers that are mapped to a cell before they have their row there: while that
        is missing they are ``Unplaced`` in the default order, and nowhere in others. It is called, if at all, before a
        cell is asked: whose building ends meanwhile has its row then.
        Raises NotMapped for a marker that is not mapped or not the project's (one deleted meanwhile is good), BadQuery,
        and CellDown for the API database, or for the marker's cell where only that knows its place.
        """
        if not query.by_mapping:
            return merge.page(self.registry, self.cells, query)
        return self._page(query, building, None if query.marker is None else self._marker(query))[0]

    def stream(self, query: Query, building: Building = tuple) -> Iterator[Entry]:
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
        rows = self.registry.database.rows(_MARKER, {"marker": query.marker})
        if not rows or query.project_id not in (None, rows[0][1]):
            raise NotMapped(f"Marker {query.marker} could not be found.")
        key: int = rows[0][0]
        return key

    def _page(self, query: Query, building: Building, below: int | None) -> tuple[Page, int]:
        """Return a page of mappings under an id, and the id to go on under, 0 at the end."""
        found: list[tuple[int, Entry]] = []
        downs: dict[int, Down] = {}
        while below != 0 and len(found) < query.limit:
            stretch = self._windows.read(query.project_id, below, query.limit - len(found))
            found += self._entries(query, building, stretch, downs)
            below = stretch.end
        servers = tuple(entry for _, entry in found[: query.limit])
        full = len(servers) == query.limit
        page = Page(servers, servers[-1].uuid if full else None, tuple(downs.values()))
        return page, found[query.limit - 1][0] if full else 0

    def _entries(self, query: Query, building: Building, stretch: window.Window,
                 downs: dict[int, Down]) -> Iterator[tuple[int, Entry]]:  # fmt: skip
        """Yield what is shown of a stretch, by mapping id; ``downs`` are cells found down, none is asked again."""
        known = building()
        values = self._ask(query, stretch, downs)
        found = [(row, values.get(row.cell_id, _NOTHING).get(row.instance_uuid)) for row in stretch.rows]
        others = self._others(stretch, downs, [
            row for row, entry in found
            if not (entry or row.queued) and (row.cell_id not in values or row.instance_uuid in known)
        ])  # fmt: skip
        for row, entry in found:
            if told := entry or others.get(row.id):
                yield row.id, told

    def _others(self, stretch: window.Window, downs: Mapping[int, Down],
                rows: Sequence[window.Row]) -> dict[int, Entry]:  # fmt: skip
        """Return what is told by mapping id of servers of which no cell has told anything."""
        mappings = stretch.mappings(self.registry.database.rows, rows)
        nowhere = [mapping for mapping in mappings.values() if mapping.cell is None]
        unplaced = {entry.uuid: entry for entry in with_build_requests(self.registry, nowhere)}
        return {
            key: of_mapping(mapping, downs[mapping.cell.id].reason) if mapping.cell and mapping.cell.id in downs
            else unplaced.get(mapping.server_id, Unplaced(mapping))
            for key, mapping in mappings.items()
        }  # fmt: skip

    def _ask(self, query: Query, stretch: window.Window, downs: dict[int, Down]) -> Mapping[int, _Found]:
        """Return what the cells of a stretch tell of its servers, by the number of the cell and by server id."""
        asked: dict[int, list[window.Row]] = {}
        for row in stretch.rows:
            if row.cell_id and row.cell_id not in downs:
                asked.setdefault(row.cell_id, []).append(row)
        statement = detail.ALL[query.system_metadata] if query.detail else detail.ALL_BRIEF
        rows = self._rows(statement, stretch.cells, {
            key: [row.instance_uuid for row in theirs] for key, theirs in asked.items()
        }, downs)  # fmt: skip
        found = self._found(query, stretch.cells, rows)
        self._bury(stretch.cells, {
            key: {row.instance_uuid: row.id for row in asked[key]
                  if row.queued and row.instance_uuid not in theirs}
            for key, theirs in found.items()
        })  # fmt: skip
        return found

    def _found(self, query: Query, cells: Mapping[int, Cell], rows: Mapping[int, Sequence[Row]]
               ) -> Mapping[int, _Found]:  # fmt: skip
        """Return rows as servers, with what only some of them have."""
        if not query.detail:
            return {key: detail.briefs(cells[key].name, theirs) for key, theirs in rows.items()}
        found = {key: detail.entries(cells[key].name, theirs) for key, theirs in rows.items()}
        for further in detail.FURTHER:
            some = {key: [uuid for uuid, entry in theirs.items() if further.needed(entry)]
                    for key, theirs in found.items()}  # fmt: skip
            for key, told in self._rows(further.statement, cells, some, {}).items():
                further.fill(found[key], told)
        return found

    def _rows(self, statement: Prebuilt, cells: Mapping[int, Cell], uuids: Mapping[int, Collection[str]],
              downs: dict[int, Down]) -> dict[int, Sequence[Row]]:  # fmt: skip
        """Ask cells for servers by their ids; who gives no answer is added to ``downs``."""
        answers = self.cells.ask(
            statement, [(cells[key], {"uuids": list(some)}) for key, some in uuids.items() if some]
        )
        downs.update({answer.cell.id: answer for answer in answers.values() if isinstance(answer, Down)})
        return {answer.cell.id: answer.value for answer in answers.values() if isinstance(answer, Up)}

    def _bury(self, cells: Mapping[int, Cell], unseen: Mapping[int, Mapping[str, int]]) -> None:
        """Remember which of the servers that a delete was accepted for, and that no list shows, are done with."""
        for key, rows in self._rows(_DELETED, cells, unseen, {}).items():
            deleted: dict[str, int] = dict(rows)
            self._graves.add((place for uuid, place in unseen[key].items() if deleted.get(uuid)),
                             (place for uuid, place in unseen[key].items() if uuid not in deleted))  # fmt: skip


def list_servers(registry: Registry, cells: Cells, query: Query) -> Page:
    """Return one page; who lists more than once keeps a ``Listing``, whose ``page`` this is."""
    return Listing(registry, cells).page(query)
