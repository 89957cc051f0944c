# SPDX-License-Identifier: Apache-2.0
"""`bfv serve` as the compute service of a real cloud's catalog: cinder calls it back, and the `openstack` command
finds it, with nothing in its place.
"""

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import sites
from tests.api.conftest import away, world_with_hosts
from tests.api.test_callbacks import root_of
from tests.api.test_serve import Process

pytestmark = pytest.mark.lab


class Served:
    """A bfv on the lab, served by a process on the catalog's port, or on another while nobody is on that."""

    def __init__(self, world, port, home):
        self.world, self.port, self.home, self.process, self.number = world, port, home, None, 0
        self.start()

    def start(self, port=None):
        self.number += 1
        port = self.port if port is None else port
        self.process = Process(self.world, self.home / f"serve{self.number}.log", port)

    def stop(self):
        assert self.process.end() == 0

    @contextlib.contextmanager
    def elsewhere(self):
        """Serve where cinder does not call, for as long as the block lasts."""
        self.stop()
        self.start(0)
        try:
            yield
        finally:
            self.stop()
            self.start()

    @property
    def door(self):
        return self.process.door

    def log(self):
        return "".join(path.read_text() for path in sorted(self.home.glob("serve*.log")))

    def codes(self, server_id, name):
        """Return the codes that cinder got for its events of a server."""
        return [int(code) for code in re.findall(rf"server {server_id}: event {name}: (\d+)", self.log())]

    def sizes(self, server_id, volume_id):
        """Return what the record and the host say of a volume's size."""
        with self.world.cloud() as cloud:
            (device,) = [each for each in cloud.server(server_id).devices if each.volume_id == volume_id]
        (guest,) = (self.world.home / "guests").glob(f"*/{server_id}.guest")
        return device.volume_size, json.loads(guest.read_text())["sizes"][volume_id]


@pytest.fixture(scope="module")
def site():
    return sites.lab()


@pytest.fixture(scope="module")
def image(site):
    made = site.upload(os.urandom(4 << 20))
    yield made
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{made}")


@pytest.fixture(scope="module")
def other_image(site):
    made = site.upload(os.urandom(4 << 20))
    yield made
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{made}")


@pytest.fixture(scope="module")
def served(site, tmp_path_factory):
    home = tmp_path_factory.mktemp("lab")
    with sites.in_place_of_compute() as port:
        served = Served(world_with_hosts(site, home), port, home)
        before = site.ours()
        yield served
        served.stop()
        assert site.ours() == before


@pytest.fixture(scope="module")
def server_id(served, image):
    """A server that runs; each test leaves it so."""
    made = served.door.boot(image)
    served.door.running(made)
    yield made
    served.door("DELETE", f"/servers/{made}")
    served.door.gone(made)


def extend(site, volume_id, size):
    answer = site.call("demo", "POST", f"{site.volume_url}/volumes/{volume_id}/action",
                       json={"os-extend": {"new_size": size}})  # fmt: skip
    assert answer.status_code == 202, answer.text
    site.settle(volume_id, "in-use")


def test_a_user_lets_go_of_no_volume_that_a_server_uses(served, site, image):
    door = served.door
    kept = {"boot_index": 0, "source_type": "image", "uuid": image, "destination_type": "volume", "volume_size": 1}
    made = door.boot(image, block_device_mapping_v2=[{**kept, "delete_on_termination": False}])
    door.running(made)
    root = root_of(door, made)
    path = f"{site.volume_url}/attachments"
    try:
        for user in ("demo", "admin"):
            answer = site.call(user, "DELETE", f"{path}/{root['attachment_id']}")
            assert answer.status_code == 409
            text = f"ConflictNovaUsingAttachment: Detach volume from instance {made} using the Compute API"
            assert answer.json()["conflictingRequest"]["message"] == text
        # Another attachment of the same server and volume, which that does not use, is its owner's to remove.
        body = {"attachment": {"volume_uuid": root["volumeId"], "instance_uuid": made, "connector": {"host": "h"}}}
        another = site.call("demo", "POST", path, json=body).json()["attachment"]["id"]
        assert site.call("demo", "DELETE", f"{path}/{another}").status_code == 200
    finally:
        door("DELETE", f"/servers/{made}")
        door.gone(made)
    # The server has let go.
    assert site.call("demo", "GET", f"{path}/{root['attachment_id']}").status_code == 404
    another = site.call("demo", "POST", path, json=body).json()["attachment"]["id"]
    assert site.call("demo", "DELETE", f"{path}/{another}").status_code == 200
    site.settle(root["volumeId"], "available")
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{root['volumeId']}")
    site.settle(root["volumeId"], None)


