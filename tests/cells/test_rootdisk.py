# SPDX-License-Identifier: Apache-2.0
"""A root disk becomes a volume in a server's rows, and a local disk again; bits are compared by rows read whole."""

import datetime as dt
import json
import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cells import BlockDevice, Flavor, NotMapped, Registry, Server, encode, rootdisk, servers
from cells import schema_cell as schema
from cells.errors import Changed
from cells.rows import SATELLITES
from cells.schema_api import request_specs

NOON = dt.datetime(2026, 1, 2, 12, 0, 0)
LATER = NOON + dt.timedelta(hours=1)
FLAVOR = Flavor(7, "f", "m1.small", 2, 2048, 20, ephemeral_gb=5, swap=64)
CONNECTION = {"driver_volume_type": "rbd", "data": {"name": "volumes/volume-1", "hosts": ["a"]}, "serial": "1"}


def new_id():
    return str(uuid.uuid4())


def make(**changes):
    image = new_id()
    root = BlockDevice(new_id(), "image", "local", 0, image_id=image, delete_on_termination=True,
                       device_name="/dev/vda", device_type="disk", disk_bus="virtio")  # fmt: skip
    swap = BlockDevice(new_id(), "blank", "local", -1, volume_size=1, guest_format="swap", device_type="disk")
    data = BlockDevice(new_id(), "volume", "volume", None, volume_id=new_id(), attachment_id=new_id(), volume_size=3)
    server = Server(new_id(), "p", "u", "web", "stopped", FLAVOR, image_ref=image, power_state=4, host="h1", node="n1",
                    root_device_name="/dev/vda", created_at=NOON, metadata={"role": "web"}, devices=(root, swap, data),
                    system_metadata={"image_base_image_ref": image, "image_os_distro": "debian"})  # fmt: skip
    return replace(server, **changes)


def volume(**changes):
    made = rootdisk.RootVolume(new_id(), 20, "fast", new_id(), CONNECTION)
    return replace(made, **changes)


def dump(cell, uuid):
    """Return every row of a server, whole."""
    found = []
    with cell.reader() as conn:
        for table in (schema.instances, *SATELLITES):
            column = table.c.uuid if table is schema.instances else table.c.instance_uuid
            found += [(table.name, *row) for row in conn.execute(sa.select(table).where(column == uuid))]
    return sorted(found, key=repr)


def change(cell, table, uuid, **values):
    column = table.c.uuid if table is schema.instances else table.c.instance_uuid
    where = [column == uuid]
    if table is schema.block_device_mapping:
        where.append(table.c.boot_index == 0)
    with cell.writer() as conn:
        assert conn.execute(table.update().where(*where).values(**values)).rowcount


@pytest.fixture
def server(cell):
    made = make()
    servers.insert(cell, made)
    # Rows of different ages, so that each must come back with its own.
    change(cell, schema.instances, made.uuid, updated_at=NOON)
    change(cell, schema.block_device_mapping, made.uuid, updated_at=NOON - dt.timedelta(hours=2))
    return made


@pytest.fixture
def before(cell, server):
    """The rows as a journal gives them back."""
    return json.loads(json.dumps(rootdisk.read(cell, server.uuid)))


def test_after_a_switch_the_rows_are_those_of_a_server_that_booted_from_a_volume(cell, server, before):
    root = volume()
    assert rootdisk.is_volume(cell, server.uuid) is False
    assert rootdisk.switch(cell, before, root)
    assert rootdisk.is_volume(cell, server.uuid) is True
    found = servers.get(cell, server.uuid)
    first = replace(server.devices[0], destination_type="volume", volume_id=root.volume_id, volume_size=20,
                    volume_type="fast", attachment_id=root.attachment_id, connection_info=CONNECTION)  # fmt: skip
    assert found.devices == (first, *server.devices[1:])
    assert (found.image_ref, found.system_metadata) == (
        "", {"image_base_image_ref": "", "image_os_distro": "debian"},
    )  # fmt: skip
    same = ("flavor", "root_device_name", "vm_state", "power_state", "metadata", "host", "node")
    assert [getattr(found, name) for name in same] == [getattr(server, name) for name in same]


def test_all_rows_of_a_switch_bear_its_time(cell, server, before):
    rootdisk.switch(cell, before, volume())
    times = {row["updated_at"] for rows in rootdisk.read(cell, server.uuid).values() for row in rows}
    assert len(times) == 1
    assert times.pop() > LATER.isoformat()


