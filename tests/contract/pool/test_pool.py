# SPDX-License-Identifier: Apache-2.0
"""What a pool does and says, of real Ceph and of the mocked one alike."""

import datetime as dt
import errno
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagebackends.errors import BadRequest, Exists, Failed, HasSnapshots, InUse, MaybeRunning, NotFound, Refused
from imagebackends.rbd.types import Child, Extent, Id, SnapshotName
from imagebackends.types import Ceph

MIB = 1024 * 1024
OBJECT = 4 * MIB
DEFAULT = {"layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"}


@pytest.fixture
def made(pool, name):
    pool.create(name, 5 * OBJECT)
    return name


@pytest.fixture
def clone(pool, made):
    """A clone of a snapshot whose first objects have bytes and whose others have none."""
    pool.fill(made, [b"p" * OBJECT, b"q" * 100])
    pool.snapshot(made, "base")
    pool.clone(SnapshotName("vms", made, "base"), f"{made}-clone")
    return f"{made}-clone"


def test_a_new_image_is_told_as_it_is(pool, made):
    image = pool.look(made)

    assert (image.name, image.size, image.features) == (made, 5 * OBJECT, DEFAULT)
    assert (image.parent, image.snapshots, image.watchers, image.lockers, image.metadata) == (None, (), (), (), {})
    assert abs(image.created_at - dt.datetime.now(dt.UTC).replace(tzinfo=None)) < dt.timedelta(minutes=1)
    assert made in pool.names()


def test_an_image_is_opened_by_its_id_whatever_its_name(pool, made):
    image = pool.look(made)
    pool.rename(made, f"{made}-renamed")

    assert pool.look(Id(image.id)).name == f"{made}-renamed"
    assert pool.find(made) is None
    assert pool.find(Id("0123456789ab")) is None


def test_size_follows_resizes(pool, made):
    pool.resize(made, 3 * MIB + 512)
    assert pool.look(made).size == 3 * MIB + 512
    pool.fill(made, [b"x" * 3 * MIB])
    pool.resize(made, MIB)
    pool.resize(made, 2 * MIB)

    assert pool.read(made, MIB - 1, 2) == b"x\0"
    assert len(pool.read(made, MIB, 9 * MIB)) == MIB


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda pool, name: pool.look(f"{name}-none"), NotFound),
        (lambda pool, name: pool.remove(f"{name}-none"), NotFound),
        (lambda pool, name: pool.rename(f"{name}-none", f"{name}-other"), NotFound),
        (lambda pool, name: pool.trash(f"{name}-none"), NotFound),
        (lambda pool, name: pool.purge("0123456789ab"), NotFound),
        (lambda pool, name: pool.restore("0123456789ab", f"{name}-other"), NotFound),
        (lambda pool, name: pool.drop_snapshot(name, "none"), NotFound),
        (lambda pool, name: pool.read(name, 0, 1, snapshot="none"), NotFound),
        (lambda pool, name: pool.diff(name, since="none"), NotFound),
        (lambda pool, name: pool.clone(SnapshotName("vms", name, "none"), f"{name}-other"), NotFound),
        (lambda pool, name: pool.create(name, 1), Exists),
        (lambda pool, name: pool.fill(name, [b"x" * (5 * OBJECT + 1)]), BadRequest),
        (lambda pool, name: pool.flatten(name), BadRequest),
        (lambda pool, name: pool.cluster.pool("none").look(name), Refused),
        (lambda pool, name: pool.cluster.pool("none").names(), Refused),
    ],
)
def test_an_error_is_told_by_its_kind(pool, made, act, error):
    with pytest.raises(error) as caught:
        act(pool, made)
    assert type(caught.value) is error


def test_a_name_that_is_taken_is_not_taken_again(pool, made):
    pool.create(f"{made}-b", OBJECT)
    pool.snapshot(made, "s")

    for act in (
        lambda: pool.rename(made, f"{made}-b"),
        lambda: pool.snapshot(made, "s"),
        lambda: pool.clone(SnapshotName("vms", made, "s"), f"{made}-b"),
    ):
        with pytest.raises(Exists):
            act()
    assert pool.look(f"{made}-b").parent is None


