# SPDX-License-Identifier: Apache-2.0
"""What a boot learns of the hosts, from real databases; and that it goes where they say."""

import os
import threading

import pytest
import sqlalchemy as sa

import bfv
from bfv import hosts
from bfv.choose import Known, Wish
from bfv.errors import NoRoom
from bfv.fit import Size
from bfv.tables import claims, locks, metadata
from bfv.types import utcnow
from cells import CELL0_UUID, CellDown, Cells, Database, Registry, aggregates, create_api, create_cell
from cells import hosts as cell_hosts
from cells.schema_place import compute_nodes
from cells.types import Cell, Host
from imagebackends.types import Target
from tests import sites


def add_host(api, database, cell):
    """Register a host of 4 vcpus and 4 GiB, named after its cell, and have it report."""
    host = Host(cell.name, f"{cell.name}-host", f"{cell.name}-host", vcpus=4, memory_mb=4096, local_gb=10)
    cell_hosts.register(database, host)
    cell_hosts.report(database, [host])
    cell_hosts.map_host(api, host.host, cell)


@pytest.fixture
def api(tmp_path):
    database = Database("api", f"sqlite:///{tmp_path}/api.db")
    create_api(database)
    yield database
    database.close()


@pytest.fixture
def pool(tmp_path, opened):
    def opener(cell):
        opened.append(cell.name)
        return Database(cell.name, cell.database_connection)

    pool = Cells(opener, cell_timeout=60)
    yield pool
    pool.close()


@pytest.fixture
def opened():
    return []


@pytest.fixture
def cells(api, pool, tmp_path):
    """cell0, and two cells with one host each."""
    registry = Registry(api)
    registry.add_cell("cell0", f"sqlite:///{tmp_path}/cell0.db", uuid=CELL0_UUID)
    for name in ("cell1", "cell2"):
        cell = registry.add_cell(name, f"sqlite:///{tmp_path}/{name}.db")
        create_cell(pool.of(cell))
        add_host(api, pool.of(cell), cell)
    return registry.cells()


def names(seen):
    return {cell: [host.host for host in found] for cell, found in seen.hosts.items()}


def test_all_cells_tell_their_hosts_and_the_aggregates_their_zones(api, pool, cells):
    aggregates.create(api, "rack1", "az1")
    aggregates.add_host(api, "rack1", "cell1-host")

    seen = hosts.gather_hosts(pool, api, cells)

    assert names(seen) == {"cell1": ["cell1-host"], "cell2": ["cell2-host"]}
    assert (seen.down, seen.zones) == ({}, {"cell1-host": "az1"})


def test_a_cell_that_gives_no_answer_is_told_with_the_reason(api, pool, cells, tmp_path):
    (tmp_path / "cell1.db").rename(tmp_path / "away")
    (tmp_path / "cell1.db").mkdir()
    pool.of(cells[1]).close()

    seen = hosts.gather_hosts(pool, api, cells)

    assert names(seen) == {"cell2": ["cell2-host"]}
    assert "unable to open" in seen.down["cell1"]


def test_a_disabled_cell_and_the_graveyard_are_not_asked(api, pool, cells, opened):
    registry = Registry(api)
    registry.update_cell("cell1", disabled=True)
    pool.close()
    opened.clear()

    assert names(hosts.Hosts(pool, api, fresh=60).seen(registry.cells())) == {"cell2": ["cell2-host"]}
    assert opened == ["cell2"]


def test_without_the_api_database_nobody_knows_the_zones(api, pool, cells, tmp_path):
    (tmp_path / "api.db").rename(tmp_path / "away")
    (tmp_path / "api.db").mkdir()
    api.close()
    with pytest.raises(CellDown):
        hosts.gather_hosts(pool, api, cells)


