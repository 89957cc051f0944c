# SPDX-License-Identifier: Apache-2.0
"""Disks over HTTP: with a new server in both of nova's forms, and attached and detached afterwards."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from bfv.types import new_request_id
from tests import sites


def devices(door, server_id):
    """Return the volumes of a server, by their names."""
    found = door.cloud.server(server_id, door.site.caller("demo")).devices
    return {each.device_name: each for each in found if each.volume_id}


@pytest.fixture
def volume(site):
    key = site.volume()
    yield key
    site.drop_volume(key)


@pytest.fixture(scope="module")
def server_id(door, image):
    """A server of demo's in cell1 that runs."""
    made = door.boot("", block_device_mapping_v2=[
        {"source_type": "image", "uuid": image, "destination_type": "volume", "boot_index": 0, "volume_size": 1,
         "volume_type": "cell1", "delete_on_termination": True}])  # fmt: skip
    door.running(made)
    yield made
    door("DELETE", f"/servers/{made}")
    door.gone(made)


def deleted(door, server_id):
    assert door("DELETE", f"/servers/{server_id}").status_code == 204
    door.gone(server_id)


def test_all_kinds_of_disks_stand_beside_an_automatic_root(door, site, image, volume):
    source = site.volume()
    snapshot = site.snapshot(source)
    made = door.boot(image, block_device_mapping_v2=[
        {"source_type": "image", "uuid": image, "boot_index": 0, "destination_type": "local"},
        {"source_type": "blank", "volume_size": 2, "destination_type": "volume", "delete_on_termination": True,
         "volume_type": "fast", "tag": "db", "device_name": "/dev/sdx"},
        {"source_type": "volume", "uuid": volume, "destination_type": "volume", "boot_index": 1},
        {"source_type": "snapshot", "uuid": snapshot, "destination_type": "volume", "delete_on_termination": True},
        {"source_type": "image", "uuid": image, "destination_type": "volume", "volume_size": "3", "boot_index": -1,
         "delete_on_termination": True, "disk_bus": "scsi", "device_type": "lun"}])  # fmt: skip
    door.running(made)

    found = devices(door, made)

    root, blank, brought, copy, written = (found[f"/dev/{name}"] for name in ("vda", "sdx", "vdb", "vdc", "vdd"))
    assert (root.boot_index, root.delete_on_termination, root.image_id) == (0, True, image)
    assert (blank.volume_size, blank.tag, blank.source_type, blank.boot_index) == (2, "db", "blank", -1)
    assert (brought.volume_id, brought.delete_on_termination, brought.boot_index) == (volume, False, 1)
    assert (copy.snapshot_id, copy.volume_size) == (snapshot, 1)
    assert (written.volume_size, written.disk_bus, written.device_type) == (3, "scsi", "lun")
    volumes = site.volumes()
    assert {volumes[each.volume_id]["status"] for each in found.values()} == {"in-use"}
    assert {volumes[each.volume_id]["os-vol-host-attr:host"] for each in found.values()} == {site.backends["cell1"]}
    assert volumes[blank.volume_id]["volume_type"] == "cell1-fast"
    assert volumes[copy.volume_id]["snapshot_id"] == snapshot
    assert volumes[written.volume_id]["volume_image_metadata"]["image_id"] == image

    deleted(door, made)

    assert {each.volume_id for each in found.values()} & set(site.volumes()) == {volume}
    assert site.volumes()[volume]["status"] == "available"
    site.drop_snapshot(snapshot)
    site.drop_volume(source)


@pytest.mark.parametrize("named", ["vda", "/dev/vda", "vdb"])
def test_the_older_form_boots_from_what_has_the_roots_name_or_stands_first(door, site, image, volume, named):
    site.call("demo", "POST", f"{site.volume_url}/volumes/{volume}/action",
              json={"os-set_bootable": {"bootable": True}}).raise_for_status()  # fmt: skip
    made = door.boot("", block_device_mapping=[{"device_name": named, "volume_id": volume,
                                                "delete_on_termination": "0"}])  # fmt: skip
    door.running(made)
    [root] = devices(door, made).values()
    assert (root.volume_id, root.boot_index, root.device_name) == (volume, 0, f"/dev/{named[-3:]}")
    deleted(door, made)


