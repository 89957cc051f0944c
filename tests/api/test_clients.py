# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of us, unmodified: the `openstack` command, openstacksdk and python-novaclient."""

import contextlib
import datetime as dt
import json
import os
import subprocess
import uuid
from pathlib import Path

import openstack
import pytest
import requests
from novaclient import client as nova_client

from cells import encode, flavors
from cells.schema_api import instance_mappings
from cells.schema_cell import instance_extra, instances
from tests import sites
from tests.api.conftest import opened, world_with_hosts

ROOT = Path(__file__).parent.parent.parent
LAB_PYTHON = Path(os.environ.get("LAB_BIN") or ROOT / ".lab" / "venv" / "bin") / "python"
# openstacksdk warns of its own next version, whatever is asked of it.
SDK = pytest.mark.filterwarnings(
    "ignore::openstack.warnings.RemovedInSDK50Warning", "ignore::openstack.warnings.RemovedInSDK60Warning"
)
MANY = 2500


@pytest.fixture(scope="module")
def command(door):
    """Run the unmodified command and return what it printed; JSON where it is asked for."""
    running = {}

    def start(user):
        environment = door.world.environment(user) | {"OS_COMPUTE_API_VERSION": "2.101", "OS_IDENTITY_API_VERSION": "3"}
        del environment["PYTHONPATH"]
        running[user] = subprocess.Popen([LAB_PYTHON, ROOT / "tests" / "api" / "osc.py"], env=environment, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip

    def run(*words, user="demo", as_json=False, fails=False):
        if user not in running:
            start(user)
        process = running[user]
        process.stdin.write(json.dumps([*words, *(["-f", "json"] if as_json else [])]) + "\n")
        process.stdin.flush()
        done = json.loads(process.stdout.readline())
        assert bool(done["code"]) is fails, done
        return json.loads(done["out"]) if as_json else done["out"] + done["err"]

    yield run
    for process in running.values():
        process.stdin.close()
        process.wait(120)
        process.stdout.close()


@contextlib.contextmanager
def sdk_of(door):
    auth = {"auth_url": door.site.auth_url, "username": "demo", "password": "labdemo", "project_name": "demo",
            "user_domain_id": "default", "project_domain_id": "default"}  # fmt: skip
    with openstack.connect(load_envvars=False, load_yaml_config=False, auth=auth, region_name="RegionOne") as sdk:
        yield sdk


def nova_of(door, version="2.96", user="demo"):
    return nova_client.Client(
        version, session=sites._session(), auth=door.site.auth(user), endpoint_override=door.url
    )  # fmt: skip


@pytest.mark.lab
@pytest.mark.skipif(not LAB_PYTHON.exists(), reason="needs python-openstackclient in the lab's environment")
def test_the_openstack_command_does_all_to_a_server_that_it_offers(command, door, site, image):
    assert {row["Name"] for row in command("flavor", "list", as_json=True)} == {"tiny", "big"}
    words = ("--flavor", "tiny", "--image", image, "--no-network", "--property", "a=b", "--tag", "first")
    name = f"{sites.NAME}-cli"
    server_id = command("server", "create", *words, "--wait", name, as_json=True)["id"]

    def show():
        return command("server", "show", server_id, as_json=True)

    shown = show()
    assert (shown["name"], shown["status"], shown["properties"], shown["tags"]) == (
        name, "ACTIVE", {"a": "b"}, ["first"]
    )  # fmt: skip
    assert server_id in {row["ID"] for row in command("server", "list", as_json=True)}
    assert server_id in {row["ID"] for row in command("server", "list", "--tags", "first", "--long", as_json=True)}

    command("server", "set", "--name", "renamed", "--description", "why", "--property", "c=d", "--tag", "second",
            "--hostname", "web", server_id)  # fmt: skip
    shown = show()
    assert (shown["name"], shown["description"]) == ("renamed", "why")
    assert door.show(server_id)["OS-EXT-SRV-ATTR:hostname"] == "web"
    assert (shown["properties"], sorted(shown["tags"])) == ({"a": "b", "c": "d"}, ["first", "second"])
    command("server", "unset", "--property", "a", "--tag", "first", "--description", server_id)
    shown = show()
    assert (shown["properties"], shown["tags"], shown["description"]) == ({"c": "d"}, ["second"], "")

    command("server", "lock", "--reason", "mine", server_id)
    assert (show()["locked"], show()["locked_reason"]) == (True, "mine")
    assert "is locked" in command("server", "stop", server_id, fails=True)
    command("server", "unlock", server_id)
    command("server", "stop", server_id)
    sites.until(lambda: door.show(server_id)["status"] == "SHUTOFF")
    command("server", "start", server_id)
    door.running(server_id)
    command("server", "reboot", "--hard", "--wait", server_id)
    command("server", "set", "--auto-approve", "--state", "error", server_id, user="admin")
    assert show()["status"] == "ERROR"
    command("server", "set", "--auto-approve", "--state", "active", server_id, user="admin")

    made = command("server", "image", "create", "--name", "backup", "--wait", server_id, as_json=True)
    door.running(server_id)
    assert made["status"] == "active"
    (volume,) = command("server", "volume", "list", server_id, as_json=True)
    command("server", "volume", "update", "--preserve-on-termination", server_id, volume["Volume ID"])
    (volume,) = command("server", "volume", "list", server_id, as_json=True)
    assert volume["Delete On Termination?"] is False
    command("server", "volume", "update", "--delete-on-termination", server_id, volume["Volume ID"])

    events = command("server", "event", "list", server_id, as_json=True)
    assert [row["Action"] for row in events] == [
        "createImage", "resetState", "resetState", "reboot", "start", "stop", "unlock", "lock", "create"
    ]  # fmt: skip
    event = command("server", "event", "show", server_id, events[-1]["Request ID"], as_json=True)
    assert "spawn" in {each["event"] for each in event["events"]}

    other = site.upload(b"x" * (1 << 20))
    command("server", "rebuild", "--image", other, "--reimage-boot-volume", "--wait", server_id)
    door.running(server_id)
    # The snapshot goes first: the volume of a server does not outlive it then.
    images = {each["id"]: each for each in site.call("demo", "GET", f"{site.image_url}/v2/images").json()["images"]}
    (mapping,) = json.loads(images[made["id"]]["block_device_mapping"])
    command("image", "delete", made["id"])
    site.drop_snapshot(mapping["snapshot_id"])
    command("server", "delete", "--wait", server_id)
    assert server_id not in {row["ID"] for row in command("server", "list", as_json=True)}
    assert command("server", "event", "list", server_id, as_json=True)[0]["Action"] == "delete"


@pytest.mark.lab
@pytest.mark.skipif(not LAB_PYTHON.exists(), reason="needs python-openstackclient in the lab's environment")
def test_the_openstack_command_makes_several_servers_at_once(command, door, image):
    words = ("--flavor", "tiny", "--image", image, "--no-network", "--min", "2", "--max", "3")
    command("server", "create", *words, "several")
    found = command("server", "list", "--name", "several", as_json=True)
    assert {row["Name"] for row in found} == {"several-1", "several-2", "several-3"}
    for row in found:
        door.running(row["ID"])
    command("server", "delete", "--wait", "--force", *(row["ID"] for row in found))


@SDK
def test_openstacksdk_makes_waits_for_pages_and_deletes_servers(door, image):
    with sdk_of(door) as sdk:
        made = [
            sdk.compute.create_server(name=f"{sites.NAME}-sdk{n}", image_id=image, flavor_id="tiny", networks="none")
            for n in range(3)
        ]
        for server in made:
            assert sdk.compute.wait_for_server(server, interval=0.1, wait=300).status == "ACTIVE"
        listed = [server.id for server in sdk.compute.servers(limit=2, details=False)]
        assert [each.id for each in reversed(made)] == [each for each in listed if each in {one.id for one in made}]
        assert len(listed) == len(set(listed))
        sdk.compute.set_server_metadata(made[0], a="b")
        sdk.compute.add_tag_to_server(made[0], "tagged")
        sdk.compute.update_server(made[0], name="renamed")
        found = sdk.compute.get_server(made[0].id)
        assert (found.name, found.metadata, found.tags) == ("renamed", {"a": "b"}, ["tagged"])
        (attached,) = sdk.compute.volume_attachments(made[0])
        assert (attached.server_id, attached.volume_id) == (made[0].id, found.attached_volumes[0].id)
        assert [each.action for each in sdk.compute.server_actions(made[0])] == ["create"]
        for server in made:
            sdk.compute.delete_server(server)
            sdk.compute.wait_for_delete(server, interval=0.2, wait=300)


def seed(door, number):
    """Write servers of demo's that run, and return their ids, the youngest first."""
    parts, caller = door.cloud.parts, door.site.caller("demo")
    flavor, now = flavors.get(parts.api, "tiny", caller.project_id), dt.datetime(2026, 1, 2)
    ids = [str(uuid.uuid4()) for _ in range(number)]
    cells = [parts.registry.cell(name) for name in ("cell1", "cell2")]
    with parts.api.writer() as conn:
        conn.execute(instance_mappings.insert(), [
            {"instance_uuid": key, "project_id": caller.project_id, "user_id": caller.user_id,
             "cell_id": cells[place % 2].id, "queued_for_delete": False, "created_at": now}
            for place, key in enumerate(ids)
        ])  # fmt: skip
    for cell, theirs in zip(cells, (ids[::2], ids[1::2]), strict=True):
        with parts.cells.of(cell).writer() as conn:
            conn.execute(instances.insert(), [
                {"uuid": key, "project_id": caller.project_id, "user_id": caller.user_id, "display_name": "seeded",
                 "vm_state": "active", "power_state": 1, "deleted": 0, "created_at": now, "image_ref": ""}
                for key in theirs
            ])  # fmt: skip
            text = encode.dump_instance_flavor(flavor)
            conn.execute(
                instance_extra.insert(), [{"instance_uuid": key, "flavor": text, "deleted": 0} for key in theirs]
            )
    return ids[::-1]


@pytest.fixture
def in_catalog(site, door):
    """Have the catalog name another API for as long as the test runs."""

    def put(url):
        requests.put(f"{site.control_url}/compute", json={"url": url}, timeout=60).raise_for_status()

    yield put
    put(door.url)


@SDK
def test_clients_page_through_more_servers_than_one_answer_has(site, tmp_path, in_catalog):
    with opened(world_with_hosts(site, tmp_path)) as door:
        in_catalog(door.url)
        ids = seed(door, MANY)
        with sdk_of(door) as sdk:
            assert [each.id for each in sdk.compute.servers(details=False)] == ids
        listed = nova_of(door).servers.list(detailed=False, limit=-1)
        assert [each.id for each in listed] == ids


def test_novaclient_does_to_a_server_what_it_offers(door, image):
    nova = nova_of(door)
    made = nova.servers.create("by-nova", image, "tiny", nics="none", meta={"a": "b"}, min_count=1, max_count=1)
    server = nova.servers.get(made.id)
    door.running(server.id)
    server.update(name="renamed", description="why")
    server.lock(reason="mine")
    assert nova.servers.get(server.id).locked_reason == "mine"
    server.unlock()
    nova.servers.set_meta(server, {"c": "d"})
    nova.servers.delete_meta(server, ["a"])
    server.set_tags(["x", "y"])
    server.add_tag("z")
    server.delete_tag("x")
    assert server.tag_list() == ["y", "z"]
    server.delete_all_tags()
    assert nova.servers.ips(server) == {}
    (attached,) = nova.volumes.get_server_volumes(server.id)
    assert nova.volumes.get_server_volume(server.id, attached.volumeId).attachment_id == attached.attachment_id
    nova.volumes.update_server_volume(server.id, attached.volumeId, attached.volumeId, delete_on_termination=True)
    actions = nova.instance_action.list(server)
    assert [each.action for each in actions] == ["unlock", "lock", "create"]
    assert nova.instance_action.get(server, actions[-1].request_id).events
    found = nova.servers.get(server.id)
    assert (found.name, found.description, found.metadata, found.tags) == ("renamed", "why", {"c": "d"}, [])
    nova_of(door, user="admin").servers.reset_state(server, "error")
    assert nova.servers.get(server.id).status == "ERROR"
    server.force_delete()
    door.gone(server.id)
    assert nova.instance_action.list(server)[0].action == "delete"
