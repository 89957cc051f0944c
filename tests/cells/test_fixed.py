# SPDX-License-Identifier: Apache-2.0
"""Fixed statements give what SQLAlchemy's own way gives, with every driver."""

import datetime as dt

import pytest
import sqlalchemy as sa

from cells import BadCell, CellDown
from cells.fixed import Fixed

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things", METADATA,
    sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20), unique=True),
    sa.Column("live", sa.Boolean), sa.Column("at", sa.DateTime), sa.Column("share", sa.Float),
    mysql_charset="utf8mb3",
)  # fmt: skip
AT = dt.datetime(2026, 1, 2, 3, 4, 5)
NEW = Fixed(THINGS.insert())
SET = Fixed(THINGS.update().where(THINGS.c.name == sa.bindparam("called")))
# With constants of its own, and a name that is no name for an attribute.
COUNTED = sa.func.coalesce(sa.func.sum(THINGS.c.share), 0)
LIVE = sa.select(THINGS, sa.literal("100%").label("of"), sa.true().label("yes")).where(
    THINGS.c.live.is_(sa.true()), THINGS.c.at >= sa.bindparam("since"), THINGS.c.id > 0
)
SUMS = sa.select(THINGS.c.live, sa.func.count(), COUNTED).group_by(THINGS.c.live).order_by(THINGS.c.live)


@pytest.fixture(params=["sqlite", *(pytest.param(each, marks=pytest.mark.lab) for each in ("mariadb", "postgresql"))])
def dialect(request):
    return request.param


@pytest.fixture
def database(database_url, open_database):
    database = open_database("cell1", database_url("cell1"))
    with database.writer() as conn:
        METADATA.create_all(conn)
        NEW.many(conn, [{"name": name, "live": name != "b", "at": AT, "share": 0.5} for name in "abc"])
    return database


def same(database, statement, values):
    """Read both ways, twice, as the second takes what the first compiled; return the rows."""
    with database.reader() as conn:
        theirs = conn.execute(statement, values).all()
        fixed = Fixed(statement)
        for _ in range(2):
            ours = fixed.rows(conn, values)
            assert [tuple(row) for row in ours] == [tuple(row) for row in theirs]
            assert [row._fields for row in ours] == [row._fields for row in theirs]
    return ours


def test_rows_are_those_of_sqlalchemy(database):
    rows = same(database, LIVE, {"since": AT})
    assert [(row.name, row.live, row.at, row.share, row.of) for row in rows] == [
        (name, True, AT, 0.5, "100%") for name in "ac"
    ]
    assert not same(database, LIVE, {"since": AT + dt.timedelta(seconds=1)})


def test_sums_are_those_of_sqlalchemy(database):
    assert [tuple(row) for row in same(database, SUMS, {})] == [(False, 1, 0.5), (True, 2, 1.0)]


def test_what_is_set_is_what_is_given(database):
    with database.writer() as conn:
        assert SET.change(conn, {"called": "a", "live": False}) == 1
        assert SET.change(conn, {"called": "b", "share": 2.0, "at": None}) == 1
        assert SET.change(conn, {"called": "x", "live": False}) == 0
    with database.reader() as conn:
        rows = conn.execute(sa.select(THINGS).order_by(THINGS.c.id)).all()
    assert [(row.name, row.live, row.at, row.share) for row in rows] == [
        ("a", False, AT, 0.5), ("b", False, None, 2.0), ("c", True, AT, 0.5),
    ]  # fmt: skip


def test_the_database_gives_a_number(database):
    with database.writer() as conn:
        key = NEW.key(conn, {"name": "d", "live": None, "at": None, "share": None})
        assert conn.execute(sa.select(THINGS.c.id).where(THINGS.c.name == "d")).scalar() == key
        NEW.many(conn, [])


def test_errors_are_those_of_sqlalchemy_without_the_values(database):
    with pytest.raises(sa.exc.IntegrityError) as caught, database.writer() as conn:
        NEW.change(conn, {"name": "a"})
    assert "'a'" not in str(caught.value) or database.dialect != "sqlite"
    with database.reader() as conn, pytest.raises(KeyError, match="since"):
        Fixed(LIVE).rows(conn, {})
    absent = Fixed(sa.select(sa.table("absent", sa.column("id"))))
    with pytest.raises(BadCell, match="absent"), database.reader() as conn:
        absent.rows(conn)


def test_what_is_not_always_the_same_text_is_refused(database):
    several = Fixed(sa.select(THINGS.c.id).where(THINGS.c.name.in_(["a", "b"])))
    made_here = sa.Table("made", sa.MetaData(), sa.Column("id", sa.Integer, default=lambda: 1), sa.Column("n", sa.Text))
    with database.reader() as conn:
        for fixed, values in ((several, {}), (Fixed(made_here.insert()), {"n": "x"})):
            with pytest.raises(TypeError, match="not always the same"):
                fixed.change(conn, values)


def test_a_connection_that_is_lost_is_down_and_given_up(database, open_database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has no connection to lose")
    fixed, other = Fixed(SUMS), open_database("cell1", database._url.render_as_string(hide_password=False))
    mine, kill = {"mysql": ("CONNECTION_ID()", "KILL {}"), "postgresql": ("pg_backend_pid()",
                  "SELECT pg_terminate_backend({})")}[database.dialect]  # fmt: skip

    def lose():
        with other.reader() as conn:
            assert len(fixed.rows(conn)) == 2
            me = conn.exec_driver_sql(f"SELECT {mine}").scalar()
            with database.writer() as killer:
                killer.exec_driver_sql(kill.format(me))
            fixed.rows(conn)

    with pytest.raises(CellDown) as caught:
        lose()
    assert caught.value.__cause__.connection_invalidated
    with other.reader() as conn:
        assert len(fixed.rows(conn)) == 2
