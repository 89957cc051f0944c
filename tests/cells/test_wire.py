# SPDX-License-Identifier: Apache-2.0
"""Reads by one prebuilt statement: what they tell on each kind of database, and mysqlclient's wires when they break."""

import importlib.util
import threading
import time

import pytest
import sqlalchemy as sa

from cells import BadCell, Cell, CellDown, Cells, Database, Down, Up, create_cell
from cells.breaker import Patience
from cells.dbapi import check_url
from cells.prebuilt import Prebuilt
from cells.schema_cell import instances
from tests.cells.listing.world import NOON
from tests.databases import PYMYSQL
from tests.tcpports import Proxy

WIRES = importlib.util.find_spec("MySQLdb") is not None
NAME = "ä%s\"\\'"
ROW = {"uuid": "u1", "display_name": NAME, "locked": True, "hidden": False, "created_at": NOON, "memory_mb": 5,
       "deleted": 0}  # fmt: skip
FIELDS = [instances.c[name] for name in ("uuid", "display_name", "locked", "hidden", "created_at", "memory_mb")]
NAMED = Prebuilt(sa.select(*FIELDS).where(
    instances.c.display_name.in_(sa.bindparam("names", expanding=True)), instances.c.deleted == 0
).order_by(instances.c.uuid))  # fmt: skip
COUNT = Prebuilt(sa.select(sa.func.count()).select_from(instances))
WRONG = Prebuilt(sa.select(sa.literal_column("nonsense FROM")))
MISSING = Prebuilt(sa.select(sa.literal_column("1")).select_from(sa.table("missing")))
NUMBER = Prebuilt(sa.select(sa.literal_column("CONNECTION_ID()")))
# More than what lies in sockets and proxies on its way.
LONG = Prebuilt(sa.select(sa.literal_column("REPEAT('x', 8000000)")))


@pytest.fixture(params=["sqlite", *(pytest.param(each, marks=pytest.mark.lab) for each in ("mariadb", "pymysql"))])
def dialect(request) -> str:
    return request.param


@pytest.fixture
def database(database_url, open_database) -> Database:
    database = open_database("cell1", database_url("cell1"), pool_size=2)
    create_cell(database)
    with database.writer() as conn:
        conn.execute(instances.insert(), [ROW, {**ROW, "uuid": "u2", "locked": None, "display_name": "b"}])
    return database


# On each kind


def test_rows_are_tuples_of_what_was_written(database):
    rows = database.rows(NAMED, {"names": [NAME, "no", "b"]})
    # As text: 1 equals True.
    assert repr(list(rows)) == repr([("u1", NAME, True, False, NOON, 5), ("u2", "b", None, False, NOON, 5)])
    assert list(database.rows(NAMED, {"names": ["b"]})) == [("u2", "b", None, False, NOON, 5)]


def test_a_snapshot_is_of_one_moment(database):
    with database.snapshot() as ask:
        assert list(ask(COUNT, {})) == [(2,)]
        with database.writer() as conn:
            conn.execute(instances.delete().where(instances.c.uuid == "u2"))
        assert list(ask(COUNT, {})) == [(2,)]
    assert list(database.rows(COUNT, {})) == [(1,)]


def test_what_is_asked_ahead_is_answered_beside_what_is_asked_meanwhile(database):
    for _ in range(2):  # The second time there is a connection for it.
        with database.ahead(COUNT, {}) as count:
            assert list(database.rows(NAMED, {"names": ["b"]})) == [("u2", "b", None, False, NOON, 5)]
            assert list(count()) == [(2,)]
        with database.ahead(WRONG, {}) as mistake, pytest.raises(sa.exc.DBAPIError):
            mistake()
    assert database.in_use == 0


def test_an_answer_ahead_that_nobody_wants_leaves_the_connection_of_use(database):
    one = [] if database.is_file else list(database.rows(NUMBER, {}))
    for _ in range(3):
        with pytest.raises(KeyError), database.ahead(COUNT, {}):
            raise KeyError
        assert list(database.rows(NAMED, {"names": ["no"]})) == []
    assert database.in_use == 0
    assert one == ([] if database.is_file else list(database.rows(NUMBER, {})))


