# SPDX-License-Identifier: Apache-2.0
"""Transactions, time-outs and words for failures, with real sockets and real locks."""

import contextlib
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest
import sqlalchemy as sa

from cells import BadCell, BadValue, Busy, CellDown, Database, Registry
from cells.dbapi import check_nova_url
from tests.sites import until
from tests.tcpports import Proxy, RefusingPort

PASSWORD = "s3cret-Pa55"
# Seconds of what no test waits for.
PATIENT = 60
METADATA = sa.MetaData()
ITEMS = sa.Table("items", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)),
                 mysql_charset="utf8mb3")  # fmt: skip


@pytest.fixture(
    params=["sqlite", *(pytest.param(each, marks=pytest.mark.lab) for each in ("mariadb", "pymysql", "postgresql"))]
)
def dialect(request) -> str:
    """PostgreSQL too: no home for nova's tables, but one for our own."""
    return request.param


@pytest.fixture
def database(database_url, open_database) -> Database:
    database = open_database("cell1", database_url("cell1"))
    with database.writer() as conn:
        METADATA.create_all(conn)
        conn.execute(ITEMS.insert(), [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
    return database


def names(database: Database) -> list[str]:
    with database.reader() as conn:
        return list(conn.execute(sa.select(ITEMS.c.name).order_by(ITEMS.c.id)).scalars())


def rename(conn: sa.Connection, key: int, name: str) -> None:
    conn.execute(ITEMS.update().where(ITEMS.c.id == key).values(name=name))


def again(database: Database, **options) -> Database:
    """The same database with other time-outs."""
    return Database(database.name, database._url.render_as_string(hide_password=False), **options)


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 0)])
def test_sqlite_waits_for_the_disk_unless_it_is_told_not_to(tmp_path, durable, synchronous):
    database = Database("x", f"sqlite:///{tmp_path}/x.db", sqlite_durable=durable)
    with database.reader() as conn:
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
    database.close()


# Transactions


def test_a_writer_commits_at_its_end(database):
    with database.writer() as conn:
        rename(conn, 1, "eins")
    assert names(database) == ["eins", "two"]


def test_an_error_in_a_writer_changes_nothing_and_comes_out(database):
    def fail():
        with database.writer() as conn:
            rename(conn, 1, "eins")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert names(database) == ["one", "two"]


def test_a_duplicate_stays_sqlalchemys_word(database):
    with pytest.raises(sa.exc.IntegrityError), database.writer() as conn:
        conn.execute(ITEMS.insert().values(id=1))


def test_a_reader_sees_one_moment(database):
    with database.reader() as conn:
        before = conn.execute(sa.select(ITEMS.c.name).order_by(ITEMS.c.id)).scalars().all()
        with database.writer() as other:
            rename(other, 1, "eins")
        assert conn.execute(sa.select(ITEMS.c.name).order_by(ITEMS.c.id)).scalars().all() == before


def test_writers_that_read_first_lose_no_change(database):
    """A transaction that reads, waits for another writer and then writes is what a deferred BEGIN cannot do."""

    def count_up():
        query = sa.select(ITEMS.c.name).where(ITEMS.c.id == 1).with_for_update()
        for _ in range(10):
            with database.writer() as conn:
                rename(conn, 1, str(int(conn.execute(query).scalar()) + 1))

    with database.writer() as conn:
        rename(conn, 1, "0")
    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(database)[0] == "40"


def test_a_table_that_is_not_there_is_no_outage(database):
    with pytest.raises(BadCell, match="missing"), database.reader() as conn:
        conn.execute(sa.text("SELECT * FROM missing"))


def test_wrong_sql_is_no_outage(database):
    with pytest.raises(sa.exc.DBAPIError), database.reader() as conn:
        conn.execute(sa.text("SELEKT 1"))


def test_values_are_not_in_an_errors_text(database):
    with pytest.raises(sa.exc.IntegrityError) as caught, database.writer() as conn:
        conn.execute(ITEMS.insert().values(id=1, name="private"))
    assert "private" not in str(caught.value)


def test_a_full_pool_is_down_after_the_connect_time_out(database):
    # A server needs time for the one connection that there is.
    small = again(database, pool_size=1, connect_timeout=0.3 if database.dialect == "sqlite" else 4)
    started = time.monotonic()
    with small.reader(), pytest.raises(CellDown, match="in use"), small.reader():
        pass
    # SQLAlchemy's own would be 30 seconds.
    assert time.monotonic() - started < 25
    small.close()


def test_a_connection_that_met_an_error_is_given_back_as_new(database):
    alone = again(database, pool_size=1)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), alone.writer() as conn:
            rename(conn, 1, "half")
            raise ZeroDivisionError
        assert alone.in_use == 0
        with alone.reader() as conn:
            assert alone.in_use == 1
            assert conn.execute(sa.select(ITEMS.c.name).where(ITEMS.c.id == 1)).scalar() != "half"
    alone.close()


