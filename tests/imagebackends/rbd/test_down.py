# SPDX-License-Identifier: Apache-2.0
"""A cell whose Ceph is silent is Unreachable after its time-out, and hinders no other; a fetch that fails says why."""

import dataclasses
import datetime as dt
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagebackends.conformance.disks import Disks, long_ago
from imagebackends.errors import Unreachable
from imagebackends.rbd import bindings
from imagebackends.rbd import disks as told
from imagebackends.rbd.disks import parse
from imagebackends.rbd.pool import THREADS, Cluster
from imagebackends.rbd.pools import Pools
from imagebackends.rbd.sources import WAITING
from imagebackends.rbd.types import Id, Image
from imagebackends.types import Ceph, Target
from tests.imagebackends.rbd.conftest import opened, until


def hasty(cell, ceph):
    """Only the cell that is made silent is not waited for: the others answer in their time."""
    seconds = 1 if cell == "cell1" else 60
    return dataclasses.replace(ceph, connect_timeout=seconds, timeout=seconds)


@pytest.fixture
def quick(make_backend, settings, place):
    """A backend that does not wait long for cell1; on real Ceph each lost answer of an OSD costs the whole second."""
    ceph = {cell: hasty(cell, each) for cell, each in settings.ceph.items()}
    return make_backend(ceph=ceph)


@pytest.fixture
def blank(access):
    """Return a maker of blank disks in a cell; all are removed."""
    made = []

    def make(backend, cell):
        disks = Disks(backend, access, Target(cell), "", 60)
        made.append(disks)
        return disks.make(disks.spec(source="blank", source_id=None))

    yield make
    for disks in made:
        for each in disks.made:
            disks.remove(each)


def test_a_silent_cell_is_unreachable_and_the_others_answer(site, backend, quick, access, blank):
    here, there = blank(backend, "cell1"), blank(backend, "cell2")
    until(lambda: _answers(quick, access, here.id))

    with site.silent("cell1"), ThreadPoolExecutor(THREADS + 2) as threads:
        started = time.monotonic()
        asked = [threads.submit(quick.get, access, here.id) for _ in range(THREADS + 2)]
        assert quick.get(access, there.id) == there
        assert not any(each.done() and not each.exception() for each in asked)
        errors = [each.exception(60) for each in asked]
        assert {type(each) for each in errors} == {Unreachable}
        # The cluster's own time-outs are minutes.
        assert time.monotonic() - started < 60
        with pytest.raises(Unreachable):
            quick.look(access, [here.id, there.id], long_ago())
        assert quick.look(access, [there.id], long_ago()) == {there.id: there}
        with pytest.raises(Unreachable):
            quick.attachments(access, server_id=str(uuid.uuid4()))
        assert quick.attachments(access, disk_id=there.id) == []

    until(lambda: _answers(quick, access, here.id))


def _answers(backend, access, disk_id):
    try:
        return backend.get(access, disk_id).id == disk_id
    except Unreachable:
        return False


@pytest.mark.parametrize("place", ["mock"], indirect=True)
def test_fetches_into_a_silent_cell_hinder_none_into_another(site, make_backend, settings, access, image_id, blank):
    """More of them than a process has threads for one cell; on real Ceph it would take as many images."""
    ceph = {cell: dataclasses.replace(each, timeout=60, images_pool=None) for cell, each in settings.ceph.items()}
    backend = make_backend(ceph=ceph)
    stuck = backend.pools.of("cell2")
    ids = [Id(parse(blank(backend, "cell2").id).image) for _ in range(3)]
    image = backend._sources.check(access, Disks(backend, access, Target("cell2"), image_id, 60).spec())
    disks = Disks(backend, access, Target("cell1"), image_id, 60)

    with site.silent("cell2"):
        for number in range(WAITING + 6):
            backend._fetches.start(access, image, stuck, ids[number % len(ids)])
        made = disks.create(disks.spec())
        until(lambda: backend.get(access, made.id).status == "available", 45)
    disks.remove(made.id)


