# SPDX-License-Identifier: Apache-2.0
"""Many servers read at once, for whoever asks whether their root disks can change their kind."""

import dataclasses
import uuid

import pytest
import sqlalchemy as sa

from cells import BlockDevice, Flavor, Host, Server, candidates, hosts, servers
from cells.schema_cell import instance_extra
from cells.schema_moves import migrations
from cells.schema_place import compute_nodes

FLAVOR = Flavor(7, "f", "m1.small", 2, 2048, 20, ephemeral_gb=5, swap=64, extra_specs={"a": "b"})


def make(cell, **changes):
    image = str(uuid.uuid4())
    root = BlockDevice(str(uuid.uuid4()), "image", "local", 0, image_id=image, device_name="/dev/vda")
    server = Server(str(uuid.uuid4()), "p", "u", "web", "stopped", FLAVOR, image_ref=image, host="h1", devices=(root,),
                    system_metadata={"image_disk_format": "raw", "owner": "x"})  # fmt: skip
    server = dataclasses.replace(server, **changes)
    servers.insert(cell, server)
    return server


def ids(found):
    return [one.server["uuid"] for one in found]


def test_the_servers_that_fit_are_told_by_id(cell):
    one, two = make(cell), make(cell, project_id="q", host="h2")
    gone = make(cell)
    servers.destroy(cell, gone.uuid)
    assert ids(candidates.read(cell)) == sorted([one.uuid, two.uuid])
    assert ids(candidates.read(cell, server_ids=[two.uuid, gone.uuid, two.uuid])) == [two.uuid]
    assert ids(candidates.read(cell, project_id="q")) == [two.uuid]
    assert ids(candidates.read(cell, host="h1")) == [one.uuid]
    assert ids(candidates.read(cell, project_id="p", host="h2")) == []
    assert candidates.read(cell, server_ids=[]) == []


def test_what_is_told_is_what_was_written(cell):
    server = make(cell)
    (found,) = candidates.read(cell)
    assert found.flavor == FLAVOR
    assert (found.server["vm_state"], found.server["image_ref"], found.server["locked"]) == (
        "stopped", server.image_ref, False,
    )  # fmt: skip
    assert [(each["destination_type"], each["boot_index"]) for each in found.devices] == [("local", 0)]
    assert found.image == {"disk_format": "raw"}
    assert (found.move, found.resizing) == (None, False)


@pytest.mark.parametrize(
    ("kind", "status", "deleted", "move"),
    [
        ("resize", "finished", 0, "resize"),
        ("live-migration", "running", 0, "live-migration"),
        (None, "pre-migrating", 0, "migration"),
        ("resize", "confirmed", 0, None),
        ("live-migration", "completed", 0, None),
        ("evacuation", "done", 0, None),
        ("resize", "finished", 5, None),
    ],
)
def test_a_move_counts_until_it_has_ended(cell, kind, status, deleted, move):
    server = make(cell)
    with cell.writer() as conn:
        conn.execute(migrations.insert().values(instance_uuid=server.uuid, uuid=str(uuid.uuid4()), status=status,
                                                migration_type=kind, deleted=deleted))  # fmt: skip
    (found,) = candidates.read(cell)
    assert found.move == move


@pytest.mark.parametrize(("context", "resizing"), [(None, False), ("null", False), ('{"nova_object.name": 1}', True)])
def test_a_migration_context_tells_a_resize(cell, context, resizing):
    make(cell)
    with cell.writer() as conn:
        conn.execute(instance_extra.update().values(migration_context=context))
    (found,) = candidates.read(cell)
    assert found.resizing is resizing


def test_many_servers_take_four_statements_for_each_page(cell, monkeypatch):
    monkeypatch.setattr(candidates, "_AT_ONCE", 2)
    made = sorted(make(cell).uuid for _ in range(5))
    statements = []

    def count(_conn, _cursor, statement, *_):
        statements.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        assert ids(candidates.read(cell)) == made
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
    by_pages = len([each for each in statements if each.startswith("SELECT")])
    assert ids(candidates.read(cell, server_ids=made)) == made
    # Three pages of four statements, and one that finds no more.
    assert by_pages == 3 * 4 + 1


def test_a_hosts_address_is_what_it_reported(cell):
    hosts.register(cell, Host("cell1", "h1", "n1"))
    with cell.writer() as conn:
        conn.execute(compute_nodes.update().values(host_ip="192.0.2.7"))
    assert candidates.host_address(cell, "h1", "n1") == "192.0.2.7"
    assert candidates.host_address(cell, "h1", None) == "192.0.2.7"
    assert candidates.host_address(cell, "h2", None) is None