def test_who_asks_ahead_never_waits_for_others_that_do_the_same(database):
    told = []

    def work():
        for _ in range(10):
            with database.ahead(COUNT, {}) as count:
                told.append([*database.rows(NAMED, {"names": ["no"]}), *count()])

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Waiting for each other would end with CellDown.
    assert told == [[(2,)]] * 120
    assert database.in_use == 0


def test_a_mistake_comes_out_and_the_next_read_is_good(database):
    with pytest.raises(sa.exc.DBAPIError):
        database.rows(WRONG, {})
    with pytest.raises(BadCell, match="missing"):
        database.rows(MISSING, {})
    assert list(database.rows(COUNT, {})) == [(2,)]
    assert database.in_use == 0


def test_who_wants_one_connection_too_many_waits_as_long_as_to_connect_may_take(database_url, open_database):
    database = open_database("cell1", database_url("cell1"), connect_timeout=1, pool_size=2)
    with database.snapshot(), database.snapshot():
        assert database.in_use == 2
        with pytest.raises(CellDown, match="in use"), database.snapshot():
            pass
    assert database.in_use == 0


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("mysql://u:p@h/d", "mysqldb"),
        ("mysql+pymysql://u:p@h/d", "mysqldb"),
        ("mysql+pymysql://u:p@h/d?charset=utf8&ssl_ca=/ca", "mysqldb"),
        (f"mysql+pymysql://u:p@h/d?{'&'.join(map('='.join, PYMYSQL.items()))}", "pymysql"),
    ],
)
def test_mysqlclient_is_used_where_it_is_installed_and_has_the_options(url, driver):
    assert check_url("cell1", url).get_driver_name() == (driver if WIRES else "pymysql")


# Many cells at once


@pytest.fixture
def pool():
    def opener(cell):
        return Database(cell.name, cell.database_connection, connect_timeout=3, statement_timeout=10)

    patience = Patience(slow=0.2, probe_interval=0.05, probe_interval_max=0.1)
    pool = Cells(opener, cell_timeout=5, patience=patience)
    yield pool
    pool.close()


@pytest.fixture
def mine(database):
    return Cell(1, "uuid-1", "cell1", False, database._url.render_as_string(hide_password=False))


@pytest.fixture
def proxied(mine, dialect):
    """The same cell, by a way that can be frozen; mysqlclient only, the others have threads and tests of their own."""
    if dialect != "mariadb" or not WIRES:
        pytest.skip("only mysqlclient has wires")
    url = sa.make_url(mine.database_connection)
    with Proxy(url.host, url.port or 3306) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        yield Cell(2, "uuid-2", "cell2", False, through), proxy


def ask(pool, *cells, statement=COUNT):
    return pool.ask(statement, [(cell, {}) for cell in cells])


def opened(pool, *cells):
    """Ask once, so that each cell has an idle connection."""
    assert {type(answer) for answer in ask(pool, *cells).values()} == {Up}


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_each_cell_is_asked_with_its_own_values(pool, mine):
    other = Cell(2, "uuid-2", "cell2", False, mine.database_connection)
    for _ in range(2):
        answers = pool.ask(NAMED, [(mine, {"names": ["b"]}), (other, {"names": [NAME]})])
        assert [answer.value[0][0] for answer in answers.values()] == ["u2", "u1"]
        assert list(answers) == ["uuid-1", "uuid-2"]
    assert {state.in_use for state in pool.states([mine, other])} == {0}


def test_a_mistake_comes_out_of_the_question_of_many(pool, mine):
    other = Cell(2, "uuid-2", "cell2", False, mine.database_connection)
    opened(pool, mine, other)
    for _ in range(5):
        with pytest.raises(sa.exc.DBAPIError):
            ask(pool, mine, other, statement=WRONG)
    opened(pool, mine, other)
    assert "down" not in {state.state for state in pool.states([mine, other])}
    assert {state.in_use for state in pool.states([mine, other])} == {0}


