# SPDX-License-Identifier: Apache-2.0
"""Glance and cinder-volume die while an image is warmed, and cinder is set up otherwise: the lab's real services."""

import contextlib
import os
import threading

import pytest

from bfv.images import book
from bfv.images.warm import key
from tests import sites
from tests.flows.test_kill import _repaired
from tests.images.conftest import volumes
from tests.images.test_kill import one_or_none
from tests.images.test_warm import booted, ours, remove, root

pytestmark = [pytest.mark.lab, pytest.mark.full, pytest.mark.timeout(900)]
LARGE = 96 << 20


@pytest.fixture(scope="module")
def site():
    return sites.lab()


@contextlib.contextmanager
def warming(world, image):
    """Warm an image behind what the block does; yield where the outcome will be."""
    done = []
    with world.cloud("admin") as cloud:
        thread = threading.Thread(target=lambda: done.extend(cloud.images.warm(image, ["cell2"])))
        thread.start()
        try:
            yield cloud, done
        finally:
            thread.join()


def copies(cloud, image):
    found = cloud.parts.journal.of_server(key(image, cloud.parts.target("cell2", "default")))
    return any(step.name == "copy" for intent in found for step in cloud.parts.journal.history(intent))


@pytest.mark.parametrize("service", ["glance", "cinder-volume-cell2"])
@pytest.mark.parametrize("kind", ["snapshot", "cache", "glance"])
def test_a_service_that_dies_in_the_middle_leaves_nothing_and_the_next_warm_up_works(
    site, tmp_path, make_image, service, kind
):
    image = make_image(os.urandom(LARGE))
    world = sites.World(site, tmp_path, sources="snapshot" if kind == "snapshot" else f"{kind},snapshot", late_answer=1,
                        volume_timeout=60)  # fmt: skip
    with warming(world, image) as (cloud, done):
        sites.until(lambda: done or volumes(site, image) or copies(cloud, image))
        try:
            sites.on_lab("kill", service)
        finally:
            sites.on_lab("start", service)
    _repaired(world)
    with world.cloud("admin") as cloud:
        [again] = cloud.images.warm(image, ["cell2"])
        assert again.state in ("made", "hit"), (done, again)
        [server] = booted(cloud, image)
        assert bool(root(site, server)["snapshot_id"]) is (again.kind == "snapshot")
        remove(cloud, [server])
    one_or_none(world, site, image)


@pytest.mark.parametrize("kind", ["cell2-nocache", "cell2-pair"])
def test_a_storm_on_a_cold_cell_is_one_download_however_cinder_is_set_up(site, tmp_path, make_image, kind):
    owner = {"cell2-nocache": "lab@cell2-nocache", "cell2-pair": "cell2-pair@cell2-pair"}[kind]
    world = sites.World(site, tmp_path, sources="snapshot", warm_on_boot=True)
    text = world.config.read_text().replace("volume_type = cell2", f"volume_type = {kind}")
    world.config.write_text(text.replace(site.backends["cell2"], f"{owner}#{kind}"))
    image = make_image()
    sites.on_lab("backend-up", kind)
    try:
        with world.cloud() as cloud:
            servers = booted(cloud, image, 8)
            assert sites.downloads(image) == 1
            [row] = book.of_image(cloud.parts.journal.database, image)
            assert {root(site, each)["snapshot_id"] for each in servers} == {row.snapshot_id}
            remove(cloud, servers)
        assert [each["id"] for each in ours(site, image)] == [row.volume_id]
        with world.cloud("admin") as cloud:
            [line] = [each for each in cloud.images.map([image]) if (each.cell, each.tier) == ("cell2", "default")]
            assert (line.state, line.kind) == ("warm", "snapshot")
            cached = cloud.parts.places.survey().cached(f"{owner}#{kind}")
            assert [each.image_id for each in cached] == ([] if kind == "cell2-nocache" else [image])
    finally:
        sites.on_lab("backend-down", kind)
    assert volumes(site, image) == []
