# SPDX-License-Identifier: Apache-2.0
import pytest

from bfv import owner
from bfv.journal import Journal
from bfv.tables import metadata
from cells.database import Database


@pytest.fixture
def database(tmp_path):
    database = Database("journal", f"sqlite:///{tmp_path}/bfv.db")
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
