# SPDX-License-Identifier: Apache-2.0
"""An image is warmed in a cell once, by whoever comes first, and all boots are clones of that."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import bfv
from tests import sites
from tests.images.conftest import snapshots, volumes


def request(image, **how):
    return bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone="cell2", **how)


def booted(cloud, image, count=1, **how):
    """Boot servers at once and return them when all are ready."""
    asked = [request(image, **how) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(cloud.boot, asked))
    done = [cloud.wait(each.server_id, 240) for each in asked]
    assert [each.task_state for each in done] == ["spawning"] * count, done[0].fault
    return done


def remove(cloud, servers):
    for server in servers:
        cloud.delete(server.id)


def root(site, server):
    return site.volumes()[server.devices[0].volume_id]


def ours(site, image):
    return [each for each in volumes(site, image) if each["name"].startswith("bfv-image-")]


@pytest.fixture(autouse=True)
def nothing_left(site):
    before = site.ours()
    yield
    assert site.ours() == before


def test_an_image_that_was_warmed_boots_from_the_shared_snapshot(world, site, make_image):
    image = make_image()
    with world.cloud("admin") as cloud:
        [done] = cloud.warm(image, ["cell2"])
        assert (done.state, done.kind, done.why) == ("made", "snapshot", "")
        [again] = cloud.warm(image, ["cell2"])
        assert (again.state, again.kind) == ("hit", "snapshot")
    with world.cloud("demo") as cloud:
        assert cloud.decide(request(image)).sources["cell2"] == "warm: snapshot, about 1 s"
        [server] = booted(cloud, image)
        [kept] = ours(site, image)
        [snapshot] = snapshots(site, kept["id"])
        volume = root(site, server)
        assert volume["snapshot_id"] == snapshot["id"]
        assert volume["os-vol-tenant-attr:tenant_id"] == server.project_id
        assert (volume["bootable"], volume["volume_image_metadata"]["image_id"]) == ("true", image)
        [line] = [each for each in cloud.image_map([image]) if (each.cell, each.tier) == ("cell2", "default")]
        assert (line.state, line.kind) == ("warm", "snapshot")
        assert line.used_at is not None
        remove(cloud, [server])


def test_a_storm_on_a_cold_cell_makes_one_source_and_all_are_its_clones(world, site, make_image):
    image = make_image()
    with world.cloud() as cloud:
        servers = booted(cloud, image, 8)
        [kept] = ours(site, image)
        [snapshot] = snapshots(site, kept["id"])
        assert {root(site, server)["snapshot_id"] for server in servers} == {snapshot["id"]}
        remove(cloud, servers)
