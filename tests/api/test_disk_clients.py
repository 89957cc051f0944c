# SPDX-License-Identifier: Apache-2.0
"""Disks by clients that know nothing of us: what the `openstack` command and openstacksdk send for them today."""

import pytest

from tests import sites
from tests.api.test_clients import LAB_PYTHON, command, sdk_of  # noqa: F401 - a fixture
from tests.api.test_disks import deleted, devices, volume  # noqa: F401 - a fixture

# openstacksdk warns of itself: of its own next versions, and of its own use of its old names.
SDK = pytest.mark.filterwarnings(
    *(f"ignore::openstack.warnings.{name}" for name in ("RemovedInSDK50Warning", "RemovedInSDK60Warning",
                                                        "LegacyAPIWarning")))  # fmt: skip


@pytest.fixture
def sdk(door):
    with sdk_of(door) as sdk:
        yield sdk


def bootable(site, volume_id):
    site.call("demo", "POST", f"{site.volume_url}/volumes/{volume_id}/action",
              json={"os-set_bootable": {"bootable": True}}).raise_for_status()  # fmt: skip
    return volume_id


@SDK
@pytest.mark.parametrize("root", [{"boot_from_volume": True, "volume_size": 2, "terminate_volume": True}, {}])
def test_openstacksdk_boots_with_volumes_and_attaches_and_detaches_one(door, sdk, image, volume, root):  # noqa: F811
    more = door.site.volume()
    made = sdk.create_server(f"{sites.NAME}-sdk", image=image, flavor="tiny", nics=[], auto_ip=False,
                             volumes=[volume], **root)  # fmt: skip
    door.running(made.id)
    found = devices(door, made.id)
    assert found["/dev/vdb"].volume_id == volume
    assert (found["/dev/vda"].volume_size, found["/dev/vda"].delete_on_termination) == (2 if root else 1, True)
    attached = sdk.compute.create_volume_attachment(made.id, volume_id=more)
    assert attached.device == "/dev/vdc"
    door.site.settle(more, "in-use")
    door.running(made.id)
    sdk.compute.delete_volume_attachment(made.id, more)
    door.site.settle(more, "available")
    sites.until(lambda: not door.cloud.parts.journal.opened(made.id), 10)
    assert sdk.delete_server(made.id)
    door.gone(made.id)
    assert door.site.volumes()[volume]["status"] == "available"
    door.site.drop_volume(more)


@SDK
def test_openstacksdk_boots_from_a_volume_that_is_there(door, sdk, image, volume):  # noqa: F811
    bootable(door.site, volume)
    made = sdk.create_server(f"{sites.NAME}-sdk", flavor="tiny", nics=[], auto_ip=False, boot_volume=volume)
    door.running(made.id)
    assert [each.volume_id for each in devices(door, made.id).values()] == [volume]
    assert sdk.delete_server(made.id)
    door.gone(made.id)
    assert door.site.volumes()[volume]["status"] == "available"


@pytest.mark.lab
@pytest.mark.skipif(not LAB_PYTHON.exists(), reason="needs python-openstackclient in the lab's environment")
def test_the_openstack_command_takes_all_its_words_for_disks(command, door, site, image, volume):  # noqa: F811
    bootable(site, volume)
    source = site.volume()
    snapshot = site.snapshot(bootable(site, source))
    words = {
        "image": (["--image", image, "--boot-from-volume", "2"], {"/dev/vda": ("image", 2)}),
        "volume": (["--volume", volume], {"/dev/vda": ("volume", 1)}),
        "snapshot": (["--snapshot", snapshot], {"/dev/vda": ("snapshot", 1)}),
        "devices": (
            ["--image", image, "--block-device", "source_type=blank,destination_type=volume,volume_size=1,"
             "delete_on_termination=true,tag=db", "--block-device", f"uuid={volume},source_type=volume"],
            {"/dev/vda": ("image", 1), "/dev/vdb": ("blank", 1), "/dev/vdc": ("volume", 1)},
        ),
        "mapping": (
            ["--image", image, "--block-device-mapping", f"vdb={volume}:volume:1:false",
             "--block-device-mapping", f"vdd={snapshot}:snapshot:2:true"],
            {"/dev/vda": ("image", 1), "/dev/vdb": ("volume", 1), "/dev/vdd": ("snapshot", 2)},
        ),
    }  # fmt: skip
    for name, (asked, expected) in words.items():
        key = command("server", "create", "--flavor", "tiny", "--no-network", *asked, f"{sites.NAME}-{name}",
                      as_json=True)["id"]  # fmt: skip
        door.running(key)
        found = devices(door, key)
        assert {at: (each.source_type, each.volume_size) for at, each in found.items()} == expected, name
        kept = [each.volume_id for each in found.values() if not each.delete_on_termination]
        if name == "image":
            command("server", "add", "volume", "--device", "/dev/vdx", "--tag", "t", key, volume)
            site.settle(volume, "in-use")
            door.running(key)
            sites.until(lambda key=key: not door.cloud.parts.journal.opened(key), 10)
            assert devices(door, key)["/dev/vdx"].tag == "t"
            listed = command("server", "volume", "list", key, as_json=True)
            assert {row["Volume ID"]: row["Tag"] for row in listed}[volume] == "t"
            command("server", "remove", "volume", key, volume)
            site.settle(volume, "available")
        deleted(door, key)
        site.drop_volume(*[each for each in kept if each != volume])
    site.drop_snapshot(snapshot)
    site.drop_volume(source)
