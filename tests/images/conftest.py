# SPDX-License-Identifier: Apache-2.0
"""Warm images are tested by the same tests on the mocked cloud and on the real services of the lab."""

import contextlib
import os
import struct

import pytest

from imagebackends.rbd import bindings
from imagebackends.rbd.pool import Cluster
from imagebackends.types import Ceph
from tests import sites

# What the lab's default run takes; all else needs `full` there.
DEFAULT = {
    "test_an_image_that_was_warmed_boots_from_the_shared_snapshot",
    "test_a_storm_on_a_cold_cell_makes_one_source_and_all_are_its_clones",
    "test_a_warm_source_widens_nobodys_rights",
    "test_what_each_source_needs_is_told",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "[lab" in item.nodeid and "tests/images/" in item.nodeid and item.originalname not in DEFAULT:
            item.add_marker(pytest.mark.full)


def qcow2(size):
    """Return an empty disk of so many bytes (docs/interop/qcow2.txt of QEMU): header, reference counts, one table."""
    cluster = 1 << 16
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, size, 0, 1, 3 * cluster, cluster, 1, 0, 0)
    counts = struct.pack(">4H", 1, 1, 1, 1)
    parts = (header, struct.pack(">Q", 2 * cluster), counts, b"")
    return b"".join(part.ljust(cluster, b"\0") for part in parts)


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def place(request):
    """Return a site, the bindings of its Ceph, and its cells' clusters."""
    if request.param == "lab":
        env = sites.lab_environment()
        ceph = {cell: Ceph(env[f"LAB_{cell.upper()}_CEPH_CONF"], "cinder") for cell in ("cell1", "cell2")}
        yield sites.lab(), bindings.load(), ceph
        return
    from bfv.mockcloud import start
    from bfv.mockcloud.librbd import Bindings

    with start() as server:
        yield sites.mock_of(server), Bindings(server.cloud), {cell: Ceph(cell) for cell in ("cell1", "cell2")}


@pytest.fixture(scope="session")
def site(place):
    return place[0]


@pytest.fixture
def cluster(place):
    """A client of the second cell's Ceph."""
    found = Cluster(place[2]["cell2"], place[1])
    yield found
    found.close()


@pytest.fixture
def make_image(site):
    """Make images, and remove them at the end."""
    made = []

    def make(data=None, **properties):
        made.append(site.upload(data or os.urandom(4 << 20), **properties))
        return made[-1]

    yield make
    for image_id in made:
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image_id}")
        forget(site, image_id)


def forget(site, image_id):
    """Remove all that cinder and we keep of an image; what was cloned of it is gone already."""
    for each in volumes(site, image_id):
        for snapshot in snapshots(site, each["id"]):
            with contextlib.suppress(AssertionError):
                site.drop_snapshot(snapshot["id"])
        site.call("admin", "DELETE", f"{site.volume_url}/volumes/{each['id']}")
        site.settle(each["id"], None)


def volumes(site, image_id):
    """Return the volumes that keep an image, cinder's first, whoever made them."""
    listed = site.call("admin", "GET", f"{site.volume_url}/volumes/detail", params={"all_tenants": 1}).json()
    return [each for each in listed["volumes"] if (each["name"] or "").endswith(f"-{image_id}")]


def snapshots(site, volume_id):
    query = {"all_tenants": 1, "volume_id": volume_id}
    return site.call("admin", "GET", f"{site.volume_url}/snapshots/detail", params=query).json()["snapshots"]


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path, sources="snapshot", warm_on_boot=True)
