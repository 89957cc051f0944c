# SPDX-License-Identifier: Apache-2.0
"""Many cells, one of them dead, hung, slow or unfit: what requests pay, what they get, and how it comes back."""

import os
import threading
import time

import pytest
import sqlalchemy as sa

from cells import BadCell, BadValue, Busy, Cell, CellDown, Cells, Database, Down, Up, create_cell
from cells.breaker import Patience
from cells.prebuilt import Prebuilt
from cells.schema_cell import instances
from tests.databases import PYMYSQL
from tests.tcpports import Proxy, SilentPort

PASSWORD = "s3cret-Pa55"
TIMEOUT = 0.5
PATIENCE = Patience(failures=3, slow=0.2, probe_interval=0.05, probe_interval_max=0.1)
COUNT = sa.select(sa.func.count()).select_from(instances)
PREBUILT = Prebuilt(lambda _: COUNT)


def make_cell(number, url):
    return Cell(number, f"uuid-{number}", f"cell{number}", False, url)


@pytest.fixture
def open_cells():
    opened = []

    def open_some(cell_timeout=TIMEOUT, threads=4, patience=PATIENCE, **options):
        options = {"connect_timeout": 1, "statement_timeout": 2, **options}
        pool = Cells(lambda cell: Database(cell.name, cell.database_connection, **options), cell_timeout, threads,
                     patience)  # fmt: skip
        opened.append(pool)
        return pool

    yield open_some
    for pool in opened:
        pool.close()


@pytest.fixture
def healthy(tmp_path):
    """Makes cells with nova's tables in SQLite files."""

    def make(*numbers):
        cells = [make_cell(number, f"sqlite:///{tmp_path}/cell{number}.db") for number in numbers]
        for cell in cells:
            database = Database(cell.name, cell.database_connection)
            create_cell(database)
            database.close()
        return cells

    return make


@pytest.fixture
def dead():
    with SilentPort() as port:
        yield port


def count(_, database):
    with database.reader() as conn:
        return conn.execute(COUNT).scalar()


def sleep(seconds):
    """A statement that the database takes so many seconds for."""

    def ask(_, database):
        with database.reader() as conn:
            conn.connection.driver_connection.create_function("sleep", 1, time.sleep)
            conn.execute(sa.text(f"SELECT sleep({seconds})")).all()
            return "late"

    return ask


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def state(pool, cell):
    [found] = pool.states([cell])
    return found


# One of many is dead


def test_of_32_cells_a_dead_one_is_paid_for_once_and_the_others_always_answer(open_cells, healthy, dead):
    cells = [*healthy(*range(31)), make_cell(31, dead.url())]
    pool = open_cells(cell_timeout=2, connect_timeout=4)
    before = threading.active_count()

    began = time.monotonic()
    first = pool.gather(cells, count)
    assert time.monotonic() - began < 2 + 1.5
    assert list(first) == [cell.uuid for cell in cells]
    assert [type(answer) for answer in first.values()] == [Up] * 31 + [Down]
    assert "no answer within 2 seconds" in first["uuid-31"].reason

    for number in range(1000):
        answers = pool.gather(cells, count if number % 25 == 0 else lambda *_: 0)
        assert sum(isinstance(answer, Up) for answer in answers.values()) == 31
        assert answers["uuid-31"].since == first["uuid-31"].since
    # The request that found it down, and the probes; a thousand requests made none.
    assert dead.accepted <= 1 + state(pool, cells[31]).probes + 1
    assert threading.active_count() - before <= 31 * 4 + 4 + 5
    assert state(pool, cells[31]).state == "down"
    assert PASSWORD not in f"{pool.states(cells)} {answers}"


def test_many_requests_at_once_on_a_dead_cell_hold_only_its_own_threads(open_cells, healthy, dead):
    cells, pool, took = [*healthy(0), make_cell(1, dead.url())], open_cells(threads=2), []
    before = threading.active_count()

    def ask():
        began = time.monotonic()
        answers = pool.gather(cells, count)
        took.append((time.monotonic() - began, [type(answer) for answer in answers.values()]))

    askers = [threading.Thread(target=ask) for _ in range(50)]
    for asker in askers:
        asker.start()
    assert threading.active_count() - before <= 50 + 2 * 2 + 6
    for asker in askers:
        asker.join()
    assert {tuple(kinds) for _, kinds in took} == {(Up, Down)}
    assert max(seconds for seconds, _ in took) < TIMEOUT + 1.5
    assert dead.accepted <= 2 + state(pool, cells[1]).probes + 1


