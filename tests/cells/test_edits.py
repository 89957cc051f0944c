# SPDX-License-Identifier: Apache-2.0
"""What people write on a server, as rows, on tables that we made and on tables that nova makes."""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cells import edits, schema_cell, servers
from cells.errors import BadValue
from tests.cells.test_servers import make, new_id, rows

CALM = {"vm_state": ("active", "stopped"), "task_state": None}


@pytest.fixture
def server(cell):
    made = make(vm_state="active", task_state=None, tags=("a", "b"), launch_index=3)
    servers.insert(cell, made)
    return made


def test_metadata_is_changed_as_a_whole_and_what_went_stays_as_nova_leaves_it(cell, server):
    changed = edits.change_metadata(cell, server.uuid, lambda before: {**before, "role": "db", "x": "y"}, CALM)
    assert changed == {"role": "db", "x": "y"} == servers.get(cell, server.uuid).metadata
    assert edits.change_metadata(cell, server.uuid, lambda _before: {"x": "y"}, CALM) == {"x": "y"}
    found = rows(cell, schema_cell.instance_metadata, server.uuid)
    assert [(row.key, row.value, row.deleted == row.id) for row in found] == [
        ("role", "web", True), ("role", "db", True), ("x", "y", False)
    ]  # fmt: skip
    assert servers.get(cell, server.uuid).metadata == {"x": "y"}


def test_keys_that_differ_by_their_case_are_two(cell, server):
    edits.change_metadata(cell, server.uuid, lambda _before: {"key": "1", "KEY": "2"}, CALM)
    edits.change_metadata(cell, server.uuid, lambda before: {"key": before["key"]}, CALM)
    assert servers.get(cell, server.uuid).metadata == {"key": "1"}


def test_nothing_is_written_in_another_state_or_of_a_server_that_is_not_there(cell, server):
    servers.update(cell, server.uuid, task_state="rebuilding")
    before = servers.get(cell, server.uuid)
    for uuid in (server.uuid, new_id()):
        assert edits.change_metadata(cell, uuid, lambda _before: {"a": "b"}, CALM) is None
        assert edits.change_tags(cell, uuid, lambda _before: {"x"}, CALM) is None
    assert not edits.set_lock(cell, new_id(), "owner")
    assert servers.get(cell, server.uuid) == before


def test_what_the_change_raises_leaves_all_as_it_was(cell, server):
    def refuse(_before):
        raise KeyError("no")

    for change in (edits.change_metadata, edits.change_tags):
        with pytest.raises(KeyError):
            change(cell, server.uuid, refuse, CALM)
    found = servers.get(cell, server.uuid)
    assert (found.metadata, found.tags) == (server.metadata, server.tags)


def test_of_racing_writers_none_loses_what_the_other_wrote(cell, server):
    start = threading.Barrier(4)

    def write(number):
        start.wait()
        edits.change_metadata(cell, server.uuid, lambda before: {**before, f"key{number}": "v"}, CALM)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert servers.get(cell, server.uuid).metadata.keys() == {"role", "key0", "key1", "key2", "key3"}


def test_tags_are_put_on_and_taken_off_and_go_with_their_server(cell, server):
    assert edits.change_tags(cell, server.uuid, lambda before: (before | {"c"}) - {"a"}, {}) == ["b", "c"]
    assert servers.get(cell, server.uuid).tags == ("b", "c")
    other = replace(make(), tags=("b",))
    servers.insert(cell, other)
    servers.destroy(cell, server.uuid)
    servers.withdraw(cell, other.uuid)
    with cell.reader() as conn:
        assert conn.execute(sa.select(schema_cell.tags)).all() == []


def test_tags_that_nova_s_table_takes_for_one_are_refused(cell, server):
    def both(_before):
        return {"tag", "TAG"}

    if cell.dialect == "sqlite":
        assert edits.change_tags(cell, server.uuid, both, {}) == ["TAG", "tag"]
    else:
        with pytest.raises(BadValue, match="by their case"):
            edits.change_tags(cell, server.uuid, both, {})
        assert servers.get(cell, server.uuid).tags == ("a", "b")


def test_a_lock_has_an_owner_and_a_reason_that_go_with_it(cell, server):
    assert edits.set_lock(cell, server.uuid, "owner", "mine")
    locked = servers.get(cell, server.uuid)
    assert (locked.locked, locked.locked_by, locked.locked_reason) == (True, "owner", "mine")
    assert edits.set_lock(cell, server.uuid, "admin")
    assert (servers.get(cell, server.uuid).locked_by, servers.get(cell, server.uuid).locked_reason) == ("admin", "mine")
    assert edits.set_lock(cell, server.uuid, None)
    free = servers.get(cell, server.uuid)
    assert (free.locked, free.locked_by, free.locked_reason) == (False, None, None)
    assert replace(free, updated_at=None) == server
