# SPDX-License-Identifier: Apache-2.0
"""What an administrator learns of a real cinder and glance is what the lab was built with."""

import datetime as dt
import os
import uuid

import pytest

from imagebackends import Settings
from imagebackends.cinder.backend import CinderBackend
from imagebackends.errors import NotAllowed
from imagebackends.survey import Quota, Store, Survey
from imagebackends.types import Access
from tests import sites

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def site():
    return sites.lab()


@pytest.fixture(scope="module")
def fsids():
    env = sites.lab_environment()
    return {cell: env[f"LAB_{cell.upper()}_FSID"] for cell in ("cell1", "cell2")}


@pytest.fixture(scope="module")
def clients(site):
    clients = CinderBackend(Settings(volume_endpoint=site.volume_url, image_endpoint=site.image_url)).clients
    yield clients
    clients.session.session.close()


def survey_of(clients, site, user):
    caller = site.caller(user)
    return Survey(clients, Access(site.auth(user), caller.project_id, caller.request_id, everywhere=user == "admin"))


@pytest.fixture(scope="module")
def survey(clients, site):
    return survey_of(clients, site, "admin")


def test_each_pool_tells_which_ceph_it_is_in(survey, site, fsids):
    pools = {pool.name: pool for pool in survey.pools()}

    assert set(pools) >= set(site.backends.values())
    for cell, name in site.backends.items():
        pool = pools[name]
        assert (pool.backend_name, pool.state, pool.rbd_pool, pool.fsid) == (cell, "up", "volumes", fsids[cell])
        assert pool.free_gib > 1


def test_volume_types_lead_to_a_backend_in_a_zone(survey):
    types = survey.volume_types()

    for cell in ("cell1", "cell2"):
        for name in (cell, f"{cell}-fast"):
            assert (types[name].name, types[name].backend_name, types[name].zones) == (name, cell, (cell,))
    assert (types["__DEFAULT__"].backend_name, types["__DEFAULT__"].zones) == (None, ())


def test_both_zones_are_available(survey):
    assert survey.zones() == {"cell1": True, "cell2": True}


def test_a_quota_is_told_as_it_was_set(survey, site):
    """Of a project that nobody else uses."""
    project = uuid.uuid4().hex
    assert survey.quota(project) == Quota(survey.default_volumes(), 0, survey.quota(project).gigabytes, 0)
    url = f"{site.volume_url}/os-quota-sets/{project}"
    changed = site.call("admin", "PUT", url, json={"quota_set": {"volumes": 7, "gigabytes": 70}})
    assert changed.status_code == 200, changed.text
    try:
        assert survey.quota(project) == Quota(7, 0, 70, 0)
    finally:
        site.call("admin", "DELETE", url)


def test_a_quota_counts_what_is_used(survey, site):
    """Others use the cloud too: it is not less than what is there of ours."""
    project = site.caller("demo").project_id
    body = {"volume": {"size": 1, "name": sites.NAME, "volume_type": "cell1", "availability_zone": "cell1"}}
    made = site.call("demo", "POST", f"{site.volume_url}/volumes", json=body).json()["volume"]["id"]
    site.settle(made, "available")

    quota = survey.quota(project)

    assert quota.volumes_used >= 1
    assert quota.gigabytes_used >= 1
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{made}")
    site.settle(made, None)


def test_each_store_of_glance_tells_which_ceph_it_is(survey, fsids):
    stores = {store.id: store for store in survey.stores()}

    assert stores == {
        "cell1": Store("cell1", "rbd", True, fsids["cell1"]),
        "cell2": Store("cell2", "rbd", False, fsids["cell2"]),
    }


def test_what_cinders_cache_made_is_told_by_image_and_project(survey, site):
    """An image that lies in the other cell's Ceph alone is copied once, and the copy is kept."""
    image_id = site.upload(os.urandom(1 << 20))
    body = {"size": 1, "name": sites.NAME, "volume_type": "cell2", "availability_zone": "cell2", "imageRef": image_id}
    made = site.call("demo", "POST", f"{site.volume_url}/volumes", json={"volume": body}).json()["volume"]["id"]
    site.settle(made, "available")

    cached = survey.cached(site.backends["cell2"])

    assert (image_id, site.internal_project, "available") in [(e.image_id, e.project_id, e.status) for e in cached]
    assert image_id not in [each.image_id for each in survey.cached(site.backends["cell1"])]
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{made}")
    site.settle(made, None)
    listed = site.call("admin", "GET", f"{site.volume_url}/volumes?all_tenants=1&name=image-{image_id}").json()
    for each in listed["volumes"]:
        site.call("admin", "DELETE", f"{site.volume_url}/volumes/{each['id']}")
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image_id}")


def test_the_version_and_the_clock_are_told(survey):
    skew = survey.skew()

    assert survey.version() == (3, 71)
    assert skew is None or abs(skew) < dt.timedelta(seconds=10)


@pytest.mark.parametrize("ask", ["pools", "default_volumes", "stores"])
def test_who_is_no_administrator_is_not_allowed(clients, site, ask):
    with pytest.raises(NotAllowed):
        getattr(survey_of(clients, site, "demo"), ask)()