def test_who_asked_to_be_told_hears_which_cell_is_silent(site, place, settings):
    heard = []
    ceph = {cell: hasty(cell, each) for cell, each in settings.ceph.items()}
    pools = Pools(dataclasses.replace(settings, ceph=ceph, silent=lambda *words: heard.append(words)), place[1])
    until(lambda: _value(pools, "cell1"))
    heard.clear()
    with site.silent("cell1"):
        with pytest.raises(Unreachable):
            pools.of("cell1").value("-")
        pools.of("cell2").value("-")
    pools.close()
    assert [cell for cell, _ in heard] == ["cell1"]
    assert "bfv_claims" in heard[0][1]


def _value(pools, cell):
    try:
        return pools.of(cell).value("-") == ""
    except Unreachable:
        return False


@pytest.mark.lab
def test_monitors_that_take_the_call_and_say_nothing_are_unreachable(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        conf = tmp_path / "ceph.conf"
        conf.write_text(f"[global]\nmon_host = v2:127.0.0.1:{mute.getsockname()[1]}\nauth_client_required = none\n")
        cluster = Cluster(Ceph(str(conf), "admin", connect_timeout=1, timeout=1), bindings.load())
        started = time.monotonic()
        with pytest.raises(Unreachable):
            cluster.pool("vms").names()
        assert time.monotonic() - started < 60
        cluster.close()


@pytest.mark.parametrize("place", ["mock"], indirect=True)
@pytest.mark.parametrize(("status", "words"), [(500, "HTTP 500"), (200, "sent 5 bytes")])
def test_a_fetch_that_fails_or_is_too_short_is_an_error_that_says_why(site, backend, access, image_id, status, words):
    """Glance has lost bytes of an image that it still lists; a real one does not at will."""
    import requests

    path = f"/v2/images/{image_id}/file"
    rule = {"kind": "status_before", "method": "GET", "path": path, "status": status, "body": "short", "times": 0}
    disks = Disks(backend, access, Target("cell2"), image_id, 60)
    answer = requests.post(f"{site.control_url}/faults", json=rule, timeout=60)
    assert answer.ok, answer.text
    try:
        disk = disks.create(disks.spec())
        until(lambda: backend.get(access, disk.id).status == "error")
        assert words in backend.explain(access, disk.id)
    finally:
        requests.delete(f"{site.control_url}/faults", timeout=60)
        for each in disks.made:
            disks.remove(each)


def test_a_disk_whose_maker_died_is_an_error_once_nobody_writes_it(backend, access, clusters):
    """Its state is left behind; who has it open tells that it is still being made."""
    pool, name = backend.pools.of("cell1"), told.free_name(access.project_id, uuid.uuid4().hex)
    pool.create(name, 1 << 20)
    image = pool.look(name)
    old = dataclasses.replace(image, created_at=image.created_at - dt.timedelta(seconds=told.GRACE + 60))

    assert disk_of(pool, image).status == "creating"
    assert disk_of(pool, old).status == "error"
    with opened(clusters["cell1"], pool.name, name):
        assert disk_of(pool, dataclasses.replace(old, watchers=pool.look(name).watchers)).status == "creating"
    backend.delete(access, disk_of(pool, image).id)
    assert pool.find(Id(image.id)) is None


def disk_of(pool, image):
    return told.disk(told.Own("cell1", pool, image, None))


@pytest.mark.parametrize(
    "id",
    [
        "",
        "x",
        "0b6d3c1e-8f0a-4d43-9d1c-6a3f0f1c2b7e",
        "0123456-ab",
        "01234567-",
        "01234567-ab-x1",
        "01234567-ab-",
        "01234567-a/b",
    ],
)
def test_what_is_no_id_of_ours_is_none(id):
    assert [parse(id, kind) for kind in (None, "a", "s")] == [None] * 3


def test_a_project_may_have_any_name():
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    for project in ("a_b-c_0123456789abcdef_01234567", "_", "ä" * 60):
        image = Image("0123456789ab", told.free_name(project, "a marker"), 1, now)
        assert told.project(image) == project
        assert image.name.startswith(told.free_prefix(project, "a marker"))
