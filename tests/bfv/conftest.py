# SPDX-License-Identifier: Apache-2.0
import os
import uuid

import pytest
import sqlalchemy as sa

from bfv import owner
from bfv.journal import Journal
from bfv.tables import metadata
from cells.database import Database
from tests import databases

LAB = [pytest.param(name, marks=pytest.mark.lab) for name in ("mariadb", "postgresql")]


@pytest.fixture(params=["sqlite", *LAB])
def own_url(request, tmp_path):
    """The URL of an empty database of each kind that bfv's own tables may be in."""
    with databases.empty(request.param, tmp_path) as make:
        yield make("own")


@pytest.fixture
def database(own_url):
    database = Database("journal", own_url)
    with database.writer() as conn:
        metadata.create_all(conn)
    yield database
    database.close()


@pytest.fixture
def journal(database):
    return Journal(database, owner.this_process(), lease=30)


@pytest.fixture
def other(database):
    """A journal of another process, of which only its lease tells whether it lives."""
    return Journal(database, "elsewhere:boot:1:1:1", lease=30)


@pytest.fixture(params=["sqlite", pytest.param("mariadb", marks=pytest.mark.lab)])
def small_url(request, tmp_path):
    """Makes empty databases: a name in, a URL out."""
    if request.param == "sqlite":
        yield lambda name: f"sqlite:///{tmp_path}/{name}.db"
        return
    server = sa.make_url(os.environ["BFV_TEST_MARIADB"])
    engine = sa.create_engine(server.set(database=""), isolation_level="AUTOCOMMIT")
    made = {}

    def url(name):
        if name not in made:
            made[name] = f"bfv_{name}_{uuid.uuid4().hex[:12]}"
            with engine.connect() as conn:
                conn.execute(sa.text(f"CREATE DATABASE {made[name]} CHARACTER SET utf8mb3"))
        return server.set(database=made[name]).render_as_string(hide_password=False)

    yield url
    with engine.connect() as conn:
        for name in made.values():
            conn.execute(sa.text(f"DROP DATABASE {name}"))
    engine.dispose()