def test_a_cell_whose_schema_is_not_novas_is_down_until_it_is(pool, mine):
    opened(pool, mine)
    assert "missing" in ask(pool, mine, statement=MISSING)["uuid-1"].reason
    assert pool.states([mine])[0].state == "down"
    opened(pool, mine)
    assert pool.states([mine])[0].state != "down"


def test_a_cell_that_freezes_holds_no_thread_and_no_other_cell(pool, mine, proxied):
    frozen, proxy = proxied
    opened(pool, mine, frozen)
    proxy.freeze()
    before, began = threading.active_count(), time.monotonic()
    answers = ask(pool, mine, frozen)
    assert [type(answer) for answer in answers.values()] == [Up, Down]
    assert answers["uuid-2"].reason == "no answer within 5 seconds"
    assert 4.9 < time.monotonic() - began < 15
    # The probes alone have threads.
    assert threading.active_count() - before <= 6
    accepted, probes = proxy.accepted, pool.states([frozen])[0].probes
    for _ in range(200):
        assert [type(answer) for answer in ask(pool, mine, frozen).values()] == [Up, Down]
    assert proxy.accepted - accepted <= pool.states([frozen])[0].probes - probes + 1
    assert pool.states([frozen])[0].in_use == 0

    proxy.thaw()
    until(lambda: pool.states([frozen])[0].state != "down")
    opened(pool, mine, frozen)


def test_an_answer_that_stops_in_its_middle_is_none(pool, mine, proxied):
    frozen, proxy = proxied
    opened(pool, mine, frozen)
    proxy.freeze_after(1_000_000)
    began = time.monotonic()
    answers = ask(pool, mine, frozen, statement=LONG)
    assert [type(answer) for answer in answers.values()] == [Up, Down]
    assert time.monotonic() - began < 20
    proxy.thaw()
    until(lambda: isinstance(ask(pool, frozen)["uuid-2"], Up))


def test_a_cell_that_answers_late_is_slow(pool, mine, proxied):
    slow, proxy = proxied
    pool.cell_timeout = 20
    opened(pool, slow)
    proxy.delay = 0.4
    opened(pool, slow)
    assert pool.states([slow])[0].answers.last >= 0.4


def test_an_answer_ahead_that_nobody_wants_is_not_waited_for(proxied, open_database):
    frozen, proxy = proxied
    database = open_database("cell2", frozen.database_connection, pool_size=2)
    database.rows(COUNT, {})
    began = time.monotonic()
    proxy.freeze()
    with database.ahead(COUNT, {}):
        pass
    # Not for the 30 seconds that a statement may take.
    assert time.monotonic() - began < 15
    assert database.in_use == 0
    proxy.thaw()
    assert list(database.rows(COUNT, {})) == [(2,)]


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(pool, mine, database, proxied):
    number = ask(pool, mine, statement=NUMBER)["uuid-1"].value[0][0]
    assert ask(pool, mine, statement=NUMBER)["uuid-1"].value[0][0] == number
    with database.writer() as conn:
        conn.exec_driver_sql(f"KILL {number}")
    until(lambda: ask(pool, mine, statement=NUMBER)["uuid-1"].value[0][0] != number)
    assert pool.states([mine])[0].state != "down"


def test_a_statement_that_takes_too_long_is_down_and_its_connection_is_given_up(database_url, open_database, dialect):
    if dialect != "mariadb" or not WIRES:
        pytest.skip("only mysqlclient has wires")
    hasty = open_database("cell9", database_url("cell9"), statement_timeout=1)
    began = time.monotonic()
    with pytest.raises(CellDown, match="no answer within 1 seconds"):
        hasty.rows(Prebuilt(sa.select(sa.func.sleep(20))), {})
    assert 0.9 < time.monotonic() - began < 8
    assert list(hasty.rows(Prebuilt(sa.select(sa.literal_column("7"))), {})) == [(7,)]
