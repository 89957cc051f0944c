# SPDX-License-Identifier: Apache-2.0
"""What `bfv host` and `bfv zone` tell and do."""

import pytest

from bfv import hosts
from bfv.cli import parser
from bfv.errors import NotFound
from cells import aggregates
from cells import hosts as cell_hosts
from cells.types import Host
from tests import sites


@pytest.fixture(scope="module")
def site():
    with sites.mock() as site:
        yield site


@pytest.fixture
def cloud(site, tmp_path):
    """A cloud whose cell1 has two hosts, one in zone az1, and whose cell2 has none."""
    with sites.World(site, tmp_path).cloud("admin") as cloud:
        cell = cloud.parts.registry.cell("cell1")
        for name in ("h1", "h2"):
            host = Host("cell1", name, name, vcpus=4, vcpus_used=1, memory_mb=4096, local_gb=10, running_vms=1)
            cell_hosts.register(cloud.parts.cells.of(cell), host)
            cell_hosts.report(cloud.parts.cells.of(cell), [host])
            cell_hosts.map_host(cloud.parts.api, name, cell)
        aggregates.create(cloud.parts.api, "rack1", "az1")
        aggregates.add_host(cloud.parts.api, "rack1", "h1")
        yield cloud


def call(cloud, *words):
    """Run a verb in this process; return its answer and whether it failed."""
    args = parser().parse_args(words)
    args.failed = False
    return args.run(cloud, args), args.failed


def lose(tmp_path, cloud, cell):
    (tmp_path / f"{cell}.db").rename(tmp_path / "away")
    (tmp_path / f"{cell}.db").mkdir()
    cloud.parts.cells.named(cell).close()


def test_hosts_are_listed_with_their_zone_and_what_they_have_left(cloud):
    told, failed = call(cloud, "--json", "host", "list")

    assert told["hosts"][0] == {
        "host": "h1", "cell": "cell1", "zone": "az1", "status": "enabled", "reason": None, "state": "up",
        "free_vcpus": 15, "free_memory_mb": 4096, "free_disk_gb": 10, "servers": 1,
    }  # fmt: skip
    assert [(each["host"], each["zone"]) for each in told["hosts"]] == [("h1", "az1"), ("h2", "nova")]
    assert (told["down"], failed) == ({}, False)


def test_a_host_that_is_disabled_gets_no_servers_until_it_is_enabled(cloud):
    cells = cloud.parts.registry.cells()
    for words, status, reason in (
        (("disable", "h1", "--reason", "new disks"), "disabled", "new disks"),
        (("enable", "h1"), "enabled", None),
    ):
        call(cloud, "--json", "host", *words)
        told, _ = call(cloud, "--json", "host", "list")
        assert (told["hosts"][0]["status"], told["hosts"][0]["reason"]) == (status, reason)
        seen = hosts.gather_hosts(cloud.parts.pool, cloud.parts.api, cells)
        assert [host.disabled for host in seen.hosts["cell1"]] == [status == "disabled", False]


def test_a_host_that_is_not_there_is_told_with_the_cells_that_were_not_asked(cloud, tmp_path):
    with pytest.raises(NotFound, match="h9 could not be found; see"):
        call(cloud, "host", "disable", "h9")
    lose(tmp_path, cloud, "cell1")
    with pytest.raises(NotFound, match="h1 could not be found; these cells are down: cell1"):
        call(cloud, "host", "disable", "h1")


def test_zones_are_those_of_hosts_and_of_the_storage_of_cells_without_hosts(cloud):
    call(cloud, "--json", "host", "disable", "h2")

    told, failed = call(cloud, "--json", "zone", "list")

    assert told["zones"] == [
        {"zone": "az1", "cells": ["cell1"], "hosts": 1, "usable_hosts": 1},
        {"zone": "cell2", "cells": ["cell2"], "hosts": 0, "usable_hosts": 0},
        {"zone": "nova", "cells": ["cell1"], "hosts": 1, "usable_hosts": 0},
    ]
    assert not failed


@pytest.mark.parametrize("verb", ["host", "zone"])
def test_a_cell_that_is_down_makes_a_list_fail_and_say_so(cloud, tmp_path, capsys, verb):
    lose(tmp_path, cloud, "cell1")

    _, failed = call(cloud, verb, "list")

    assert failed
    assert "cell cell1 is down" in capsys.readouterr().err


def test_tables_are_for_people(cloud, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    call(cloud, "host", "list")
    call(cloud, "zone", "list")
    call(cloud, "host", "disable", "h1")

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["h2", "cell1", "nova", "enabled", "-", "up", "15", "4096", "10", "1"] in lines
    assert ["az1", "cell1", "1", "1"] in lines
    assert lines[-1] == ["host", "h1", "of", "cell", "cell1", "is", "disabled"]
