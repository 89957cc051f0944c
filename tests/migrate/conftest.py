# SPDX-License-Identifier: Apache-2.0
"""Conversions are tested by the same tests on the mocked cloud and its Ceph, and on the lab's real ones.

Where the short run takes one way, it is BFV_SEED's; `-m full` takes all ways and every boundary.
"""

import os
import random

import pytest

from tests.migrate import disks

SEED = int(os.environ.get("BFV_SEED", "1"))
# The ways, and two of them onto a volume that cinder made beforehand.
WAYS = ("rename", "live", "clone", "copy", "placeholder-live", "placeholder-rename")
# By each way also in the short run; what a way changes is seen in these.
BY_EACH_WAY = ("test_a_server_goes_and_comes_back_bit_for_bit",)


def pytest_collection_modifyitems(config, items):
    """Leave out of the short run what it samples: every boundary, and most ways of most tests."""
    expression = config.getoption("markexpr")
    if "full" in expression.replace("not full", ""):
        return
    # `make lab-test-full` says no word of full, and takes all of the lab's.
    whole_lab = "not full" not in expression
    left_out = [item for item in items if item.path.parent.name == "migrate" and _is_left_out(item, whole_lab)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _is_left_out(item, whole_lab):
    params = getattr(item, "callspec", None)
    if params is None or "cloud" not in params.params:
        return False
    if "lab" in params.id and (whole_lab or item.path.stem == "test_events"):
        return not whole_lab
    if params.params.get("most") == 0:
        return True
    sampled = random.Random(f"{SEED} {item.originalname}").choice(WAYS)
    return (
        item.path.stem != "test_events" and item.originalname not in BY_EACH_WAY and params.params["cloud"] != sampled
    )


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
    """An image of 6 MiB of random bytes, raw, public, in the first cell's Ceph too."""
    return ground.site.upload(os.urandom(6 << 20), hw_disk_bus="virtio")


@pytest.fixture(params=WAYS)
def cloud(request, ground, tmp_path):
    """A bfv beside servers whose disks go one of the ways: in place, to another pool, or to another cluster."""
    made = disks.Cloud(ground, tmp_path, request.param)
    yield made
    made.clean()
