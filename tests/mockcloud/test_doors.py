# SPDX-License-Identifier: Apache-2.0
"""Both doors, the recorder, reset, the plugin, and clients that know nothing of us."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import openstack
import pytest
import requests

from bfv import mockcloud
from bfv.mockcloud.adapter import InProcess
from tests.mockcloud.conftest import Client

ROOT = Path(__file__).parent.parent.parent
# openstacksdk warns of its own next version, whatever is asked of it.
SDK = pytest.mark.filterwarnings(
    "ignore::openstack.warnings.RemovedInSDK50Warning", "ignore::openstack.warnings.RemovedInSDK60Warning"
)


def walk_through(connection):
    """Do what anybody does first: an image, a volume from it, and look at both."""
    image = connection.create_image("cirros", data=os.urandom(1 << 20), disk_format="raw", container_format="bare")
    volume = connection.create_volume(size=1, name="root", image=image.id, wait=True, timeout=300)
    assert volume.status == "available"
    assert volume.is_bootable
    assert [each.name for each in connection.image.images()] == ["cirros"]
    assert [each.name for each in connection.block_storage.volumes()] == ["root"]
    network = connection.network.create_network(name="net")
    subnet = connection.network.create_subnet(network_id=network.id, cidr="10.0.0.0/24", ip_version=4)
    port = connection.network.create_port(network_id=network.id)
    assert connection.network.find_network("net").subnet_ids == [subnet.id]
    assert [each.id for each in connection.network.ports()] == [port.id]
    connection.network.delete_port(port)
    assert connection.delete_volume(volume.id, wait=True)
    assert connection.delete_image(image.id)
    assert list(connection.block_storage.volumes()) == []


def connect(told):
    entry = told["clouds"]["mock-demo"]
    return openstack.connect(load_envvars=False, load_yaml_config=False, **entry)


@SDK
def test_openstacksdk_over_http(server):
    server.cloud.reset()
    with connect(server.describe()) as connection:
        walk_through(connection)


@SDK
def test_openstacksdk_in_process():
    with InProcess() as door, connect(door.describe()) as connection:
        walk_through(connection)
        assert door.cloud.recorder.find("POST", "/volumes$")


def test_in_process_loses_answers():
    with InProcess() as door:
        client = Client(door.describe())
        door.cloud.faults.add("lost_after", method="POST", path="/volumes$")
        with pytest.raises(requests.ConnectionError):
            client.create()
        assert len(client.volumes()) == 1
        assert client("POST", "/nope", data=iter([b"a", b"b"])).status_code == 400


def test_in_process_leaves_other_hosts_alone(demo):
    with InProcess():
        assert demo("GET", "/volumes").status_code == 200


CLI = ROOT / ".lab" / "venv" / "bin" / "openstack"


@pytest.mark.skipif(not CLI.exists(), reason="needs python-openstackclient in the lab's environment")
def test_the_openstack_command(server, tmp_path):
    server.cloud.reset()
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": server.describe()["clouds"]}))
    (tmp_path / "disk").write_bytes(os.urandom(1 << 20))
    hidden = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}

    def run(*words):
        command = [CLI, "--os-cloud", "mock-demo", *words]
        done = subprocess.run(command, cwd=tmp_path, env=hidden, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    words = ("--disk-format", "raw", "--container-format", "bare", "--file", "disk", "cirros")
    assert "cirros" in run("image", "create", *words)
    run("volume", "create", "--size", "1", "--image", "cirros", "root")
    rows = json.loads(run("volume", "list", "-f", "json"))
    assert [(row["Name"], row["Status"], row["Size"]) for row in rows] == [("root", "available", 1)]
    assert "cirros" in run("image", "list")


def test_recorder(demo, admin):
    demo.mock("DELETE", "/calls")
    ident = demo.volume(name="seen")
    demo("GET", f"/volumes/{ident}", headers={"X-OpenStack-Request-Id": "req-mine"})
    admin("GET", "/volumes", params={"all_tenants": 1})
    made, looked, listed = demo.mock("GET", "/calls").json()["calls"]
    assert (made["service"], made["method"], made["path"]) == ("volume", "POST", "/volume/v3/volumes")
    assert (made["status"], made["user"], made["project"]) == (202, "demo", "demo")
    assert made["body"] == {"volume": {"size": 1, "volume_type": "cell1", "name": "seen"}}
    assert looked["global_id"] == "req-mine"
    assert listed["user"] == "admin"
    found = demo.mock("GET", "/calls", params={"method": "GET", "path": "/volumes/"}).json()
    assert found["count"] == 1


def test_recorder_keeps_no_secret(demo):
    Client(demo.told)
    text = demo.mock("GET", "/calls").text
    assert "auth/tokens" in text
    assert "labdemo" not in text
    assert demo.session.headers["X-Auth-Token"] not in text


def test_reset(demo):
    demo.volume()
    demo.mock("POST", "/faults", {"kind": "lost_before", "times": 0})
    demo.mock("POST", "/clock", {"hold": True})
    assert demo.mock("POST", "/reset").status_code == 204
    assert demo("GET", "/volumes").status_code == 401
    assert demo.mock("GET", "/calls", params={"path": "volumes$"}).json()["count"] == 1
    assert demo.mock("GET", "/faults").json() == {"faults": []}
    assert demo.mock("GET", "/clock").json()["held"] is False


def test_names_are_the_same_in_every_cloud(demo):
    told = dict(demo.told)
    with mockcloud.start(mockcloud.Settings(cells=("cell1", "cell2", "cell3"))) as other:
        for key in ("projects", "domains", "backends", "fsids", "internal_project"):
            assert other.describe()[key] == told[key]


def test_settings_that_make_no_cloud():
    for settings in ({"cells": ()}, {"cells": ("a", "a")}, {"glance_stores": ("nope",)}):
        with pytest.raises(ValueError, match=r"cell"):
            mockcloud.Settings(**settings)


def test_connections_are_kept(demo):
    """Calls over one socket; that all wait for a delayed acknowledgement would be 40 ms each."""

    def quick(_):
        start = time.monotonic()
        assert demo("GET", "/volumes").headers.get("Connection") is None
        return time.monotonic() - start < 0.03

    assert any(map(quick, range(500)))


def test_where_there_is_nothing(demo):
    base = demo.told["control_url"].removesuffix("/_mock")
    assert "/volume" in demo.session.get(f"{base}/nope").json()["error"]
    assert demo.mock("GET", "/nope").status_code == 404
    assert demo.mock("GET", "").json()["mocked"] is True
    assert demo.mock("GET", "/rbd/cell1/nope").status_code == 404
    assert demo.rbd("cell1", "nope").status_code == 404


@pytest.mark.parametrize("words", [["bfv", "mockcloud", "serve"], ["bfv.mockcloud"]])
def test_served_by_a_command(words):
    program = [str(Path(sys.executable).with_name("bfv")), *words[1:]] if words[1:] else [sys.executable, "-m", *words]
    command = [*program, "--cells", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        told = json.loads(process.stdout.readline())
        assert sorted(told["backends"]) == ["cell1", "cell2", "cell3"]
        client = Client(told)
        assert client.volumes() == []
        client.session.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "nothing in it is real" in process.stderr.read()


PLUGIN_TEST = """
import requests
from bfv.mockcloud import Settings
import pytest

@pytest.fixture(scope="session")
def bfv_cloud_settings():
    return Settings(cells=("one", "two", "three"))

def test_served(bfv_cloud):
    assert sorted(bfv_cloud.describe()["backends"]) == ["one", "three", "two"]
    assert requests.get(bfv_cloud.auth_url).status_code == 200
    bfv_cloud.cloud.faults.add("lost_before")

def test_each_test_has_a_new_one(bfv_cloud):
    assert bfv_cloud.cloud.faults.rules == []

def test_in_process(bfv_cloud_inprocess):
    assert requests.get(bfv_cloud_inprocess.auth_url).json()["version"]["id"] == "v3.14"
"""


def test_plugin(tmp_path):
    (tmp_path / "test_theirs.py").write_text(PLUGIN_TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "bfv.mockcloud.plugin", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert "3 passed" in done.stdout, done.stdout + done.stderr
