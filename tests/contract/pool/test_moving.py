# SPDX-License-Identifier: Apache-2.0
"""librbd's live migration between two pools of a cluster, and writing in pieces, of real Ceph and the mocked one."""

import pytest

from imagebackends.errors import BadRequest, Exists, InUse, NotFound
from imagebackends.rbd.types import Extent, SnapshotName

OBJECT = 4 * 1024 * 1024


@pytest.fixture
def volumes(cluster):
    return cluster.pool("volumes")


@pytest.fixture
def made(pool, name):
    pool.create(name, 5 * OBJECT)
    pool.fill(name, [b"a" * OBJECT, b"b" * 100])
    pool.set_metadata(name, {"colour": "red"})
    return name


@pytest.fixture
def moved(pool, volumes, made):
    """An image whose migration to another pool is prepared; it is brought back or removed at the end."""
    pool.prepare_migration(made, volumes)
    yield made
    for name in (made, f"{made}-renamed"):
        image = volumes.find(name)
        if image is None:
            continue
        if "migrating" in image.features:
            volumes.abort_migration(name)
        else:
            for each in image.snapshots:
                volumes.drop_snapshot(name, each.name)
            volumes.remove(name)


def test_a_prepared_image_is_in_the_other_pool_alone(pool, volumes, made, moved):
    assert (pool.find(made), made in pool.names()) == (None, False)
    image = volumes.look(made)
    assert (image.size, image.metadata, "migrating" in image.features) == (5 * OBJECT, {"colour": "red"}, True)
    assert volumes.migration(made) == "prepared"
    assert volumes.read(made, OBJECT - 1, 3) == b"abb"
    with pytest.raises(NotFound):
        pool.prepare_migration(made, volumes)
    with pytest.raises(InUse):
        volumes.remove(made)


def test_the_trash_cannot_be_listed_while_a_source_is_in_it(pool, volumes, moved):
    with pytest.raises(IndexError):
        pool.trashed()
    volumes.abort_migration(moved)
    assert [each for each in pool.trashed() if each.name == moved] == []


def test_a_migration_follows_a_rename(volumes, moved):
    volumes.rename(moved, f"{moved}-renamed")

    assert volumes.migration(f"{moved}-renamed") == "prepared"
    with pytest.raises(NotFound):
        volumes.migration(moved)


def test_a_prepared_image_that_grew_comes_back_as_small_as_it_was(pool, volumes, moved):
    volumes.resize(moved, 6 * OBJECT)
    volumes.patch(moved, [(5 * OBJECT, b"lost"), (4 * OBJECT, b"kept")])

    volumes.abort_migration(moved)

    assert pool.look(moved).size == 5 * OBJECT
    assert pool.read(moved, 4 * OBJECT, 2 * OBJECT) == b"kept" + bytes(OBJECT - 4)


def test_an_image_that_a_guest_has_open_is_not_prepared(pool, volumes, made, guest):
    handle = guest(made)
    with pytest.raises(InUse):
        pool.prepare_migration(made, volumes)
    handle.close()
    assert pool.find(made) is not None


def test_a_name_that_is_taken_there_is_refused(pool, volumes, made):
    volumes.create(made, OBJECT)
    try:
        with pytest.raises(Exists):
            pool.prepare_migration(made, volumes)
        assert pool.read(made, 0, 1) == b"a"
    finally:
        volumes.remove(made)


def test_a_snapshot_before_the_guest_shows_the_old_bytes_until_the_end(pool, volumes, moved):
    volumes.snapshot(moved, "proof")
    volumes.patch(moved, [(0, b"guest")])

    assert volumes.read(moved, 0, 6, snapshot="proof") == b"aaaaaa"
    volumes.execute_migration(moved)
    assert volumes.migration(moved) == "executed"
    assert (volumes.read(moved, 0, 6, snapshot="proof"), volumes.read(moved, 0, 6)) == (b"aaaaaa", b"guesta")
    volumes.commit_migration(moved)
    assert (volumes.migration(moved), pool.find(moved)) == (None, None)
    assert (volumes.read(moved, 0, 6, snapshot="proof"), volumes.read(moved, 0, 6)) == (b"aaaaaa", b"guesta")
    assert "migrating" not in volumes.look(moved).features
    assert [each for each in pool.trashed() if each.name == moved] == []


@pytest.mark.parametrize("executed", [False, True])
def test_an_abort_brings_back_what_was_written_and_no_snapshot_of_meanwhile(pool, volumes, made, executed):
    old = pool.look(made).id
    pool.prepare_migration(made, volumes)
    volumes.rename(made, f"{made}-renamed")
    volumes.snapshot(f"{made}-renamed", "proof")
    volumes.patch(f"{made}-renamed", [(2 * OBJECT, b"guest")])
    if executed:
        volumes.execute_migration(f"{made}-renamed")

    volumes.abort_migration(f"{made}-renamed")

    image = pool.look(made)
    assert (image.id, image.snapshots, volumes.find(f"{made}-renamed")) == (old, (), None)
    assert (pool.read(made, 2 * OBJECT, 6), pool.read(made, 0, 1)) == (b"guest\0", b"a")


def test_a_clone_keeps_its_parent_there_and_back(pool, volumes, made):
    pool.snapshot(made, "base")
    child = f"{made}-child"
    pool.clone(SnapshotName("vms", made, "base"), child)
    pool.prepare_migration(child, volumes)
    assert volumes.look(child).parent == SnapshotName("vms", made, "base")
    volumes.execute_migration(child)
    assert volumes.read(child, 0, 2) == b"aa"

    volumes.abort_migration(child)

    assert pool.look(child).parent == SnapshotName("vms", made, "base")


def test_no_step_is_taken_twice_or_too_early(volumes, moved):
    with pytest.raises(BadRequest):
        volumes.commit_migration(moved)
    volumes.execute_migration(moved)
    with pytest.raises(BadRequest):
        volumes.execute_migration(moved)
    volumes.commit_migration(moved)
    for act in (volumes.execute_migration, volumes.commit_migration, volumes.abort_migration):
        with pytest.raises(BadRequest):
            act(moved)


def test_a_guest_hinders_an_abort_and_neither_execute_nor_commit(cluster_of, volumes, moved):
    client = cluster_of()
    ioctx = client.call("open", lambda: client.ioctx("volumes"))
    with client.rbd.Image(ioctx, moved) as handle:
        handle.write(b"x", 0)
        with pytest.raises(InUse):
            volumes.abort_migration(moved)
        volumes.execute_migration(moved)
        volumes.commit_migration(moved)
        handle.write(b"y", 1)
    assert volumes.read(moved, 0, 3) == b"xya"


def test_pieces_are_written_where_they_belong_and_zeros_leave_no_bytes(pool, made):
    pool.patch(made, [(OBJECT, bytes(OBJECT)), (3 * OBJECT, b"c" * OBJECT), (5, b"mid")])

    assert pool.read(made, 4, 5) == b"amida"
    assert pool.read(made, OBJECT, 100) == bytes(100)
    found = [each for each in pool.changes(made) if each.exists]
    assert found == [Extent(0, OBJECT, True), Extent(3 * OBJECT, OBJECT, True)]


def test_zeros_over_a_parents_bytes_hide_them(pool, made):
    pool.snapshot(made, "base")
    pool.clone(SnapshotName("vms", made, "base"), f"{made}-child")
    pool.patch(f"{made}-child", [(0, bytes(OBJECT))])

    assert pool.read(f"{made}-child", 0, OBJECT) == bytes(OBJECT)
    assert pool.read(made, 0, 1) == b"a"
