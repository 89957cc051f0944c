# SPDX-License-Identifier: Apache-2.0
"""Volumes come to a server and go, with a host that uses them and without one."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import bfv
from bfv import VolumeRequest, attach
from bfv.errors import BadRequest, Conflict, Failed, NotFound
from tests import sites
from tests.faultproxy import FaultProxy, hold
from tests.flows.test_boot import HOST, boot
from tests.flows.test_driver import DriverWorld

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def volume(site):
    """A volume of demo's in cell1."""
    key = site.volume()
    yield key
    site.drop_volume(key)


@pytest.fixture
def hosted(site, tmp_path):
    return DriverWorld(site, tmp_path)


def plugged(world, server):
    """Return the volumes that a server's host has plugged, and those that its guest has."""
    folder = world.home / "guests" / server.host
    return set(json.loads((folder / f"{server.id}.volumes").read_text())), set(world.guest(server)["sizes"])


def test_a_volume_is_reserved_for_a_server_that_no_host_has_and_the_next_connect_hands_it_out(
    world, site, raw_image, volume
):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, availability_zone="cell1")

        device = cloud.attach_volume(server.id, VolumeRequest(volume, tag="data", delete_on_termination=True))

        assert (device.device_name, device.tag, device.delete_on_termination) == ("/dev/vdb", "data", True)
        assert (device.volume_size, device.boot_index, device.connection_info) == (1, None, None)
        assert site.bound(volume) == {device.attachment_id: server.id}
        assert site.volumes()[volume]["status"] == "reserved"
        assert {each.disk_id for each in cloud.connect(server.id, HOST)} == {
            volume, server.devices[0].volume_id}  # fmt: skip
        assert site.volumes()[volume]["status"] == "in-use"
        with pytest.raises(Conflict, match="bfv disconnect"):
            cloud.detach_volume(server.id, volume)
        cloud.disconnect(server.id)

        cloud.detach_volume(server.id, volume)

        assert site.volumes()[volume]["status"] == "available"
        assert site.bound(volume) == {}
        [root] = cloud.server(server.id).devices
        assert root.boot_index == 0
        with pytest.raises(NotFound, match="is not attached to volume"):
            cloud.detach_volume(server.id, volume)
        cloud.delete(server.id)
    assert site.volumes()[volume]["status"] == "available"


def test_a_guest_gets_a_volume_while_it_runs_and_while_it_is_off(hosted, site, raw_image, volume):
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image)
        root = server.devices[0].volume_id
        for status in ("ACTIVE", "SHUTOFF"):
            assert server.status == status
            device = cloud.attach_volume(server.id, VolumeRequest(volume, device_name="/dev/sdx"))
            assert device.device_name == "/dev/sdx"
            assert device.connection_info["driver_volume_type"] == "rbd"
            assert site.volumes()[volume]["status"] == "in-use"
            assert plugged(hosted, server) == ({root, volume}, {root, volume})
            assert cloud.server(server.id).status == server.status
            cloud.detach_volume(server.id, volume)
            assert site.volumes()[volume]["status"] == "available"
            assert plugged(hosted, server) == ({root}, {root})
            if status == "ACTIVE":
                cloud.stop(server.id)
                server = cloud.wait(server.id, 300)
        cloud.delete(server.id)