@pytest.fixture
def statements(pool, cells):
    """Counts the statements that cell1's database gets."""
    seen = []
    sa.event.listen(pool.of(cells[1])._engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    yield seen
    assert {text.split()[0] for text in seen} <= {"BEGIN", "SELECT"}


def test_many_that_ask_at_once_cost_one_look(api, pool, cells, statements):
    looking = hosts.Hosts(pool, api, fresh=60)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(looking.seen(cells))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 20
    assert [text.split()[0] for text in statements] == ["SELECT"]


def test_a_look_is_used_for_a_while_and_then_taken_anew(api, pool, cells, statements):
    for fresh, looks in ((60, 1), (0, 3)):
        statements.clear()
        looking = hosts.Hosts(pool, api, fresh)
        for _ in range(3):
            looking.seen(cells)
        assert len([text for text in statements if text.startswith("SELECT")]) == looks


def test_a_change_of_the_cells_is_seen_at_once(api, pool, cells):
    looking = hosts.Hosts(pool, api, fresh=60)
    assert names(looking.seen(cells)) == {"cell1": ["cell1-host"], "cell2": ["cell2-host"]}

    Registry(api).update_cell("cell1", disabled=True)

    assert names(looking.seen(Registry(api).cells())) == {"cell2": ["cell2-host"]}


@pytest.fixture
def own(small_url):
    """Our own database, on each kind of server."""
    database = Database("journal", small_url("bfv"), pool_size=10)
    with database.writer() as conn:
        metadata.create_all(conn)
    yield database
    database.close()


def claim(conn, server_id, host, **changes):
    row = {"intent_id": server_id, "server_id": server_id, "project_id": "p", "user_id": "u", "vcpus": 1,
           "memory_mb": 512, "disk_gb": 3,
           "cell": "cell1", "host": host, "counts": True, "created_at": utcnow(), **changes}  # fmt: skip
    conn.execute(claims.insert().values(row))


def test_claims_are_summed_by_host(own):
    with own.writer() as conn:
        claim(conn, "s1", "h1")
        claim(conn, "s2", "h1", vcpus=2)
        claim(conn, "s3", "h2")
        claim(conn, "s4", None)
        claim(conn, "s5", "h2", counts=False)

    with own.reader() as conn:
        claimed = hosts.claimed(conn)
    assert claimed == {"h1": Size(3, 1024, 6), "h2": Size(1, 512, 3)}


def place(database, known, number, outcomes):
    """Place a server as a boot does: choose and claim in one transaction."""

    def write(conn):
        best = hosts.choose_and_hold(conn, known, Wish(size=Size(1, 512, 0))).choices[0]
        claim(conn, f"s{number}", best.host, cell=best.cell, disk_gb=0)
        return best.host

    try:
        outcomes.append(database.run(write))
    except NoRoom:
        outcomes.append(None)


def test_of_many_that_are_placed_in_one_instant_none_gets_room_that_another_has(own):
    """All know the same: two hosts, with room for three servers and for two."""
    room = {"seen_at": utcnow(), "vcpus": 8, "local_gb": 8}
    found = [Host("a", "a1", "a1", memory_mb=1536, **room), Host("a", "a2", "a2", memory_mb=1024, **room)]
    known = Known([Cell(1, "a", "a", False, "-")], [Target("a")], hosts={"a": found})
    outcomes = []
    threads = [threading.Thread(target=place, args=(own, known, number, outcomes)) for number in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes, key=str) == [None, None, "a1", "a1", "a1", "a2", "a2"]


def test_what_is_placed_goes_to_the_host_with_most_left_after_all_claims(own):
    room = {"seen_at": utcnow(), "vcpus": 8, "local_gb": 8, "memory_mb": 2048}
    known = Known(
        [Cell(1, "a", "a", False, "-")],
        [Target("a")],
        hosts={"a": [Host("a", name, name, **room) for name in ("a1", "a2", "a3")]},
    )
    outcomes = []
    for number in range(6):
        place(own, known, number, outcomes)

    assert outcomes == ["a1", "a2", "a3", "a1", "a2", "a3"]


def test_where_a_cell_has_no_hosts_nothing_is_held(own):
    known = Known([Cell(1, "a", "a", False, "-")], [Target("a")])
    with own.writer() as conn:
        assert hosts.choose_and_hold(conn, known, Wish()).choices[0].host is None
        assert conn.execute(sa.select(locks)).all() == []


# The whole way, on the mocked cloud.


@pytest.fixture(scope="module")
def site():
    with sites.mock() as site:
        yield site


@pytest.fixture
def cloud(site, tmp_path):
    """A cloud whose cells have a host each, cell2's in zone az2."""
    world = sites.World(site, tmp_path)
    with world.cloud() as cloud:
        for name in ("cell1", "cell2"):
            cell = cloud.parts.registry.cell(name)
            add_host(cloud.parts.api, cloud.parts.cells.of(cell), cell)
        aggregates.create(cloud.parts.api, "rack2", "az2")
        aggregates.add_host(cloud.parts.api, "rack2", "cell2-host")
        yield cloud


@pytest.fixture(scope="module")
def image(site):
    return site.upload(os.urandom(1 << 20))


def wanted(image, **changes):
    return bfv.BootRequest(**{"image": image, "flavor": "tiny", "name": sites.NAME, **changes})


def test_a_server_goes_to_the_cell_of_a_host_in_its_zone_and_its_row_says_the_zone(cloud, image):
    request = wanted(image, availability_zone="az2")
    cloud.boot(request)
    server = cloud.wait(request.server_id, 300)

    assert (server.cell, server.availability_zone, server.status) == ("cell2", "az2", "BUILD")
    assert server.decision.hosts == {"cell2": "cell2-host"}
    assert server.decision.why_not == {}
    cloud.delete(server.id)


def test_without_a_wish_the_row_says_the_zone_of_the_host_that_was_chosen(cloud, image):
    request = wanted(image)
    cloud.boot(request)
    server = cloud.wait(request.server_id, 300)

    assert (server.cell, server.availability_zone) == ("cell1", "nova")
    assert server.decision.hosts == {"cell1": "cell1-host", "cell2": "cell2-host"}
    assert server.decision.zones == {"cell1": "nova", "cell2": "az2"}
    cloud.delete(server.id)


def test_a_flavor_that_no_host_has_room_for_is_refused_and_nothing_is_accepted(cloud, image):
    for name in ("cell1", "cell2"):
        with cloud.parts.cells.named(name).writer() as conn:
            conn.execute(compute_nodes.update().values(memory_mb_used=4000))
    request = wanted(image)
    with pytest.raises(bfv.errors.NoRoom, match="cell2: no host fits: 1 without enough memory"):
        cloud.boot(request)
    assert cloud.parts.registry.find_mapping(request.server_id) is None


def test_a_cell_whose_database_is_away_gets_no_server(cloud, image, tmp_path):
    (tmp_path / "cell1.db").rename(tmp_path / "away")
    (tmp_path / "cell1.db").mkdir()
    cloud.parts.cells.named("cell1").close()

    decision = cloud.decide(wanted(image))

    assert decision.cells == ("cell2",)
    assert "unable to open" in decision.why_not["cell1"]


def test_what_is_promised_to_others_is_no_room(cloud, image):
    with cloud.parts.journal.database.writer() as conn:
        claim(conn, "other", "cell1-host", memory_mb=4096)

    decision = cloud.decide(wanted(image))

    assert decision.cells == ("cell2",)
    assert decision.why_not == {"cell1": "no host fits: 1 without enough memory (cell1-host)"}


def at_once(*acts):
    """Run acts in threads that start together; return what each returned or raised."""
    outcomes, start = [], threading.Barrier(len(acts))

    def run(act):
        start.wait()
        try:
            outcomes.append(act())
        except bfv.errors.NoRoom as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("with_hosts", [True, False], ids=["hosts", "no hosts"])
def test_boots_of_one_instant_are_spread_over_the_cells(cloud, image, with_hosts):
    if not with_hosts:
        for name in ("cell1", "cell2"):
            with cloud.parts.cells.named(name).writer() as conn:
                conn.execute(compute_nodes.delete())
    caller = cloud._caller()
    booted = at_once(*[lambda: cloud.boot(wanted(image), caller)] * 6)

    assert sorted(each.decision.cells[0] for each in booted) == ["cell1"] * 3 + ["cell2"] * 3
    for each in booted:
        cloud.wait(each.id, 300)
        cloud.delete(each.id)


def test_of_two_projects_that_want_the_last_room_in_one_instant_one_gets_it(cloud, site, image):
    for name, left in (("cell1", 128), ("cell2", 0)):
        with cloud.parts.cells.named(name).writer() as conn:
            conn.execute(compute_nodes.update().values(memory_mb_used=4096 - left))
    callers = [site.caller(user) for user in ("demo", "other")]
    first, second = at_once(*[lambda caller=caller: cloud.boot(wanted(image), caller) for caller in callers])

    refused, accepted = sorted((first, second), key=lambda each: isinstance(each, bfv.ServerInfo))
    assert "cell1: no host fits: 1 without enough memory" in str(refused)
    assert accepted.decision.hosts == {"cell1": "cell1-host"}
    [owner] = [each for each in callers if each.project_id == accepted.project_id]
    cloud.wait(accepted.id, 300, owner)
    cloud.delete(accepted.id, owner)