# Locks


def test_a_lock_that_is_held_is_busy_and_not_repeated_for_ever(database):
    # Servers have two time-outs, of which the shorter one is to end first: half of this apart.
    waiting, calls = again(database, statement_timeout=1 if database.dialect == "sqlite" else 6), []

    def late(conn):
        calls.append(1)
        rename(conn, 1, "late")

    with database.writer() as conn:
        rename(conn, 1, "first")
        with pytest.raises(Busy):
            waiting.run(late)
    assert len(calls) <= 5
    assert names(database)[0] == "first"
    waiting.close()


def test_a_thread_that_has_no_turn_to_write_is_busy_and_takes_no_turn_from_others(database):
    if database.dialect != "sqlite":
        pytest.skip("only SQLite has turns")
    hasty, told = again(database, statement_timeout=0.5), []

    def late():
        with pytest.raises(Busy) as refused:
            hasty.run(lambda conn: rename(conn, 1, "late"), attempts=1)
        told.append(refused.value)

    with hasty.writer() as conn:
        rename(conn, 1, "first")
        thread = threading.Thread(target=late)
        thread.start()
        thread.join(60)
        assert len(told) == 1
    hasty.run(lambda conn: rename(conn, 1, "second"))
    assert names(database)[0] == "second"
    hasty.close()


def test_run_goes_on_when_the_lock_is_free_again(database):
    waiting = again(database, statement_timeout=60)
    locked = threading.Event()

    def hold():
        with database.writer() as conn:
            rename(conn, 1, "first")
            locked.set()
            time.sleep(0.5)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    waiting.run(lambda conn: rename(conn, 1, "second"))
    holder.join()
    assert names(database)[0] == "second"
    waiting.close()


