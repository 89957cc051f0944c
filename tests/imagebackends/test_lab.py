# SPDX-License-Identifier: Apache-2.0
"""The cinder backend passes the suite of all backends, on real cinder and both of its Ceph clusters."""

import datetime as dt
import os

import pytest
from keystoneauth1.service_token import ServiceTokenAuthWrapper

from imagebackends import Settings, load
from imagebackends.conformance import BackendConformance, ReimagesConformance, WarmsConformance
from imagebackends.types import Access, Target
from tests import sites

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def site():
    return sites.lab()


@pytest.fixture(scope="module")
def image_ids(site):
    """Two images of random bytes; what cinder's cache keeps of them goes with them."""
    made = [site.upload(os.urandom(4 << 20)) for _ in range(2)]
    yield made
    cached = site.call("admin", "GET", f"{site.volume_url}/volumes", params={"all_tenants": 1}).json()["volumes"]
    for each in cached:
        if (each["name"] or "").removeprefix("image-") in made:
            site.call("admin", "DELETE", f"{site.volume_url}/volumes/{each['id']}")
    for image_id in made:
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image_id}")


def access_of(site, user):
    """Return a user's rights as a service passes them on: beside its own service token."""
    caller = site.caller(user)
    auth = ServiceTokenAuthWrapper(user_auth=site.auth(user), service_auth=site.auth("bfv"))
    return Access(auth, caller.project_id, caller.request_id)


@pytest.fixture(scope="module", params=["cell1", "cell2"])
def target(request, site):
    cell = request.param
    return Target(cell, volume_type=cell, availability_zone=cell, backend=site.backends[cell])


@pytest.fixture(scope="module")
def backend(site):
    backend = load("cinder", Settings(volume_endpoint=site.volume_url))
    yield backend
    backend.clients.session.session.close()


@pytest.fixture(scope="module")
def access(site):
    return access_of(site, "demo")


@pytest.fixture(scope="module")
def other_access(site):
    return access_of(site, "other")


class TestCinder(BackendConformance, ReimagesConformance, WarmsConformance):
    @pytest.fixture
    def image_id(self, image_ids):
        return image_ids[0]

    @pytest.fixture
    def other_image_id(self, image_ids):
        return image_ids[1]

    @pytest.fixture
    def snapshot_id(self, site, disks):
        key = site.snapshot(disks.make().id)
        yield key
        site.drop_snapshot(key)

    def test_look_leaves_out_what_did_not_change(self, disks):
        """Cinder's own clock says so (3.60)."""
        disk = disks.make()

        assert disks.backend.look(disks.access, [disk.id], dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)) == {}

    def test_an_administrator_looks_at_disks_of_all_projects_and_finds_none_of_them(self, disks, site):
        """``everywhere`` is for looking; a disk of another project is never adopted."""
        spec = disks.spec()
        disk = disks.make(spec)
        caller = site.caller("admin")
        admin = Access(site.auth("admin"), caller.project_id, caller.request_id, everywhere=True)
        since = disk.created_at.replace(tzinfo=dt.UTC)

        assert set(disks.backend.look(admin, [disk.id], since)) == {disk.id}
        assert disks.backend.find(admin, spec, since).disk is None
