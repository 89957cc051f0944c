# SPDX-License-Identifier: Apache-2.0
"""Both sides of ``bench.api_nova``: databases that both read, `bfv serve`, and nova-api under uWSGI."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from bench import clouds, seed_cells
from bfv import config, database
from bfv.parts import assemble
from cells import flavors
from lab import nova as real
from lab import novaapi
from tests import sites

THREADS, CELLS_WITH_STORAGE = 4, ("cell1", "cell2")
CREDENTIALS = """\
auth_type = v3password
auth_url = {site.auth_url}
username = bfv
password = labsvc
project_name = service
user_domain_id = {domain}
project_domain_id = {domain}
"""
# So much that nobody meets it: with none at all nobody would have to count.
QUOTA = "[quota]\ninstances = 1000000\ncores = 4000000\nram = 1000000000\n"
OURS = """\
[DEFAULT]
cells = cell1,cell2
[database]
api_connection = {api}
connection = {journal}
[compute]
driver = example
[example_driver]
state_path = {home}/guests
vcpus = 100000
memory_mb = 100000000
[storage]
volume_endpoint = {site.volume_url}
image_endpoint = {site.image_url}
"""
CELL = "[cell:{name}]\navailability_zone = {name}\nvolume_type = {name}\nbackend = {backend}\n"
# As shipped: what is not here has its default.
NOVAS = "[glance]\nendpoint_override = {site.image_url}\n[keystone_authtoken]\nwww_authenticate_uri = {site.auth_url}\n"
# What an operator may set who knows what it costs.
TUNED = "[api]\nresponse_validation = ignore\ninstance_list_per_project_cells = true\n"


@dataclass(frozen=True)
class Databases:
    """Where the databases are: the server's URL as nova has it, and as we have it by the C driver."""

    novas: str
    ours: str


def prepare(url: str, home: Path, servers: int, cells: int, projects: int, project_id: str) -> Databases:
    """Fill the databases for both; the last seeded project, which is in two cells, becomes ``project_id``'s."""
    clouds.seeded(url, "bench", cells, seed_cells.Shape(servers, projects, deleted_each=1))
    clouds.with_novas_tables(url, home, f"{url}bench_api", cells)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    given = {"project": project_id, "seeded": seed_cells.project_id(projects - 1)}
    with engine.connect() as conn:
        for table in ("bench_api.instance_mappings", "bench_cell1.instances", "bench_cell2.instances"):
            conn.execute(sa.text(f"UPDATE {table} SET project_id = :project WHERE project_id = :seeded"), given)
        # Templates: each reader comes with a driver of its own.
        for number in range(cells + 1):
            where = {"url": real.template(f"{url}bench_cell{number}"), "name": f"cell{number}"}
            conn.execute(sa.text("UPDATE bench_api.cell_mappings SET database_connection = :url WHERE name = :name"),
                         where)  # fmt: skip
        conn.exec_driver_sql("CREATE DATABASE bench_bfv CHARACTER SET utf8mb4")
        _with_dead_cell(conn, url)
    engine.dispose()
    return Databases(url, url.replace("pymysql", "mysqldb"))


def _with_dead_cell(conn: sa.Connection, url: str) -> None:
    """Make a second API database, in which cell1 is somebody who accepts and never answers."""
    conn.exec_driver_sql("CREATE DATABASE bench_dead CHARACTER SET utf8mb3")
    for (table,) in conn.exec_driver_sql("SHOW TABLES IN bench_api").all():
        conn.exec_driver_sql(f"CREATE TABLE bench_dead.{table} LIKE bench_api.{table}")
        conn.exec_driver_sql(f"INSERT INTO bench_dead.{table} SELECT * FROM bench_api.{table}")
    dead = clouds.silent(f"{url}bench_cell1")
    conn.execute(sa.text("UPDATE bench_dead.cell_mappings SET database_connection = :url WHERE name = 'cell1'"),
                 {"url": dead})  # fmt: skip


def configured(databases: Databases, home: Path, site: sites.Site, api: str) -> str:
    """Return our configuration on one of the API databases."""
    text = OURS.format(api=databases.ours + api, journal=f"{databases.ours}bench_bfv", home=home, site=site)
    text += QUOTA + "[service_user]\n" + CREDENTIALS.format(site=site, domain=site.domains["default"])
    text += "".join(CELL.format(name=name, backend=site.backends[name]) for name in CELLS_WITH_STORAGE)
    return text


def make_own(file: Path) -> None:
    """Make our own database and a flavor to create servers of."""
    parts = assemble(config.load(file))
    try:
        database.upgrade(parts)
        flavors.create(parts.api, seed_cells.Flavor(0, "tiny", "tiny", 1, 128, 1))
    finally:
        parts.close()


@contextlib.contextmanager
def ours(file: Path) -> Iterator[tuple[str, int]]:
    """Run `bfv serve`; give its URL and the id of its process."""
    command = [sys.executable, "-m", "bfv", "--config-file", str(file), "serve", "--port", "0", "--workers",
               str(THREADS)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(sites.ROOT), "PYTHONUNBUFFERED": "1"}
    log = file.with_suffix(".log")
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True, env=environment)
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, log.read_text()
        yield found[0], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        process.stdout.close()


@contextlib.contextmanager
def nova(databases: Databases, home: Path, site: sites.Site, name: str, more: str = "") -> Iterator[tuple[str, int]]:
    """Run nova-api as its guide says, with ``more`` in its configuration; give its URL and uWSGI's process."""
    text = NOVAS.format(site=site) + CREDENTIALS.format(site=site, domain=site.domains["default"]) + QUOTA + more
    urls = f"{databases.novas}bench_api", f"{databases.novas}bench_cell0"
    with novaapi.running(home / name, *urls, text, THREADS) as told:
        yield told