def test_a_port_that_refuses_is_down_after_a_few_requests_and_then_not_asked(open_cells):
    with SilentPort() as port:
        cell = make_cell(1, port.url())
    pool = open_cells(patience=Patience(failures=3, probe_interval=60, probe_interval_max=60))
    for _ in range(2):
        [answer] = pool.gather([cell], count).values()
        assert (type(answer), state(pool, cell).state) == (Down, "up")
    pool.gather([cell], count)
    assert state(pool, cell).state == "down"
    assert PASSWORD not in f"{answer} {pool.gather([cell], count)}"


def test_cells_that_are_all_down_cost_no_wait_at_all(open_cells, dead):
    cells = [make_cell(number, dead.url()) for number in range(4)]
    pool = open_cells(patience=Patience(probe_interval=60, probe_interval_max=60))
    pool.gather(cells, count)
    until(lambda: all(each.probes == 1 for each in pool.states(cells)))
    accepted = dead.accepted
    for _ in range(100):
        assert {type(answer) for answer in pool.gather(cells, count).values()} == {Down}
    assert dead.accepted == accepted


# One cell comes back


def test_a_cell_comes_back_by_itself_with_the_next_probe(open_cells, healthy, tmp_path):
    [cell] = healthy(1)
    (tmp_path / "cell1.db").rename(tmp_path / "away")
    (tmp_path / "cell1.db").mkdir()
    pool = open_cells()
    for _ in range(3):
        assert isinstance(pool.gather([cell], count)[cell.uuid], Down)
    with pytest.raises(CellDown, match="since"), pool.of(cell).reader():
        pass

    (tmp_path / "cell1.db").rmdir()
    (tmp_path / "away").rename(tmp_path / "cell1.db")
    probes = state(pool, cell).probes
    until(lambda: state(pool, cell).state != "down")
    assert state(pool, cell).probes <= probes + 2
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)


def test_a_cell_is_down_before_its_schema_is_there_and_up_after_it(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells()
    with pool.of(cell).writer() as conn:
        conn.execute(sa.text("ALTER TABLE instances RENAME TO elsewhere"))
    for _ in range(5):
        answer = pool.gather([cell], count)[cell.uuid]
    assert "no such table: instances" in answer.reason
    assert (state(pool, cell).state, state(pool, cell).since) == ("down", answer.since)

    with pool.of(cell).writer() as conn:
        conn.execute(sa.text("ALTER TABLE elsewhere RENAME TO instances"))
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)
    assert state(pool, cell).state == "up"


def test_a_new_url_is_a_new_beginning(open_cells, healthy, dead):
    [good] = healthy(1)
    bad = make_cell(1, dead.url())
    pool = open_cells()
    assert isinstance(pool.gather([bad], count)[bad.uuid], Down)
    assert pool.gather([good], count)[good.uuid] == Up(good, 0)


# Slow, busy and hung


