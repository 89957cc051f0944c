# SPDX-License-Identifier: Apache-2.0
"""A comparison boots the same through both backends, says what is so, and leaves nothing."""

import hashlib
import os
import uuid
from collections import Counter

import pytest
import requests
import sqlalchemy as sa

from bfv.compare import Plan, compare, disks, sides, table
from bfv.compare.calls import Calls, service
from bfv.compare.trial import Trial
from bfv.errors import BadRequest, MaybeRunning, NotFound
from bfv.tables import objects
from imagebackends.rbd import bindings
from imagebackends.rbd.pool import Cluster
from tests import sites
from tests.flows.test_read_only import read_only

MIB = 1 << 20
SERVICES = {"volume": "cinder", "image": "glance"}
pytestmark = pytest.mark.filterwarnings("ignore:The image backend rbd is deprecated:DeprecationWarning")


def series(found):
    return {(each.cell, each.backend): each for each in found.series}


@pytest.fixture
def written():
    """How many bytes of the image are not left out as zeros, as both write it: by whole blocks of 4 MiB, or finer."""
    return range(6 * MIB, 11 * MIB)


def test_both_backends_boot_the_image_with_its_bytes_and_nothing_stays(world, site, image_id, data, outside, written):
    count = 2 if site.control_url else 1
    with world.cloud() as cloud:
        found = compare(cloud.parts, site.caller("demo"), Plan(image_id, count=count))
        assert cloud.parts.journal.opened() == []
        copies = sa.select(objects.c.external_id).where(objects.c.kind == "image")
        with cloud.parts.journal.database.reader() as conn:
            [copy_id] = conn.execute(copies).scalars()
    assert not found.left
    # What is told of bytes from Glance is what Glance itself has written down, and what rbd's storm took, which is told
    # nowhere; the mocked Glance gives the mocked Cinder an image without a call.
    asked = [each for each in found.series if each.backend == "rbd" or not site.control_url]
    fetched = sum(boot.fetched for each in asked for boots in each.boots.values() for boot in boots)
    assert sent(site, copy_id) * len(data) == fetched + count * len(data)
    assert (found.image_id, found.image_size, found.disk_gib, found.cells()) == (
        image_id, len(data), 1, ["cell1", "cell2"]
    )  # fmt: skip
    told = series(found)
    assert len(told) == 4
    for each in told.values():
        assert (each.why, each.unread, each.bytes_equal) == ("", "", True)
        assert (len(each.boots["cold"]), len(each.boots["warm"]), each.disks, each.storm) == (
            1, count, 1 + count, count
        )  # fmt: skip
        assert (len(each.deletes), len(each.snapshots), len(each.snapshot_deletes)) == (1 + count,) * 3
        assert each.per_minute > 0
        assert all(boot.seconds > 0 for boots in each.boots.values() for boot in boots)
    # In the cell whose Ceph has the image both clone; elsewhere cinder fetches it once, and rbd each time.
    for backend in ("cinder", "rbd"):
        here, there = told["cell1", backend], told["cell2", backend]
        assert (here.same_cluster, there.same_cluster) == (True, False)
        assert [(each.cloned, each.fetched, each.held, each.objects) for each in here.boots["cold"]] == [
            (True, 0, 0, 0)
        ]
        assert here.held == 0
        [cold] = there.boots["cold"]
        assert (cold.cloned, cold.fetched, cold.objects) == (False, len(data), 3)
        assert cold.held in written
    for warm in told["cell2", "cinder"].boots["warm"]:
        assert (warm.cloned, warm.fetched, warm.held) == (True, 0, 0)
    for warm in told["cell2", "rbd"].boots["warm"]:
        assert (warm.cloned, warm.fetched) == (False, len(data))
        assert warm.held in written
    assert told["cell2", "cinder"].held in written
    assert told["cell2", "rbd"].held // (1 + count) in written
    # The disk that the cache's copy was cloned of, and that copy itself.
    assert [line.split("/")[0] for line in found.kept] == ["cell cell2: cinder keeps volumes"] * 2
    assert {("cell2", line.split("/")[1].split(",")[0]) for line in found.kept} <= outside.renamed()


