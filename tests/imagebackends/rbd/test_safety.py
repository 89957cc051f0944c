# SPDX-License-Identifier: Apache-2.0
"""What is in use stays: guests, locks, names that only begin like a server's, disks that nova made."""

import dataclasses
import uuid

import pytest

from imagebackends.conformance.disks import Disks
from imagebackends.errors import HasSnapshots, InUse, NotFound
from imagebackends.rbd.cleaning import leftovers
from imagebackends.rbd.disks import parse
from imagebackends.rbd.pool import Cluster
from imagebackends.rbd.types import Id
from imagebackends.types import Target
from tests.imagebackends.rbd.conftest import opened

DISKS = ("", ".local", ".swap", ".eph0", ".eph1", ".config", ".rescue")


@pytest.fixture
def pool(backend):
    return backend.pools.of("cell1")


@pytest.fixture
def client(place):
    """A hypervisor's own client; breaking its lock bars it from the cluster."""
    client = Cluster(place[2]["cell1"], place[1])
    yield client
    client.close()


@pytest.fixture
def disks(backend, access):
    made = Disks(backend, access, Target("cell1"), "", 60)
    yield made
    for each in made.made:
        made.remove(each)


@pytest.fixture
def server_id(pool):
    server_id = str(uuid.uuid4())
    yield server_id
    for name in pool.names():
        if name.startswith(server_id):
            for each in pool.look(name).snapshots:
                pool.drop_snapshot(name, each.name)
            pool.remove(name)


def blank(disks):
    return disks.make(disks.spec(source="blank", source_id=None))


def test_a_disk_that_is_open_or_locked_is_not_deleted(backend, access, disks, pool, client):
    disk = blank(disks)
    name = pool.look(Id(parse(disk.id).image)).name

    with opened(client, "vms", name) as guest:
        with pytest.raises(InUse, match=r"open at 127\.0\.0\.1"):
            backend.delete(access, disk.id)
        guest.lock_exclusive("by-hand")
    with pytest.raises(InUse, match="locked by client"):
        backend.delete(access, disk.id)
    [locker] = pool.look(name).lockers
    pool.break_lock(name, locker)
    backend.delete(access, disk.id)
    assert pool.find(name) is None


def test_an_open_disk_does_not_go_to_the_trash_either(backend, access, disks, pool, client):
    """The trash would take it, guest and all."""
    origin = blank(disks)
    snapshot = backend.make_snapshot(access, origin.id, "s")
    disks.make(disks.spec(source="snapshot", source_id=snapshot.id))
    backend.remove_snapshot(access, snapshot.id)
    image = pool.look(Id(parse(origin.id).image))
    assert [each.trashed for each in image.snapshots] == [True]

    with opened(client, "vms", image.name), pytest.raises(InUse):
        backend.delete(access, origin.id)
    assert pool.look(image.name).id == image.id
    assert backend.get(access, origin.id) == origin


def test_a_servers_disks_are_cleaned_by_exact_names(backend, pool, server_id):
    other = f"{server_id[:-1]}{'0' if server_id[-1] != '0' else '1'}"
    strange = [f"{server_id}_disk.old", f"{server_id}_disk.eph", f"{server_id}_backup", f"{server_id}", f"{other}_disk"]
    for name in (*(f"{server_id}_disk{suffix}" for suffix in DISKS), *strange):
        pool.create(name, 1 << 20)
    pool.snapshot(f"{server_id}_disk", "nova-resize")

    try:
        assert len(leftovers(pool, server_id)) == len(DISKS)
        assert set(backend.clean("cell1", server_id)) == {f"{server_id}_disk{suffix}" for suffix in DISKS}
        assert set(strange) <= set(pool.names())
        assert backend.clean("cell1", server_id) == []
    finally:
        pool.remove(f"{other}_disk")


def test_of_a_server_that_has_one_disk_open_none_is_cleaned(backend, pool, client, server_id):
    names = [f"{server_id}_disk{suffix}" for suffix in ("", ".eph0", ".swap")]
    for name in names:
        pool.create(name, 1 << 20)

    with opened(client, "vms", names[2]), pytest.raises(InUse, match=names[2]):
        backend.clean("cell1", server_id)
    assert {each.name for each in leftovers(pool, server_id)} == set(names)


def test_a_snapshot_that_is_no_resizes_keeps_all_of_a_servers_disks(backend, pool, server_id):
    for suffix in ("", ".swap"):
        pool.create(f"{server_id}_disk{suffix}", 1 << 20)
    pool.snapshot(f"{server_id}_disk", "mine")

    with pytest.raises(HasSnapshots, match="mine"):
        backend.clean("cell1", server_id)
    assert len(leftovers(pool, server_id)) == 2


def test_novas_own_disks_are_nobodys_here(backend, access, pool, server_id):
    pool.create(f"{server_id}_disk", 1 << 20)
    key = f"{parse(blank_id(backend, 'cell1')).cell}-{pool.look(f'{server_id}_disk').id}"

    for rights in (access, dataclasses.replace(access, everywhere=True)):
        with pytest.raises(NotFound):
            backend.get(rights, key)
        with pytest.raises(NotFound):
            backend.delete(rights, key)
        assert backend.attachments(rights, server_id=server_id) == []
    assert pool.find(f"{server_id}_disk")


def blank_id(backend, cell):
    """Return an id of this cell, of no disk."""
    from imagebackends.rbd.disks import Key, crc

    assert cell in backend.pools.clusters
    return str(Key(crc(cell), "0123456789ab"))


def test_a_server_that_nova_gave_a_root_disk_gets_the_next_name(backend, access, disks, pool, server_id):
    pool.create(f"{server_id}_disk", 1 << 20)
    disk = blank(disks)

    made = backend.attach(access, disk.id, server_id)
    assert pool.look(Id(parse(disk.id).image)).name == f"{server_id}_disk.eph0"
    backend.detach(access, made.id)


def test_detaching_twice_does_not_detach_who_came_after(backend, access, disks):
    disk = blank(disks)
    first = backend.attach(access, disk.id, str(uuid.uuid4()))
    backend.detach(access, first.id)
    second = backend.attach(access, disk.id, first.server_id)

    backend.detach(access, first.id)
    assert [each.id for each in backend.attachments(access, disk_id=disk.id)] == [second.id]
    with pytest.raises(NotFound):
        backend.complete(access, first.id)


def test_cleaning_a_servers_disks_ends_its_claims(backend, access, disks, pool, server_id):
    disk = blank(disks)
    backend.attach(access, disk.id, server_id)
    key = parse(disk.id).image

    assert backend.clean("cell1", server_id) == [f"{server_id}_disk"]
    assert (pool.find(Id(key)), pool.value(key)) == (None, "")


def test_a_disk_that_others_removed_is_no_servers(backend, access, disks, pool, server_id):
    """Nova's own cleaning goes by names and knows of no claims."""
    disk = blank(disks)
    made = backend.attach(access, disk.id, server_id)
    pool.remove(f"{server_id}_disk")

    assert backend.attachments(access, server_id=server_id) == []
    backend.detach(access, made.id)
    with pytest.raises(NotFound):
        backend.get(access, disk.id)
    key = parse(disk.id).image
    pool.swap(key, pool.value(key), "")
