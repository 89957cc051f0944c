# SPDX-License-Identifier: Apache-2.0
"""Comparisons on the mocked cloud and on the lab: Keystone, Glance, Cinder and two Ceph clusters each."""

import os

import pytest

from imagebackends.rbd import bindings
from imagebackends.rbd.pool import Cluster
from imagebackends.types import Ceph
from tests import sites
from tests.compare.outside import Outside

MIB = 1 << 20


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def site(request):
    if request.param == "lab":
        yield sites.lab()
        return
    with sites.mock() as site:
        yield site


@pytest.fixture(scope="session")
def data():
    """An image's bytes: some, zeros, and an end that is no whole object."""
    return os.urandom(5 * MIB) + bytes(4 * MIB) + os.urandom(MIB + 512)


@pytest.fixture(scope="session")
def image_id(site, data):
    """An image of these bytes; Glance keeps it in the first cell's Ceph alone."""
    made = site.upload(data)
    yield made
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{made}")


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path, ceph=True, late_answer=1)


@pytest.fixture(scope="session")
def clusters(site):
    """Clients of their own, for looking."""
    modules = site.bindings or bindings.load()
    found = {cell: Cluster(Ceph(conf, user), modules) for cell, (conf, user) in site.ceph.items()}
    yield found
    for each in found.values():
        each.close()


@pytest.fixture
def outside(site, clusters):
    """Tells what is outside; fails a test that leaves something."""
    outside = Outside(site, clusters)
    before, renamed = outside(), outside.renamed()
    yield outside
    outside.sweep(renamed)
    assert outside() == before
