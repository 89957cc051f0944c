# SPDX-License-Identifier: Apache-2.0
"""A process that warms an image, or a boot that begins to, is killed at every boundary; then `bfv repair`.

Afterwards there is one source that boots use, or nothing at all, and the next warm-up works. A seeded sample runs by
default, all boundaries with `full`.
"""

import uuid

import pytest

from bfv.images import book
from tests import sites
from tests.flows.test_kill import _delete, _repaired, boundaries, chosen
from tests.images.conftest import qcow2, snapshots, volumes
from tests.images.test_warm import ours

HOW_MUCH = [
    pytest.param(False, id="some"),
    pytest.param(True, id="whole", marks=[pytest.mark.full, pytest.mark.lab]),
]
SOURCES = ["glance", "snapshot", "cache"]


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path, late_answer=1, sources="snapshot", warm_on_boot=True)


def one_or_none(world, site, image):
    """Assert that what is outside is the one source that is written as warm, or that neither is there."""
    with world.cloud("admin") as cloud:
        assert cloud.parts.journal.opened() == []
        rows = [each for each in book.of_image(cloud.parts.journal.database, image) if each.kind == "snapshot"]
        assert [each.state for each in rows] in (["warm"], [])
    kept = ours(site, image)
    assert [each["id"] for each in kept] == [each.volume_id for each in rows]
    for each in kept:
        assert [found["id"] for found in snapshots(site, each["id"])] == [rows[0].snapshot_id]
    assert [each for each in volumes(site, image) if each["name"].startswith("bfv-warm-")] == []


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
@pytest.mark.parametrize("kind", SOURCES)
def test_warm(world, site, make_image, kind, full):
    world.write_config(sources=kind)
    found = boundaries(world, "warm", make_image(), "cell2", user="admin")
    some = chosen(found, full)
    for place, number in some if full else some[:1]:
        image = make_image()
        died = world.victim([place, str(number), "warm", image, "cell2"], user="admin")
        assert died.returncode == -9, (place, number, died.stderr)

        _repaired(world)

        one_or_none(world, site, image)
        with world.cloud("admin") as cloud:
            [done] = cloud.images.warm(image, ["cell2"])
            assert done.kind == kind, (place, number, done)
        one_or_none(world, site, image)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_a_boot_that_warms(world, site, make_image, full):
    before = site.ours()

    def boot(image, server_id):
        return ["boot", image, server_id]

    first, image = str(uuid.uuid4()), make_image()
    world.write_config(cells="cell2")
    found = boundaries(world, *boot(image, first))
    _delete(world, first)
    some = chosen(found, full)
    for place, number in some if full else some[:2]:
        image, server_id = make_image(), str(uuid.uuid4())
        died = world.victim([place, str(number), *boot(image, server_id)])
        assert died.returncode == -9, (place, number, died.stderr)

        _repaired(world)

        one_or_none(world, site, image)
        with world.cloud() as cloud:
            if cloud.parts.registry.find_mapping(server_id):
                assert cloud.server(server_id).task_state == "spawning"
                assert site.volumes()[cloud.server(server_id).devices[0].volume_id]["snapshot_id"]
                cloud.delete(server_id)
        assert site.ours() == before


@pytest.mark.timeout(600)
def test_a_warm_up_that_was_killed_goes_on_with_the_source_that_it_was_at(world, site, make_image):
    """At the end the source is written as warm; a worker that began with the first kind again would remove it."""
    world.write_config(sources="glance,snapshot")
    disk = qcow2(4 << 20)
    found = boundaries(world, "warm", make_image(disk, disk_format="qcow2"), "cell2", user="admin")
    last = max(number for place, number in found if place == "commit")
    for number in (last - 1, last):
        image = make_image(disk, disk_format="qcow2")
        died = world.victim(["commit", str(number), "warm", image, "cell2"], user="admin")
        assert died.returncode == -9, died.stderr

        _repaired(world)

        one_or_none(world, site, image)
        assert len(ours(site, image)) == 1