def test_a_slow_cell_is_told_as_slow_and_not_as_down(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells(cell_timeout=5)
    assert pool.gather([cell], sleep(0.3))[cell.uuid] == Up(cell, "late")
    told = state(pool, cell)
    assert (told.state, told.reason, told.answers.count) == ("slow", "", 1)
    assert 0.3 <= told.answers.last < 2


def test_an_answer_after_the_deadline_is_missing_and_closes_the_cell_for_no_other(open_cells, healthy):
    """A probe tells at once that the cell lives: one heavy request is no outage."""
    cells = healthy(1, 2)
    pool = open_cells(cell_timeout=0.2)
    answers = pool.gather(cells, lambda cell, db: sleep(0.6 if cell.id == 1 else 0)(cell, db))
    assert [type(answer) for answer in answers.values()] == [Down, Up]
    until(lambda: state(pool, cells[0]).probes == 1)
    assert pool.gather(cells[:1], count)["uuid-1"] == Up(cells[0], 0)
    until(lambda: state(pool, cells[0]).answers.count == 2)
    assert state(pool, cells[0]).answers.p99 >= 0.6


def test_a_cell_whose_probe_is_later_than_any_request_would_wait_stays_down(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells(cell_timeout=0.1)
    with pool.of(cell).writer() as conn:
        # The probe's own statement becomes slow: a view that counts for long in place of the table.
        conn.execute(sa.text("ALTER TABLE instances RENAME TO elsewhere"))
        conn.execute(sa.text(
            "CREATE VIEW instances AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 6e5)"
            " SELECT max(id) AS id FROM n"))  # fmt: skip
    assert isinstance(pool.gather([cell], count)[cell.uuid], Down)
    until(lambda: state(pool, cell).probes >= 2, 20)
    assert "it answers, but only after" in state(pool, cell).reason


def test_when_all_threads_hang_the_next_request_is_told_at_once(open_cells, healthy):
    [cell] = healthy(1)
    pool, release = open_cells(cell_timeout=0.1, threads=2), threading.Event()
    for _ in range(2):
        assert isinstance(pool.gather([cell], lambda *_: release.wait(20))[cell.uuid], Down)
        until(lambda: state(pool, cell).state != "down")

    began = time.monotonic()
    pool.cell_timeout = 10
    assert "each of its 2 threads hangs" in pool.gather([cell], count)[cell.uuid].reason
    assert time.monotonic() - began < 5

    release.set()
    until(lambda: isinstance(pool.gather([cell], count)[cell.uuid], Up))


def test_threads_that_are_only_busy_are_waited_for_until_the_deadline_and_are_no_outage(open_cells, healthy):
    [cell] = healthy(1)
    pool, running, release, got = open_cells(cell_timeout=5, threads=1), threading.Event(), threading.Event(), []

    def hold(*_):
        running.set()
        return release.wait(20)

    asker = threading.Thread(target=lambda: got.append(pool.gather([cell], hold)))
    asker.start()
    running.wait(5)
    pool.cell_timeout = 0.1
    assert "all of its 1 threads are busy" in pool.gather([cell], count)[cell.uuid].reason
    assert state(pool, cell).state == "up"
    release.set()
    asker.join()
    assert got == [{cell.uuid: Up(cell, True)}]


def test_who_waits_for_a_thread_of_a_cell_is_told_as_soon_as_it_is_found_down(open_cells, healthy):
    [cell] = healthy(1)
    pool, running, release = open_cells(threads=1), threading.Event(), threading.Event()

    def hang(*_):
        running.set()
        release.wait(20)

    asker = threading.Thread(target=lambda: pool.gather([cell], hang))
    asker.start()
    running.wait(5)
    pool.cell_timeout = 15
    began = time.monotonic()
    got = pool.gather([cell], count)[cell.uuid]
    assert time.monotonic() - began < 5
    assert got.reason == "no answer within 0.5 seconds"
    asker.join()
    release.set()


# What is no outage


@pytest.mark.parametrize("error", [KeyError("x"), BadValue("too long"), CellDown("api", "refused")])
def test_an_error_that_is_not_the_cells_comes_out(error, open_cells, healthy):
    cells, pool = healthy(1, 2), open_cells()

    def fail(cell, database):
        if cell.id == 2:
            raise error
        return count(cell, database)

    for _ in range(5):
        with pytest.raises(type(error)):
            pool.gather(cells, fail)
    assert {each.state for each in pool.states(cells)} == {"up"}


def test_a_lock_that_is_held_is_busy_for_that_request_and_no_outage(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells(cell_timeout=5, statement_timeout=0.3)

    def write(_, database):
        with database.writer():
            pass

    with pool.of(cell).writer():
        for _ in range(4):
            assert "locked" in pool.gather([cell], write)[cell.uuid].reason
        with pytest.raises(Busy), pool.of(cell).writer():
            pass
    assert state(pool, cell).state == "up"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"mysql+pymysql://u:{PASSWORD}@a,b/nova", "high availability"),
        (f"postgresql://u:{PASSWORD}@a/nova", "MySQL, MariaDB or SQLite"),
    ],
)
def test_a_cell_whose_url_cannot_work_is_down_with_the_reason_and_the_others_are_asked(url, why, open_cells, healthy):
    cells = [*healthy(1), make_cell(2, url)]
    pool = open_cells()
    answers = pool.gather(cells, count)
    assert answers["uuid-1"] == Up(cells[0], 0)
    assert why in answers["uuid-2"].reason
    with pytest.raises(BadCell, match=why):
        pool.of(cells[1])
    assert [each.state for each in pool.states(cells)] == ["up", "down"]
    assert PASSWORD not in f"{pool.states(cells)} {answers}"


# Flows use a cell directly


def test_a_transaction_that_finds_the_cell_dead_spares_the_next_ones(open_cells, dead):
    cell = make_cell(1, dead.url())
    pool = open_cells(patience=Patience(slow=0.2, probe_interval=60, probe_interval_max=60))
    database = pool.of(cell)
    with pytest.raises(CellDown), database.reader():
        pass
    until(lambda: state(pool, cell).probes == 1)
    accepted = dead.accepted
    for _ in range(20):
        with pytest.raises(CellDown, match="since") as caught, database.writer():
            pass
        assert isinstance(pool.gather([cell], count)[cell.uuid], Down)
    assert (dead.accepted, caught.value.since) == (accepted, state(pool, cell).since)


