# SPDX-License-Identifier: Apache-2.0
"""A cell's storage gives no answer while servers boot: they go on to another cell, and nothing stays behind."""

import contextlib
import json
import random

import pytest
import requests

import bfv
from tests import sites
from tests.flows.test_kill import SEED
from tests.flows.test_kill import _repaired as repaired

pytestmark = pytest.mark.usefixtures("nothing_left")
HOW_MUCH = [
    pytest.param(False, id="some"),
    pytest.param(True, id="whole", marks=[pytest.mark.full, pytest.mark.lab]),
]


@pytest.fixture
def patience(site):
    """Seconds that a volume may take: the real services are slower."""
    return 2 if site.control_url else 15


@pytest.fixture
def world(site, tmp_path, patience):
    return sites.World(site, tmp_path, volume_timeout=patience, per_gib=0, late_answer=1, delete_timeout=60)


def wanted(image, **how):
    return bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, **how)


@pytest.mark.timeout(600)
def test_boots_go_on_to_the_other_cell_and_what_they_left_is_removed_when_it_answers(world, site, raw_image):
    before = site.ours()
    with world.cloud() as cloud:
        # Both have the image: a cell that fills its cache holds a lock on the image, which all cells of one cinder
        # share (cinder/volume/flows/manager/create_volume.py:_prepare_image_cache_entry); Glance may be silent, too.
        for cell in ("cell1", "cell2"):
            first = wanted(raw_image, availability_zone=cell)
            cloud.boot(first)
            assert cloud.wait(first.server_id, 300).task_state == "spawning"
            cloud.delete(first.server_id)
        with site.silent("cell1"):
            asked = [wanted(raw_image) for _ in range(3)]
            for request in asked:
                cloud.boot(request)
            servers = [cloud.wait(request.server_id, 300) for request in asked]
            assert [(each.cell, each.task_state) for each in servers] == [("cell2", "spawning")] * 3
            late = [server for server in servers if server.left_outside]
            assert late, "none of them tried cell1 first"
        sites.until(lambda: not cloud.parts.journal.opened())
        assert [cloud.server(server.id).left_outside for server in servers] == [(), (), ()]
        for server in servers:
            cloud.delete(server.id)
    assert site.ours() == before


@pytest.mark.timeout(600)
def test_where_no_other_cell_fits_the_server_is_in_error_and_the_straggler_is_named_until_it_goes(
    world, site, raw_image
):
    with world.cloud() as cloud:
        request = wanted(raw_image, availability_zone="cell1")
        with site.silent("cell1"):
            cloud.boot(request)
            sites.until(lambda: cloud.server(request.server_id).status == "ERROR")
            server = cloud.server(request.server_id)
            assert "was still creating after" in server.fault.message
            assert len(server.left_outside) == 1
        sites.until(lambda: not cloud.parts.journal.opened())
        assert cloud.server(request.server_id).left_outside == ()
        cloud.delete(request.server_id)


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_a_volume_that_nobody_makes_any_more_is_told_with_the_way_out_and_goes_when_it_was_taken(
    site, tmp_path, raw_image
):
    before = site.ours()
    world = sites.World(site, tmp_path, volume_timeout=1, per_gib=0, late_answer=1, delete_timeout=1, give_up=4)
    requests.put(f"{site.control_url}/pace", json={"creating": {"seconds": 9999}}, timeout=60)
    try:
        with world.cloud() as cloud:
            request = wanted(raw_image, availability_zone="cell1")
            cloud.boot(request)
            sites.until(lambda: cloud.server(request.server_id).status == "ERROR")
            [(volume, _)] = [each for each in site.volumes().items() if each[0] not in before[0]]
            way_out = f"`openstack volume set --state error {volume}`"
            sites.until(lambda: any(way_out in step.detail for step in steps_left(cloud)))
            reset = {"os-reset_status": {"status": "error"}}
            assert site.call("admin", "POST", f"{site.volume_url}/volumes/{volume}/action", json=reset).ok
            cloud.repair()
            sites.until(lambda: not cloud.parts.journal.opened())
            cloud.delete(request.server_id)
    finally:
        requests.put(f"{site.control_url}/pace", json={}, timeout=60)
    assert site.ours() == before


def steps_left(cloud):
    journal = cloud.parts.journal
    return [step for intent in journal.opened() for step in journal.history(intent)]


def deletions(site, volume_id):
    """Return how often the mocked Cinder was asked to delete a volume, and how often with force."""
    calls = requests.get(f"{site.control_url}/calls", timeout=60).json()["calls"]
    mine = [call for call in calls if f"/volumes/{volume_id}" in call["path"]]
    plain = sum(call["method"] == "DELETE" for call in mine)
    return plain, sum("os-force_delete" in (call["body"] or {}) for call in mine)


@pytest.mark.parametrize("site", ["mock"], indirect=True)
def test_a_deletion_that_the_storage_fails_is_asked_for_again_and_then_stays_open(world, site, raw_image):
    before = site.ours()
    with world.cloud() as cloud:
        request = wanted(raw_image, availability_zone="cell1")
        cloud.boot(request)
        server = cloud.wait(request.server_id, 300)
        [volume] = [device.volume_id for device in server.devices if device.volume_id]
        with site.failing("cell1"):
            with pytest.raises(bfv.errors.StorageError, match=f"could not delete volume {volume}"):
                cloud.delete(server.id)
            assert deletions(site, volume) == (1, 2)
            assert site.volumes()[volume]["status"] == "error_deleting"
        cloud.delete(server.id)
    assert site.ours() == before


@pytest.mark.timeout(900)
@pytest.mark.parametrize("site", ["mock"], indirect=True)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_a_process_that_is_killed_while_it_leaves_a_cell_leaves_nothing(site, tmp_path, raw_image, full):
    before = site.ours()
    world = sites.World(site, tmp_path, volume_timeout=0.5, per_gib=0, late_answer=1, delete_timeout=60)

    def victim(kind, number):
        request = wanted(raw_image)
        with site.silent("cell1"):
            # In the second cell nothing hangs.
            died = world.victim([kind, str(number), "boot", raw_image, request.server_id])
        repaired(world)
        # Killed before it was accepted, there is no such server.
        with world.cloud() as cloud, contextlib.suppress(bfv.errors.NotFound):
            cloud.delete(request.server_id)
        assert site.ours() == before, (kind, number)
        return died

    whole = victim("none", 0)
    assert whole.returncode == 0, whole.stderr
    counts = json.loads(whole.stdout.splitlines()[-1])
    found = [(kind, number) for kind, most in counts.items() for number in range(1, most + 1)]
    for kind, number in found if full else random.Random(SEED).sample(found, 4):
        assert victim(kind, number).returncode == -9, (kind, number)
