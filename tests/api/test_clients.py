# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of us: the `openstack` command and openstacksdk, by the catalog alone."""

import json
import subprocess
from pathlib import Path

import openstack
import pytest

from tests import sites

CLI = Path(__file__).parent.parent.parent / ".lab" / "venv" / "bin" / "openstack"
# openstacksdk warns of its own next version, whatever is asked of it.
SDK = pytest.mark.filterwarnings(
    "ignore::openstack.warnings.RemovedInSDK50Warning", "ignore::openstack.warnings.RemovedInSDK60Warning"
)


@pytest.fixture
def command(door):
    """Run the unmodified command, by default as demo, and return what it printed; JSON where it is asked for."""

    def run(*words, user="demo", as_json=False):
        environment = door.world.environment(user) | {"OS_COMPUTE_API_VERSION": "2.96", "OS_IDENTITY_API_VERSION": "3"}
        del environment["PYTHONPATH"]
        asked = [CLI, *words, *(["-f", "json"] if as_json else [])]
        done = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if as_json else done.stdout

    return run


@pytest.mark.lab
@pytest.mark.skipif(not CLI.exists(), reason="needs python-openstackclient in the lab's environment")
def test_the_openstack_command_makes_shows_lists_rebuilds_and_deletes_a_server(command, door, site, image):
    assert {row["Name"] for row in command("flavor", "list", as_json=True)} == {"tiny", "big"}
    words = ("--flavor", "tiny", "--image", image, "--no-network", "--property", "a=b")
    made = command("server", "create", *words, f"{sites.NAME}-cli", as_json=True)
    door.running(made["id"])
    shown = command("server", "show", made["id"], as_json=True)
    assert (shown["name"], shown["status"], shown["properties"]) == (f"{sites.NAME}-cli", "ACTIVE", {"a": "b"})
    assert made["id"] in {row["ID"] for row in command("server", "list", as_json=True)}
    other = site.upload(b"x" * (1 << 20))
    command("server", "rebuild", "--image", other, "--reimage-boot-volume", made["id"])
    door.running(made["id"])
    command("server", "delete", made["id"])
    door.gone(made["id"])
    assert made["id"] not in {row["ID"] for row in command("server", "list", as_json=True)}


@SDK
def test_openstacksdk_makes_waits_for_pages_and_deletes_servers(door, image):
    entry = {"auth_url": door.site.auth_url, "username": "demo", "password": "labdemo", "project_name": "demo",
             "user_domain_id": "default", "project_domain_id": "default"}  # fmt: skip
    with openstack.connect(load_envvars=False, load_yaml_config=False, auth=entry, region_name="RegionOne") as sdk:
        made = [
            sdk.compute.create_server(name=f"{sites.NAME}-sdk{n}", image_id=image, flavor_id="tiny", networks="none")
            for n in range(3)
        ]
        for server in made:
            assert sdk.compute.wait_for_server(server, interval=0.1, wait=30).status == "ACTIVE"
        listed = [server.id for server in sdk.compute.servers(limit=2, details=False)]
        assert [each.id for each in reversed(made)] == [each for each in listed if each in {one.id for one in made}]
        assert len(listed) == len(set(listed))
        for server in made:
            sdk.compute.delete_server(server)
            sdk.compute.wait_for_delete(server, interval=0.2, wait=30)
