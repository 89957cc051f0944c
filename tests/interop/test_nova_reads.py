# SPDX-License-Identifier: Apache-2.0
"""What our code writes into a real nova's databases, read back by nova's own objects."""

import datetime as dt
import uuid

import pytest

from cells import BlockDevice, Fault, Server, encode, servers

pytestmark = pytest.mark.lab
NOON = dt.datetime(2026, 1, 2, 12, 0, 0)


def new_id():
    return str(uuid.uuid4())


def make(project, flavor, **values):
    root = BlockDevice(new_id(), "image", "volume", 0, image_id=new_id(), volume_id=new_id(), volume_size=20,
                       volume_type="fast", attachment_id=new_id(), delete_on_termination=True, device_name="/dev/vda",
                       connection_info={"driver_volume_type": "rbd", "data": {"hosts": ["a"]}})  # fmt: skip
    swap = BlockDevice(new_id(), "blank", "local", -1, volume_size=1, guest_format="swap", device_type="disk",
                       disk_bus="virtio", tag="t", delete_on_termination=True)  # fmt: skip
    values = {"vm_state": "building", "task_state": "spawning", "devices": (root, swap)} | values
    return Server(new_id(), project, "u", "web", flavor=flavor, power_state=4, display_description="d",
                  hostname="web", reservation_id="r-1", availability_zone="az1", host="h1", node="n1",
                  root_device_name="/dev/vda", config_drive="True", key_name="k", user_data="dXNlcg==",
                  created_at=NOON, metadata={"role": "web"},
                  system_metadata={"image_base_image_ref": "", "image_os_distro": "debian"}, **values)  # fmt: skip


def write(deployment, server, cell="cell1", image=None):
    """Write a server with its mapping and request spec, as a boot does."""
    spec = encode.request_spec(server_id=server.uuid, project_id=server.project_id, user_id=server.user_id,
                               flavor=server.flavor, image=image, is_bfv=True, availability_zone="az1",
                               scheduler_hints={"group": ["g"]})  # fmt: skip
    deployment.registry.map_server(server.uuid, server.project_id, server.user_id, spec)
    deployment.registry.assign(server.uuid, deployment.registry.cell(cell))
    assert servers.insert(deployment.of(cell), server)
    return server


@pytest.fixture
def server(deployment, flavor, project):
    image = {"id": new_id(), "name": "debian", "status": "active", "min_disk": 10, "min_ram": 0, "disk_format": "raw",
             "container_format": "bare", "size": 1 << 30, "visibility": "public", "protected": False, "tags": ["x"],
             "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "checksum": "c", "owner": "o",
             "properties": {"os_distro": "debian", "hw_disk_bus": "virtio", "architecture": "x86_64"}}  # fmt: skip
    return write(deployment, make(project, flavor), image=image)


def same(found, expected, *names):
    """Compare fields of the same name."""
    assert {name: found[name] for name in names} == {name: getattr(expected, name) for name in names}


def test_nova_reads_a_server_of_ours_as_we_wrote_it(nova, server):
    found = nova.ask("read", server=server.uuid)["instance"]
    same(found, server, "uuid", "project_id", "user_id", "display_name", "display_description", "vm_state",
         "task_state", "power_state", "hostname", "reservation_id", "availability_zone", "host", "node",
         "root_device_name", "config_drive", "key_name", "user_data", "image_ref", "metadata",
         "system_metadata")  # fmt: skip
    assert (found["created_at"], found["launched_on"]) == ("2026-01-02T12:00:00", "h1")
    assert (found["deleted"], found["locked"], found["hidden"], found["cleaned"]) == (False, False, False, False)
    same(found, server.flavor, "memory_mb", "vcpus", "root_gb", "ephemeral_gb")


def test_nova_reads_the_flavor_that_a_server_carries(nova, server):
    found = nova.ask("read", server=server.uuid)["instance"]["flavor"]
    same(found, server.flavor, "id", "flavorid", "name", "vcpus", "memory_mb", "root_gb", "ephemeral_gb", "swap",
         "rxtx_factor", "disabled", "is_public", "extra_specs")  # fmt: skip