def test_bytes_are_sparse_and_exact(pool, made):
    data = [b"a" * OBJECT, bytes(OBJECT), bytes(OBJECT - 1) + b"z"]

    assert pool.fill(made, iter(data)) == 3 * OBJECT

    assert pool.read(made, 0, 5 * OBJECT) == b"".join(data) + bytes(2 * OBJECT)
    assert pool.diff(made) == [Extent(0, OBJECT, True), Extent(2 * OBJECT, OBJECT, True)]


def test_a_snapshot_keeps_its_bytes_and_size(pool, made):
    pool.fill(made, [b"old"])
    pool.snapshot(made, "s")
    pool.fill(made, [b"new"])
    pool.resize(made, OBJECT)

    [snapshot] = pool.look(made).snapshots
    assert (snapshot.name, snapshot.size, snapshot.trashed) == ("s", 5 * OBJECT, False)
    assert (pool.read(made, 0, 3, snapshot="s"), pool.read(made, 0, 3)) == (b"old", b"new")
    with pytest.raises(HasSnapshots):
        pool.remove(made)
    pool.drop_snapshot(made, "s")
    pool.remove(made)
    assert pool.find(made) is None


def test_a_difference_covers_what_changed_and_no_other_object(pool, made):
    pool.fill(made, [b"a" * OBJECT, b"b" * OBJECT])
    pool.snapshot(made, "s")
    pool.fill(made, [bytes(OBJECT), b"c", bytes(3 * OBJECT - 1), b"new"])
    pool.snapshot(made, "t")
    pool.fill(made, [b"later"])

    found = pool.diff(made, since="s", snapshot="t")
    touched = {offset // OBJECT for each in found for offset in (each.offset, each.offset + each.length - 1)}
    assert touched == {1, 4}
    assert all(each.exists for each in found)
    assert any(each.offset <= OBJECT < each.offset + each.length for each in found)
    assert Extent(4 * OBJECT, 3, True) in found


def test_a_clone_holds_what_was_written_to_it_and_not_its_parents(pool, clone):
    assert pool.held(clone) == []
    assert {extent.offset // OBJECT for extent in pool.diff(clone)} == {0, 1}

    pool.fill(clone, [bytes(3 * OBJECT), b"c" * 512])
    assert pool.held(clone) == [Extent(3 * OBJECT, 512, True)]
    pool.flatten(clone)
    assert {extent.offset // OBJECT for extent in pool.held(clone)} == {0, 1, 3}


def test_a_clone_has_its_parents_bytes_size_and_metadata(pool, made):
    pool.fill(made, [b"p" * OBJECT])
    pool.set_metadata(made, {"colour": "red"})
    pool.snapshot(made, "base")
    pool.fill(made, [b"later"])
    pool.clone(SnapshotName("vms", made, "base"), f"{made}-clone")

    clone = pool.look(f"{made}-clone")
    assert (clone.size, clone.parent) == (5 * OBJECT, SnapshotName("vms", made, "base"))
    assert (clone.features, clone.metadata) == (DEFAULT | {"operations"}, {"colour": "red"})
    assert pool.look(made).features == DEFAULT | {"operations"}
    assert pool.children(made) == [Child("vms", f"{made}-clone", clone.id, False)]
    assert pool.read(clone.name, 0, OBJECT + 1) == b"p" * OBJECT + b"\0"


def test_a_clone_goes_to_another_pool(cluster, made):
    vms, volumes = cluster.pool("vms"), cluster.pool("volumes")
    vms.snapshot(made, "base")
    volumes.clone(SnapshotName("vms", made, "base"), made)

    try:
        assert volumes.look(made).parent == SnapshotName("vms", made, "base")
        assert [child.pool for child in vms.children(made)] == ["volumes"]
    finally:
        volumes.remove(made)


def test_writes_to_a_clone_leave_its_parent_alone(pool, made, clone):
    pool.fill(clone, [b"mine"])

    assert pool.read(clone, 0, 6) == b"minepp"
    assert pool.read(made, 0, 6) == b"pppppp"


def test_what_a_clone_shrank_away_does_not_come_back(pool, clone):
    pool.resize(clone, 10)
    pool.resize(clone, OBJECT)

    assert pool.read(clone, 0, 12) == b"p" * 10 + b"\0\0"


def test_a_snapshot_that_is_removed_under_a_clone_lives_on_in_the_trash(pool, made, clone):
    pool.drop_snapshot(made, "base")

    [snapshot] = pool.look(made).snapshots
    assert snapshot.trashed
    uuid.UUID(snapshot.name)
    assert pool.look(clone).parent == SnapshotName("vms", made, snapshot.name)
    assert pool.read(clone, 0, 1) == b"p"
    with pytest.raises(HasSnapshots):
        pool.remove(made)
    pool.remove(clone)
    assert pool.look(made).snapshots == ()


def test_a_flattened_clone_needs_no_parent(pool, made, clone):
    pool.drop_snapshot(made, "base")
    pool.flatten(clone)

    assert pool.look(clone).parent is None
    assert pool.look(made).snapshots == ()
    assert (pool.look(made).features, pool.look(clone).features) == (DEFAULT, DEFAULT)
    pool.remove(made)
    assert pool.read(clone, 0, OBJECT + 101) == b"p" * OBJECT + b"q" * 100 + b"\0"
    with pytest.raises(BadRequest):
        pool.flatten(clone)


def test_the_trash_keeps_an_image_until_it_is_restored_or_purged(pool, made):
    pool.fill(made, [b"kept"])
    key = pool.look(made).id
    pool.trash(made)
    assert (pool.find(made), made in pool.names()) == (None, False)
    assert [(each.id, each.name) for each in pool.trashed() if each.id == key] == [(key, made)]

    pool.create(made, MIB)
    with pytest.raises(Exists):
        pool.restore(key, made)
    pool.restore(key, f"{made}-back")
    assert (pool.look(f"{made}-back").id, pool.read(f"{made}-back", 0, 4)) == (key, b"kept")
    pool.trash(f"{made}-back")
    pool.purge(key)
    with pytest.raises(NotFound):
        pool.purge(key)


def test_an_image_in_the_trash_goes_after_its_clones(pool, made, clone):
    key = pool.look(made).id
    pool.drop_snapshot(made, "base")
    pool.trash(made)

    assert pool.read(clone, 0, 1) == b"p"
    with pytest.raises(HasSnapshots):
        pool.purge(key)
    pool.remove(clone)
    pool.purge(key)


def test_looking_is_not_watching_and_a_guest_is(pool, made, guest):
    assert pool.look(made).watchers == ()
    handle = guest(made)

    [watcher] = pool.look(made).watchers
    assert watcher.startswith("127.0.0.1:0/")
    assert pool.look(made).lockers == ()
    handle.write(b"x", 0)
    [locker] = pool.look(made).lockers
    assert locker.cookie.startswith("auto ")
    assert locker.address == watcher
    handle.close()
    assert (pool.look(made).watchers, pool.look(made).lockers) == ((), ())


def test_an_image_that_is_watched_is_not_removed_but_moves(pool, made, guest):
    handle = guest(made)
    handle.write(b"x", 0)

    with pytest.raises(InUse):
        pool.remove(made)
    pool.rename(made, f"{made}-b")
    key = pool.look(f"{made}-b").id
    pool.trash(f"{made}-b")
    with pytest.raises(InUse):
        pool.purge(key)
    handle.write(b"y", 1)
    handle.close()
    pool.restore(key, made)
    assert pool.read(made, 0, 2) == b"xy"


def test_a_lock_taken_by_hand_is_told_and_broken(pool, made, guest):
    handle = guest(made)
    handle.lock_exclusive("by-hand")

    [locker] = pool.look(made).lockers
    assert (locker.cookie, locker.client.startswith("client.")) == ("by-hand", True)
    handle.close()
    assert pool.look(made).lockers == (locker,)
    for act in (
        lambda: pool.remove(made),
        lambda: pool.resize(made, MIB),
        lambda: pool.snapshot(made, "s"),
        lambda: pool.fill(made, [b"x"]),
        lambda: pool.flatten(made),
    ):
        with pytest.raises(InUse, match=f"{locker.client} at {locker.address} as by-hand"):
            act()
    pool.break_lock(made, locker)
    assert pool.look(made).lockers == ()
    with pytest.raises(NotFound):
        pool.break_lock(made, locker)
    pool.remove(made)


def test_who_lost_its_lock_is_barred_from_the_cluster(pool, made, guest):
    handle = guest(made)
    handle.write(b"x", 0)
    [locker] = pool.look(made).lockers

    pool.break_lock(made, locker)
    with pytest.raises(Exception, match="connection was shutdown") as caught:
        handle.write(b"y", 0)
    assert caught.value.errno == errno.ESHUTDOWN
    assert pool.read(made, 0, 1) == b"x"


def test_metadata_is_set_changed_and_removed(pool, made):
    pool.set_metadata(made, {"b": "1", "a": "ä"})
    pool.set_metadata(made, {"b": "2", "never": None})
    assert list(pool.look(made).metadata.items()) == [("a", "ä"), ("b", "2")]

    pool.set_metadata(made, {"a": None})
    assert pool.look(made).metadata == {"b": "2"}


def test_of_several_who_change_a_key_of_the_book_one_does(pool, name):
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(pool.swap, name, "", str(number)) for number in range(8)]
    errors = [each.exception() for each in asked]

    assert [type(each) for each in errors if each] == [Exists] * 7
    assert pool.value(name) == str(errors.index(None))


def test_a_key_of_the_book_changes_only_from_the_value_that_it_has(pool, name):
    assert pool.value(name) == ""
    pool.swap(name, "", "one")
    for old in ("", "two"):
        with pytest.raises(Exists):
            pool.swap(name, old, "three")
    assert pool.values()[name] == "one"

    pool.swap(name, "one", "two")
    with pytest.raises(Exists):
        pool.swap(name, "one", "")
    pool.swap(name, "two", "")
    assert (pool.value(name), name in pool.values()) == ("", False)
    pool.swap(name, "", "again")


def test_the_book_is_read_whole(pool, name):
    for number in range(5):
        pool.swap(f"{name}-{number}", "", "x")

    assert {key for key in pool.values(page=2) if key.startswith(name)} == {f"{name}-{number}" for number in range(5)}


def test_what_reads_cannot_write(pool, cluster, made):
    ioctx = cluster.call("open", lambda: cluster.ioctx("vms"))

    with cluster.rbd.Image(ioctx, made, read_only=True) as handle:
        for act in (
            lambda: handle.write(b"x", 0),
            lambda: handle.resize(1),
            lambda: handle.metadata_set("a", "b"),
            lambda: handle.create_snap("s"),
        ):
            with pytest.raises(Failed) as caught:
                cluster.call("change what was opened for reading", act)
            assert type(caught.value) is Failed


def test_a_cluster_tells_its_fsid_and_monitors(cluster):
    assert cluster.fsid == "11111111-1111-4111-8111-111111111111"
    assert cluster.monitors() == [("127.0.0.1", "16789")]


def test_a_configuration_that_is_not_there_is_refused_and_never_not_found(cluster_of):
    with pytest.raises(Refused, match="nowhere"):
        cluster_of(conf="/nowhere/of-nobody.conf").pool("vms").names()


def test_an_unexpected_errno_is_an_outcome_that_nobody_knows(cluster):
    class Strange(Exception):
        errno = 5

    def act():
        raise Strange("input/output error")

    with pytest.raises(MaybeRunning, match="do it: input/output error") as caught:
        cluster.call("do it", act)
    assert type(caught.value) is MaybeRunning
    assert isinstance(cluster.ceph, Ceph)
