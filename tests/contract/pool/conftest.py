# SPDX-License-Identifier: Apache-2.0
"""Pools of the mocked cloud and of the lab's real Ceph (librbd 16.2), both reached through the same ``Pool``."""

import contextlib
import uuid

import pytest

from bfv.mockcloud import start
from bfv.mockcloud.librbd import Bindings
from imagebackends.errors import HasSnapshots, NotFound
from imagebackends.rbd import bindings
from imagebackends.rbd.pool import Cluster
from imagebackends.types import Ceph
from tests import sites


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def cluster_of(request):
    """Return a maker of connections to the first cell: each is a client of its own."""
    made = []

    def make(**changes):
        made.append(Cluster(Ceph(**{"conf": conf, "user": "cinder", **changes}), modules))
        return made[-1]

    with contextlib.ExitStack() as stack:
        if request.param == "lab":
            conf, modules = sites.lab_environment()["LAB_CELL1_CEPH_CONF"], bindings.load()
        else:
            conf, modules = "cell1", Bindings(stack.enter_context(start()).cloud)
        yield make
        for cluster in made:
            cluster.close()


@pytest.fixture(scope="session")
def cluster(cluster_of):
    return cluster_of()


@pytest.fixture
def pool(cluster):
    return cluster.pool("vms")


@pytest.fixture
def name(pool):
    """A name of this test alone; all images whose names begin with it are removed, children first."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    yield name
    for key, value in pool.values().items():
        if key.startswith(name):
            pool.swap(key, value, "")
    for each in pool.trashed():
        if each.name.startswith(name):
            pool.restore(each.id, each.name)
    left = {each for each in pool.names() if each.startswith(name)}
    while left:
        gone = {each for each in left if _removed(pool, each)}
        assert gone, f"these do not go: {left}"
        left -= gone


def _removed(pool, name):
    for each in pool.look(name).snapshots:
        if not each.trashed:
            pool.drop_snapshot(name, each.name)
    try:
        pool.remove(name)
    except HasSnapshots:
        return False
    except NotFound:
        return True
    return True


@pytest.fixture
def guest(cluster_of):
    """Return a maker of what a guest is to Ceph: an image open for writing by a client of its own."""
    client = cluster_of()
    with contextlib.ExitStack() as stack:

        def opened(name):
            ioctx = client.call("open", lambda: client.ioctx("vms"))
            return stack.enter_context(client.rbd.Image(ioctx, name))

        yield opened