def test_what_cannot_be_attached_is_told_and_nothing_is_reserved(world, site, raw_image, volume):
    far = site.volume("cell2")
    theirs = site.volume(user="other")
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, availability_zone="cell1")
        root = server.devices[0].volume_id
        cases = [
            (VolumeRequest(theirs), NotFound, theirs),
            (VolumeRequest("11111111-2222-4333-8444-555555555555"), NotFound, "could not be found"),
            (VolumeRequest(far), BadRequest, "in the storage of cell cell2 and server"),
            (VolumeRequest(root), BadRequest, "already attached"),
            (VolumeRequest(volume, device_name="/dev/vda"), Conflict, r"device path \(/dev/vda\) is in use"),
            (VolumeRequest(volume, device_name="vdb"), BadRequest, r"device path \(vdb\) is invalid"),
        ]
        for request, error, words in cases:
            with pytest.raises(error, match=words):
                cloud.attach_volume(server.id, request)
        with pytest.raises(BadRequest, match="Cannot detach a root device volume"):
            cloud.detach_volume(server.id, root)
        with world.cloud("other") as others, pytest.raises(NotFound, match="Server"):
            others.attach_volume(server.id, VolumeRequest(theirs))
        second = boot(cloud, raw_image, availability_zone="cell1")
        cloud.attach_volume(second.id, VolumeRequest(volume))
        with pytest.raises(BadRequest, match="is reserved, not available"):
            cloud.attach_volume(server.id, VolumeRequest(volume))
        assert [len(cloud.server(each.id).devices) for each in (server, second)] == [1, 2]
        assert {site.volumes()[each]["status"] for each in (far, theirs)} == {"available"}
        assert [intent.verb for intent, _ in cloud.history(server.id)] == ["boot"]
        for each in (server, second):
            cloud.delete(each.id)
    site.drop_volume(far, theirs)


def test_of_two_that_attach_the_same_volume_to_a_server_one_does_and_the_other_takes_nothing_away(
    world, site, raw_image, volume
):
    go = threading.Event()
    with FaultProxy(site.volume_url) as proxy, ThreadPoolExecutor(2) as pool:
        world.write_config(volume_url=proxy.url)
        with world.cloud() as cloud:
            server = boot(cloud, raw_image, availability_zone="cell1")
            first = proxy.rule("POST", "/attachments$", hold(go, before=True))
            one = pool.submit(cloud.attach_volume, server.id, VolumeRequest(volume))
            assert first.met.wait(60)
            other = pool.submit(cloud.attach_volume, server.id, VolumeRequest(volume))
            # It finds the volume free, and waits for its turn.
            sites.until(lambda: proxy.count("GET", f"/volumes/{volume}$") == 2)
            go.set()
            device = one.result(60)
            with pytest.raises(BadRequest, match="already attached"):
                other.result(60)
            assert site.bound(volume) == {device.attachment_id: server.id}

            # The same of one whose worker died before it asked for anything.
            mapping = cloud.parts.registry.find_mapping(server.id)
            words = {"volume_id": volume, "device_name": None, "tag": None, "delete_on_termination": False, "size": 1}
            dead = cloud._turns.open("attach", mapping, None, words, asks=attach.asks(volume))
            cloud.parts.journal.release(dead)
            cloud.repair()
            ended = cloud.parts.journal.get(dead.id)
            assert (ended.phase, "already attached" in ended.outcome) == ("failed", True)
            assert site.bound(volume) == {device.attachment_id: server.id}
            assert [each.volume_id for each in cloud.server(server.id).devices][1:] == [volume]
            cloud.delete(server.id)


def test_the_command_boots_with_disks_and_attaches_and_detaches(world, site, raw_image, volume):
    disk = "blank,size=2,tag=db,type=fast,delete"
    words = ("boot", raw_image, "--flavor", "tiny", "--name", sites.NAME, "--disk", disk)
    server_id = json.loads(world.run("--json", *words))["id"]
    told = world.run("attach", server_id, volume, "--device", "/dev/vdx", "--tag", "t", "--delete")
    assert told == f"server {server_id}: volume {volume} is /dev/vdx\n"
    with world.cloud() as cloud:
        devices = {each.device_name: each for each in cloud.server(server_id).devices}
        assert [*devices] == ["/dev/vda", "/dev/vdb", "/dev/vdx"]
        assert (devices["/dev/vdb"].volume_size, devices["/dev/vdb"].tag) == (2, "db")
        assert (devices["/dev/vdx"].tag, devices["/dev/vdx"].delete_on_termination) == ("t", True)
        world.run("detach", server_id, volume)
        assert site.volumes()[volume]["status"] == "available"
        cloud.delete(server_id)