def test_a_rebuild_ends_by_cinders_event_and_without_it_by_a_look(served, site, server_id, image, other_image):
    def rebuild(to):
        body = {"rebuild": {"imageRef": to}}
        assert served.door("POST", f"/servers/{server_id}/action", body, version="2.93").status_code == 202
        served.door.running(server_id)
        volume = site.volumes()[root_of(served.door, server_id)["volumeId"]]
        assert (volume["status"], volume["volume_image_metadata"]["image_id"]) == ("in-use", to)

    rebuild(other_image)
    sites.until(lambda: served.codes(server_id, "volume-reimaged") == [200])
    with served.elsewhere():
        rebuild(image)
    assert served.codes(server_id, "volume-reimaged") == [200]


def test_what_is_told_of_a_server_in_a_cell_that_is_down_is_followed_when_it_is_back(served, site, server_id):
    volume_id = root_of(served.door, server_id)["volumeId"]
    size = site.volumes()[volume_id]["size"] + 1
    with served.world.cloud() as cloud:
        cell = cloud.server(server_id).cell
    served.stop()
    with away(served.world, cell):
        served.start()
        extend(site, volume_id, size)
        sites.until(lambda: served.codes(server_id, "volume-extended")[-1:] == [202])
        root = site.call("demo", "GET", f"{site.volume_url}/volumes/{volume_id}").json()["volume"]["attachments"]
        answer = site.call("demo", "DELETE", f"{site.volume_url}/attachments/{root[0]['attachment_id']}")
        assert answer.status_code == 503, "nobody knows whether the server uses it"
        served.stop()
    served.start()
    sites.until(lambda: served.sizes(server_id, volume_id) == (size, size), 60)


def test_the_openstack_command_by_the_catalog_alone(served, site, image, other_image):
    run = Command(served.world)
    words = ("--flavor", "tiny", "--image", image, "--no-network", "--wait")
    made = run("server", "create", *words, f"{sites.NAME}-cli")
    assert (made["status"], made["name"]) == ("ACTIVE", f"{sites.NAME}-cli")
    key = made["id"]
    (row,) = [row for row in run("server", "list") if row["ID"] == key]
    assert row["Status"] == "ACTIVE"
    volume_id = root_of(served.door, key)["volumeId"]
    (row,) = [row for row in run("volume", "list") if row["ID"] == volume_id]
    assert (row["Status"], row["Size"], row["Attached to"][0]["server_id"]) == ("in-use", 1, key)
    run("volume", "set", "--size", "2", volume_id, as_json=False)
    sites.until(lambda: served.sizes(key, volume_id) == (2, 2))
    assert served.codes(key, "volume-extended") == [200]
    run("server", "stop", key, as_json=False)
    sites.until(lambda: served.door.show(key)["status"] == "SHUTOFF")
    run("server", "start", key, as_json=False)
    served.door.running(key)
    run("server", "rebuild", "--image", other_image, "--reimage-boot-volume", "--wait", key, as_json=False)
    shown = run("server", "show", key)
    assert (shown["status"], shown["volumes_attached"][0]["id"]) == ("ACTIVE", volume_id)
    run("server", "delete", "--wait", key, as_json=False)
    assert key not in {row["ID"] for row in run("server", "list")}
    site.settle(volume_id, None)


class Command:
    """The unmodified `openstack` command, as demo; it answers JSON unless told otherwise."""

    def __init__(self, world):
        versions = {"OS_COMPUTE_API_VERSION": "2.96", "OS_VOLUME_API_VERSION": "3.42", "OS_IDENTITY_API_VERSION": "3"}
        self.environment = world.environment("demo") | versions
        del self.environment["PYTHONPATH"]
        self.path = Path(sites.lab_environment()["LAB_BIN"], "openstack")

    def __call__(self, *words, as_json=True):
        asked = [self.path, *words, *(["-f", "json"] if as_json else [])]
        done = subprocess.run(asked, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if as_json else done.stdout
