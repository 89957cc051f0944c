# SPDX-License-Identifier: Apache-2.0
"""Conversions are tested by the same tests on the mocked cloud and its Ceph, and on the lab's real ones."""

import os

import pytest

from tests.migrate import disks


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def ground(request):
    if request.param == "lab":
        found = disks.lab_ground()
        yield found
    else:
        with disks.start() as server:
            found = disks.mock_ground(server)
            yield found
    for cluster in found.clusters.values():
        cluster.close()


@pytest.fixture(scope="session")
def image_id(ground):
    """An image of 16 MiB of random bytes, raw, public, in the first cell's Ceph too."""
    return ground.site.upload(os.urandom(16 << 20), hw_disk_bus="virtio")


@pytest.fixture(params=["rename", "live", "clone", "copy"])
def cloud(request, ground, tmp_path):
    """A bfv beside servers whose disks go one of the ways: in place, to another pool, or to another cluster."""
    made = disks.Cloud(ground, tmp_path, request.param)
    yield made
    made.clean()
