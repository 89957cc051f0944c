# SPDX-License-Identifier: Apache-2.0
"""Many cells, one of them dead, hung, slow or unfit: what requests pay, what they get, and how it comes back."""

import os
import threading
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cells import BadCell, BadValue, Busy, Cell, CellDown, Cells, Database, Down, Up, create_cell
from cells.breaker import Patience
from cells.prebuilt import Prebuilt
from cells.schema_cell import instances
from tests.databases import PYMYSQL
from tests.tcpports import Proxy, RefusingPort, SilentPort

PASSWORD = "s3cret-Pa55"
# Where a time runs out on purpose a test names it; all others are longer than a busy machine is late.
LONG = 60
PATIENCE = Patience(failures=3, slow=LONG, probe_interval=0.05, probe_interval_max=0.1)
SELDOM = replace(PATIENCE, probe_interval=600, probe_interval_max=600)
COUNT = sa.select(sa.func.count()).select_from(instances)
PREBUILT = Prebuilt(COUNT)


def make_cell(number, url):
    return Cell(number, f"uuid-{number}", f"cell{number}", False, url)


@pytest.fixture
def open_cells():
    opened = []

    def open_some(cell_timeout=LONG, threads=4, patience=PATIENCE, **options):
        options = {"connect_timeout": 1, "statement_timeout": LONG, **options}
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


def during(act):
    """A statement that the database takes as long for as an act does."""

    def ask(_, database):
        with database.reader() as conn:
            conn.connection.driver_connection.create_function("during", 0, act)
            conn.execute(sa.text("SELECT during()")).all()
            return "late"

    return ask


def until(condition, seconds=LONG):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def take_away(path):
    """Have no database be where a file was, which is ``away`` beside it."""
    path.rename(path.with_name("away"))
    path.mkdir()


def state(pool, cell):
    [found] = pool.states([cell])
    return found


# One of many is dead


def test_of_32_cells_a_dead_one_is_paid_for_once_and_the_others_always_answer(open_cells, healthy, dead):
    cells = [*healthy(*range(31)), make_cell(31, dead.url())]
    # Within it the others answer, and the driver waits for longer.
    pool = open_cells(cell_timeout=5, connect_timeout=LONG)
    before = threading.active_count()

    began = time.monotonic()
    first = pool.gather(cells, count)
    assert 5 <= time.monotonic() - began < LONG / 2
    assert list(first) == [cell.uuid for cell in cells]
    assert [type(answer) for answer in first.values()] == [Up] * 31 + [Down]
    assert "no answer within 5 seconds" in first["uuid-31"].reason

    pool.cell_timeout = LONG
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
    cells, took = [*healthy(0), make_cell(1, dead.url())], []
    pool = open_cells(threads=2, patience=replace(PATIENCE, failures=1))
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
    assert max(seconds for seconds, _ in took) < LONG / 2
    assert dead.accepted <= 2 + state(pool, cells[1]).probes + 1


def test_a_port_that_refuses_is_down_after_a_few_requests_and_then_not_asked(open_cells):
    pool = open_cells(patience=SELDOM)
    with RefusingPort() as port:
        cell = make_cell(1, port.url())
        for _ in range(2):
            [answer] = pool.gather([cell], count).values()
            assert (type(answer), state(pool, cell).state) == (Down, "up")
        pool.gather([cell], count)
        assert state(pool, cell).state == "down"
        assert PASSWORD not in f"{answer} {pool.gather([cell], count)}"


def test_cells_that_are_all_down_cost_no_wait_at_all(open_cells, dead):
    cells = [make_cell(number, dead.url()) for number in range(4)]
    pool = open_cells(cell_timeout=0.5, patience=SELDOM)
    pool.gather(cells, count)
    # One connection for the request and one for the probe, each.
    until(lambda: all(each.probes == 1 for each in pool.states(cells)) and dead.accepted == 8)
    for _ in range(100):
        assert {type(answer) for answer in pool.gather(cells, count).values()} == {Down}
    assert dead.accepted == 8


# One cell comes back


def test_a_cell_comes_back_by_itself_with_the_next_probe(open_cells, healthy, tmp_path):
    [cell] = healthy(1)
    take_away(tmp_path / "cell1.db")
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
    pool = open_cells(patience=replace(PATIENCE, slow=0.2))
    assert pool.gather([cell], during(lambda: time.sleep(0.3)))[cell.uuid] == Up(cell, "late")
    told = state(pool, cell)
    assert (told.state, told.reason, told.answers.count) == ("slow", "", 1)
    assert told.answers.last >= 0.3


def test_an_answer_after_the_deadline_is_missing_and_closes_the_cell_for_no_other(open_cells, healthy):
    """A probe tells at once that the cell lives: one heavy request is no outage."""
    [cell], release = healthy(1), threading.Event()
    pool = open_cells(cell_timeout=0.2)
    assert isinstance(pool.gather([cell], during(lambda: release.wait(LONG)))["uuid-1"], Down)
    pool.cell_timeout = LONG
    until(lambda: state(pool, cell).state != "down")
    assert state(pool, cell).probes >= 1
    assert pool.gather([cell], count)["uuid-1"] == Up(cell, 0)
    release.set()
    until(lambda: state(pool, cell).answers.count == 2)
    assert state(pool, cell).answers.p99 >= 0.2


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
    until(lambda: state(pool, cell).probes >= 2)
    assert "it answers, but only after" in state(pool, cell).reason


