# SPDX-License-Identifier: Apache-2.0
"""Deployments of many cells on one MariaDB, filled, and with the tables that nova itself wants: for both to read."""

import socket
import time
from pathlib import Path

import sqlalchemy as sa

from bench import seed_cells
from lab import nova as real

# Memory that a server takes in the database's cache, indexes included; generously.
MIB_EACH = 0.02
_SILENT: list[socket.socket] = []


def silent(url: str) -> str:
    """Return a cell's URL with the address of somebody who takes connections and never says a word."""
    if not _SILENT:
        _SILENT.append(socket.create_server(("127.0.0.1", 0)))
    port = _SILENT[0].getsockname()[1]
    return sa.make_url(url).set(port=port).render_as_string(hide_password=False)


def with_novas_tables(url: str, home: Path, api: str, cells: int) -> None:
    """Give all databases the tables that nova has and we have no use for, as its own `nova-manage` makes them."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    of_cells = [f"bench_cell{number}" for number in range(cells + 1)]
    with engine.connect() as conn:
        conn.exec_driver_sql("SET foreign_key_checks = 0")
        for template, words, databases in (
            ("bench_template_api", ("api_db", "sync"), ["bench_api"]),
            ("bench_template", ("db", "sync", "--local_cell"), of_cells),
        ):
            conn.exec_driver_sql(f"CREATE DATABASE {template} CHARACTER SET utf8mb3")
            empty = f"{url}{template}"
            which = (empty, f"{url}bench_cell0") if template.endswith("api") else (api, empty)
            real.manage(real.configure(home, *which, "template.conf"), *words)
            tables = {name for (name,) in conn.exec_driver_sql(f"SHOW TABLES IN {template}").all()}
            made = {name: conn.exec_driver_sql(f"SHOW CREATE TABLE {template}.{name}").one()[1] for name in tables}
            for database in databases:
                conn.exec_driver_sql(f"USE {database}")
                for name in tables.difference(name for (name,) in conn.exec_driver_sql("SHOW TABLES").all()):
                    conn.exec_driver_sql(made[name])
    engine.dispose()


def seeded(url: str, prefix: str, cells: int, shape: seed_cells.Shape) -> str:
    """Make and fill a deployment and return the URL of its API database."""
    began = time.monotonic()
    registry, databases = seed_cells.mariadb(url, cells, prefix)
    seed_cells.seed(registry.database, databases, shape)
    for database in (registry.database, *(database for _, database in databases)):
        with database.writer() as conn:
            for (table,) in conn.exec_driver_sql("SHOW TABLES").all():
                conn.exec_driver_sql(f"ANALYZE TABLE {table}").all()
        database.close()
    total = shape.servers * (1 + shape.deleted_each)
    print(f"{prefix}: {total:,} servers in {cells} cells, written in {time.monotonic() - began:.0f} s", flush=True)
    return f"{url}{prefix}_api"