def test_many_volumes_come_at_once_and_each_has_a_name_of_its_own(hosted, site, raw_image):
    volumes = [site.volume() for _ in range(4)]
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image, root=bfv.RootDevice("image", raw_image, delete_on_termination=True))
        assert server.cell == "cell1"
        with ThreadPoolExecutor(4) as pool:
            devices = [*pool.map(lambda key: cloud.attach_volume(server.id, VolumeRequest(key)), volumes)]
        assert {each.device_name for each in devices} == {f"/dev/vd{letter}" for letter in "bcde"}
        assert plugged(hosted, server)[0] == {*volumes, server.devices[0].volume_id}
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(lambda key: cloud.detach_volume(server.id, key), volumes)]
        assert len(cloud.server(server.id).devices) == 1
        cloud.delete(server.id)
    site.drop_volume(*volumes)


@pytest.mark.parametrize("act", ["connector", "attach"])
def test_a_host_that_cannot_use_a_volume_gives_it_back(hosted, site, raw_image, volume, act):
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image)
    hosted.configure(fails=f"{act}:failed")
    with hosted.cloud() as cloud:
        with pytest.raises(Failed, match=f"configured to fail here: {act}"):
            cloud.attach_volume(server.id, VolumeRequest(volume))
        after = cloud.server(server.id)
        assert (after.status, len(after.devices)) == (server.status, 1)
        assert (site.volumes()[volume]["status"], site.bound(volume)) == ("available", {})
        assert plugged(hosted, server)[0] == {server.devices[0].volume_id}
    hosted.configure(fails="")
    with hosted.cloud() as cloud:
        cloud.delete(server.id)


def test_a_guest_that_does_not_let_go_keeps_its_volume(hosted, site, raw_image, volume):
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.attach_volume(server.id, VolumeRequest(volume))
    hosted.configure(fails="detach:failed")
    with hosted.cloud() as cloud:
        with pytest.raises(Failed, match="configured to fail here: detach"):
            cloud.detach_volume(server.id, volume)
        assert volume in plugged(hosted, server)[0]
        assert site.volumes()[volume]["status"] == "in-use"
        assert len(cloud.server(server.id).devices) == 2
    hosted.configure(fails="")
    with hosted.cloud() as cloud:
        cloud.detach_volume(server.id, volume)
        cloud.delete(server.id)


def test_a_host_whose_answer_is_lost_is_asked_again(hosted, site, raw_image, volume):
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image)
    hosted.configure(fails="attach:maybe")
    hosted.write_config(give_up=1)
    with hosted.cloud() as cloud, pytest.raises(bfv.errors.MaybeRunning):
        cloud.attach_volume(server.id, VolumeRequest(volume))
    hosted.configure(fails="")
    with hosted.cloud() as cloud:
        cloud.repair()
        assert len(cloud.server(server.id).devices) == 2
        assert site.volumes()[volume]["status"] == "in-use"
        assert volume in plugged(hosted, server)[1]
        cloud.delete(server.id)
    assert site.volumes()[volume]["status"] == "available"


def test_a_deletion_frees_what_was_attached_and_deletes_what_was_to_go_with_the_server(hosted, site, raw_image, volume):
    goes = site.volume()
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.attach_volume(server.id, VolumeRequest(volume))
        cloud.attach_volume(server.id, VolumeRequest(goes, delete_on_termination=True))
        [kept] = cloud.delete(server.id).kept
    assert kept == f"Volume {volume} is kept: delete_on_termination is false."
    assert site.volumes()[volume]["status"] == "available"
    assert goes not in site.volumes()


def test_rebuild_and_reboot_keep_what_was_attached(hosted, site, raw_image, volume):
    with hosted.cloud() as cloud:
        server = boot(cloud, raw_image)
        device = cloud.attach_volume(server.id, VolumeRequest(volume))
        cloud.rebuild(server.id, raw_image)
        after = cloud.wait(server.id, 300)
        assert after.fault is None
        assert {each.uuid for each in after.devices} == {device.uuid, server.devices[0].uuid}
        assert site.volumes()[volume]["status"] == "in-use"
        assert volume in plugged(hosted, after)[1]
        cloud.reboot(server.id, hard=True)
        cloud.wait(server.id, 300)
        assert volume in plugged(hosted, after)[1]
        cloud.delete(server.id)
    sites.until(lambda: site.volumes()[volume]["status"] == "available")
