# SPDX-License-Identifier: Apache-2.0
"""Which cells there are and which server is in which: nova's API database.

What is known here stays known while a cell is down: whose a server is, since when, and what was asked for.
"""

import functools
import json
import re
import threading
import time
import uuid as uuids
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.dbapi import check_nova_url, refuse_for_nova
from cells.errors import BadCell, Exists, NotEmpty, NotMapped
from cells.fixed import Fixed
from cells.prebuilt import Prebuilt
from cells.schema_api import cell_mappings, instance_mappings, request_specs
from cells.types import CELL0_UUID, Cell, ServerMapping
from cells.wire import Read, Row

_CELL = (cell_mappings.c.uuid, cell_mappings.c.name, cell_mappings.c.disabled, cell_mappings.c.database_connection)
_ALL_CELLS = sa.select(cell_mappings.c.id, *_CELL).order_by(cell_mappings.c.id)
_CELLS = Prebuilt(_ALL_CELLS)
_MAPPED = instance_mappings.outerjoin(cell_mappings, instance_mappings.c.cell_id == cell_mappings.c.id)
_MAPPING = sa.select(instance_mappings, *(column.label(f"cell_{column.name}") for column in _CELL)).select_from(_MAPPED)
# NULL is a row that nova has not migrated: it is shown (nova/objects/instance_mapping.py).
LIVE = sa.or_(instance_mappings.c.queued_for_delete.is_(None), instance_mappings.c.queued_for_delete.is_(sa.false()))

RECENT = 2.0
_IS_SERVER = instance_mappings.c.instance_uuid == sa.bindparam("server")
_FOUND = [instance_mappings.c[name] for name in ("instance_uuid", "project_id", "user_id", "queued_for_delete",
                                                 "created_at", "cell_id")]  # fmt: skip
_FIND = Prebuilt(sa.select(*_FOUND, *_CELL).select_from(_MAPPED).where(_IS_SERVER))
_UPDATE = Fixed(instance_mappings.update().where(_IS_SERVER))
_NEW_MAPPING, _NEW_SPEC = Fixed(instance_mappings.insert()), Fixed(request_specs.insert())
_BY_CELL = Prebuilt(
    sa.select(cell_mappings.c.uuid, cell_mappings.c.name, sa.func.count())
    .join_from(instance_mappings, cell_mappings)
    .where(instance_mappings.c.project_id == sa.bindparam("project"), LIVE)
    .group_by(cell_mappings.c.id, cell_mappings.c.uuid, cell_mappings.c.name)
)


@functools.lru_cache(maxsize=4096)
def fill_template(url: str, base: str | None) -> str:
    """Return a cell's URL with its template filled in from ``base``; what that lacks becomes nothing.

    ``{scheme} {username} {password} {hostname} {port} {path} {query} {fragment}``, as
    ``nova/objects/cell_mapping.py:format_db_url``. Without a base the braces stay, as nova leaves them; such a
    cell is then refused as soon as it is to be used.
    """
    if base is None or "{" not in url:
        return url
    parts = urlsplit(base)
    known = {"scheme": parts.scheme, "username": parts.username, "password": parts.password,
             "hostname": parts.hostname, "port": parts.port, "path": parts.path.lstrip("/"), "query": parts.query,
             "fragment": parts.fragment}  # fmt: skip
    return re.sub(r"\{(\w+)\}", lambda hit: str(known.get(hit[1], hit[0]) or ""), url)