def test_a_restored_server_is_what_it_was_to_the_bit(cell, server, before):
    rows = dump(cell, server.uuid)
    root = volume()
    rootdisk.switch(cell, before, root)
    assert dump(cell, server.uuid) != rows
    assert rootdisk.restore(cell, before, root.volume_id)
    assert dump(cell, server.uuid) == rows
    assert not rootdisk.restore(cell, before, root.volume_id)


def test_a_switch_may_be_repeated(cell, server, before):
    root = volume()
    rootdisk.switch(cell, before, root)
    rows = dump(cell, server.uuid)
    assert not rootdisk.switch(cell, before, root)
    assert dump(cell, server.uuid) == rows


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (schema.instances, {"vm_state": "active"}),
        (schema.instances, {"task_state": "powering-on"}),
        (schema.instances, {"image_ref": "another"}),
        (schema.instances, {"host": "h2"}),
        (schema.instances, {"root_gb": 40}),
        (schema.instances, {"root_device_name": "/dev/sda"}),
        (schema.block_device_mapping, {"image_id": None}),
        (schema.block_device_mapping, {"deleted": 99}),
        (schema.block_device_mapping, {"destination_type": "volume", "volume_id": "of-somebody"}),
        (schema.instance_system_metadata, {"value": "another"}),
    ],
)
def test_a_switch_refuses_rows_that_changed_and_changes_nothing(cell, server, before, table, values):
    change(cell, table, server.uuid, **values)
    rows = dump(cell, server.uuid)
    with pytest.raises(Changed):
        rootdisk.switch(cell, before, volume())
    assert dump(cell, server.uuid) == rows


def test_a_change_is_told_by_its_column(cell, server, before):
    change(cell, schema.instances, server.uuid, host="h2")
    with pytest.raises(Changed, match=rf"of instances of server {server.uuid} changed: host\."):
        rootdisk.switch(cell, before, volume())
    change(cell, schema.instances, server.uuid, host="h1", task_state="rebooting")
    with pytest.raises(Changed, match="is not stopped but stopped, rebooting"):
        rootdisk.switch(cell, before, volume())


def test_a_time_alone_is_no_change(cell, server, before):
    change(cell, schema.instances, server.uuid, updated_at=LATER, power_state=4, locked=True, locked_by="admin")
    assert rootdisk.switch(cell, before, volume())


def test_a_second_root_device_refuses(cell, server, before):
    other = replace(make().devices[0], uuid=new_id())
    with cell.writer() as conn:
        conn.execute(schema.block_device_mapping.insert().values(
            instance_uuid=server.uuid, deleted=0, uuid=other.uuid, boot_index=0, source_type="image",
            destination_type="local"))  # fmt: skip
    for act in (lambda: rootdisk.read(cell, server.uuid), lambda: rootdisk.is_volume(cell, server.uuid),
                lambda: rootdisk.switch(cell, before, volume()), lambda: rootdisk.restore(cell, before)):  # fmt: skip
        with pytest.raises(Changed, match="has 2 root devices"):
            act()


def test_a_deleted_server_is_gone_for_all(cell, server, before):
    servers.destroy(cell, server.uuid)
    assert rootdisk.is_volume(cell, server.uuid) is None
    for act in (lambda: rootdisk.read(cell, server.uuid), lambda: rootdisk.switch(cell, before, volume()),
                lambda: rootdisk.restore(cell, before)):  # fmt: skip
        with pytest.raises(NotMapped):
            act()


def test_a_server_without_root_device_is_not_taken_for_gone(cell, server):
    change(cell, schema.block_device_mapping, server.uuid, deleted=99)
    with pytest.raises(Changed, match="has 0 root devices"):
        rootdisk.is_volume(cell, server.uuid)


def test_a_switch_heals_what_became_of_its_volumes_rows(cell, server, before):
    root = volume()
    rootdisk.switch(cell, before, root)
    rows = dump(cell, server.uuid)
    device = servers.get(cell, server.uuid).devices[0]
    servers.update_device(cell, device.uuid, connection_info=None)
    assert rootdisk.switch(cell, before, root)
    change(cell, schema.block_device_mapping, server.uuid, deleted=99, deleted_at=NOON)
    change(cell, schema.instances, server.uuid, vm_state="error")
    assert rootdisk.switch(cell, before, root)
    change(cell, schema.instances, server.uuid, vm_state="stopped")
    untimed = [[each for each in row if not isinstance(each, dt.datetime)] for row in rows]
    assert [[each for each in row if not isinstance(each, dt.datetime)] for row in dump(cell, server.uuid)] == untimed


def test_a_switch_takes_another_attachment_of_the_same_volume(cell, server, before):
    root = volume()
    rootdisk.switch(cell, before, root)
    other = replace(root, attachment_id=new_id())
    assert rootdisk.switch(cell, before, other)
    assert servers.get(cell, server.uuid).devices[0].attachment_id == other.attachment_id


