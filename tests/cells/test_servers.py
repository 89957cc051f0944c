# SPDX-License-Identifier: Apache-2.0
"""Servers as rows, on tables that we made and on tables that nova makes."""

import datetime as dt
import threading
import uuid
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cells import BlockDevice, Exists, Fault, Flavor, NotMapped, Server, encode, servers
from cells import schema_cell as schema

NOON = dt.datetime(2026, 1, 2, 12, 0, 0)
FLAVOR = Flavor(7, "f", "m1.small", 2, 2048, 20, ephemeral_gb=5, swap=64, extra_specs={"a": "b"})


def new_id() -> str:
    return str(uuid.uuid4())


def make(**changes) -> Server:
    root = BlockDevice(new_id(), "image", "volume", 0, image_id=new_id(), volume_id=new_id(), volume_size=20,
                       volume_type="fast", attachment_id=new_id(), delete_on_termination=True, device_name="/dev/vda",
                       connection_info={"driver_volume_type": "rbd", "data": {"hosts": ["a"]}})  # fmt: skip
    swap = BlockDevice(new_id(), "blank", "local", -1, volume_size=1, guest_format="swap", device_type="disk",
                       disk_bus="virtio", tag="t")  # fmt: skip
    server = Server(new_id(), "p", "u", "web", "building", FLAVOR, task_state="spawning", power_state=4,
                    display_description="d", hostname="web", reservation_id="r-1", availability_zone="az1", host="h1",
                    node="n1", root_device_name="/dev/vda", config_drive="True", key_name="k", user_data="dXNlcg==",
                    created_at=NOON, metadata={"role": "web"}, devices=(root, swap),
                    system_metadata={"image_base_image_ref": "", "image_os_distro": "debian", "owner_user_name": "x"},
                    fault=Fault(500, "no room", "long story", NOON))  # fmt: skip
    return replace(server, **changes)


def rows(cell, table, uuid):
    column = table.c.uuid if table is schema.instances else table.c.instance_uuid
    with cell.reader() as conn:
        return conn.execute(sa.select(table).where(column == uuid).order_by(table.c.id)).all()


ALL = (schema.instances, schema.instance_extra, schema.instance_system_metadata, schema.instance_metadata,
       schema.block_device_mapping, schema.instance_faults)  # fmt: skip


@pytest.fixture
def server(cell) -> Server:
    server = make()
    assert servers.insert(cell, server)
    return server


def test_a_server_is_read_as_it_was_written(cell, server):
    assert servers.get(cell, server.uuid) == servers.find(cell, server.uuid) == server


def test_a_bare_server_is_read_as_it_was_written(cell):
    bare = Server(new_id(), "p", "u", "n", "error", Flavor(1, "f", "f", 1, 1, 0), created_at=NOON)
    servers.insert(cell, bare)
    assert servers.get(cell, bare.uuid) == bare


def test_the_columns_that_only_nova_reads_are_written(cell, server):
    (row,) = rows(cell, schema.instances, server.uuid)
    assert (row.instance_type_id, row.memory_mb, row.vcpus, row.root_gb, row.ephemeral_gb) == (7, 2048, 2, 20, 5)
    assert (row.deleted, row.hidden, row.locked, row.cleaned, row.launched_on, row.kernel_id) == (
        0, False, False, 0, "h1", "",
    )  # fmt: skip
    (extra,) = rows(cell, schema.instance_extra, server.uuid)
    assert encode.load_instance_flavor(extra.flavor) == FLAVOR
    devices = rows(cell, schema.block_device_mapping, server.uuid)
    assert [(one.no_device, one.encrypted, one.deleted) for one in devices] == [(False, False, 0)] * 2
    assert devices[1].connection_info is None


def test_writing_a_server_again_changes_nothing(cell, server):
    assert not servers.insert(cell, replace(server, display_name="other", metadata={}))
    assert servers.get(cell, server.uuid) == server
    assert [len(rows(cell, table, server.uuid)) for table in ALL] == [1, 1, 3, 1, 2, 1]


def test_of_racing_writers_of_one_server_one_writes(cell):
    server, outcomes, start = make(), [], threading.Barrier(4)

    def write():
        start.wait()
        outcomes.append(servers.insert(cell, server))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]
    assert servers.get(cell, server.uuid) == server


