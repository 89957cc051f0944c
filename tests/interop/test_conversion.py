# SPDX-License-Identifier: Apache-2.0
"""A server that nova made on a local root, converted by our code and put back, read by nova's own objects between."""

import uuid

import pytest

from cells import candidates, rootdisk

pytestmark = pytest.mark.lab


def new_id():
    return str(uuid.uuid4())


@pytest.fixture
def server(nova, flavor, project):
    made = nova.ask("make", server=new_id(), cell="cell1", project=project, user="u", flavor=flavor.flavorid,
                    name="vm", image=new_id(), vm_state="stopped", power_state=4, host="h",
                    root_device_name="/dev/vda")  # fmt: skip
    return made["uuid"]


def test_nova_takes_a_converted_server_for_one_that_boots_from_its_volume_and_back(deployment, nova, server):
    api, cell = deployment.api, deployment.of("cell1")
    before, spec, told = rootdisk.read(cell, server), rootdisk.read_spec(api, server), nova.ask("read", server=server)
    assert (told["is_volume_backed"], told["request_spec"]["is_bfv"]) == (False, False)
    image = told["instance"]["image_ref"]
    info = {"driver_volume_type": "rbd", "data": {"name": "volumes/volume-1"}, "serial": "1"}
    root = rootdisk.RootVolume(new_id(), 20, None, new_id(), info)

    assert rootdisk.switch(cell, before, root)
    assert rootdisk.switch_spec(api, server)
    now = nova.ask("read", server=server)
    assert (now["is_volume_backed"], now["request_spec"]["is_bfv"], now["instance"]["image_ref"]) == (True, True, "")
    assert now["instance"]["system_metadata"] == {"image_min_disk": "1", "image_base_image_ref": ""}
    (device,), (old,) = now["devices"], told["devices"]
    assert (device["volume_id"], device["attachment_id"], device["volume_size"]) == (
        root.volume_id, root.attachment_id, 20,
    )  # fmt: skip
    assert rootdisk.read(cell, server)["block_device_mapping"][0]["connection_info"] == device["connection_info"]
    same = ("uuid", "source_type", "boot_index", "image_id", "device_name", "delete_on_termination")
    assert [device[name] for name in same] == [old[name] for name in same]
    assert now["request_spec"]["image"]["id"] == image

    assert rootdisk.restore(cell, before, root.volume_id)
    assert rootdisk.restore_spec(api, spec)
    assert nova.ask("read", server=server) == told
    assert (rootdisk.read(cell, server), rootdisk.read_spec(api, server)) == (before, spec)


def test_what_nova_writes_of_a_move_is_read(deployment, nova, server):
    (found,) = candidates.read(deployment.of("cell1"), server_ids=[server])
    assert (found.move, found.resizing) == (None, False)
    nova.ask("make_migration", server=server, cell="cell1", kind="resize", status="finished")
    (found,) = candidates.read(deployment.of("cell1"), server_ids=[server])
    assert (found.move, found.resizing) == ("resize", True)
