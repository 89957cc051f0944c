# SPDX-License-Identifier: Apache-2.0
"""Images of servers: what they name, that servers boot from them, and that what fails or is killed leaves nothing."""

import json
import random
import uuid

import pytest

from bfv import DiskDevice
from bfv.errors import BadRequest, Conflict, NotFound, Refused
from tests import sites
from tests.flows.test_boot import boot
from tests.flows.test_driver import DriverWorld
from tests.flows.test_driver_kill import ended, repaired
from tests.flows.test_kill import SEED, boundaries

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def make_world(site, tmp_path):
    return lambda **settings: DriverWorld(site, tmp_path, **settings)


def images(site):
    """Return the images of this run that demo sees, by id."""
    found = site.call("demo", "GET", f"{site.image_url}/v2/images?name={sites.NAME}").json()["images"]
    return {each["id"]: each for each in found}


def snapshots(site, volume_id):
    query = {"volume_id": volume_id, "all_tenants": 1}
    return site.call("admin", "GET", f"{site.volume_url}/snapshots", params=query).json()["snapshots"]


def forget(site, image_id):
    """Remove an image and the snapshot that it names."""
    mapping = json.loads(images(site)[image_id]["block_device_mapping"])
    assert site.call("demo", "DELETE", f"{site.image_url}/v2/images/{image_id}").status_code == 204
    for each in mapping:
        if each["snapshot_id"]:
            site.drop_snapshot(each["snapshot_id"])


def test_an_image_of_a_server_names_a_snapshot_of_its_root_and_boots(make_world, site, raw_image):
    world = make_world()
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, availability_zone="nova")
        image_id = cloud.create_image(server.id, sites.NAME, {"made": "here"})
        told = images(site)[image_id]
        assert told["status"] in ("queued", "active")
        cloud.wait(server.id, 300)
        told = images(site)[image_id]
        [snapshot] = snapshots(site, server.devices[0].volume_id)
        assert (told["status"], told["size"], told["visibility"], told["owner"]) == (
            "active", 0, "private", server.project_id
        )  # fmt: skip
        assert (told["disk_format"], told["container_format"], told["made"], told["root_device_name"]) == (
            "raw", "bare", "here", "/dev/vda"
        )  # fmt: skip
        [mapping] = json.loads(told["block_device_mapping"])
        assert {name: value for name, value in mapping.items() if value is not None} == {
            "source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot["id"], "boot_index": 0,
            "delete_on_termination": True, "volume_size": 1, "device_name": "/dev/vda",
        }  # fmt: skip
        assert (snapshot["status"], snapshot["name"]) == ("available", f"snapshot for {sites.NAME}")
        assert cloud.server(server.id).task_state is None

        copy = boot(cloud, image_id)
        assert (copy.status, copy.cell, copy.decision.disks[0].source_type) == ("ACTIVE", server.cell, "snapshot")
        cloud.delete(copy.id)
        forget(site, image_id)
        cloud.delete(server.id)


def test_no_image_is_made_of_what_cannot_have_one_and_what_cinder_refuses_is_undone(make_world, site, raw_image):
    world = make_world()
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        with pytest.raises(NotFound):
            cloud.create_image(str(uuid.uuid4()), sites.NAME)
        with world.cloud("other") as other, pytest.raises(NotFound):
            other.create_image(server.id, sites.NAME)
        volume = server.devices[0].volume_id
        reset = {"os-reset_status": {"status": "maintenance"}}
        site.call("admin", "POST", f"{site.volume_url}/volumes/{volume}/action", json=reset)
        with pytest.raises(BadRequest, match="maintenance mode"):
            cloud.create_image(server.id, sites.NAME)
        reset["os-reset_status"]["status"] = "in-use"
        site.call("admin", "POST", f"{site.volume_url}/volumes/{volume}/action", json=reset)
        cloud.wait(server.id, 300)
        for metadata, words in (
            ({"a": 1}, "make image"),
            ({"visibility": "public"}, "no property visibility"),
        ):
            with pytest.raises(BadRequest, match=words):
                cloud.create_image(server.id, sites.NAME, metadata)
            cloud.wait(server.id, 300)
        assert (images(site), snapshots(site, volume)) == ({}, [])
        assert [intent.phase for intent, _ in cloud.history(server.id)] == ["done", "failed", "failed", "failed"]
        cloud.edits.reset_state(server.id, site.caller("admin"), "error")
        with pytest.raises(Conflict, match=r"Cannot 'createImage' instance .* while it is in vm_state error"):
            cloud.create_image(server.id, sites.NAME)
        cloud.delete(server.id)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("number_of", [
    pytest.param(6, id="some"), pytest.param(1000, id="all", marks=(pytest.mark.lab, pytest.mark.full))
])  # fmt: skip
def test_a_process_that_is_killed_while_it_makes_an_image_leaves_all_of_it_or_nothing(
    make_world, site, raw_image, number_of
):
    world = make_world(late_answer=1)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
    volume = server.devices[0].volume_id
    found = boundaries(world, "createImage", server.id)
    for image_id in images(site):
        forget(site, image_id)
    for kind, number in random.Random(SEED).sample(found, min(number_of, len(found))):
        died = world.victim([kind, str(number), "createImage", server.id])
        assert died.returncode == -9, (kind, number, died.stderr)

        repaired(world)

        there, taken = images(site), snapshots(site, volume)
        assert len(there) == len(taken) <= 1, (kind, number)
        assert ended(world, server.id, "createImage")[-1:] in ([], ["done"])
        for image_id, image in there.items():
            assert image["status"] == "active"
            [mapping] = json.loads(image["block_device_mapping"])
            assert mapping["snapshot_id"] == taken[0]["id"]
            forget(site, image_id)
    with world.cloud() as cloud:
        cloud.delete(server.id)