def test_an_id_that_was_used_by_others_is_refused(cell, server):
    with pytest.raises(Exists):
        servers.insert(cell, replace(server, project_id="q"))
    with pytest.raises(Exists):
        servers.insert(cell, make(devices=server.devices))
    servers.destroy(cell, server.uuid)
    with pytest.raises(Exists):
        servers.insert(cell, server)


def test_a_server_that_fails_half_way_leaves_no_row(cell, server):
    other = make(devices=(make().devices[0], server.devices[1]))
    with pytest.raises(Exists):
        servers.insert(cell, other)
    assert [len(rows(cell, table, other.uuid)) for table in ALL] == [0] * 6


def test_a_server_that_is_not_there_is_told(cell):
    assert servers.find(cell, new_id()) is None
    for call in (servers.get, lambda *at: servers.set_fault(*at, Fault(1, "m")),
                 lambda *at: servers.replace_image(*at, new_id(), {}),
                 lambda *at: servers.update_device(*at, volume_size=1)):  # fmt: skip
        with pytest.raises(NotMapped, match="cell1"):
            call(cell, new_id())
    assert not servers.update(cell, new_id(), vm_state="active")
    assert not servers.destroy(cell, new_id())


def test_columns_are_set(cell, server):
    assert servers.update(cell, server.uuid, vm_state="active", task_state=None, power_state=1, launched_at=NOON)
    found = servers.get(cell, server.uuid)
    assert (found.vm_state, found.task_state, found.power_state, found.launched_at) == ("active", None, 1, NOON)
    assert found.updated_at is not None


@pytest.mark.parametrize(
    ("expect", "done"),
    [
        ({"vm_state": "building"}, True),
        ({"vm_state": "building", "task_state": "spawning"}, True),
        ({"vm_state": "building", "task_state": None}, False),
        ({"vm_state": ("active", "building")}, True),
        ({"task_state": ("deleting", None)}, False),
        ({"task_state": ["spawning", None]}, True),
        ({"launched_at": None}, True),
        ({"launched_at": {NOON, None}}, True),
        ({"vm_state": "active"}, False),
        ({"vm_state": ()}, False),
    ],
)
def test_columns_are_set_only_where_the_expected_is_found(expect, done, cell, server):
    assert servers.update(cell, server.uuid, expect=expect, host="h2") is done
    assert servers.get(cell, server.uuid).host == ("h2" if done else "h1")


def test_setting_what_is_there_already_counts_as_done(cell, server):
    for _ in range(2):
        assert servers.update(cell, server.uuid, expect={"host": "h1"}, host="h1")


