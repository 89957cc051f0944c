# SPDX-License-Identifier: Apache-2.0
"""The API over a bfv of its own and a mocked cloud whose catalog names it: real sockets everywhere."""

import contextlib
import os
import time
import uuid

import pytest
import requests

from bfv import config
from bfv.api.service import Service
from bfv.cloud import Cloud
from tests import sites


class Door:
    """Plain calls to the API, each as some user in some microversion."""

    def __init__(self, world, url, cloud=None):
        self.world, self.site, self.url, self.cloud = world, world.site, url, cloud
        self._tokens = {}

    def token(self, user):
        if user not in self._tokens:
            self._tokens[user] = self.site.auth(user).get_token(sites._session())
        return self._tokens[user]

    def __call__(self, method, path, body=None, *, user="demo", version=None, headers=None, **kwargs):
        told = {"X-Auth-Token": self.token(user)} if user else {}
        if version is not None:
            told["OpenStack-API-Version"] = f"compute {version}"
        url = path if path.startswith("http") else self.url + path
        return requests.request(method, url, json=body, headers={**told, **(headers or {})}, timeout=120, **kwargs)

    def calls(self, method, path):
        """Return the calls that the mocked cloud got."""
        query = {"method": method, "path": path}
        return requests.get(f"{self.site.control_url}/calls", params=query, timeout=60).json()["calls"]

    def boot(self, image, *, user="demo", version="2.96", name=None, **words):
        """Boot a server and return its id."""
        server = {"name": name or f"{sites.NAME}-api", "imageRef": image, "flavorRef": "tiny", "networks": "none"}
        made = self("POST", "/servers", {"server": {**server, **words}}, user=user, version=version)
        assert made.status_code == 202, made.text
        return made.json()["server"]["id"]

    def show(self, server_id, user="demo", version="2.96"):
        return self("GET", f"/servers/{server_id}", user=user, version=version).json()["server"]

    def running(self, server_id):
        """Wait until nothing is done to a server, and return it: it runs."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            shown = self.show(server_id)
            if shown["OS-EXT-STS:task_state"] is None and shown["status"] != "BUILD":
                assert shown["status"] == "ACTIVE", shown
                return shown
            time.sleep(0.05)
        raise AssertionError(shown)

    def gone(self, server_id):
        sites.until(lambda: self("GET", f"/servers/{server_id}").status_code == 404)


@pytest.fixture(scope="session")
def site():
    with sites.mock() as site:
        yield site


@pytest.fixture(scope="module")
def image(site):
    return site.upload(os.urandom(1 << 20))


def world_with_hosts(site, home):
    """Make a bfv whose servers run, on the hosts of the example driver."""
    world = sites.World(site, home)
    driver = f"[compute]\ndriver = example\n[example_driver]\nstate_path = {home}/guests\n"
    world.config.write_text(world.config.read_text() + driver)
    return world


@pytest.fixture(scope="module")
def world(site, tmp_path_factory):
    return world_with_hosts(site, tmp_path_factory.mktemp("api"))


@contextlib.contextmanager
def opened(world):
    """Serve a bfv in this process and yield its door; ``door.cloud`` is what it serves."""
    cloud = Cloud(config.load(world.config), None)
    try:
        with Service(cloud, "127.0.0.1", 0) as service:
            yield Door(world, service.url, cloud)
    finally:
        cloud.close(60)


@contextlib.contextmanager
def away(world, cell):
    """Have no database be where a cell's was, for as long as the block lasts; nobody has it open."""
    found = [path for end in ("", "-wal", "-shm") if (path := world.home / f"{cell}.db{end}").exists()]
    moved = [path.rename(path.with_name(f"{path.name}.away")) for path in found]
    found[0].mkdir()
    try:
        yield
    finally:
        found[0].rmdir()
        for path, kept in zip(found, moved, strict=True):
            kept.rename(path)


@pytest.fixture(scope="module")
def door(world, site):
    with opened(world) as door:
        requests.put(f"{site.control_url}/compute", json={"url": door.url}, timeout=60).raise_for_status()
        yield door
        requests.put(f"{site.control_url}/compute", json={"url": None}, timeout=60).raise_for_status()


@pytest.fixture(scope="session")
def reader(site):
    """A user who may only look, in demo's project: registered among the site's users."""
    name = f"reader-{uuid.uuid4().hex[:8]}"
    identity = site.auth_url
    make = lambda path, body: site.call("admin", "POST", identity + path, json=body)  # noqa: E731
    user = make("/users", {"user": {"name": name, "password": "labdemo", "domain_id": "default"}}).json()["user"]
    find = lambda kind, name: next(  # noqa: E731
        each for each in site.call("admin", "GET", f"{identity}/{kind}").json()[kind] if each["name"] == name
    )
    project, role = find("projects", "demo"), find("roles", "reader")
    path = f"/projects/{project['id']}/users/{user['id']}/roles/{role['id']}"
    assert site.call("admin", "PUT", identity + path).status_code == 204
    sites.USERS[name] = ("demo", "default", "labdemo")
    yield name
    del sites.USERS[name]