def test_what_a_flow_does_within_a_transaction_does_not_make_the_cell_slow(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells()
    with pool.of(cell).writer() as conn:
        time.sleep(0.3)
        conn.execute(COUNT).all()
        time.sleep(0.3)
        conn.execute(COUNT).all()
    assert (state(pool, cell).state, state(pool, cell).answers.count) == ("up", 1)


def test_the_connections_in_use_are_told(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells(pool_size=3)
    with pool.of(cell).reader(), pool.of(cell).reader():
        assert (state(pool, cell).in_use, state(pool, cell).size) == (2, 3)
    assert state(pool, cell).in_use == 0


def test_look_asks_every_cell_and_tells_the_disabled_ones_too(open_cells, healthy, dead):
    good, other = healthy(1, 2)
    disabled = Cell(2, "uuid-2", "cell2", True, other.database_connection)
    found = open_cells().look([good, disabled, make_cell(3, dead.url())])
    assert [(each.cell.name, each.state) for each in found] == [
        ("cell1", "up"), ("cell2", "disabled"), ("cell3", "down")]  # fmt: skip
    assert found[0].answers.count == 1


def test_closing_ends_the_threads(open_cells, healthy, dead):
    before = threading.active_count()
    cells = [*healthy(1, 2, 3), make_cell(4, dead.url())]
    pool = open_cells()
    pool.gather(cells, count)
    assert threading.active_count() > before
    pool.close()
    until(lambda: threading.active_count() <= before)


# A real server


@pytest.fixture
def real():
    return sa.make_url(os.environ["BFV_TEST_MARIADB"])


@pytest.fixture(params=["mariadb", "pymysql"])
def dialect(request):
    return request.param


@pytest.fixture
def through(database_url):
    """A cell in MariaDB behind a proxy that freezes."""
    url = sa.make_url(database_url("cell"))
    database = Database("cell1", url.render_as_string(hide_password=False))
    create_cell(database)
    database.close()
    with Proxy(url.host, url.port) as proxy:
        yield make_cell(1, url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)), proxy


@pytest.mark.lab
def test_a_server_that_freezes_in_the_middle_of_a_query_is_down_and_comes_back(through, open_cells):
    cell, proxy = through
    pool = open_cells(cell_timeout=2, pool_size=4)
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)

    def freeze_within(_, database):
        with database.reader() as conn:
            conn.execute(COUNT).all()
            proxy.freeze()
            return conn.execute(COUNT).scalar()

    began = time.monotonic()
    assert isinstance(pool.gather([cell], freeze_within)[cell.uuid], Down)
    assert time.monotonic() - began < 4
    accepted, probes = proxy.accepted, state(pool, cell).probes
    for _ in range(200):
        assert isinstance(pool.gather([cell], count)[cell.uuid], Down)
    assert proxy.accepted - accepted <= state(pool, cell).probes - probes + 1

    proxy.thaw()
    until(lambda: state(pool, cell).state != "down", 15)
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)


@pytest.mark.lab
def test_a_server_that_answers_after_three_seconds_is_slow(through, open_cells):
    cell, proxy = through
    pool = open_cells(cell_timeout=20, statement_timeout=10, connect_timeout=10)
    pool.gather([cell], count)
    proxy.delay = 3.0
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)
    told = state(pool, cell)
    assert (told.state, told.answers.last >= 3.0) == ("slow", True)


@pytest.mark.lab
@pytest.mark.parametrize("options", [{}, PYMYSQL])
@pytest.mark.parametrize("way", ["gather", "ask"])
def test_a_password_that_was_changed_is_down_and_comes_back_when_it_is_mended(way, options, real, open_cells):
    root = sa.create_engine(f"mysql+pymysql://root@localhost/?unix_socket={os.environ['LAB_MARIADB_SOCKET']}",
                            isolation_level="AUTOCOMMIT")  # fmt: skip
    name = f"bfv_pw_{os.getpid()}"

    def run(text):
        with root.connect() as conn:
            conn.exec_driver_sql(text.replace("%", "%%"))

    run(f"CREATE DATABASE {name}")
    run(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    run(f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'")
    try:
        url = real.set(username=name, password=PASSWORD, database=name).update_query_dict(options)
        cell, pool = make_cell(1, url.render_as_string(hide_password=False)), open_cells(cell_timeout=5)
        create_cell(pool.of(cell))

        def asked():
            return (pool.ask(PREBUILT, [(cell, {})]) if way == "ask" else pool.gather([cell], count))[cell.uuid]

        assert isinstance(asked(), Up)

        run(f"SET PASSWORD FOR {name}@'127.0.0.1' = PASSWORD('other')")
        pool.of(cell).close()
        for _ in range(4):
            down = asked()
        assert "Access denied" in down.reason
        assert PASSWORD not in f"{down} {pool.states([cell])}"
        assert state(pool, cell).state == "down"

        run(f"SET PASSWORD FOR {name}@'127.0.0.1' = PASSWORD('{PASSWORD}')")
        until(lambda: state(pool, cell).state != "down")
        assert isinstance(asked(), Up)
    finally:
        run(f"DROP DATABASE {name}")
        run(f"DROP USER {name}@'127.0.0.1'")
        root.dispose()