def test_the_older_form_gives_data_disks_beside_an_image(door, site, image, volume):
    made = door.boot(image, version="2.37", block_device_mapping=[
        {"device_name": "vdc", "volume_id": volume, "delete_on_termination": False}])  # fmt: skip
    door.running(made)
    assert {name: each.boot_index for name, each in devices(door, made).items()} == {"/dev/vda": 0, "/dev/vdc": -1}
    deleted(door, made)


def test_of_boots_that_race_for_a_volume_one_is_accepted_and_the_others_are_refused(door, site, image, volume):
    disk = {"source_type": "volume", "uuid": volume, "destination_type": "volume", "boot_index": -1}
    words = {"imageRef": image, "flavorRef": "tiny", "networks": "none", "name": sites.NAME}
    words["block_device_mapping_v2"] = [disk]
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: door("POST", "/servers", {"server": words}, version="2.96"), range(4))]

    assert sorted(each.status_code for each in answers) == [202, 400, 400, 400]
    assert all("Invalid volume" in each.text for each in answers if each.status_code == 400)
    [accepted] = [each.json()["server"]["id"] for each in answers if each.status_code == 202]
    assert door.running(accepted)["status"] == "ACTIVE"
    assert [*site.bound(volume).values()] == [accepted]
    deleted(door, accepted)


@pytest.mark.parametrize(
    ("version", "asked", "told"),
    [
        ("2.1", {}, {"device": "/dev/vdb"}),
        ("2.49", {"tag": "t", "device": "/dev/vdq"}, {"device": "/dev/vdq"}),
        ("2.70", {"tag": "t"}, {"device": "/dev/vdb", "tag": "t"}),
        ("2.79", {"delete_on_termination": True}, {"device": "/dev/vdb", "tag": None, "delete_on_termination": True}),
        ("2.100", {"device": None}, {"device": "/dev/vdb", "tag": None, "delete_on_termination": False}),
        ("2.101", {"device": "/dev/vdr", "tag": "t"}, {"device": "/dev/vdr"}),
    ],
)
def test_a_volume_is_attached_and_detached(door, site, server_id, volume, version, asked, told):
    path = f"/servers/{server_id}/os-volume_attachments"
    within = {"X-OpenStack-Request-ID": new_request_id()}
    answer = door("POST", path, {"volumeAttachment": {"volumeId": volume, **asked}}, version=version, headers=within)

    if version == "2.101":
        assert (answer.status_code, answer.content) == (202, b""), answer.text
    else:
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"volumeAttachment": {"id": volume, "serverId": server_id, "volumeId": volume, **told}}
    site.settle(volume, "in-use")
    sites.until(lambda: not door.cloud.parts.journal.opened(server_id), 10)
    device = devices(door, server_id)[told["device"]]
    assert device.tag == asked.get("tag")
    assert device.delete_on_termination == asked.get("delete_on_termination", False)
    again = door("POST", path, {"volumeAttachment": {"volumeId": volume}}, version=version)
    assert (again.status_code, "already attached" in again.text) == (400, True)

    answer = door("DELETE", f"{path}/{volume}", version=version)

    assert (answer.status_code, answer.content) == (202, b"")
    site.settle(volume, "available")
    sites.until(lambda: not door.cloud.parts.journal.opened(server_id), 10)
    answer = door("DELETE", f"{path}/{volume}", version=version)
    assert (answer.status_code, "is not attached to volume" in answer.text) == (404, True)


