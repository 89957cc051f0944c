# SPDX-License-Identifier: Apache-2.0
"""A warm-up meets faults: after `bfv repair` nothing is left of it but one source, and the next warm-up works."""

import random

import pytest
import requests

import bfv
from bfv.images import book
from tests import sites
from tests.faultproxy import FaultProxy
from tests.flows.test_faults import LATE, READ_TIMEOUT
from tests.flows.test_kill import SEED, _repaired
from tests.images.conftest import snapshots, volumes
from tests.images.test_kill import one_or_none
from tests.images.test_warm import booted, ours, remove, request, root

FAULTS = ["lost before", "lost after", "reset after", "late", "failed before", "failed after"]
CALLS = {
    "snapshot": [("POST", "/volumes$"), ("POST", "/snapshots$"), ("GET", "/volumes/"), ("GET", "/snapshots/")],
    "glance": [("POST", "/import$"), ("GET", "/images/[^/]*$")],
    "cache": [("POST", "/volumes$"), ("DELETE", "/volumes/")],
}
MATRIX = [(kind, *call, fault) for kind, calls in CALLS.items() for call in calls for fault in FAULTS]
SAMPLE = random.Random(SEED).sample(MATRIX, 2)
CASES = [
    pytest.param(*case, marks=[] if case in SAMPLE else [pytest.mark.full, pytest.mark.lab],
                 id="-".join(case).replace(" ", "_"))
    for case in MATRIX
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_left(site):
    before = site.ours()
    yield
    assert site.ours() == before


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("kind", "method", "path", "fault"), CASES)
def test_one_call_meets_one_fault(site, tmp_path, make_image, kind, method, path, fault):
    image = make_image()
    with FaultProxy(site.volume_url) as volumes, FaultProxy(site.image_url) as images:
        world = sites.World(site, tmp_path, volume_url=volumes.url, image_url=images.url, sources=kind,
                            late_answer=LATE, read_timeout=READ_TIMEOUT)  # fmt: skip
        with world.cloud("admin") as cloud:
            cloud.parts.places.places()
            rule = (images if kind == "glance" else volumes).rule(
                method, path, fault, nth=2 if "GET" in method else 1, **({"seconds": LATE} if fault == "late" else {})
            )
            done = cloud.images.warm(image, ["cell2"])[0]
        _repaired(world)
        with world.cloud("admin") as cloud:
            again = cloud.images.warm(image, ["cell2"])[0]
    assert rule.seen > 0
    assert (again.state, again.kind) == ("hit", kind), (done, again)
    one_or_none(world, site, image)


@pytest.fixture
def patient(site, tmp_path):
    """A bfv that waits two seconds for a volume."""
    return sites.World(site, tmp_path, volume_timeout=2 if site.control_url else 15, per_gib=0, late_answer=1,
                       delete_timeout=60, sources="snapshot", warm_on_boot=True)  # fmt: skip


@pytest.mark.timeout(300)
def test_a_storage_that_is_silent_in_the_middle_holds_up_no_boot_and_the_warm_up_is_finished(patient, site, make_image):
    image = make_image()
    with patient.cloud("admin") as admin, patient.cloud() as cloud:
        admin.parts.places.places()
        with site.silent("cell2"):
            [done] = admin.images.warm(image, ["cell2"])
            assert (done.state, "repair" in done.why) == ("warming", True)
            asked = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME)
            cloud.boot(asked)
            server = cloud.wait(asked.server_id, 300)
            assert (server.cell, server.task_state) == ("cell1", "spawning")
        _repaired(patient)
        [done] = admin.images.warm(image, ["cell2"])
        assert (done.state, done.kind) == ("hit", "snapshot")
        remove(cloud, [server])
    one_or_none(patient, site, image)


def test_a_cell_that_is_full_is_told_and_nothing_is_left(site, world, make_image):
    """On the mocked cloud a cell is full by a word; in the lab a volume is larger than any pool."""
    image = make_image() if site.control_url else make_image(min_disk=1 << 20)
    _full(site, True)
    try:
        with world.cloud("admin") as cloud:
            [done] = cloud.images.warm(image, ["cell2"])
    finally:
        _full(site, False)
    assert (done.state, "backend" in done.why) == ("failed", True)
    one_or_none(world, site, image)
    assert ours(site, image) == []