def test_who_deletes_an_image_is_told_which_snapshots_stay_and_finds_them_later(make_world, site, raw_image):
    world = make_world()
    strange = site.snapshot(theirs := site.volume(user="other"), user="other")
    with world.cloud() as cloud:
        blank = DiskDevice("blank", volume_size=2, delete_on_termination=True)
        server = boot(cloud, raw_image, disks=(blank,))
        made = [cloud.create_image(server.id, sites.NAME)]
        cloud.wait(server.id, 60)
        made.append(cloud.create_image(server.id, sites.NAME))
        cloud.wait(server.id, 60)
        assert cloud.images.left() == []
        taken = {each["id"] for device in server.devices for each in snapshots(site, device.volume_id)}

        stay = cloud.images.delete(made[0])

        assert set(images(site)) == {made[1]}
        assert [(each.image_id, each.size) for each in stay] == [(made[0], 1), (made[0], 2)]
        assert {each.snapshot_id for each in stay} < taken
        [intent] = cloud.parts.journal.of_verbs(["deleteImage"])
        assert intent.outcome == " ".join(map(str, stay)).replace(". Snapshot", ".; Snapshot")
        told = world.run("image", "delete", made[1])
        assert {word for word in told.split() if word in taken} == taken - {each.snapshot_id for each in stay}
        with pytest.raises(NotFound):
            cloud.images.delete(made[0])
        # Anybody can write any id into an image, and an admin sees all of them.
        mapping = json.dumps([{"snapshot_id": strange, "destination_type": "volume"}])
        bait = site.upload(None, user="demo", visibility="private", block_device_mapping=mapping)
        with world.cloud("admin") as admins:
            assert admins.images.delete(bait) == []
        public = site.upload(b"x")
        with pytest.raises(Refused):
            cloud.images.delete(public)
        assert site.call("demo", "GET", f"{site.image_url}/v2/images/{public}").status_code == 200
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{public}")

        left = cloud.images.left()

        assert {each.snapshot_id for each in left} == taken
        assert {(each.server_id, each.project_id) for each in left} == {(server.id, server.project_id)}
        with world.cloud("other") as others:
            assert others.images.left() == []
        kept = [each for each in cloud.images.janitor() if each.what.startswith("snapshot ")]
        assert {(each.what.split()[1], each.state) for each in kept} == {(key, "kept") for key in taken}
        assert all(server.project_id in each.why for each in kept)
        for key in taken:
            site.drop_snapshot(key)
        assert cloud.images.left() == []
        cloud.delete(server.id)
    site.drop_snapshot(strange)
    site.drop_volume(theirs)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("number_of", [
    pytest.param(2, id="some"), pytest.param(1000, id="all", marks=(pytest.mark.lab, pytest.mark.full))
])  # fmt: skip
def test_a_process_that_is_killed_while_it_deletes_an_image_tells_the_snapshots_all_the_same(
    make_world, site, raw_image, number_of
):
    world = make_world()
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)

    def make():
        with world.cloud() as cloud:
            image_id = cloud.create_image(server.id, sites.NAME)
            cloud.wait(server.id, 60)
        return image_id, json.loads(images(site)[image_id]["block_device_mapping"])[0]["snapshot_id"]

    image_id, snapshot = make()
    found = boundaries(world, "deleteImage", image_id, least=2)
    site.drop_snapshot(snapshot)
    for kind, number in random.Random(SEED).sample(found, min(number_of, len(found))):
        image_id, snapshot = make()
        died = world.victim([kind, str(number), "deleteImage", image_id])
        assert died.returncode == -9, (kind, number, died.stderr)

        repaired(world)

        with world.cloud() as cloud:
            ends = [(each.phase, snapshot in (each.outcome or "")) for each in cloud.parts.journal.of_server(image_id)]
            if (kind, number) == ("commit", 1):
                assert (ends, set(images(site))) == ([], {image_id})
                cloud.images.delete(image_id)
            else:
                assert ends == [("done", True)]
        assert images(site) == {}
        site.drop_snapshot(snapshot)
    with world.cloud() as cloud:
        cloud.delete(server.id)


def test_a_server_is_deleted_after_its_image_is_made_and_keeps_the_volume_under_it(make_world, site, raw_image):
    world = make_world(late_answer=1)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
    found = boundaries(world, "createImage", server.id)
    for image_id in images(site):
        forget(site, image_id)
    last = max(number for kind, number in found if kind == "after")
    died = world.victim(["after", str(last - 1), "createImage", server.id])
    assert died.returncode == -9, died.stderr

    with world.cloud() as cloud:
        [kept] = cloud.delete(server.id).kept

    [(image_id, image)] = images(site).items()
    assert image["status"] == "active"
    volume = server.devices[0].volume_id
    assert volume in kept
    assert "snapshots" in kept
    forget(site, image_id)
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{volume}")
    site.settle(volume, None)
