# SPDX-License-Identifier: Apache-2.0
"""A small cloud of several cells as databases, and what a list of its servers should say, told without any SQL."""

import dataclasses
import datetime as dt
import json
import uuid

from cells import BlockDevice, Cells, Database, Flavor, Registry, Server, create_api, create_cell, encode
from cells.listing import Brief, Detail, Listing, Minimal, Query
from cells.rows import server_rows
from cells.schema_api import build_requests, cell_mappings, instance_mappings, request_specs
from cells.schema_cell import instances
from cells.schema_cell import metadata as cell_tables

NOON = dt.datetime(2026, 1, 2, 12, 0, 0)
FLAVOR = Flavor(7, "f", "m1.small", 2, 2048, 20, extra_specs={"a": "b"})
REFUSING = "mysql+pymysql://u:p@127.0.0.1:1/nova"


@dataclasses.dataclass(frozen=True)
class Made:
    """A server as it was made: ``row`` is alive, deleted, soft, hidden or missing, ``cell`` its number or None."""

    number: int
    cell: int | None = 0
    project: str = "p"
    queued: bool | None = False
    row: str = "alive"

    @property
    def id(self):
        return str(uuid.UUID(int=self.number + 1))

    def shown(self, downs):
        """Return whether a list has it while the cells of these numbers are down."""
        if self.cell is None or self.cell in downs:
            return not self.queued
        return self.row == "alive"


class World:
    """``count`` cells; ``url_of`` makes an empty database of a name."""

    def __init__(self, url_of, count=3):
        self.urls = {number: url_of(f"cell{number + 1}") for number in range(count)}
        api = Database("api", url_of("api"))
        create_api(api)
        self.registry = Registry(api)
        self.databases = {number: Database(f"cell{number + 1}", url) for number, url in self.urls.items()}
        for number, database in self.databases.items():
            create_cell(database)
            self.registry.add_cell(f"cell{number + 1}", self.urls[number])
        self.cell_ids = {number: self.cell(number).id for number in self.urls}
        self.cells = Cells(lambda cell: Database(cell.name, cell.database_connection), cell_timeout=60)
        self.listing = Listing(self.registry, self.cells)

    def close(self):
        self.cells.close()
        for database in (self.registry.database, *self.databases.values()):
            database.close()

    def cell(self, number):
        return self.registry.cell(f"cell{number + 1}")

    def empty(self):
        """Remove all servers, and forget what was learnt of them."""
        with self.registry.database.writer() as conn:
            for table in (build_requests, request_specs, instance_mappings):
                conn.execute(table.delete())
        for database in self.databases.values():
            with database.writer() as conn:
                for table in reversed(cell_tables.sorted_tables):
                    conn.execute(table.delete())
        self.listing = Listing(self.registry, self.cells)

    def down(self, *numbers):
        """Make these cells refuse connections, and the others answer."""
        with self.registry.database.writer() as conn:
            for number, url in self.urls.items():
                named = cell_mappings.c.name == f"cell{number + 1}"
                value = REFUSING if number in numbers else url
                conn.execute(cell_mappings.update().where(named).values(database_connection=value))

    def add(self, made, **columns):
        """Write a server and return it; ``columns`` of ``instances`` besides."""
        self.add_all([(made, columns)])
        return made

    def add_all(self, all_made):
        """Write servers, each with columns of ``instances`` besides, in one transaction for each database."""
        with self.registry.database.writer() as conn:
            for made, _ in all_made:
                conn.execute(instance_mappings.insert().values(
                    instance_uuid=made.id, project_id=made.project, user_id="u", queued_for_delete=made.queued,
                    created_at=moment(made.number), cell_id=None if made.cell is None else self.cell_ids[made.cell],
                ))  # fmt: skip
        for number, database in self.databases.items():
            rows = [(made, columns) for made, columns in all_made if made.cell == number and made.row != "missing"]
            if rows:
                with database.writer() as conn:
                    for made, columns in rows:
                        add_row(conn, made, columns)

    def add_spec(self, made, **spec):
        """Write what was asked for when a server was booted."""
        asked = {"flavor": FLAVOR, "image": {"id": "i"}, "is_bfv": False, "user_id": "u"} | spec
        text = json.dumps(encode.request_spec(server_id=made.id, project_id=made.project, **asked))
        with self.registry.database.writer() as conn:
            conn.execute(request_specs.insert().values(instance_uuid=made.id, spec=text))

    def page(self, **query):
        return self.listing.page(Query(**query))

    def ids(self, **query):
        return ids(self.page(**query))

    def walk(self, **query):
        """Return the ids of all pages by their markers."""
        found, marker = [], None
        while True:
            page = self.page(marker=marker, **query)
            found += ids(page)
            marker = page.next_marker
            if marker is None:
                return found


def add_row(conn, made, columns):
    """Write a server into its cell."""
    for table, rows in server_rows(server(made), NOON):
        if rows:
            conn.execute(table.insert(), rows)
    values = {"soft": {"vm_state": "soft-delete"}, "hidden": {"hidden": True}, "deleted": {"deleted": instances.c.id}}
    if changed := values.get(made.row, {}) | columns:
        conn.execute(instances.update().where(instances.c.uuid == made.id).values(changed))


def ids(page):
    return [entry.uuid for entry in page.servers]


def kinds(page):
    """Return what was told of each server: U(p), D(own) or without a cell."""
    return "".join({Detail: "U", Brief: "U", Minimal: "D"}.get(type(entry), "-") for entry in page.servers)


def moment(number):
    return NOON + dt.timedelta(minutes=number)


def server(made, **changes):
    root = BlockDevice(str(uuid.UUID(int=made.number + 10**6)), "image", "local", 0, image_id="i")
    plain = Server(made.id, made.project, "u", f"vm{made.number}", "active", FLAVOR, image_ref="i", power_state=1,
                   created_at=moment(made.number), devices=(root,))  # fmt: skip
    return dataclasses.replace(plain, **changes)
