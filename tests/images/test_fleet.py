# SPDX-License-Identifier: Apache-2.0
"""An image in many cells at once, and boots beside it, on a mocked cloud: the lab has two cells, set up as they are."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import bfv
from bfv import mockcloud
from bfv.images import book
from tests import sites
from tests.images.test_warm import booted, ours, remove, root

CELL3 = """
[cell:cell3]
availability_zone = cell3
volume_type = cell3
backend = {backend}
"""


@pytest.fixture
def server():
    settings = mockcloud.Settings(("cell1", "cell2", "cell3"), glance_stores=("cell1", "cell2"))
    with mockcloud.start(settings) as server:
        yield server


@pytest.fixture
def site(server):
    return sites.mock_of(server)


@pytest.fixture
def make_world(site, tmp_path):
    def make(**settings):
        world = sites.World(site, tmp_path, **settings)
        text = world.config.read_text().replace("cells = cell1,cell2", "cells = cell1,cell2,cell3")
        world.config.write_text(text + CELL3.format(backend=site.backends["cell3"]))
        return world

    return make


def test_copies_come_first_so_that_nothing_is_warmed_twice(make_world, site, server):
    """A copy is a change of the image, by which cinder's cache of it goes stale in every cell."""
    world = make_world(sources="glance,cache")
    image = site.upload(b"x" * (1 << 20))
    # Glance's times have a resolution of a second.
    time.sleep(1.1)
    told = []
    with world.cloud("admin") as cloud:
        done = {each.cell: each for each in cloud.images.warm(image, progress=told.append)}
        assert {cell: (each.state, each.kind) for cell, each in done.items()} == {
            "cell1": ("hit", "glance"),
            "cell2": ("made", "glance"),
            "cell3": ("made", "cache"),
        }
        assert all(each.bytes == 1 << 20 for each in done.values())
        states = {(each.cell, each.tier): (each.state, each.kind) for each in cloud.images.map([image])}
        assert states["cell3", "default"] == ("warm", "cache")
        assert [each.state for each in cloud.images.warm(image)] == ["hit"] * 3
        assert [(each.cell, each.state) for each in told].count(("cell3", "warming")) == 1
        time.sleep(1.1)
        site.call("admin", "PUT", f"{site.image_url}/v2/images/{image}/tags/new")
        states = {(each.cell, each.tier): each.state for each in cloud.images.map([image])}
        assert (states["cell2", "default"], states["cell3", "default"]) == ("warm", "stale")


def test_a_boot_joins_a_warm_up_that_runs_and_asks_cinder_for_nothing_meanwhile(make_world, site, server):
    world = make_world(sources="snapshot")
    image = site.upload(b"x" * (1 << 20))
    server.cloud.pace.set({"downloading": {"seconds": 3600}})
    with world.cloud("admin") as admin, world.cloud() as cloud:
        warming = threading.Thread(target=admin.images.warm, args=(image, ["cell3"]))
        warming.start()
        sites.until(lambda: ours(site, image))
        [line] = [each for each in cloud.images.map([image]) if each.cell == "cell3"]
        assert line.state == "warming"
        asked = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone="cell3")
        cloud.boot(asked)
        time.sleep(0.5)
        assert site.ours() == (set(), set())
        server.cloud.clock.advance(3600)
        server_ = cloud.wait(asked.server_id, 300)
        warming.join()
        [row] = book.of_image(cloud.parts.journal.database, image)
        assert root(site, server_)["snapshot_id"] == row.snapshot_id
        remove(cloud, [server_])


def test_as_many_warm_ups_run_in_a_cell_as_the_operator_says(make_world, site, server):
    world = make_world(sources="snapshot", more_images="parallel_per_cell = 1\n")
    images = [site.upload(b"x" * (1 << 20)) for _ in range(2)]
    server.cloud.pace.set({"downloading": {"seconds": 1}})
    server.cloud.clock.hold()
    with world.cloud("admin") as cloud, ThreadPoolExecutor(3) as pool:
        first = pool.submit(cloud.images.warm, images[0], ["cell2"])
        sites.until(lambda: ours(site, images[0]))
        second = pool.submit(cloud.images.warm, images[1], ["cell2"])
        elsewhere = pool.submit(cloud.images.warm, images[1], ["cell3"])
        waits = lambda: {step.detail for intent in cloud.parts.journal.opened()  # noqa: E731
                         for step in cloud.parts.journal.history(intent) if step.name == "wait"}  # fmt: skip
        sites.until(waits)
        assert waits() == {"as many warm-ups run in cell cell2 as [images] parallel_per_cell says"}
        # Another cell has turns of its own.
        sites.until(lambda: ours(site, images[1]))
        assert [each["os-vol-host-attr:host"] for each in ours(site, images[1])] == [site.backends["cell3"]]
        server.cloud.clock.release()
        server.cloud.pace.set({})
        assert [each.result()[0].state for each in (first, second, elsewhere)] == ["made"] * 3


@pytest.mark.parametrize("how", ["no cache", "shared lock"])
def test_a_storm_on_a_cold_cell_is_one_download_however_cinder_is_set_up(how, tmp_path):
    settings = mockcloud.Settings(("cell1", "cell2"), glance_stores=("cell1",), shared_lock=how == "shared lock")
    with mockcloud.start(settings) as server:
        site = sites.mock_of(server)
        cell = server.cloud.cells["cell2"]
        cell.cached = how != "no cache"
        server.cloud.pace.set({"downloading": {"seconds": 1}, "cloning": {"seconds": 0.2}})
        image = site.upload(b"x" * (4 << 20))
        with sites.World(site, tmp_path, sources="snapshot", warm_on_boot=True).cloud() as cloud:
            servers = booted(cloud, image, 8)
            flat = [each.name for each in cell.cluster.pools["volumes"].images.values() if each.parent is None]
            [kept] = ours(site, image)
            assert flat == [f"volume-{kept['id']}"]
            remove(cloud, servers)
