# SPDX-License-Identifier: Apache-2.0
"""The flows are tested by the same tests on every site: the mocked cloud, and the real services of the lab."""

import os

import pytest

from tests import sites


def pytest_collection_modifyitems(config, items):
    """Leave samples of a matrix out where all of it runs: on the mocked cloud."""
    samples = [item for item in items if "mock-sample" in item.nodeid]
    items[:] = [item for item in items if item not in samples]
    config.hook.pytest_deselected(items=samples)


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
