# SPDX-License-Identifier: Apache-2.0
"""One small cloud for all tests of a module, emptied before each."""

import pytest

from tests import databases
from tests.cells.listing.world import World

DIALECTS = ["sqlite", pytest.param("mariadb", marks=pytest.mark.lab),
            pytest.param("pymysql", marks=[pytest.mark.lab, pytest.mark.full])]  # fmt: skip


@pytest.fixture(scope="module", params=DIALECTS)
def shared_world(request, tmp_path_factory):
    with databases.empty(request.param, tmp_path_factory.mktemp("cells")) as make:
        world = World(make)
        yield world
        world.close()


@pytest.fixture
def world(shared_world):
    shared_world.down()
    shared_world.empty()
    return shared_world