def test_of_racing_compare_and_sets_one_wins(cell, server):
    outcomes, start = [], threading.Barrier(4)

    def claim(number):
        start.wait()
        outcomes.append(servers.update(cell, server.uuid, expect={"vm_state": "building"}, vm_state=f"by {number}"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False, False, False, True]


@pytest.mark.parametrize("column", ["uuid", "id", "deleted", "created_at", "unknown"])
def test_what_a_server_is_cannot_be_set(column, cell, server):
    with pytest.raises(TypeError, match=column):
        servers.update(cell, server.uuid, **{column: "1"})
    with pytest.raises(TypeError, match="instance_uuid"):
        servers.update_device(cell, server.devices[0].uuid, instance_uuid="1")


def test_the_latest_fault_is_told_and_a_long_one_is_cut(cell, server):
    servers.set_fault(cell, server.uuid, Fault(404, "x" * 300, "y" * 300, NOON - dt.timedelta(days=1)))
    found = servers.get(cell, server.uuid).fault
    assert (found.code, found.message, found.details) == (404, "x" * 255, "y" * 300)
    assert [row.host for row in rows(cell, schema.instance_faults, server.uuid)] == ["h1", "h1"]


def test_a_device_is_changed(cell, server):
    root, swap = server.devices
    changes = {"volume_id": new_id(), "attachment_id": new_id(), "volume_size": 30, "delete_on_termination": False,
               "connection_info": {"data": {"x": 1}}}  # fmt: skip
    servers.update_device(cell, root.uuid, **changes)
    assert servers.get(cell, server.uuid).devices == (replace(root, **changes), swap)
    servers.update_device(cell, root.uuid, connection_info=None)
    assert rows(cell, schema.block_device_mapping, server.uuid)[0].connection_info is None


@pytest.mark.parametrize("text", ["{}", "null", ""])
def test_connections_that_nova_left_empty_are_none(text, cell, server):
    with cell.writer() as conn:
        conn.execute(schema.block_device_mapping.update().values(connection_info=text, delete_on_termination=None))
    assert [(one.connection_info, one.delete_on_termination) for one in servers.get(cell, server.uuid).devices] == [
        (None, False), (None, False),
    ]  # fmt: skip


@pytest.mark.parametrize("image_ref", ["", "old"])
def test_a_rebuild_replaces_the_image(image_ref, cell):
    server = make(image_ref=image_ref)
    servers.insert(cell, server)
    servers.replace_image(cell, server.uuid, "new", {"image_hw_disk_bus": "scsi", "owner_user_name": "y"})
    found = servers.get(cell, server.uuid)
    assert found.image_ref == ("new" if image_ref else "")
    assert found.system_metadata == {"image_hw_disk_bus": "scsi", "owner_user_name": "x"}
    assert found.devices == (replace(server.devices[0], image_id="new"), server.devices[1])


def test_a_rebuild_of_one_server_leaves_the_others_alone(cell, server):
    other = make()
    servers.insert(cell, other)
    servers.replace_image(cell, server.uuid, "new", {})
    assert servers.get(cell, other.uuid) == other


def test_destroying_deletes_softly_as_nova_does(cell, server):
    # The second one, so that no id of its rows is 1.
    other, server = server, make()
    servers.insert(cell, server)
    assert servers.destroy(cell, server.uuid)
    for table in ALL:
        for row in rows(cell, table, server.uuid):
            assert (row.deleted, row.deleted_at is not None) == (row.id, True)
    (row,) = rows(cell, schema.instances, server.uuid)
    assert (row.vm_state, row.task_state, row.power_state) == ("deleted", None, 0)
    assert row.terminated_at is not None
    assert servers.find(cell, server.uuid) is None
    assert servers.get(cell, other.uuid) == other


def test_a_withdrawn_server_leaves_no_row_and_can_be_written_again(cell, server):
    other = make()
    servers.insert(cell, other)

    assert servers.withdraw(cell, server.uuid)

    assert [rows(cell, table, server.uuid) for table in ALL] == [[]] * len(ALL)
    assert not servers.withdraw(cell, server.uuid)
    assert servers.get(cell, other.uuid) == other
    assert servers.insert(cell, server)
    assert servers.get(cell, server.uuid) == server


def test_destroying_again_changes_nothing(cell, server):
    servers.destroy(cell, server.uuid)
    before = [rows(cell, table, server.uuid) for table in ALL]
    assert not servers.destroy(cell, server.uuid)
    assert [rows(cell, table, server.uuid) for table in ALL] == before
    assert not servers.update(cell, server.uuid, vm_state="active")


def test_a_server_whose_extra_row_is_lost_still_has_its_sizes(cell, server):
    with cell.writer() as conn:
        conn.execute(schema.instance_extra.delete())
    found = servers.get(cell, server.uuid).flavor
    assert (found.id, found.vcpus, found.memory_mb, found.root_gb, found.ephemeral_gb) == (7, 2, 2048, 20, 5)


def test_rows_of_an_old_nova_are_read(cell):
    server_id = new_id()
    with cell.writer() as conn:
        conn.execute(schema.instances.insert().values(uuid=server_id, deleted=0))
    found = servers.get(cell, server_id)
    assert (found.display_name, found.vm_state, found.image_ref, found.power_state) == ("", "", "", 0)


def test_many_servers_are_read_in_order_with_few_statements(cell):
    made = [make(display_name=str(number)) for number in range(8)]
    for server in made:
        servers.insert(cell, server)
    servers.destroy(cell, made[3].uuid)
    statements = []
    sa.event.listen(cell._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    wanted = [server.uuid for server in reversed(made)]
    found = servers.by_ids(cell, [*wanted, new_id(), wanted[0]])
    assert found == [server for server in reversed(made) if server is not made[3]]
    assert len([text for text in statements if text.startswith("SELECT")]) <= 6


def test_more_servers_than_one_statement_takes_are_read(cell):
    with cell.writer() as conn:
        ids = [new_id() for _ in range(1201)]
        conn.execute(schema.instances.insert(), [{"uuid": one, "deleted": 0} for one in ids])
    assert [server.uuid for server in servers.by_ids(cell, ids)] == ids
    assert servers.by_ids(cell, []) == []