def test_nova_reads_the_block_devices(nova, server):
    told = nova.ask("read", server=server.uuid)
    found = {device["uuid"]: device for device in told["devices"]}
    assert set(found) == {device.uuid for device in server.devices}
    for device in server.devices:
        same(found[device.uuid], device, "source_type", "destination_type", "boot_index", "image_id", "snapshot_id",
             "volume_id", "volume_size", "volume_type", "attachment_id", "delete_on_termination", "device_name",
             "device_type", "disk_bus", "guest_format", "tag")  # fmt: skip
        assert encode.load_connection_info(found[device.uuid]["connection_info"]) == device.connection_info
    assert told["is_volume_backed"] is True


def test_nova_reads_mapping_and_request_spec(nova, server):
    told = nova.ask("read", server=server.uuid)
    mapping, spec = told["mapping"], told["request_spec"]
    assert (mapping["instance_uuid"], mapping["project_id"]) == (server.uuid, server.project_id)
    assert mapping["user_id"] == "u"
    assert (mapping["queued_for_delete"], mapping["cell_mapping"]["name"]) == (False, "cell1")
    assert (spec["is_bfv"], spec["num_instances"], spec["availability_zone"]) == (True, 1, "az1")
    assert (spec["project_id"], spec["user_id"], spec["scheduler_hints"]) == (server.project_id, "u", {"group": ["g"]})
    same(spec["flavor"], server.flavor, "flavorid", "name", "vcpus", "memory_mb", "root_gb", "extra_specs")
    image = spec["image"]
    assert (image["name"], image["min_disk"], image["disk_format"]) == ("debian", 10, "raw")
    properties = image["properties"]
    assert (properties["os_distro"], properties["hw_disk_bus"], properties["hw_architecture"]) == (
        "debian", "virtio", "x86_64",
    )  # fmt: skip


def test_nova_reads_the_latest_fault(deployment, nova, server):
    servers.set_fault(deployment.of("cell1"), server.uuid, Fault(404, "older"))
    servers.set_fault(deployment.of("cell1"), server.uuid, Fault(500, "no room", "long story"))
    told = nova.ask("read", server=server.uuid)
    assert {fault["message"] for fault in told["faults"]} == {"older", "no room"}
    assert (told["fault"]["code"], told["fault"]["message"], told["fault"]["details"]) == (500, "no room", "long story")


def test_nova_reads_the_image_of_a_rebuild(deployment, nova, server):
    image = new_id()
    servers.replace_image(deployment.of("cell1"), server.uuid, image, {"image_os_distro": "ubuntu"})
    told = nova.ask("read", server=server.uuid)
    # Nova adds this key to what it reads when there is none.
    assert told["instance"]["system_metadata"] == {"image_os_distro": "ubuntu", "image_base_image_ref": ""}
    assert {device["boot_index"]: device["image_id"] for device in told["devices"]}[0] == image


def test_nova_reads_a_server_buried_in_cell0(deployment, nova, flavor, project):
    dead = make(project, flavor, vm_state="error", task_state=None, devices=(), fault=Fault(500, "no room", "x", NOON))
    write(deployment, dead, "cell0")
    told = nova.ask("read", server=dead.uuid)
    assert (told["instance"]["vm_state"], told["fault"]["message"], told["devices"]) == ("error", "no room", [])
    assert nova.ask("listed", project=project)["servers"] == [dead.uuid]


def test_nova_lists_and_counts_what_we_wrote(deployment, nova, flavor, project):
    made = [write(deployment, make(project, flavor), cell) for cell in ("cell1", "cell2", "cell1")]
    for detail in (False, True):
        page = nova.ask("listed", project=project, detail=detail)
        assert page["down"] == []
        assert set(page["servers"]) == {server.uuid for server in made}
    counted = nova.ask("count", project=project, user="u")
    expected = {"instances": 3, "cores": 3 * flavor.vcpus, "ram": 3 * flavor.memory_mb}
    assert counted == {"project": expected, "user": expected}


def test_nova_no_longer_lists_or_counts_what_we_deleted(deployment, nova, server, project):
    deployment.registry.queue_for_delete(server.uuid)
    assert servers.destroy(deployment.of("cell1"), server.uuid)
    assert nova.ask("listed", project=project)["servers"] == []
    assert nova.ask("count", project=project)["project"]["instances"] == 0


def test_nova_reads_the_flavors_that_we_make(nova, flavor):
    found = next(each for each in nova.ask("flavors") if each["flavorid"] == flavor.flavorid)
    same(found, flavor, "id", "name", "vcpus", "memory_mb", "root_gb", "ephemeral_gb", "swap", "rxtx_factor",
         "disabled", "is_public", "extra_specs", "description")  # fmt: skip