def sent(site, image_id):
    """Return how often Glance has sent an image's bytes."""
    if not site.control_url:
        return sites.downloads(image_id)
    wanted = {"method": "GET", "path": f"/v2/images/{image_id}/file"}
    return requests.get(f"{site.control_url}/calls", params=wanted, timeout=60).json()["count"]


@pytest.mark.parametrize("backend", ["cinder", "rbd"])
def test_calls_are_counted_as_they_came(site, world, image_id, outside, backend):
    """The mocked cloud writes down each call; the lab's services do not tell one caller's from another's."""
    with world.cloud() as cloud, sides.opened(cloud.parts, site.caller("demo")) as both:
        image = cloud.parts.images.get(cloud.parts.rights.image(site.caller("demo")), image_id)
        trial = Trial(both[backend], site.caller("demo"), "cell1", "a-run")
        try:
            boot = trial.boot(image, 1, cloud.parts.target("cell1", "default"))
            before = both[backend].calls.now()
            trial.use()
            used = both[backend].calls.since(before)
        finally:
            gone = trial.delete()
    if site.control_url:
        calls = requests.get(f"{site.control_url}/calls", timeout=60).json()["calls"]
        came = Counter(SERVICES[each["service"]] for each in calls if each["global_id"] == trial.job.intent.request_id)
        counted = Counter(boot.calls) + Counter(gone.calls) + Counter(used)
        del counted["librbd"], counted["keystone"]
        assert counted == came
    assert boot.calls.get("librbd", 0) > 10 if backend == "rbd" else "librbd" not in boot.calls
    assert boot.calls.get("cinder", 0) >= 3 if backend == "cinder" else "cinder" not in boot.calls
    assert boot.calls.get("glance", 0) >= 1 if backend == "rbd" else "glance" not in boot.calls
    assert sum(gone.calls.values()) > 0


def test_addresses_tell_the_service():
    assert [service(f"http://h:1{path}") for path in (
        "/v3/auth/tokens", "/identity/v3/auth/tokens", "/v2/images", "/image/v2/images/x/file", "/v3/volumes/x",
        "/volume/v3/p/attachments",
    )] == ["keystone", "keystone", "glance", "glance", "cinder", "cinder"]  # fmt: skip


def test_other_bytes_another_size_and_bytes_behind_the_end_are_told(site, world, image_id, data, outside, clusters):
    with world.cloud() as cloud, sides.opened(cloud.parts, site.caller("demo")) as both:
        image = cloud.parts.images.get(cloud.parts.rights.image(site.caller("demo")), image_id)
        sha256 = hashlib.sha256(data).hexdigest()
        for side in both.values():
            trial = Trial(side, site.caller("demo"), "cell1", "a-run")
            try:
                trial.boot(image, 1, cloud.parts.target("cell1", "default"))
                cluster, there = clusters["cell1"], trial.connection
                pool, name = disks.place(cluster, there)

                def differs(size=1 << 30, cluster=cluster, there=there):
                    return disks.differs(cluster, there, image, sha256, size)

                assert differs() == ""
                assert "has 1073741824 bytes instead of 2147483648" in differs(2 << 30)
                pool.fill(name, [data, b"\0" * 511, b"x"])
                assert "behind the image's end" in differs()
                pool.fill(name, [b"other"])
                assert "has other bytes than image" in differs()
            finally:
                trial.delete()


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_what_one_backend_refuses_is_told_and_the_other_goes_on(site, world, outside):
    """The old way takes no image that must be converted; of cinder's the bytes are then another file's."""
    qcow2 = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(16) + MIB.to_bytes(8, "big") + os.urandom(MIB)
    image_id = site.upload(qcow2, disk_format="qcow2")
    try:
        with world.cloud() as cloud:
            found = compare(cloud.parts, site.caller("demo"), Plan(image_id, ("cell2",), count=1, cold=0))
            assert cloud.parts.journal.opened() == []
    finally:
        # The image is its owner's: what cinder has cached of it is not the comparison's to remove.
        outside.uncache(image_id)
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image_id}")
    cinder, rbd = found.of("cell2", "cinder"), found.of("cell2", "rbd")
    assert (cinder.why, len(cinder.boots["warm"]), cinder.bytes_equal) == ("", 1, None)
    assert "converted" in cinder.unread
    assert "takes raw images only" in rbd.why
    assert rbd.boots["warm"] == []
    words = [row for row in table.rows(found, "cell2") if row[0] == "ended early"]
    assert words == [("ended early", "", rbd.why, "")]