def test_what_cannot_be_attached_or_detached_is_refused_in_novas_codes(door, site, server_id, volume):
    path, far, theirs = f"/servers/{server_id}/os-volume_attachments", site.volume("cell2"), site.volume(user="other")
    [root] = devices(door, server_id).values()
    cases = [
        ("POST", path, {"volumeId": str(uuid.uuid4())}, 404),
        ("POST", path, {"volumeId": theirs}, 404),
        ("POST", path, {"volumeId": far}, 400),
        ("POST", path, {"volumeId": root.volume_id}, 400),
        ("POST", path, {"volumeId": volume, "device": "/dev/vda"}, 409),
        ("POST", path, {"volumeId": volume, "device": "vdb"}, 400),
        ("POST", path, {"volumeId": "x"}, 400),
        ("POST", path, {"volumeId": volume, "bogus": 1}, 400),
        ("POST", path, {}, 400),
        ("DELETE", f"{path}/{root.volume_id}", None, 400),
        ("DELETE", f"{path}/{volume}", None, 404),
    ]
    for method, where, asked, code in cases:
        body = {"volumeAttachment": asked} if asked is not None else None
        answer = door(method, where, body, version="2.96")
        assert answer.status_code == code, (method, where, asked, answer.text)
    for version, word in (("2.48", {"tag": "t"}), ("2.78", {"delete_on_termination": True})):
        answer = door("POST", path, {"volumeAttachment": {"volumeId": volume, **word}}, version=version)
        assert (answer.status_code, f"'{next(iter(word))}' was unexpected" in answer.text) == (400, True)
    assert {site.volumes()[each]["status"] for each in (volume, far, theirs)} == {"available"}
    assert [*devices(door, server_id)] == ["/dev/vda"]
    site.drop_volume(far, theirs)


@pytest.mark.parametrize("version", ["2.59", "2.96"])
def test_a_volume_that_several_servers_may_share_is_refused_at_boot_and_later(door, site, image, server_id, version):
    specs = {"multiattach": "<is> True", "volume_backend_name": "cell1"}
    kind = {"volume_type": {"name": f"{sites.NAME}-{version}", "extra_specs": specs}}
    made = site.call("admin", "POST", f"{site.volume_url}/types", json=kind).json()["volume_type"]["id"]
    shared = site.volume(volume_type=made)
    disk = {"source_type": "volume", "uuid": shared, "destination_type": "volume", "boot_index": -1}
    server = {"imageRef": image, "flavorRef": "tiny", "networks": "none", "name": sites.NAME}
    server["block_device_mapping_v2"] = [disk]
    for path, body in (
        ("/servers", {"server": server}),
        (f"/servers/{server_id}/os-volume_attachments", {"volumeAttachment": {"volumeId": shared}}),
    ):
        answer = door("POST", path, body, version=version)
        text = f"Volume {shared} has 'multiattach' set, which is not supported for this instance."
        assert (answer.status_code, answer.json()["badRequest"]["message"]) == (400, text)
    assert (site.volumes()[shared]["status"], site.bound(shared)) == ("available", {})
    site.drop_volume(shared)
    site.call("admin", "DELETE", f"{site.volume_url}/types/{made}")


def test_an_admin_attaches_to_a_users_server_only_what_is_of_its_project(door, site, server_id, volume):
    path, theirs = f"/servers/{server_id}/os-volume_attachments", site.volume(user="other")
    answer = door("POST", path, {"volumeAttachment": {"volumeId": theirs}}, user="admin", version="2.96")
    assert answer.status_code == 404, answer.text
    answer = door("POST", path, {"volumeAttachment": {"volumeId": volume}}, user="admin", version="2.96")
    assert answer.status_code == 200, answer.text
    site.settle(volume, "in-use")
    sites.until(lambda: not door.cloud.parts.journal.opened(server_id), 10)
    assert door("DELETE", f"{path}/{volume}", user="admin").status_code == 202
    site.settle(volume, "available")
    site.drop_volume(theirs)
