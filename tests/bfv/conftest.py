# SPDX-License-Identifier: Apache-2.0
import functools

import pytest

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


@pytest.fixture(params=["sqlite", *LAB])
def small_url(request, tmp_path):
    """The URL of each database of a bfv by its name, empty at first; nova's are SQLite beside PostgreSQL."""
    nova = "sqlite" if request.param == "postgresql" else request.param
    with databases.empty(request.param, tmp_path) as own, databases.empty(nova, tmp_path) as other:
        yield functools.cache(lambda name: (own if name == "bfv" else other)(name))
