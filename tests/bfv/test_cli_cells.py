# SPDX-License-Identifier: Apache-2.0
"""What `bfv cell` tells and does, on a cloud whose storage is mocked and whose databases are real files."""

import json
import logging
import re

import pytest
import sqlalchemy as sa

from bfv import cli
from bfv.cell_report import look
from bfv.tables import cell_notes
from cells import hosts as cell_hosts
from cells.aggregates import host_cells
from cells.schema_place import compute_nodes
from cells.types import Host
from tests import sites
from tests.tcpports import SilentPort

SECRET = "s3cret-Pa55"


@pytest.fixture(scope="module")
def site():
    with sites.mock() as site:
        yield site


@pytest.fixture
def world(site, tmp_path):
    world = sites.World(site, tmp_path)
    text = world.config.read_text()
    world.config.write_text(text.replace("[database]\n", "[database]\ncell_timeout = 2\nconnect_timeout = 2\n"))
    return world


@pytest.fixture
def run(world, capsys, caplog):
    """Runs a verb as its user would; returns the exit code and all that was said, which never holds a password."""

    def run(*words):
        with caplog.at_level(logging.DEBUG):
            code = cli.main(["--config-file", str(world.config), *words])
        said = capsys.readouterr()
        assert SECRET not in said.out + said.err + caplog.text
        return code, said.out + said.err

    return run


@pytest.fixture
def cells(run):
    """The cells by name, as `bfv --json cell list` tells them."""

    def cells():
        return {each["name"]: each for each in json.loads(run("--json", "cell", "list")[1])}

    return cells


def url(tmp_path, name):
    return f"sqlite:///{tmp_path}/{name}.db"


def test_the_list_tells_the_database_and_the_storage_of_every_cell(run, cells):
    found = cells()
    assert [(each["name"], each["state"], each["storage"]["state"]) for each in found.values()] == [
        ("cell0", "up", "unknown"), ("cell1", "up", "up"), ("cell2", "up", "up")]  # fmt: skip
    assert found["cell1"]["answers"]["count"] == 1
    assert found["cell1"]["backend"].endswith("#cell1")
    code, text = run("cell", "list")
    assert (code, "cell1" in text, " ms" in text) == (0, True, True)


def test_a_dead_cell_is_told_with_its_reason_and_in_time_and_the_others_are_asked(run, cells, world):
    with SilentPort() as port:
        dead = f"mysql+pymysql://bfv:{SECRET}@127.0.0.1:{port.port}/nova"
        assert run("cell", "update", "cell2", "--database", dead)[0] == 0
        code, text = run("--json", "cell", "list")
        found = {each["name"]: each for each in json.loads(text)}
        assert (code, found["cell1"]["state"], found["cell2"]["state"]) == (1, "up", "down")
        assert found["cell2"]["reason"]
        shown = rf"mysql\+(pymysql|mysqldb)://bfv:\*\*\*@127\.0\.0\.1:{port.port}/nova"
        assert re.fullmatch(shown, found["cell2"]["address"])
        assert f"database: {found['cell2']['reason']}" in " ".join(run("cell", "show", "cell2")[1].split())


def test_a_cell_whose_storage_is_unknown_to_cinder_is_down_there(cells, world):
    world.config.write_text(world.config.read_text().replace("@cell1#", "@lost#"))
    storage = cells()["cell1"]["storage"]
    assert (storage["state"], "no volume service" in storage["reason"]) == ("down", True)


def test_storage_that_boots_found_down_is_down_whatever_cinder_says(world):
    with world.cloud("admin") as cloud:
        cloud.parts.storage.failed("cell1", "no volume within 300 seconds")
        found = {each.name: each for each in look(cloud.parts, cloud.parts.registry.cells())}
    assert (found["cell1"].storage.state, found["cell1"].storage.reason) == ("down", "no volume within 300 seconds")
    assert found["cell2"].storage.state == "up"


