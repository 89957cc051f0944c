# SPDX-License-Identifier: Apache-2.0
"""Find the server that a verb is about: its mapping, its row, what is told of it, and who may do that to it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from bfv import lists, view
from bfv.edits import check_lock
from bfv.errors import BadConfig, CellDown, Conflict, NotFound
from bfv.intent import Intent
from bfv.migrate.run import CONVERTED
from bfv.parts import Parts
from bfv.types import Caller, ServerInfo
from cells import servers
from cells.database import Database
from cells.errors import BadCell, NotMapped
from cells.listing import Detail, detail
from cells.prebuilt import Prebuilt
from cells.schema_cell import instances
from cells.types import Server, ServerMapping
from cells.wire import Row

# As ``servers.find``: only deleted ones are not there.
_ROW = detail.statement((instances.c.deleted == 0,), system_metadata=True)
_USER_DATA = Prebuilt(sa.select(instances.c.user_data).where(instances.c.uuid == sa.bindparam("server")))
# Of how many servers it is known where they were last.
REMEMBERED = 20_000


@dataclass(frozen=True)
class Shown:
    """A server by its row, with what its open intents do to it and the zone that was asked for when it was booted."""

    row: Detail
    task_state: str | None
    pinned_availability_zone: str | None
    user_data: Callable[[], str | None]


class Finder:
    """Looks in the API database, the journal and the cells."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # The cells of servers that were shown.
        self._homes: dict[str, str] = {}

    def mapping(self, server_id: str) -> ServerMapping:
        """Return where a server is mapped to. Raises NotFound, CellDown."""
        mapping = self._parts.registry.find_mapping(server_id)
        if mapping is None:
            raise NotFound(f"Server {server_id} could not be found.")
        return mapping

    def own(self, server_id: str, who: Caller) -> ServerMapping:
        """Return the mapping of a server of the caller's project, for an admin of any. Raises NotFound, CellDown."""
        mapping = self.mapping(server_id)
        if mapping.project_id != who.project_id and "admin" not in who.roles:
            raise NotFound(f"Server {server_id} could not be found.")
        return mapping

    def down(self, names: Iterable[str]) -> set[str]:
        """Return those of the cells whose databases do not answer now."""
        found = []
        for name in names:
            with contextlib.suppress(BadConfig):
                found.append(self._parts.cells.cell(name))
        return {state.cell.name for state in self._parts.pool.look(found) if state.since is not None}

    def placed(self, server_id: str, who: Caller) -> tuple[ServerMapping, Database, Server]:
        """Return a server of the caller's that has its row. Raises NotFound, Conflict while it is built, CellDown."""
        mapping = self.own(server_id, who)
        return mapping, *self.row(mapping)

    def reachable(self, mapping: ServerMapping, who: Caller | None = None) -> None:
        """Raise CellDown now and not in the middle: nothing is begun on a server whose cell is down.

        Raises Conflict for one that is locked, if ``who`` must not change it then.
        """
        if mapping.cell is not None:
            server = servers.find(self._parts.cells.of(mapping.cell), mapping.server_id)
            if server is not None and who is not None:
                check_lock(server, who)

    def row(self, mapping: ServerMapping) -> tuple[Database, Server]:
        """Return a server's cell and its row there. Raises NotFound, Conflict while it is built, CellDown."""
        if mapping.cell is None:
            raise Conflict(f"Server {mapping.server_id} is still being built.")
        database = self._parts.cells.of(mapping.cell)
        try:
            return database, servers.get(database, mapping.server_id)
        except NotMapped as error:
            building = self._parts.journal.opened(mapping.server_id, "boot")
            if building:
                raise Conflict(f"Server {mapping.server_id} is still being built.") from error
            raise NotFound(f"Server {mapping.server_id} could not be found.") from error

    def shown(self, server_id: str, who: Caller) -> ServerInfo | Shown:
        """Return a server by its row, or what ``info`` returns where there is none. Raises NotFound, CellDown.

        All is asked at once: where it is, its intents, and for its row the cell where it was last.
        """
        with self._parts.journal.of_server_ahead(server_id) as intents, self._row_ahead(server_id) as (last, rows):
            mapping = self.own(server_id, who)
            if mapping.cell is not None:
                self._remember(server_id, mapping.cell.uuid)
                with contextlib.suppress(CellDown, BadCell):
                    database = self._parts.cells.of(mapping.cell)
                    told = rows() if database is last else database.rows(_ROW, {"uuids": [server_id]})
                    found = detail.completed(detail.entries(mapping.cell.name, told), database)
                    if server_id in found:
                        return self._by_row(found[server_id], intents(), database)
        return self.info(mapping)

    @contextlib.contextmanager
    def _row_ahead(self, server_id: str) -> Iterator[tuple[Database | None, Callable[[], Sequence[Row]]]]:
        """Give the database where a server was last, if it is known and up, and what returns its row there."""
        database = self._parts.pool.known(self._homes.get(server_id, ""))
        if database is None:
            yield None, list
        else:
            with database.ahead(_ROW, {"uuids": [server_id]}) as rows:
                yield database, rows

    def _remember(self, server_id: str, cell: str) -> None:
        if len(self._homes) >= REMEMBERED:
            self._homes = {}
        self._homes[server_id] = cell

    def _by_row(self, row: Detail, intents: Sequence[Intent], database: Database) -> Shown:
        def user_data() -> str | None:
            ((text,),) = database.rows(_USER_DATA, {"server": row.uuid}) or ((None,),)
            return str(text) if text is not None else None

        return Shown(row, view.task(row.task_state, row.vm_state, intents), view.pinned(intents), user_data)

    def info(self, mapping: ServerMapping) -> ServerInfo:
        """Return what is told of a server, UNKNOWN while its cell is down. Raises NotFound."""
        intents = self._parts.journal.of_server(mapping.server_id)
        # What a converted server holds until purge is its way back and nothing that is left over.
        unfinished = [each for each in intents if each.is_open and each.verb != CONVERTED]
        left = [thing for each in unfinished for thing in self._parts.journal.objects(each)]
        try:
            server = servers.find(self._parts.cells.of(mapping.cell), mapping.server_id) if mapping.cell else None
        except (CellDown, BadCell) as error:
            return lists.unknown(self._parts, mapping, error)
        if server is not None:
            return view.recorded(server, mapping, intents, left)
        for intent in intents:
            if intent.verb == "boot" and intent.is_open:
                return view.accepted(intent, left)
        raise NotFound(f"Server {mapping.server_id} could not be found.")
