# SPDX-License-Identifier: Apache-2.0
"""A cell's database is away: what is known is said, what cannot be done is refused whole, and it comes back alone."""

import contextlib
import json
import sqlite3

import pytest

import bfv
from bfv.errors import CellDown, OverQuota, Refused
from tests import sites

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.parametrize("site", ["mock"], indirect=True)]


def boot(cloud, image, **how):
    request = bfv.BootRequest(image=image, flavor="big", name=sites.NAME, **how)
    cloud.boot(request)
    return cloud.wait(request.server_id, 300)


@contextlib.contextmanager
def away(world, cell):
    """Have something that is no database where the cell's was, for as long as the block lasts."""
    names = [f"{cell}.db{end}" for end in ("", "-wal", "-shm")]
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (world.home / name).rename(world.home / f"{name}.away")
    (world.home / names[0]).write_bytes(b"no database at all" * 100)
    try:
        yield
    finally:
        (world.home / names[0]).unlink()
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                (world.home / f"{name}.away").rename(world.home / name)


@pytest.fixture
def pair(world, raw_image):
    """One server in each cell."""
    with world.cloud() as cloud:
        servers = [boot(cloud, raw_image, availability_zone=cell) for cell in ("cell1", "cell2")]
    yield servers
    with world.cloud() as cloud:
        for server in cloud.servers():
            cloud.delete(server.id)


def test_every_verb_on_a_server_there_is_refused_whole_and_works_when_the_cell_is_back(world, pair, raw_image):
    there = pair[0]
    verbs = {
        "delete": lambda cloud: cloud.delete(there.id),
        "rebuild": lambda cloud: cloud.rebuild(there.id, raw_image),
        "connect": lambda cloud: cloud.connect(there.id, {"host": "host1"}),
        "disconnect": lambda cloud: cloud.disconnect(there.id),
    }
    with away(world, "cell1"), world.cloud() as cloud:
        for name, verb in verbs.items():
            with pytest.raises(CellDown, match="cell1"):
                verb(cloud)
            assert [intent.verb for intent in cloud.parts.journal.opened()] == [], name
        assert not cloud.parts.registry.mapping(there.id).queued_for_delete
    with world.cloud() as cloud:
        assert cloud.delete(there.id).kept == ()
        assert [server.id for server in cloud.servers()] == [pair[1].id]


def test_a_server_there_is_shown_as_far_as_the_api_database_knows_it(world, pair):
    with away(world, "cell1"), world.cloud() as cloud:
        server = cloud.server(pair[0].id)
        assert (server.status, server.cell, server.availability_zone) == ("UNKNOWN", "cell1", "cell1")
        assert (server.project_id, server.flavor.name, server.devices) == (pair[0].project_id, "big", ())
        assert [(each.id, each.status) for each in cloud.servers()] == [
            (pair[1].id, "BUILD"),
            (pair[0].id, "UNKNOWN"),
        ]


def test_the_command_line_shows_what_is_known(world, pair):
    with away(world, "cell1"):
        listed = json.loads(world.run("--json", "list"))
        assert [(each["id"], each["status"]) for each in listed] == [(pair[1].id, "BUILD"), (pair[0].id, "UNKNOWN")]
        # Whole ids, to be copied, and how many volumes: of a cell that is down nobody knows.
        lines = [line.split() for line in world.run("list").splitlines()[1:]]
        assert [(line[0], line[-1]) for line in lines] == [(pair[1].id, "1"), (pair[0].id, "-")]
        assert "cell1" in world.run("delete", pair[0].id, expect=1)


def test_a_project_with_servers_there_gets_no_more_until_it_is_back(world, pair, raw_image):
    with away(world, "cell1"):
        with world.cloud() as cloud, pytest.raises(Refused, match="does not answer") as refused:
            boot(cloud, raw_image)
        assert not isinstance(refused.value, OverQuota)
        assert "cell1" not in str(refused.value)
        with world.cloud("other") as others:
            server = boot(others, raw_image)
            assert server.cell == "cell2"
            others.delete(server.id)
    with world.cloud() as cloud:
        assert boot(cloud, raw_image).task_state == "spawning"


def test_a_boot_whose_cell_dies_before_its_row_is_written_ends_whole_when_it_is_back(world, site, raw_image):
    world.config.write_text(world.config.read_text().replace("[storage]", "statement_timeout = 1\n[storage]"))
    lock = sqlite3.connect(world.home / "cell1.db", isolation_level=None)
    request = bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME, availability_zone="cell1")
    with contextlib.closing(lock), world.cloud() as cloud:
        # Nobody else writes into the cell now.
        lock.execute("BEGIN IMMEDIATE")
        cloud.boot(request)
        [intent] = cloud.parts.journal.opened()
        sites.until(lambda: cloud.parts.journal.get(intent.id).phase == "forward" and _recording(cloud, intent))
        with pytest.raises(CellDown), cloud.parts.cells.named("cell1").writer():
            pass
        assert cloud.server(request.server_id).status == "BUILD"
        lock.execute("ROLLBACK")
        server = cloud.wait(request.server_id, 300)
        assert (server.cell, server.task_state) == ("cell1", "spawning")
        cloud.delete(server.id)


def _recording(cloud, intent):
    return any(step.name == "record" for step in cloud.parts.journal.history(intent))