def test_what_nova_changed_since_stays_when_a_server_goes_back(cell, server, before):
    root = volume()
    rootdisk.switch(cell, before, root)
    change(cell, schema.instances, server.uuid, host="h2", node="n2", vm_state="stopped", updated_at=LATER)
    change(cell, schema.block_device_mapping, server.uuid, device_name="/dev/sda", updated_at=LATER)
    assert rootdisk.restore(cell, before, root.volume_id)
    found = servers.get(cell, server.uuid)
    assert (found.host, found.image_ref) == ("h2", server.image_ref)
    assert found.devices[0] == replace(server.devices[0], device_name="/dev/sda")
    assert found.updated_at > LATER


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (schema.instances, {"vm_state": "active"}),
        (schema.instances, {"root_gb": 40}),
        (schema.instances, {"image_ref": "of-a-rebuild"}),
        (schema.block_device_mapping, {"volume_id": "of-somebody"}),
        (schema.block_device_mapping, {"image_id": "of-a-rebuild"}),
    ],
)
def test_a_server_that_moved_on_does_not_go_back(cell, server, before, table, values):
    root = volume()
    rootdisk.switch(cell, before, root)
    change(cell, table, server.uuid, **values)
    rows = dump(cell, server.uuid)
    with pytest.raises(Changed):
        rootdisk.restore(cell, before, root.volume_id)
    assert dump(cell, server.uuid) == rows


def test_a_server_whose_image_key_was_never_written_goes_there_and_back(cell):
    server = make(system_metadata={})
    servers.insert(cell, server)
    before, rows, root = rootdisk.read(cell, server.uuid), dump(cell, server.uuid), volume()
    assert rootdisk.switch(cell, before, root)
    assert servers.get(cell, server.uuid).system_metadata == {}
    assert rootdisk.restore(cell, before)
    assert dump(cell, server.uuid) == rows


# The request spec


@pytest.fixture
def spec(api):
    """Writes a server's request spec and returns its row."""

    def write(**changes):
        server_id = new_id()
        made = encode.request_spec(server_id=server_id, project_id="p", user_id="u", flavor=FLAVOR, image=None,
                                   is_bfv=False)  # fmt: skip
        made["nova_object.changes"] = ["is_bfv", "flavor"]
        made["nova_object.data"].update(changes)
        Registry(api, "sqlite://").map_server(server_id, "p", "u", made)
        with api.writer() as conn:
            conn.execute(request_specs.update().values(updated_at=NOON))
        return rootdisk.read_spec(api, server_id)

    return write


def test_a_request_spec_says_volume_and_comes_back_to_the_bit(api, spec):
    row = spec()
    assert rootdisk.switch_spec(api, row["instance_uuid"])
    assert not rootdisk.switch_spec(api, row["instance_uuid"])
    now = json.loads(rootdisk.read_spec(api, row["instance_uuid"])["spec"])
    old = json.loads(row["spec"])
    assert now["nova_object.data"].pop("is_bfv") is True
    assert old["nova_object.data"].pop("is_bfv") is False
    assert now == old
    assert rootdisk.restore_spec(api, row)
    assert rootdisk.read_spec(api, row["instance_uuid"]) == row
    assert not rootdisk.restore_spec(api, row)


def test_of_a_request_spec_that_nova_changed_since_one_field_goes_back(api, spec):
    row = spec()
    rootdisk.switch_spec(api, row["instance_uuid"])
    now = json.loads(rootdisk.read_spec(api, row["instance_uuid"])["spec"])
    now["nova_object.data"]["num_instances"] = 7
    Registry(api, "sqlite://").update_request_spec(row["instance_uuid"], now)
    assert rootdisk.restore_spec(api, row)
    data = json.loads(rootdisk.read_spec(api, row["instance_uuid"])["spec"])["nova_object.data"]
    assert (data["is_bfv"], data["num_instances"]) == (False, 7)


def test_a_request_spec_of_before_the_field_gets_it_among_its_changes(api, spec):
    row = spec()
    text = json.loads(row["spec"])
    del text["nova_object.data"]["is_bfv"]
    text["nova_object.changes"] = ["flavor"]
    found = json.loads(rootdisk.flagged(json.dumps(text), True))
    assert (found["nova_object.data"]["is_bfv"], found["nova_object.changes"]) == (True, ["flavor", "is_bfv"])


def test_a_server_without_request_spec_is_no_error(api):
    assert rootdisk.read_spec(api, new_id()) is None
    assert not rootdisk.switch_spec(api, new_id())
