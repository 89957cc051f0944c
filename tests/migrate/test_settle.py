# SPDX-License-Identifier: Apache-2.0
"""What is done behind a running guest: when it waits, and that nothing is released whose bytes differ."""

import contextlib

import pytest
import requests

from tests.migrate import disks
from tests.migrate.disks import LENGTH
from tests.migrate.test_life import gone

# The lab's Ceph is not made ill.
pytestmark = pytest.mark.parametrize("ground", ["mock"], indirect=True)
ILL = "\n[migrate]\nhealth_timeout = 0\n"


@pytest.fixture
def make(ground, tmp_path):
    """Return a maker of a cloud that waits for no cluster to become well."""
    with contextlib.ExitStack() as stack:

        def cloud(way):
            made = disks.Cloud(ground, tmp_path, way, more=ILL, give_up=0)
            stack.callback(made.clean)
            return made

        yield cloud


@pytest.fixture
def health(ground):
    """Have the first cluster say how it is."""

    def says(word):
        url = f"{ground.site.control_url}/cells/cell1"
        requests.put(url, json={"health": word}, timeout=60).raise_for_status()

    yield says
    says("HEALTH_OK")


def test_nothing_is_copied_into_a_cluster_that_is_ill(make, health, image_id):
    cloud = make("live")
    key = cloud.server(image_id, parent=image_id)
    health("HEALTH_ERR")

    [done] = cloud.migrate("run", "--server", key, "--no-rehearsal", expect=1)

    assert done["state"] == "converted"
    assert cloud.new.migration(f"volume-{cloud.root(key).volume_id}") == "prepared"
    [told] = cloud.migrate("status", key)
    assert (told["state"], "HEALTH_ERR" in told["why"]) == ("converted", True)
    health("HEALTH_OK")
    cloud.run("repair", user="bfv")
    assert cloud.state(key) == ["settled"]
    assert cloud.new.migration(f"volume-{cloud.root(key).volume_id}") == "executed"


def test_an_old_disk_whose_bytes_are_not_the_volumes_is_kept(make, health, image_id):
    cloud = make("clone")
    key = cloud.server(image_id, parent=image_id)
    before = cloud.pool.read(f"{key}_disk", 0, LENGTH)
    health("HEALTH_ERR")
    cloud.migrate("run", "--server", key, "--no-rehearsal", *cloud.choice, expect=1)
    health("HEALTH_OK")
    volume = f"volume-{cloud.root(key).volume_id}"
    cloud.new.drop_snapshot(volume, "bfv-proof")
    cloud.new.patch(volume, [(4 << 20, b"not the disk's")])
    cloud.new.snapshot(volume, "bfv-proof")

    assert "not those of the old disk" in cloud.run("repair", user="bfv", expect=1)
    [said] = cloud.migrate("purge", key, expect=1)

    assert "not those of the old disk" in said["why"]
    assert cloud.pool.read(f"bfv-aside-{key}_disk", 0, LENGTH) == before
    cloud.deleted_by_nova(key)
    cloud.run("repair", user="bfv")
    assert gone(cloud, key, volume)
