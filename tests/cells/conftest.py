# SPDX-License-Identifier: Apache-2.0
"""Real databases for the tests: SQLite files always, and the lab's MariaDB (``BFV_TEST_MARIADB`` has its URL)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cells import Database, create_api, create_cell
from tests import databases

DDL = Path(__file__).parent / "nova_ddl"


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.lab)])
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(dialect: str, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes empty databases: a name in, a URL out."""
    with databases.empty(dialect, tmp_path) as make:
        yield make


@pytest.fixture
def open_database() -> Iterator[Callable[..., Database]]:
    """Opens databases and closes them at the end."""
    opened: list[Database] = []

    def open_one(name: str, url: str, **options: float) -> Database:
        opened.append(Database(name, url, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def run_ddl() -> Callable[[Database, str], None]:
    """Makes the tables as nova itself makes them."""
    return _run_ddl


def _run_ddl(database: Database, kind: str) -> None:
    engine = "sqlite" if database.dialect == "sqlite" else "mariadb"
    text = (DDL / f"{kind}-{engine}.sql").read_text()
    with database.writer() as conn:
        for statement in "\n".join(line for line in text.splitlines() if not line.startswith("--")).split(";\n"):
            if statement.strip():
                conn.exec_driver_sql(statement.rstrip().rstrip(";"))


@pytest.fixture(params=["ours", "nova's"])
def schema(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def api(database_url, open_database, schema: str) -> Database:
    """An API database with the tables that we make, and one with those that nova makes."""
    database = open_database("api", database_url("api"))
    if schema == "ours":
        create_api(database)
    else:
        _run_ddl(database, "api")
    return database


@pytest.fixture
def cell(database_url, open_database, schema: str) -> Database:
    """A cell's database, made either way."""
    database = open_database("cell1", database_url("cell1"))
    if schema == "ours":
        create_cell(database)
    else:
        _run_ddl(database, "cell")
    return database