def test_an_image_volume_whose_bytes_are_gone_is_found_and_made_anew(site, tmp_path, make_image, cluster):
    """Cinder has its entry for ever and clones nothing: no boot of the image succeeds there until somebody sees it."""
    known = f"cache_project = {site.internal_project}\n"
    world = sites.World(site, tmp_path, sources="cache", ceph=True, more_images=known)
    image, pool = make_image(), cluster.pool("volumes")
    with world.cloud("admin") as cloud:
        assert cloud.images.warm(image, ["cell2"])[0].state == "made"
        [cached] = volumes(site, image)
        pool.remove(f"volume-{cached['id']}")
        body = {"size": 1, "name": sites.NAME, "volume_type": "cell2", "availability_zone": "cell2", "imageRef": image}
        made = site.call("demo", "POST", f"{site.volume_url}/volumes", json={"volume": body}).json()["volume"]["id"]
        site.settle(made, "error")
        site.drop_volume(made)
        [line] = [each for each in cloud.images.map([image]) if (each.cell, each.tier) == ("cell2", "default")]
        assert (line.state, "no bytes" in line.why) == ("evicted", True)

        [done] = cloud.images.warm(image, ["cell2"])

        assert (done.state, done.kind) == ("made", "cache")
        [anew] = volumes(site, image)
        assert anew["id"] != cached["id"]
        assert cloud.parts.journal.opened() == []
    one_or_none(world, site, image)
    site.drop_volume(site.volume("cell2", imageRef=image))


def _full(site, full):
    if site.control_url:
        requests.put(f"{site.control_url}/cells/cell2", json={"full": full}, timeout=60).raise_for_status()


def test_a_boot_that_is_deleted_while_it_warms_leaves_the_warm_up_to_others(site, world, make_image):
    image = make_image()
    with world.cloud() as cloud, site.silent("cell2"):
        asked = request(image)
        cloud.boot(asked)
        sites.until(lambda: any(each.verb == "warm" for each in cloud.parts.journal.opened()))
        sites.until(lambda: ours(site, image))
        cloud.delete(asked.server_id)
        assert cloud.servers() == []
    _repaired(world)
    with world.cloud() as cloud:
        [row] = book.of_image(cloud.parts.journal.database, image)
        [server] = booted(cloud, image)
        assert root(site, server)["snapshot_id"] == row.snapshot_id
        remove(cloud, [server])
    one_or_none(world, site, image)


def test_without_rights_in_the_project_boots_go_cinders_own_way(site, world, make_image):
    """The service user has no role in that project, so nothing of its own can be cloned into it, nor is it made."""
    image = make_image()
    with world.cloud("noservice") as cloud:
        [server] = booted(cloud, image)
        assert book.of_image(cloud.parts.journal.database, image) == []
        remove(cloud, [server])
    with world.cloud("admin") as cloud:
        cloud.images.warm(image, ["cell2"])
    with world.cloud("noservice") as cloud:
        [server] = booted(cloud, image)
        assert root(site, server)["snapshot_id"] is None
        steps = [step for _, found in cloud.history(server.id) for step in found if step.name == "source"]
        assert "inherited role" in steps[0].detail
        [row] = book.of_image(cloud.parts.journal.database, image)
        assert row.state == "warm"
        assert len(snapshots(site, row.volume_id)) == 1
        remove(cloud, [server])


def test_a_service_user_that_is_no_admin_warms_nothing_and_boots_as_ever(site, tmp_path, make_image):
    world = sites.World(site, tmp_path, sources="snapshot", warm_on_boot=True, service_user="bfv-plain")
    image = make_image()
    with world.cloud() as cloud:
        [server] = booted(cloud, image)
        assert root(site, server)["snapshot_id"] is None
        assert {each.state for each in cloud.images.map([image])} == {"unknown"}
        remove(cloud, [server])
    with world.cloud("admin") as cloud:
        [done] = cloud.images.warm(image, ["cell2"])
        assert (done.state, "no admin" in done.why) == ("failed", True)