def test_a_cell_is_disabled_with_a_reason_and_enabled_again(run, cells, world):
    assert run("cell", "disable", "cell1", "--reason", "its Ceph is full")[0] == 0
    found = cells()["cell1"]
    assert (found["state"], found["disabled"], found["disabled_reason"]) == ("disabled", True, "its Ceph is full")
    assert "its Ceph is full" in run("cell", "show", "cell1")[1]

    assert run("cell", "disable", "cell1", "--reason", "still full")[0] == 0
    assert cells()["cell1"]["disabled_reason"] == "still full"
    with world.cloud("admin") as cloud:
        assert cloud.parts.registry.cell("cell1").disabled

    assert run("cell", "enable", "cell1")[0] == 0
    assert (cells()["cell1"]["state"], cells()["cell1"]["disabled_reason"]) == ("up", None)
    with world.cloud("admin") as cloud, cloud.parts.journal.database.reader() as conn:
        assert conn.execute(sa.select(cell_notes)).all() == []


def test_a_reason_is_needed(run):
    with pytest.raises(SystemExit, match="2"):
        run("cell", "disable", "cell1")


def test_a_cell_is_made_renamed_and_deleted(run, cells, tmp_path):
    assert run("cell", "create", "cell7", "--database", url(tmp_path, "cell7"), "--disabled")[0] == 0
    assert (cells()["cell7"]["state"], cells()["cell7"]["storage"]["state"]) == ("disabled", "unknown")
    assert run("cell", "update", "cell7", "--name", "cell8")[0] == 0
    assert run("cell", "disable", "cell8", "--reason", "soon gone")[0] == 0
    assert run("cell", "delete", "cell8")[0] == 0
    assert "cell8" not in cells()
    code, text = run("cell", "delete", "cell8")
    assert (code, "could not be found" in text) == (1, True)


def test_a_cell_with_servers_is_not_deleted(run, cells, world):
    with world.cloud("admin") as cloud:
        cell = cloud.parts.registry.cell("cell1")
        cloud.parts.registry.map_server("s1", "p", "u", {})
        cloud.parts.registry.assign("s1", cell)
    code, text = run("cell", "delete", "cell1")
    assert (code, "still has servers" in text) == (1, True)
    assert "cell1" in cells()


@pytest.mark.parametrize(
    ("database", "why"),
    [
        (f"mysql+pymysql://bfv:{SECRET}@db1,db2/nova", "high availability"),
        (f"mysql+pymysql://bfv:{SECRET}@/nova?host=db1&host=db2", "high availability"),
        (f"postgresql://bfv:{SECRET}@db1/nova", "Only bfv's own database"),
        (f"mysql+pymysql://bfv:{SECRET}@db1:port/nova", "cannot be parsed"),
    ],
)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_an_address_that_cannot_work_is_refused_with_the_way_out(verb, database, why, run, cells):
    before = cells()
    code, text = run("cell", verb, "cell1" if verb == "update" else "cell9", "--database", database)
    assert (code, why in text) == (1, True)
    assert cells().keys() == before.keys()
    assert cells()["cell1"]["address"] == before["cell1"]["address"]


def test_hosts_that_registered_in_their_cells_are_mapped(run, world):
    with world.cloud("admin") as cloud:
        parts = cloud.parts
        one, two = (parts.registry.cell(name) for name in ("cell1", "cell2"))
        for cell, host in ((one, "h1"), (one, "h2"), (two, "h3"), (two, "h2")):
            cell_hosts.register(parts.cells.of(cell), Host(cell.name, host, host))
            cell_hosts.report(parts.cells.of(cell), [Host(cell.name, host, host)])
        cell_hosts.map_host(parts.api, "h2", one)
        # Nova marks nodes; one that is marked although its mapping was lost is mapped, too.
        with parts.cells.of(two).writer() as conn:
            conn.execute(compute_nodes.update().values(mapped=1))

        code, text = run("--json", "cell", "map-hosts")
        told = json.loads(text)
        assert (code, told["down"]) == (1, {})
        assert told["cells"]["cell1"] == {"mapped": ["h1"], "refused": []}
        assert told["cells"]["cell2"]["mapped"] == ["h3"]
        [refusal] = told["cells"]["cell2"]["refused"]
        assert "h2 is mapped to cell cell1" in refusal

        assert host_cells(parts.api) == {"h1": "cell1", "h2": "cell1", "h3": "cell2"}
        with parts.cells.of(one).reader() as conn:
            assert set(conn.execute(sa.select(compute_nodes.c.mapped)).scalars()) == {1}
    code, text = run("cell", "map-hosts", "cell1")
    assert (code, text) == (0, "cell cell1: no new hosts\n")