class Registry:
    """Reads and writes cells and mappings; ``base_url`` fills templates, by nova the reader's ``[database]connection``.

    Every method may raise CellDown for the API database itself. Raises BadCell for one that nova cannot use.
    """

    def __init__(self, api: Database, base_url: str | None = None) -> None:
        refuse_for_nova(api.name, api.dialect)
        self.database = api
        self._base_url = base_url
        self._lock = threading.Lock()
        self._recent: tuple[list[Cell], float] = ([], 0.0)
        # Rows as they were, and what they mean.
        self._by_id: tuple[Sequence[Row], Mapping[int, Cell]] = ((), {})

    def cells(self) -> list[Cell]:
        """Return all cells, cell0 and disabled ones included, in the order of their making."""
        with self.database.snapshot() as ask:
            return list(self.cells_by_id(ask).values())

    def cells_by_id(self, ask: Read) -> Mapping[int, Cell]:
        """Return all cells by the number that mappings have, read by the caller's way."""
        return self._meant(ask(_CELLS, {}))

    @contextmanager
    def cells_ahead(self) -> Iterator[Callable[[], Mapping[int, Cell]]]:
        """Give what returns ``cells_by_id``; they are read beside what is asked of the database meanwhile."""
        with self.database.ahead(_CELLS, {}) as rows:
            yield lambda: self._meant(rows())

    def _meant(self, rows: Sequence[Row]) -> Mapping[int, Cell]:
        known = self._by_id
        if rows != known[0]:
            known = self._by_id = rows, {row[0]: self._cell(*row) for row in rows}
        return known[1]

    def recent_cells(self) -> list[Cell]:
        """Return what ``cells`` returned within the last RECENT seconds, for who asks with every boot."""
        with self._lock:
            known, until = self._recent
            if time.monotonic() < until:
                return list(known)
        found = self.cells()
        with self._lock:
            self._recent = found, time.monotonic() + RECENT
        return list(found)

    def cell(self, name_or_uuid: str) -> Cell:
        """Return a cell. Raises NotMapped, and BadCell for a name that several cells have (nova allows that)."""
        return _one(self.cells(), name_or_uuid)

    def cell0(self) -> Cell:
        """Return the graveyard of servers that never had a host. Raises NotMapped."""
        return self.cell(CELL0_UUID)

    def add_cell(self, name: str, database_connection: str, transport_url: str = "none:///", disabled: bool = False,
                 uuid: str | None = None) -> Cell:  # fmt: skip
        """Write a new cell; the URL may be a template. Raises Exists, BadCell."""
        check_nova_url(name, fill_template(database_connection, self._base_url))
        row = {"uuid": uuid or str(uuids.uuid4()), "name": name, "transport_url": transport_url,
               "database_connection": database_connection, "disabled": disabled, "created_at": utcnow()}  # fmt: skip

        def write(conn: sa.Connection) -> None:
            if any(name in (cell.name, cell.uuid) for cell in self._cells(conn, lock=True)):
                raise Exists(f"Cell {name} exists already.")
            conn.execute(cell_mappings.insert().values(row))

        try:
            self.database.run(write)
        except sa.exc.IntegrityError as error:
            raise Exists(f"A cell with uuid {row['uuid']} exists already.") from error
        self._forget()
        return self.cell(str(row["uuid"]))

    def update_cell(self, name_or_uuid: str, *, name: str | None = None, database_connection: str | None = None,
                    transport_url: str | None = None, disabled: bool | None = None) -> Cell:  # fmt: skip
        """Change what is not None of a cell. Raises NotMapped, Exists, BadCell."""
        if database_connection is not None:
            check_nova_url(name or name_or_uuid, fill_template(database_connection, self._base_url))
        given = {"name": name, "database_connection": database_connection, "transport_url": transport_url,
                 "disabled": disabled}  # fmt: skip
        values = {key: value for key, value in given.items() if value is not None}

        def write(conn: sa.Connection) -> str:
            cells = self._cells(conn, lock=True)
            cell = _one(cells, name_or_uuid)
            if any(name in (other.name, other.uuid) for other in cells if other.uuid != cell.uuid):
                raise Exists(f"Cell {name} exists already.")
            changed = cell_mappings.update().where(cell_mappings.c.id == cell.id)
            conn.execute(changed.values(**values, updated_at=utcnow()))
            return cell.uuid

        changed_uuid = self.database.run(write)
        self._forget()
        return self.cell(changed_uuid)

    def delete_cell(self, name_or_uuid: str) -> None:
        """Remove a cell without servers and hosts, deleted ones count too until they are archived.

        ``nova/cmd/manage.py:CellV2Commands.delete_cell`` without its force. Raises NotMapped, NotEmpty.
        """

        cell = self.cell(name_or_uuid)
        removed = cell_mappings.delete().where(cell_mappings.c.id == cell.id)
        try:
            self.database.run(lambda conn: conn.execute(removed))
        except sa.exc.IntegrityError as error:
            # The foreign keys tell, so that no server can come in between.
            raise NotEmpty(f"Cell {cell.name} still has servers or hosts mapped to it.") from error
        self._forget()

    def _forget(self) -> None:
        with self._lock:
            self._recent = [], 0.0

    def map_server(self, server_id: str, project_id: str, user_id: str, request_spec: Mapping[str, Any]) -> None:
        """Write the mapping of a new server, without a cell, and its request spec (a primitive), in one transaction.

        ``nova/compute/api.py:_create_instance_mapping``. Raises Exists.
        """
        now = utcnow()

        def write(conn: sa.Connection) -> None:
            _NEW_MAPPING.change(conn, {"instance_uuid": server_id, "project_id": project_id, "user_id": user_id,
                                       "cell_id": None, "queued_for_delete": False, "created_at": now})  # fmt: skip
            spec = json.dumps(dict(request_spec))
            _NEW_SPEC.change(conn, {"instance_uuid": server_id, "spec": spec, "created_at": now})

        try:
            self.database.run(write)
        except sa.exc.IntegrityError as error:
            raise Exists(f"Server {server_id} exists already.") from error

    def assign(self, server_id: str, cell: Cell) -> None:
        """Write which cell a server is in, in place of what was there; repeatable. Raises NotMapped."""
        self._update_mapping(server_id, cell_id=cell.id)

    def queue_for_delete(self, server_id: str) -> None:
        """Write that a delete was accepted; repeatable. Raises NotMapped.

        ``nova/compute/api.py:_update_queued_for_deletion``.
        """
        self._update_mapping(server_id, queued_for_delete=True)

    def mapping(self, server_id: str) -> ServerMapping:
        """Return where a server is. Raises NotMapped."""
        found = self.find_mapping(server_id)
        if found is None:
            raise NotMapped(f"Server {server_id} could not be found.")
        return found

    def find_mapping(self, server_id: str) -> ServerMapping | None:
        """Return where a server is, None if there is no such server."""
        rows = self.database.rows(_FIND, {"server": server_id})
        if not rows:
            return None
        uuid, project_id, user_id, queued, created_at, key, *cell = rows[0]
        placed = None if key is None else self._cell(key, *cell)
        return ServerMapping(uuid, project_id, user_id, placed, None if queued is None else bool(queued), created_at)

    def mappings(self, project_id: str | None = None, limit: int | None = None,
                 marker: str | None = None) -> list[ServerMapping]:  # fmt: skip
        """Return the servers that no delete was accepted for, youngest first, of one project or of all.

        ``marker`` is the id of the last server of the page before, also if it is gone meanwhile by a delete.
        Raises NotMapped for a marker that never was, or is not the project's.
        """
        query = _MAPPING.where(LIVE).order_by(instance_mappings.c.id.desc())
        theirs = sa.true() if project_id is None else instance_mappings.c.project_id == project_id
        with self.database.reader() as conn:
            if marker is not None:
                at = sa.select(instance_mappings.c.id).where(instance_mappings.c.instance_uuid == marker, theirs)
                key = conn.execute(at).scalar()
                if key is None:
                    raise NotMapped(f"Marker {marker} could not be found.")
                query = query.where(instance_mappings.c.id < key)
            return [self._mapping(row) for row in conn.execute(query.where(theirs).limit(limit))]

    def unmap(self, server_id: str) -> None:
        """Remove mapping and request spec of a server that never came to be; repeatable."""

        def write(conn: sa.Connection) -> None:
            for table in (request_specs, instance_mappings):
                conn.execute(table.delete().where(table.c.instance_uuid == server_id))

        self.database.run(write)

    def request_spec(self, server_id: str) -> dict[str, Any]:
        """Return the primitive of a server's request spec. Raises NotMapped."""
        query = sa.select(request_specs.c.spec).where(request_specs.c.instance_uuid == server_id)
        with self.database.reader() as conn:
            text = conn.execute(query).scalar()
        if text is None:
            raise NotMapped(f"Server {server_id} has no request spec.")
        primitive: dict[str, Any] = json.loads(text)
        return primitive

    def update_request_spec(self, server_id: str, spec: Mapping[str, Any]) -> None:
        """Write a server's request spec (a primitive) in place of the one there. Raises NotMapped."""
        changed = request_specs.update().where(request_specs.c.instance_uuid == server_id)
        changed = changed.values(spec=json.dumps(dict(spec)), updated_at=utcnow())
        if not self.database.run(lambda conn: conn.execute(changed).rowcount):
            raise NotMapped(f"Server {server_id} has no request spec.")

    def servers_by_cell(self, project_id: str) -> dict[str, int]:
        """Return how many servers a project has in each cell where it has any that no delete was accepted for."""
        found = self.database.rows(_BY_CELL, {"project": project_id})
        return {name or uuid: count for uuid, name, count in found}

    def _update_mapping(self, server_id: str, **values: Any) -> None:
        row = {"server": server_id, "updated_at": utcnow(), **values}
        if not self.database.run(lambda conn: _UPDATE.change(conn, row)):
            raise NotMapped(f"Server {server_id} could not be found.")

    def _cells(self, conn: sa.Connection, *, lock: bool = False) -> list[Cell]:
        query = _ALL_CELLS.with_for_update() if lock else _ALL_CELLS
        return [self._cell(*row) for row in conn.execute(query)]

    def _cell(self, key: int, uuid: str, name: str | None, disabled: bool | None, url: str | None) -> Cell:
        # NULL names and NULL flags are in old rows; a cell is always told by some name.
        return Cell(key, uuid, name or uuid, bool(disabled), fill_template(url or "", self._base_url))

    def _mapping(self, row: Any) -> ServerMapping:
        cell = None
        if row.cell_id is not None:
            cell = self._cell(row.cell_id, row.cell_uuid, row.cell_name, row.cell_disabled,
                              row.cell_database_connection)  # fmt: skip
        return ServerMapping(row.instance_uuid, row.project_id, row.user_id, cell, row.queued_for_delete,
                             row.created_at)  # fmt: skip


def _one(cells: list[Cell], name_or_uuid: str) -> Cell:
    # Compared here and not in SQL: MySQL's collation would take CELL1 for cell1.
    found = [cell for cell in cells if name_or_uuid in (cell.name, cell.uuid)]
    if not found:
        raise NotMapped(f"Cell {name_or_uuid} could not be found.")
    if len(found) > 1:
        raise BadCell(f"Several cells are named {name_or_uuid}; use a uuid.")
    return found[0]
