# SPDX-License-Identifier: Apache-2.0
"""A cell whose Ceph is silent has its storage down, whoever met that first; who asks does not wait for it."""

import pytest

from bfv.cell_report import look
from bfv.check import check
from bfv.errors import BadRequest, MaybeRunning
from tests import sites


@pytest.fixture
def world(site, tmp_path):
    world = sites.World(site, tmp_path, ceph=True)
    world.config.write_text(world.config.read_text().replace("cell_timeout = 60\n", "cell_timeout = 6\n"))
    return world


def storage(cloud):
    return {each.name: each.storage for each in look(cloud.parts, cloud.parts.registry.cells()) if each.name != "cell0"}


def test_a_silent_ceph_is_seen_by_asking_for_the_cells_and_boots_go_elsewhere(world, site, raw_image):
    request = sites.bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)
    with world.cloud() as cloud:
        assert {name: each.state for name, each in storage(cloud).items()} == {"cell1": "up", "cell2": "up"}
        assert cloud.parts.storage.down() == {}
        with site.silent("cell1"):
            found = storage(cloud)
            assert cloud.decide(request).cells == ("cell2",)
        assert (found["cell1"].state, found["cell2"].state) == ("down", "up")
        assert "Ceph" in found["cell1"].reason
        assert found["cell1"].since


def test_a_ceph_that_falls_silent_is_seen_while_nobody_asks_and_when_it_is_back(world, site):
    text = world.config.read_text().replace("cell_timeout = 6\n", "cell_timeout = 6\nprobe_interval_max = 0.5\n")
    world.config.write_text(text)
    with world.cloud() as cloud:
        with site.silent("cell2"):
            sites.until(lambda: "cell2" in cloud.parts.storage.down())
        sites.until(lambda: not cloud.parts.storage.down())


def test_whoever_meets_a_silent_ceph_makes_its_cell_down(world, site):
    with world.cloud() as cloud:
        pool = cloud.parts.clusters.pools().of("cell2")
        pool.names()
        with site.silent("cell2"), pytest.raises(MaybeRunning):
            pool.value("-")
        assert list(cloud.parts.storage.down()) == ["cell2"]


def test_check_looks_into_novas_pools(world, site):
    with world.cloud() as cloud:
        lines = {line.what: line for line in check(cloud.parts) if "nova's pool" in line.what}
    assert {line.state for line in lines.values()} == {"ok"}
    assert set(lines) == {"cell cell1: nova's pool vms", "cell cell2: nova's pool vms"}


def test_without_a_ceph_conf_nothing_asks_ceph(site, tmp_path):
    with sites.World(site, tmp_path).cloud() as cloud:
        assert cloud.parts.clusters.look(1) == {}
        with pytest.raises(BadRequest, match="ceph_conf"):
            cloud.parts.clusters.pools()
