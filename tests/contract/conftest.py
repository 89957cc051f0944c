# SPDX-License-Identifier: Apache-2.0
"""What a cloud says, compared word for word: the same tests run on the real services and on the mocked ones.

Every test works in projects of this session alone and removes what it made, so that a real cloud stays as it was.
"""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from bfv import mockcloud
from tests import sites
from tests.contract.compute import Compute
from tests.contract.door import Person, Site, Tenant
from tests.realnova import leave_out_unless_asked

ROOT = Path(__file__).parent.parent.parent
# Nova's own placement.
pytest_collection_modifyitems = leave_out_unless_asked


@pytest.fixture(scope="session", params=["mock", pytest.param("lab", marks=pytest.mark.lab)])
def site(request):
    if request.param == "lab":
        yield lab()
        return
    with mockcloud.start() as server:
        yield mock(server.describe())


def lab():
    command = [sys.executable, "-m", "lab", "env"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    env = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Site(
        auth_url=env["LAB_AUTH_URL"],
        image_url=env["LAB_IMAGE_URL"],
        volume_url=env["LAB_VOLUME_URL"],
        compute_url=env["LAB_COMPUTE_URL"],
        nova_url=env["LAB_COMPUTE_STUB_URL"],
        backends={"cell1": env["LAB_CELL1_POOL"], "cell2": env["LAB_CELL2_POOL"]},
        fsids={"cell1": env["LAB_CELL1_FSID"], "cell2": env["LAB_CELL2_FSID"]},
        internal_project=env["LAB_PROJECT_CINDER_INTERNAL"],
    )


def mock(told):
    return Site(
        auth_url=told["auth_url"],
        image_url=told["image_url"],
        volume_url=told["volume_url"],
        compute_url=told["compute_url"],
        nova_url=f"{told['control_url']}/compute",
        backends=told["backends"],
        fsids=told["fsids"],
        internal_project=told["internal_project"],
        control_url=told["control_url"],
    )


@pytest.fixture(scope="session")
def admin():
    return Person("admin", "labadmin", "admin")


@pytest.fixture(scope="session")
def service():
    """A user with the roles admin and service, as ours has."""
    return Person("bfv", "labsvc", "service")


@pytest.fixture(scope="session")
def nosvc():
    """A user that may do everything but lacks the role service."""
    return Person("bfv-nosvc", "labsvc", "service")


@pytest.fixture(scope="session")
def plain():
    """A user with the role service and no other."""
    return Person("bfv-plain", "labsvc", "service")


def make_tenant(site, admin, *people):
    """Make a project and its users, each with one role."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    roles = {row["name"]: row["id"] for row in site.identity(admin, "GET", "/roles").json()["roles"]}
    made = site.identity(admin, "POST", "/projects", {"project": {"name": name, "domain_id": "default"}})
    project_id = made.json()["project"]["id"]
    users = {}
    for role in people:
        user = Person(f"{name}-{role}", uuid.uuid4().hex, name)
        body = {"user": {"name": user.name, "password": user.password, "domain_id": "default"}}
        body["user"]["default_project_id"] = project_id
        user_id = site.identity(admin, "POST", "/users", body).json()["user"]["id"]
        path = f"/projects/{project_id}/users/{user_id}/roles/{roles[role]}"
        assert site.identity(admin, "PUT", path).status_code == 204
        users[role] = (user, user_id)
    return Tenant(project_id, name, users)


def drop_tenant(site, admin, tenant):
    for _, user_id in tenant.users.values():
        site.identity(admin, "DELETE", f"/users/{user_id}")
    site.identity(admin, "DELETE", f"/projects/{tenant.id}")


@pytest.fixture(scope="session")
def tenant(site, admin):
    """A project of this session with a member and a reader."""
    made = make_tenant(site, admin, "member", "reader")
    yield made
    drop_tenant(site, admin, made)


@pytest.fixture(scope="session")
def stranger(site, admin):
    """A member of another project."""
    made = make_tenant(site, admin, "member")
    yield made
    drop_tenant(site, admin, made)


@pytest.fixture
def own_tenant(site, admin):
    """A project of this test alone: for what is counted."""
    made = make_tenant(site, admin, "member")
    yield made
    drop_tenant(site, admin, made)


@pytest.fixture
def member(tenant):
    return tenant.person("member")


@pytest.fixture
def reader(tenant):
    return tenant.person("reader")


@pytest.fixture
def other(stranger):
    return stranger.person("member")


@pytest.fixture
def make_image(site, admin, member):
    """Make images, of some bytes unless told otherwise, and remove them at the end."""
    made = []

    def make(data=b"", who=member, **properties):
        body = {"name": f"contract-{uuid.uuid4().hex[:8]}", "disk_format": "raw", "container_format": "bare"}
        answer = site.image(who, "POST", "/v2/images", body | properties)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
        if data is not None:
            put = site.upload(who, made[-1], data or os.urandom(1 << 20))
            assert put.status_code == 204, put.text
        return made[-1]

    yield make
    for image_id in made:
        site.image(admin, "PATCH", f"/v2/images/{image_id}", [{"op": "replace", "path": "/protected", "value": False}])
        site.image(admin, "DELETE", f"/v2/images/{image_id}")


@pytest.fixture(scope="module")
def warm_image(site, admin, tenant):
    """One image for all tests of a file that only need some image."""
    who = tenant.person("member")
    body = {"name": f"contract-{uuid.uuid4().hex[:8]}", "disk_format": "raw", "container_format": "bare"}
    body["os_distro"] = "tux"
    image_id = site.image(who, "POST", "/v2/images", body).json()["id"]
    assert site.upload(who, image_id, os.urandom(1 << 20)).status_code == 204
    yield image_id
    site.image(admin, "DELETE", f"/v2/images/{image_id}")
    drop_cached(site, admin, image_id)


def drop_cached(site, admin, image_id):
    """Remove what the cache keeps of an image."""
    query = {"all_tenants": 1, "name": f"image-{image_id}"}
    for row in site.volume(admin, "GET", "/volumes/detail", params=query).json()["volumes"]:
        site.remove(admin, row["id"])


@pytest.fixture
def make_volume(site, admin, member):
    """Make volumes, wait until they are made, and remove them at the end, youngest first."""
    made = []

    def make(who=member, wait="available", **body):
        answer = site.volume(who, "POST", "/volumes", {"volume": {"size": 1, "volume_type": "cell2"} | body})
        assert answer.status_code == 202, answer.text
        made.append(answer.json()["volume"]["id"])
        if wait:
            site.settle(admin, made[-1], wait)
        return made[-1]

    yield make
    for volume_id in reversed(made):
        site.remove(admin, volume_id)


@pytest.fixture
def reserve(site, member):
    """Reserve a volume for a server and return (attachment id, server id)."""

    def make(volume_id, server_id=None, who=member, **more):
        server_id = server_id or str(uuid.uuid4())
        body = {"attachment": {"volume_uuid": volume_id, "instance_uuid": server_id, **more}}
        answer = site.volume(who, "POST", "/attachments", body)
        assert answer.status_code == 200, answer.text
        return answer.json()["attachment"]["id"], server_id

    return make


@pytest.fixture
def compute(site):
    """A compute service of this test alone, where the catalog says that it is."""
    with sites.in_place_of_compute(site.control_url) as port, Compute(port) as service:
        yield service