def test_a_plan_that_cannot_be_is_refused_before_anything_is_made(site, world, image_id, outside, tmp_path):
    who = site.caller("demo")
    with world.cloud() as cloud:
        for plan, words in (
            (Plan(image_id, count=0), "--count 1"),
            (Plan(image_id, ("cell9",)), "cell9 has no ceph.conf"),
        ):
            with pytest.raises(BadRequest, match=words):
                compare(cloud.parts, who, plan)
        with pytest.raises(NotFound, match="no-such-image"):
            compare(cloud.parts, who, Plan("no-such-image"))
        assert cloud.parts.journal.opened() == []
    world.write_config(ceph=False)
    with world.cloud() as cloud, pytest.raises(BadRequest, match="set \\[cell:NAME\\] ceph_conf"):
        compare(cloud.parts, who, Plan(image_id))


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_it_writes_nothing_into_novas_databases(world, site, image_id, outside):
    """Beside a nova whose databases may only be read: the journal is ours."""
    read_only(world, "api", "cell0", "cell1", "cell2")
    with world.cloud() as cloud:
        found = compare(cloud.parts, site.caller("demo"), Plan(image_id, ("cell1",), count=1))
        assert cloud.parts.journal.opened() == []
    assert [(each.why, each.bytes_equal) for each in found.series] == [("", True)] * 2


def test_each_call_of_librbd_counts_once_and_closing_does_not(site, clusters):
    calls = Calls()
    counted = Cluster(clusters["cell1"].ceph, calls.of_bindings(site.bindings or bindings.load()))
    name = f"contract-{uuid.uuid4()}"
    clusters["cell1"].pool("vms").create(name, MIB)
    try:
        assert name in counted.pool("vms").names()
        assert calls.now() == {"librbd": 1}
        before = calls.now()
        counted.pool("vms").resize(name, 2 * MIB)
        # It is opened, its lock is looked at, it is resized.
        assert calls.since(before) == {"librbd": 3}
    finally:
        clusters["cell1"].pool("vms").remove(name)
        counted.close()


@pytest.fixture
def fault(site):
    """Return a maker of faults of the mocked cloud; all end with the test."""
    yield lambda **rule: requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    requests.delete(f"{site.control_url}/faults", timeout=60)


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_a_snapshot_whose_answer_is_lost_is_removed_and_told(site, world, image_id, outside, fault):
    fault(kind="lost_after", method="POST", path="/snapshots$")
    with world.cloud() as cloud:
        found = compare(cloud.parts, site.caller("demo"), Plan(image_id, ("cell1",), count=1))
        assert (list(found.left), cloud.parts.journal.opened()) == ([], [])
    assert "no answer" in found.of("cell1", "cinder").why
    assert found.of("cell1", "rbd").why == ""


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_a_copy_that_fails_half_way_is_removed(site, world, image_id, outside, fault):
    fault(kind="status_before", method="PUT", path="/file$", status=500)
    with world.cloud() as cloud:
        with pytest.raises(MaybeRunning, match="copy image"):
            compare(cloud.parts, site.caller("demo"), Plan(image_id, ("cell1",), count=1))
        assert cloud.parts.journal.opened() == []


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_what_cannot_be_removed_is_told_and_repair_removes_it(site, world, image_id, outside, fault):
    fault(kind="status_before", method="DELETE", path="/volumes/[^/]+$", status=500, times=1)
    with world.cloud() as cloud:
        found = compare(cloud.parts, site.caller("demo"), Plan(image_id, ("cell1",), count=1))
        assert len(found.left) == len(cloud.parts.journal.opened()) == 1
        assert "`bfv repair` removes it" in found.left[0]
        assert [each.open for each in cloud.repair()] == [False]


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_what_cinder_caches_of_a_copy_that_is_booted_but_once_goes_with_it(world, site, image_id, outside):
    with world.cloud() as cloud:
        found = compare(cloud.parts, site.caller("demo"), Plan(image_id, ("cell2",), count=1, cold=2))
    assert [(len(each.boots["cold"]), each.why) for each in found.series] == [(2, "")] * 2
