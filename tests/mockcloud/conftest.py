# SPDX-License-Identifier: Apache-2.0
"""A served cloud for the tests of the mocked cloud's own abilities: what no real cloud has."""

import os

import pytest
import requests

from bfv import mockcloud


class Client:
    """Plain calls as one user, with the newest microversion."""

    def __init__(self, told, user="demo", password="labdemo", project="demo"):
        self.told = told
        self.session = requests.Session()
        self.session.headers["OpenStack-API-Version"] = "volume 3.71"
        person = {"name": user, "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        auth = {"identity": {"methods": ["password"], "password": {"user": person}}, "scope": scope}
        answer = self.session.post(f"{told['auth_url']}/auth/tokens", json={"auth": auth})
        self.session.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]

    def __call__(self, method, path, body=None, **kwargs):
        """Call Cinder, or Glance where the path says v2."""
        url = self.told["image_url"] if path.startswith("/v2/") else self.told["volume_url"]
        return self.session.request(method, url + path, json=body, **kwargs)

    def mock(self, method, path, body=None, **kwargs):
        return self.session.request(method, self.told["control_url"] + path, json=body, **kwargs)

    def image(self, data, **more):
        body = {"name": "image", "disk_format": "raw", "container_format": "bare", **more}
        ident = self("POST", "/v2/images", body).json()["id"]
        headers = {"Content-Type": "application/octet-stream"}
        assert self("PUT", f"/v2/images/{ident}/file", data=data, headers=headers).status_code == 204
        return ident

    def create(self, **body):
        return self("POST", "/volumes", {"volume": {"size": 1, "volume_type": "cell1", **body}})

    def volume(self, **body):
        return self.create(**body).json()["volume"]["id"]

    def status(self, ident):
        answer = self("GET", f"/volumes/{ident}")
        return None if answer.status_code == 404 else answer.json()["volume"]["status"]

    def volumes(self):
        return self("GET", "/volumes/detail").json()["volumes"]

    def rbd(self, cell, name, pool="volumes"):
        return self.mock("GET", f"/rbd/{cell}/{pool}/{name}")

    def bytes(self, cell, ident, length, offset=0, pool="volumes"):
        name = f"volume-{ident}" if pool == "volumes" else ident
        query = {"offset": offset, "length": length}
        return self.mock("GET", f"/rbd/{cell}/{pool}/{name}/data", params=query).content


@pytest.fixture(scope="session")
def server():
    with mockcloud.start(mockcloud.Settings(cells=("cell1", "cell2", "cell3"))) as server:
        yield server


@pytest.fixture
def demo(server):
    server.cloud.reset()
    client = Client(server.describe())
    yield client
    client.session.close()


@pytest.fixture
def admin(demo):
    client = Client(demo.told, "admin", "labadmin", "admin")
    yield client
    client.session.close()


@pytest.fixture
def data():
    return os.urandom(9 << 20)
