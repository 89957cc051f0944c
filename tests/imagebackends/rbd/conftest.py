# SPDX-License-Identifier: Apache-2.0
"""The rbd backend on the mocked cloud and on the lab: Keystone, Glance and two Ceph clusters each."""

import contextlib
import os
import time

import pytest
from keystoneauth1.service_token import ServiceTokenAuthWrapper

from imagebackends import Settings
from imagebackends.http import make_session
from imagebackends.rbd import bindings
from imagebackends.rbd.backend import RbdBackend
from imagebackends.rbd.pool import Cluster
from imagebackends.types import Access, Ceph
from tests import sites

CELLS = ("cell1", "cell2")
READ = 16 << 20


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def place(request):
    """Return a site, the bindings of its Ceph, and its cells' clusters."""
    if request.param == "lab":
        env = sites.lab_environment()
        confs = {cell: env[f"LAB_{cell.upper()}_CEPH_CONF"] for cell in CELLS}
        yield sites.lab(), bindings.load(), {c: Ceph(confs[c], "cinder", images_pool="images") for c in CELLS}
        return
    from bfv.mockcloud import start
    from bfv.mockcloud.librbd import Bindings

    with start() as server:
        site = sites.mock_of(server)
        yield site, Bindings(server.cloud), {cell: Ceph(cell, "nova", images_pool="images") for cell in CELLS}


@pytest.fixture(scope="session")
def site(place):
    return place[0]


@pytest.fixture(scope="session")
def settings(place):
    site, _, ceph = place
    return Settings(image_endpoint=site.image_url, volume_endpoint=site.volume_url, ceph=ceph)


@pytest.fixture(scope="session")
def session(settings):
    session = make_session(settings)
    yield session
    session.session.close()


@pytest.fixture(scope="session")
def make_backend(place, settings, session):
    """Return a maker of backends; each is a client of its own."""
    made = []

    def make(**changes):
        import dataclasses
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.append(RbdBackend(dataclasses.replace(settings, **changes), session, place[1]))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(scope="session")
def backend(make_backend):
    return make_backend()


@pytest.fixture(scope="session")
def clusters(place):
    """Clients of their own, for looking."""
    found = {cell: Cluster(ceph, place[1]) for cell, ceph in place[2].items()}
    yield found
    for each in found.values():
        each.close()


def access_of(site, user):
    caller = site.caller(user)
    auth = ServiceTokenAuthWrapper(user_auth=site.auth(user), service_auth=site.auth("bfv"))
    return Access(auth, caller.project_id, caller.request_id)


@pytest.fixture(scope="session")
def access(site):
    return access_of(site, "demo")


@pytest.fixture(scope="session")
def other_access(site):
    return access_of(site, "other")


@pytest.fixture(scope="session")
def data():
    """An image's bytes: some, zeros, and an end that is no whole object."""
    return os.urandom(5 << 20) + bytes(4 << 20) + os.urandom((1 << 20) + 512)


@pytest.fixture(scope="session")
def image_id(site, data):
    """An image of these bytes; Glance keeps it in the first cell's Ceph alone."""
    made = site.upload(data)
    yield made
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{made}")


@pytest.fixture
def bytes_of(clusters, settings):
    """Return a reader of a disk by its id: its size, and its bytes up to the last that is not zero."""
    from imagebackends.rbd.disks import parse
    from imagebackends.rbd.types import Id

    def read(cell, disk_id):
        pool = clusters[cell].pool(settings.ceph[cell].pool)
        image = pool.look(Id(parse(disk_id).image))
        # A GiB of zeros takes seconds to read; that there is nothing behind, Ceph itself tells.
        assert all(extent.offset < READ for extent in pool.diff(Id(image.id)) if extent.exists)
        return image.size, pool.read(Id(image.id), 0, READ).rstrip(b"\0")

    return read


def until(done, seconds=120):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@contextlib.contextmanager
def opened(cluster, pool, name):
    """Have an image open for writing, as a guest has."""
    ioctx = cluster.call("open", lambda: cluster.ioctx(pool))
    with cluster.rbd.Image(ioctx, name) as handle:
        yield handle
