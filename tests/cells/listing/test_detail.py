# SPDX-License-Identifier: Apache-2.0
"""All that a list shows of a server, read by one statement as it was written."""

import dataclasses
import json
import uuid

import pytest

from cells import BlockDevice, Fault, servers
from cells.listing import detail
from cells.schema_cell import block_device_mapping as devices
from cells.schema_cell import instance_extra, instance_info_caches, instance_system_metadata, instances, tags
from tests.cells.listing.world import FLAVOR, NOON, Made, moment, server

MADE = Made(3)
# nova/objects/trusted_certs.py:TrustedCerts, as a primitive.
CERTS = '{"nova_object.name": "TrustedCerts", "nova_object.namespace": "nova", "nova_object.data": {"ids": ["c"]}}'
PORTS = '[{"id": "a", "meta": {"x": null}}]'


def device(number, position, **values):
    return BlockDevice(str(uuid.UUID(int=number)), "volume", "volume", position, **values)


@pytest.fixture
def cell(world):
    return world.databases[0]


def written(cell, **changes):
    servers.insert(cell, server(MADE, **changes))


def read(cell, **kwargs):
    return detail.read("cell1", cell, detail.statement(**kwargs), [MADE.id]).get(MADE.id)


def execute(cell, statement):
    with cell.writer() as conn:
        conn.execute(statement)


def test_a_server_is_told_as_it_was_written(cell):
    whole = server(MADE, host="h", node="n", hostname="web", availability_zone="az1", key_name="k", power_state=4,
                   task_state="pausing", config_drive="True", root_device_name="/dev/vda", reservation_id="r-1",
                   launched_at=NOON, display_description="d")  # fmt: skip
    servers.insert(cell, whole)
    found = read(cell)
    for each in dataclasses.fields(whole):
        if each.name in instances.c and each.name not in ("user_data", "key_data", "updated_at"):
            assert getattr(found, each.name) == getattr(whole, each.name), each.name
    assert (found.cell, found.flavor, found.locked, found.progress, found.deleted) == ("cell1", FLAVOR, False, 0, 0)
    assert (found.created_at, found.fault, found.locked_reason) == (moment(3), None, None)


def test_json_is_passed_on_as_text(cell):
    metadata = {"quote": 'a"b\\', "ä": "€", "empty": ""}
    written(cell, metadata=metadata)
    of_server = {"instance_uuid": MADE.id, "deleted": 0}
    execute(cell, instance_info_caches.insert().values(network_info=PORTS, **of_server))
    execute(cell, tags.insert().values(resource_id=MADE.id, tag='t"1'))
    execute(cell, tags.insert().values(resource_id=MADE.id, tag="t2"))
    execute(cell, instance_extra.update().values(trusted_certs=CERTS))
    found = read(cell)
    assert (found.network_info_json, found.trusted_certs, found.flavor) == (PORTS, ["c"], FLAVOR)
    assert found.metadata == metadata == json.loads(found.metadata_json)
    assert found.tags == ['t"1', "t2"] == json.loads(found.tags_json)


def test_what_is_not_there_is_told_as_empty_json(cell):
    written(cell)
    found = read(cell)
    assert (found.network_info_json, found.metadata_json, found.tags_json, found.volumes_json) == (
        "[]",
        "{}",
        "[]",
        "[]",
    )


def test_volumes_are_told_as_novas_view_has_them(cell):
    disks = (device(9, 0, volume_id="v1", delete_on_termination=True), device(8, None, volume_id="v0"),
             BlockDevice(str(uuid.UUID(int=7)), "blank", "local", -1))  # fmt: skip
    written(cell, devices=(*disks, device(6, None, volume_id="detached")))
    execute(cell, devices.update().where(devices.c.volume_id == "detached").values(deleted=devices.c.id))
    assert read(cell).volumes == [
        {"id": "v1", "delete_on_termination": True},
        {"id": "v0", "delete_on_termination": False},
    ]


def test_more_volumes_than_a_short_concatenation_holds_are_all_told(cell):
    written(cell, devices=tuple(device(100 + n, None, volume_id=str(uuid.UUID(int=n))) for n in range(60)))
    assert [one["id"] for one in read(cell).volumes] == [str(uuid.UUID(int=n)) for n in range(60)]


def test_the_latest_fault_is_told_of_a_server_in_error_only(cell):
    written(cell, vm_state="error", fault=Fault(400, "old", "", NOON))
    servers.set_fault(cell, MADE.id, Fault(500, "new", "why", NOON))
    assert read(cell).fault == Fault(500, "new", "why", NOON)
    servers.update(cell, MADE.id, vm_state="active")
    assert read(cell).fault is None


def test_system_metadata_is_told_if_asked_for_of_a_server_with_an_image_and_also_when_it_is_deleted(cell):
    keys, metadata = instance_system_metadata, {"image_os_type": 'a"b', "image_hw_cpu_cores": "2"}
    written(cell, system_metadata={**metadata, "image_old": "x"})
    execute(cell, keys.update().where(keys.c.key == "image_old").values(deleted=keys.c.id))
    assert read(cell).system_metadata == {}
    assert read(cell, system_metadata=True).system_metadata == metadata
    for image_ref in ("", None):
        execute(cell, instances.update().values(image_ref=image_ref))
        assert read(cell, system_metadata=True).system_metadata == {}
    execute(cell, instances.update().values(image_ref="i", deleted=instances.c.id))
    execute(cell, keys.update().values(deleted=keys.c.id))
    assert read(cell, where=(), system_metadata=True).system_metadata == {**metadata, "image_old": "x"}


def test_why_a_server_is_locked_is_told_while_it_is(cell):
    written(cell, system_metadata={"locked_reason": "hands off"})
    assert read(cell).locked_reason is None
    execute(cell, instances.update().values(locked=True, locked_by="admin"))
    found = read(cell)
    assert (found.locked, found.locked_by, found.locked_reason) == (True, "admin", "hands off")
    execute(cell, instance_system_metadata.delete())
    assert read(cell).locked_reason is None


def test_equal_flavor_texts_are_parsed_once(cell):
    written(cell)
    assert read(cell).flavor is read(cell).flavor


def test_a_server_whose_flavor_text_is_lost_still_has_its_sizes(cell):
    written(cell)
    execute(cell, instance_extra.delete())
    flavor = read(cell).flavor
    assert (flavor.id, flavor.vcpus, flavor.memory_mb, flavor.root_gb, flavor.name) == (7, 2, 2048, 20, "")


def test_a_deleted_server_keeps_its_flavor(cell):
    written(cell)
    servers.destroy(cell, MADE.id)
    assert read(cell) is None
    found = read(cell, where=())
    assert (found.flavor, found.vm_state) == (FLAVOR, "deleted")
    assert found.deleted