def test_when_all_threads_hang_the_next_request_is_told_at_once(open_cells, healthy):
    [cell], running, release = healthy(1), [], threading.Event()
    pool = open_cells(cell_timeout=0.1, threads=2)

    def hang(*_):
        running.append(1)
        release.wait(LONG)

    for number in (1, 2):
        until(lambda: isinstance(pool.gather([cell], hang)[cell.uuid], Down) and len(running) >= number)  # noqa: B023
        until(lambda: state(pool, cell).state != "down")

    began = time.monotonic()
    pool.cell_timeout = LONG
    assert "each of its 2 threads hangs" in pool.gather([cell], count)[cell.uuid].reason
    assert time.monotonic() - began < LONG / 2

    release.set()
    until(lambda: isinstance(pool.gather([cell], count)[cell.uuid], Up))


def test_threads_that_are_only_busy_are_waited_for_until_the_deadline_and_are_no_outage(open_cells, healthy):
    [cell] = healthy(1)
    pool, running, release, got = open_cells(threads=1), threading.Event(), threading.Event(), []

    def hold(*_):
        running.set()
        return release.wait(LONG)

    asker = threading.Thread(target=lambda: got.append(pool.gather([cell], hold)))
    asker.start()
    assert running.wait(LONG)
    pool.cell_timeout = 0.1
    assert "all of its 1 threads are busy" in pool.gather([cell], count)[cell.uuid].reason
    assert state(pool, cell).state == "up"
    release.set()
    asker.join()
    assert got == [{cell.uuid: Up(cell, True)}]


def test_who_waits_for_a_thread_of_a_cell_is_told_as_soon_as_it_is_found_down(open_cells, healthy, tmp_path):
    [cell] = healthy(1)
    pool, running, release, got = open_cells(threads=1), threading.Event(), threading.Event(), []

    def hang(*_):
        running.set()
        release.wait(2 * LONG)

    asker = threading.Thread(target=lambda: pool.gather([cell], hang))
    asker.start()
    assert running.wait(LONG)
    waiter = threading.Thread(target=lambda: got.append(pool.gather([cell], count)[cell.uuid]))
    waiter.start()
    until(lambda: pool._link(cell).lane._waiting)

    take_away(tmp_path / "cell1.db")
    for _ in range(PATIENCE.failures):
        with pytest.raises(CellDown), pool.of(cell).reader():
            pass
    waiter.join(LONG / 2)
    assert "unable to open" in got[0].reason
    release.set()
    asker.join()


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
    pool = open_cells(statement_timeout=0.3)

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
    pool = open_cells(patience=replace(SELDOM, slow=0.2))
    database = pool.of(cell)
    with pytest.raises(CellDown), database.reader():
        pass
    until(lambda: state(pool, cell).probes == 1 and dead.accepted == 2)
    for _ in range(20):
        with pytest.raises(CellDown, match="since") as caught, database.writer():
            pass
        assert isinstance(pool.gather([cell], count)[cell.uuid], Down)
    assert (dead.accepted, caught.value.since) == (2, state(pool, cell).since)


def test_what_a_flow_does_within_a_transaction_does_not_make_the_cell_slow(open_cells, healthy):
    [cell], flow = healthy(1), 0.0
    pool = open_cells()
    began = time.monotonic()
    with pool.of(cell).writer() as conn:
        for _ in range(2):
            here = time.monotonic()
            time.sleep(0.3)
            flow += time.monotonic() - here
            conn.execute(COUNT).all()
    told = state(pool, cell).answers
    assert (told.count, told.last <= time.monotonic() - began - flow) == (1, True)


def test_the_connections_in_use_are_told(open_cells, healthy):
    [cell] = healthy(1)
    pool = open_cells(pool_size=3)
    with pool.of(cell).reader(), pool.of(cell).reader():
        assert (state(pool, cell).in_use, state(pool, cell).size) == (2, 3)
    assert state(pool, cell).in_use == 0


def test_look_asks_every_cell_and_tells_the_disabled_ones_too(open_cells, healthy, dead):
    good, other = healthy(1, 2)
    disabled = Cell(2, "uuid-2", "cell2", True, other.database_connection)
    pool = open_cells(patience=replace(PATIENCE, failures=1))
    found = pool.look([good, disabled, make_cell(3, dead.url())])
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
    pool = open_cells(pool_size=4, connect_timeout=5)
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)
    pool.cell_timeout = 6

    def freeze_within(_, database):
        with database.reader() as conn:
            conn.execute(COUNT).all()
            proxy.freeze()
            return conn.execute(COUNT).scalar()

    began = time.monotonic()
    assert isinstance(pool.gather([cell], freeze_within)[cell.uuid], Down)
    assert time.monotonic() - began < LONG / 2
    accepted, probes = proxy.accepted, state(pool, cell).probes
    for _ in range(200):
        assert isinstance(pool.gather([cell], count)[cell.uuid], Down)
    assert proxy.accepted - accepted <= state(pool, cell).probes - probes + 2

    pool.cell_timeout = LONG
    proxy.thaw()
    until(lambda: state(pool, cell).state != "down")
    assert pool.gather([cell], count)[cell.uuid] == Up(cell, 0)


@pytest.mark.lab
def test_a_server_that_answers_after_three_seconds_is_slow(through, open_cells):
    cell, proxy = through
    pool = open_cells(patience=replace(PATIENCE, slow=3.0), connect_timeout=LONG)
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
        cell = make_cell(1, url.render_as_string(hide_password=False))
        pool = open_cells(cell_timeout=LONG, connect_timeout=LONG)
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
