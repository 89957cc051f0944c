# SPDX-License-Identifier: Apache-2.0
"""Whether an account may write is known before anything is written; the lab's MariaDB is asked in tests/interop."""

import pytest
import sqlalchemy as sa

from cells import Database, writes
from cells.errors import NoRight
from cells.schema_cell import instances


def check_leaves_nothing(database: Database, kind: str):
    writes.check(database, kind)
    with database.reader() as conn:
        for table in writes.TABLES[kind]:
            assert conn.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0, table.name


def test_who_may_write_an_api_database_may_and_nothing_is_changed(api):
    check_leaves_nothing(api, "api")


def test_who_may_write_a_cell_may_and_nothing_is_changed(cell):
    check_leaves_nothing(cell, "cell")


def test_rows_that_are_there_stay_as_they_are(cell):
    with cell.writer() as conn:
        conn.execute(instances.insert().values(uuid="u", vm_state="active"))
        before = conn.execute(sa.select(instances)).all()
    writes.check(cell, "cell")
    with cell.reader() as conn:
        assert conn.execute(sa.select(instances)).all() == before


def test_who_may_only_read_is_told_so(tmp_path, open_database, cell):
    if cell.dialect != "sqlite":
        pytest.skip("SQLite's mode that only reads")
    reader = open_database("cell1", f"sqlite:///file:{tmp_path}/cell1.db?mode=ro&uri=true")
    with pytest.raises(NoRight, match="cell cell1: attempt to write a readonly database"):
        writes.check(reader, "cell")
    with reader.reader() as conn:
        assert conn.execute(sa.select(instances)).all() == []