def test_run_repeats_the_whole_transaction_after_a_deadlock(database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has one write lock and no deadlocks")
    both, calls = threading.Barrier(2, timeout=60), []

    def crosswise(first, second):
        def write(conn):
            calls.append(first)
            rename(conn, first, "x")
            with suppress(threading.BrokenBarrierError):
                both.wait()
            both.abort()
            rename(conn, second, "y")

        database.run(write)

    threads = [threading.Thread(target=crosswise, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 3
    assert sorted(names(database)) == ["x", "y"]


# Outages


@contextmanager
def listening(answer=None):
    """A port that accepts and then never says more than ``answer``."""
    server, accepted = socket.create_server(("127.0.0.1", 0)), []

    def accept():
        with suppress(OSError):
            while True:
                accepted.append(server.accept()[0])
                if answer is not None:
                    accepted[-1].sendall(answer)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for conn in accepted:
            conn.close()


def mysql_url(port: int) -> str:
    return f"mysql+pymysql://bfv:{PASSWORD}@127.0.0.1:{port}/nova"


def assert_down(database: Database) -> CellDown:
    """It is, and soon: in a third of the time-outs that the tests do not wait for."""
    started = time.monotonic()
    with pytest.raises(CellDown) as caught, database.reader() as conn:
        conn.execute(sa.text("SELECT 1"))
    assert time.monotonic() - started < PATIENT / 3
    assert not isinstance(caught.value, Busy)
    assert caught.value.cell == "cell9"
    assert PASSWORD not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"
    return caught.value


def test_a_port_that_refuses_is_down_at_once(open_database):
    with RefusingPort() as refusing:
        assert_down(open_database("cell9", mysql_url(refusing.port), connect_timeout=PATIENT))


def test_a_port_that_accepts_and_never_answers_is_down_within_the_connect_time_out(open_database):
    with listening() as port:
        assert_down(open_database("cell9", mysql_url(port), connect_timeout=1, statement_timeout=PATIENT))


def test_a_port_that_talks_nonsense_is_down(open_database):
    with listening(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert_down(open_database("cell9", mysql_url(port), connect_timeout=PATIENT))


def test_a_directory_that_is_gone_is_down(open_database, tmp_path):
    assert_down(open_database("cell9", f"sqlite:///{tmp_path}/gone/cell.db", statement_timeout=PATIENT))


def test_a_file_that_is_no_database_is_down(open_database, tmp_path):
    (tmp_path / "cell.db").write_text("no database at all, just a line of text that is long enough to look at" * 20)
    assert_down(open_database("cell9", f"sqlite:///{tmp_path}/cell.db", statement_timeout=PATIENT))


@pytest.fixture
def mariadb() -> sa.URL:
    return sa.make_url(os.environ["BFV_TEST_MARIADB"])


@pytest.mark.lab
def test_a_wrong_password_is_down_and_stays_unsaid(mariadb, open_database):
    assert_down(open_database("cell9", mysql_url(mariadb.port or 3306), connect_timeout=PATIENT))


@pytest.mark.lab
def test_a_statement_that_hangs_is_down_after_the_statement_time_out(mariadb, open_database):
    database = open_database("cell9", mariadb.render_as_string(hide_password=False), statement_timeout=5)
    started = time.monotonic()
    with pytest.raises(CellDown), database.reader() as conn:
        conn.execute(sa.text(f"SELECT SLEEP({PATIENT})"))
    assert 4.9 < time.monotonic() - started < PATIENT / 2
    with database.reader() as conn:
        assert conn.execute(sa.text("SELECT 1")).scalar() == 1


@pytest.mark.lab
def test_a_connection_that_the_server_closed_meanwhile_is_replaced(mariadb, open_database):
    database = open_database("cell9", mariadb.render_as_string(hide_password=False), pool_size=1)
    with database.reader() as conn:
        first = conn.execute(sa.text("SELECT CONNECTION_ID()")).scalar()
        conn.execute(sa.text("SET SESSION wait_timeout = 1"))
    other = open_database("cell9", mariadb.render_as_string(hide_password=False))

    def closed():
        with other.reader() as conn:
            return first not in conn.execute(sa.text("SELECT id FROM information_schema.processlist")).scalars().all()

    until(closed)
    with database.reader() as conn:
        assert conn.execute(sa.text("SELECT CONNECTION_ID()")).scalar() != first


@contextmanager
def cutting_proxy(host: str, port: int, at: bytes, armed: threading.Event, *, forward: bool):
    """Passes bytes on until it is armed and ``at`` is sent, then (passes it on and) cuts that connection, once."""
    server, threads, sockets = socket.create_server(("127.0.0.1", 0)), [], []

    def pump(source, target, cut):
        with suppress(OSError):
            while (data := source.recv(65536)) and not cut.is_set():
                if armed.is_set() and at in data:
                    cut.set()
                    armed.clear()
                    if forward:
                        target.sendall(data)
                        # The other way ends with the answer, which is thrown away.
                        return
                    break
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept():
        with suppress(OSError):
            while True:
                client = server.accept()[0]
                upstream = socket.create_connection((host, port))
                sockets.extend([client, upstream])
                cut = threading.Event()
                for ends in ((client, upstream, cut), (upstream, client, cut)):
                    threads.append(threading.Thread(target=pump, args=ends))
                    threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        acceptor.join()
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        for one in sockets:
            one.close()


@pytest.mark.parametrize("arrives", [True, False])
def test_a_connection_lost_in_a_commit_is_down_and_not_repeated(arrives, database, open_database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite has no connection to lose")
    url, calls, armed = database._url, [], threading.Event()

    def write(conn):
        if not calls:
            armed.set()
        calls.append(1)
        rename(conn, 1, "eins")

    # PostgreSQL ends it with a zero, and begins with READ COMMITTED.
    commit = b"COMMIT\0" if database.dialect == "postgresql" else b"COMMIT"
    with cutting_proxy(url.host, url.port or 3306, commit, armed, forward=arrives) as port:
        through = open_database("cell9", url.set(port=port, host="127.0.0.1").render_as_string(hide_password=False))
        with pytest.raises(CellDown) as caught:
            through.run(write)
        through.close()
    assert not isinstance(caught.value, Busy)
    assert len(calls) == 1
    assert names(database)[0] == ("eins" if arrives else "one")


def test_a_value_that_does_not_fit_is_no_outage(database):
    if database.dialect == "sqlite":
        pytest.skip("SQLite looks at no lengths")
    # All characters fit into PostgreSQL, and it names no column.
    names, why = ("x" * 21, "\N{GRINNING FACE}"), "name"
    if database.dialect == "postgresql":
        names, why = names[:1], "too long"
    for name in names:
        with pytest.raises(BadValue, match=why), database.writer() as conn:
            rename(conn, 1, name)


# Descriptions


@pytest.mark.parametrize("host", ["a,b", "a:3306,b:3306", "[::1]:3306,b"])
def test_several_hosts_are_refused_with_the_way_out(host):
    with pytest.raises(BadCell, match="high availability") as caught:
        Database("cell1", f"mysql+pymysql://bfv:{PASSWORD}@{host}/nova")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("query", ["host=a,b", "host=a&host=b"])
def test_several_hosts_in_the_options_are_refused(query):
    with pytest.raises(BadCell, match="high availability"):
        Database("cell1", f"mysql+pymysql://bfv:{PASSWORD}@/nova?{query}")


def test_a_password_with_a_comma_is_not_taken_for_hosts(open_database):
    open_database("cell1", "mysql+pymysql://bfv:a,b@127.0.0.1/nova")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("no url", "cannot be parsed"),
        (f"mysql+pymysql://bfv:{PASSWORD}@host:port/nova", "cannot be parsed"),
        (f"oracle://bfv:{PASSWORD}@host/nova", "not supported"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        (f"{{scheme}}://bfv:{PASSWORD}@host/nova", "template"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_being_shown(url, why):
    with pytest.raises(BadCell, match=why) as caught:
        Database("cell1", url)
    assert PASSWORD not in f"{caught.value}{caught.value.__cause__}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_password_is_shown_nowhere(open_database):
    url = f"mysql+pymysql://bfv:{PASSWORD}@127.0.0.1:1/nova?ssl_key_password={PASSWORD}"
    database = open_database("cell1", url)
    assert database.safe_url() == "mysql+pymysql://bfv:***@127.0.0.1:1/nova"
    assert PASSWORD not in repr(database)


@pytest.mark.lab
@pytest.mark.parametrize("driver", ["", "+mysqldb", "+nodriver"])
def test_a_mysql_driver_that_is_not_installed_is_replaced_by_the_other(driver, mariadb, open_database):
    url = mariadb.set(drivername=f"mysql{driver}").render_as_string(hide_password=False)
    with open_database("cell1", url).reader() as conn:
        assert conn.execute(sa.text("SELECT 1")).scalar() == 1


# PostgreSQL


@pytest.fixture
def postgresql() -> sa.URL:
    return sa.make_url(os.environ["BFV_TEST_POSTGRESQL"])


def postgresql_url(port: int) -> str:
    return f"postgresql://bfv:{PASSWORD}@127.0.0.1:{port}/bfv"


def test_a_postgresql_port_that_refuses_is_down_at_once(open_database):
    with RefusingPort() as refusing:
        assert_down(open_database("cell9", postgresql_url(refusing.port), connect_timeout=PATIENT))


def test_a_postgresql_port_that_accepts_and_never_answers_is_down_within_the_connect_time_out(open_database):
    with listening() as port:
        assert_down(open_database("cell9", postgresql_url(port), connect_timeout=2, statement_timeout=PATIENT))


def test_postgresql_is_no_home_for_novas_tables():
    with pytest.raises(BadCell, match=r"\[database\] connection") as caught:
        check_nova_url("cell1", postgresql_url(1))
    assert PASSWORD not in str(caught.value)
    api = Database("api", postgresql_url(1))
    with pytest.raises(BadCell, match="MySQL, MariaDB or SQLite"):
        Registry(api)


@pytest.mark.lab
def test_a_wrong_password_of_postgresql_is_down_and_stays_unsaid(postgresql, open_database):
    url = postgresql_url(postgresql.port or 5432)
    assert "password" in assert_down(open_database("cell9", url, connect_timeout=PATIENT)).reason


@pytest.mark.parametrize("dialect", [pytest.param("postgresql", marks=pytest.mark.lab)], indirect=True)
def test_a_transaction_of_postgresql_that_another_overtook_is_busy(database):
    def overtaken(conn):
        conn.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        conn.execute(sa.select(ITEMS)).all()
        database.run(lambda other: rename(other, 1, "first"))
        rename(conn, 1, "second")

    with pytest.raises(Busy, match="40001"):
        database.run(overtaken, attempts=1)
    assert names(database)[0] == "first"


@pytest.mark.lab
def test_a_statement_of_postgresql_that_hangs_is_ended_by_the_server(postgresql, open_database):
    database = open_database("cell9", postgresql.render_as_string(hide_password=False), statement_timeout=5)
    started = time.monotonic()
    # The client's own time-out, which is a second longer, may come first on a busy machine.
    why = "statement timeout|no answer within 6 seconds"
    with pytest.raises(CellDown, match=why), database.reader() as conn:
        conn.execute(sa.text(f"SELECT pg_sleep({PATIENT})"))
    assert 4.9 < time.monotonic() - started < PATIENT / 2
    with database.reader() as conn:
        assert conn.execute(sa.text("SELECT 1")).scalar() == 1


@pytest.mark.lab
def test_a_postgresql_that_freezes_is_down_although_it_can_end_nothing_itself(postgresql, open_database):
    with Proxy(postgresql.host, postgresql.port) as proxy:
        url = postgresql.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        database = open_database("cell9", url, statement_timeout=5, connect_timeout=PATIENT)

        def freeze_within(conn):
            conn.execute(sa.text("SELECT 1"))
            proxy.freeze()
            conn.execute(sa.text("SELECT 2"))

        started = time.monotonic()
        with pytest.raises(CellDown, match="no answer within 6 seconds"):
            database.run(freeze_within)
        assert time.monotonic() - started < PATIENT / 2
        proxy.thaw()
        with database.reader() as conn:
            assert conn.execute(sa.text("SELECT 3")).scalar() == 3
