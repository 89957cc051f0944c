# SPDX-License-Identifier: Apache-2.0
import json
import uuid

import pytest

import bfv
from tests import sites

pytestmark = pytest.mark.usefixtures("nothing_left")
HOST = {"host": "host1", "ip": "127.0.0.1", "initiator": "iqn.1993-08.org.debian:01:host1", "os_type": "linux"}


def boot(cloud, image, **changes):
    request = bfv.BootRequest(**{"image": image, "flavor": "tiny", "name": sites.NAME, **changes})
    cloud.boot(request)
    return cloud.wait(request.server_id, 300)


@pytest.mark.parametrize("cell", ["cell1", "cell2"])
def test_a_server_boots_from_a_volume_in_the_cell_of_its_zone_and_goes_without_a_trace(world, site, raw_image, cell):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, availability_zone=cell, metadata={"a": "b"})

        assert (server.status, server.task_state, server.cell) == ("BUILD", "spawning", cell)
        root = server.devices[0]
        volume = site.volumes()[root.volume_id]
        assert (volume["status"], volume["size"], volume["bootable"]) == ("reserved", 1, "true")
        assert volume["os-vol-host-attr:host"] == site.backends[cell]
        assert volume["os-vol-tenant-attr:tenant_id"] == server.project_id
        assert site.attachments()[root.attachment_id]["instance"] == server.id
        assert root.delete_on_termination
        assert server.decision.rule == "default"

        assert cloud.delete(server.id).kept == ()
        assert cloud.servers() == []


def test_the_same_id_is_the_same_server(world, raw_image, site):
    server_id = str(uuid.uuid4())
    with world.cloud() as cloud:
        first = boot(cloud, raw_image, server_id=server_id)
        again = boot(cloud, raw_image, server_id=server_id)

        assert first == again
        assert len(cloud.servers()) == 1
        with world.cloud("other") as others, pytest.raises(bfv.errors.BadRequest, match="is taken"):
            boot(others, raw_image, server_id=server_id)
        cloud.delete(server_id)


def test_a_dry_run_decides_and_touches_nothing(world, raw_image, site):
    before = site.volumes()
    with world.cloud() as cloud:
        decision = cloud.decide(bfv.BootRequest(image=raw_image, flavor="big", name="vm"))

        assert (decision.root, decision.disks[0].size, decision.disks[0].why) == ("volume", 2, "flavor root_gb")
        assert decision.cells == ("cell1", "cell2")
        assert cloud.servers() == []
    assert site.volumes() == before


def test_a_host_connects_and_lets_go_and_the_volume_stays_reserved(world, raw_image, site):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        [attached] = cloud.connect(server.id, HOST)
        [again] = cloud.connect(server.id, HOST)

        assert attached == again
        assert attached.connection["driver_volume_type"] == "rbd"
        assert attached.connection["name"].endswith(f"volume-{attached.disk_id}")
        assert site.volumes()[attached.disk_id]["status"] == "in-use"
        assert cloud.server(server.id).host == "host1"

        cloud.disconnect(server.id)
        cloud.disconnect(server.id)

        assert site.volumes()[attached.disk_id]["status"] == "reserved"
        [device] = cloud.server(server.id).devices
        assert device.attachment_id != attached.id
        assert list(site.attachments()).count(device.attachment_id) == 1
        cloud.connect(server.id, HOST)
        cloud.delete(server.id)


def test_a_tier_is_honoured_and_one_that_no_cell_has_is_refused(world, raw_image, site):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, volume_type="fast", availability_zone="cell2")
        assert site.volumes()[server.devices[0].volume_id]["volume_type"] == "cell2-fast"
        cloud.delete(server.id)

        with pytest.raises(bfv.errors.BadRequest, match="choose one of: default, fast"):
            boot(cloud, raw_image, volume_type="gold")


def test_rebuild_writes_another_image_onto_the_same_volume(world, raw_image, site):
    other = site.upload(b"\x42" * (8 << 20), colour="blue")
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.connect(server.id, HOST)

        cloud.rebuild(server.id, other)
        after = cloud.wait(server.id, 300)

        assert (after.status, after.fault) == ("BUILD", None)
        assert after.devices[0].volume_id == server.devices[0].volume_id
        volume = site.volumes()[server.devices[0].volume_id]
        assert (volume["status"], volume["volume_image_metadata"]["image_id"]) == ("reserved", other)
        cloud.delete(server.id)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{other}")


def test_a_volume_with_snapshots_is_kept_and_told(world, raw_image, site):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        volume_id = server.devices[0].volume_id
        cloud.connect(server.id, HOST)
        snapshot = site.snapshot(volume_id)

        [kept] = cloud.delete(server.id).kept

        assert volume_id in kept
        assert "snapshot" in kept
        assert cloud.servers() == []
        assert site.volumes()[volume_id]["status"] == "available"
    site.drop_snapshot(snapshot)
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{volume_id}")
    site.settle(volume_id, None)


def test_a_volume_that_its_user_keeps_is_kept(world, raw_image, site):
    with world.cloud() as cloud:
        root = bfv.RootDevice(source_type="image", uuid=raw_image, volume_size=3)
        server = boot(cloud, None, root=root)
        volume_id = server.devices[0].volume_id
        assert server.devices[0].volume_size == 3
        assert cloud.delete(server.id).kept == (f"Volume {volume_id} is kept: delete_on_termination is false.",)

        again = boot(cloud, None, root=bfv.RootDevice("volume", volume_id, delete_on_termination=True))
        assert again.devices[0].volume_id == volume_id
        assert cloud.delete(again.id).kept == ()


def test_an_image_of_a_volume_backed_server_boots_from_its_snapshot_in_its_cell(world, raw_image, site):
    with world.cloud() as cloud:
        first = boot(cloud, raw_image, availability_zone="cell2")
        volume_id = first.devices[0].volume_id
        cloud.connect(first.id, HOST)
        snapshot = site.snapshot(volume_id)
        mapping = [{"source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot, "boot_index": 0}]
        image = site.upload(b"", user="demo", visibility="private", block_device_mapping=json.dumps(mapping))

        server = boot(cloud, image)

        assert (server.cell, server.decision.rule) == ("cell2", "image of a volume-backed server")
        assert site.volumes()[server.devices[0].volume_id]["snapshot_id"] == snapshot
        cloud.delete(server.id)
        site.drop_snapshot(snapshot)
        cloud.delete(first.id)
    site.call("demo", "DELETE", f"{site.image_url}/v2/images/{image}")
