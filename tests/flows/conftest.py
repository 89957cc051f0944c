# SPDX-License-Identifier: Apache-2.0
"""The flows are tested by the same tests on every site: the mocked cloud, and the real services of the lab."""

import os
import random

import pytest

from tests import sites

SEED = int(os.environ.get("BFV_SEED", "1"))


# Their longest matrices take minutes: on the mocked cloud all of them run with BFV_FULL alone, else a seeded sample.
# The lab takes a sample of so many of these tests, and all of them in full.
MANY = ("test_attach.py", "test_attach_kill.py", "test_disks.py", "test_strays.py")
FEW = 6
LONG = (*MANY, "test_driver_kill.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Leave samples of a matrix out where all of it runs: on the mocked cloud."""
    many = [item for item in items if item.path.name in MANY]
    lab = {item for item in many if item.get_closest_marker("lab")}
    short = [item for item in many if item in lab and not item.get_closest_marker("full")]
    for item in lab - set(random.Random(SEED).sample(short, min(FEW, len(short)))):
        item.add_marker(pytest.mark.full)
    left = {item for item in items if "mock-sample" in item.nodeid}
    if not os.environ.get("BFV_FULL"):
        long = [item for item in items if item.path.name in LONG and not item.get_closest_marker("lab")]
        left |= {item for item in long if item.get_closest_marker("full")}
        left |= {item for item in items if item.name == "test_disconnect[mock-all]"}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def site(request):
    if request.param == "lab":
        yield sites.lab()
        return
    with sites.mock() as site:
        yield site


@pytest.fixture(scope="session")
def raw_image(site):
    """An image of 16 MiB of random bytes, raw, public."""
    return site.upload(os.urandom(16 << 20))


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path)


@pytest.fixture
def nothing_left(site):
    """Fail a test that leaves a volume or an attachment of its servers outside."""
    before = site.ours()
    yield
    assert site.ours() == before
