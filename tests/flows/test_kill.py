# SPDX-License-Identifier: Apache-2.0
"""The process is killed at every boundary: before each commit, before and after each call that changes something.

After `bfv repair` the server is complete, gone, or in ERROR with its fault, and nothing is outside that it does not
have; after its owner's DELETE nothing at all is. A seeded sample runs by default, all boundaries with `full`.
"""

import json
import os
import random
import time
import uuid

import pytest

import bfv
from bfv import claims
from tests import sites

pytestmark = pytest.mark.usefixtures("nothing_left")
SEED = int(os.environ.get("BFV_SEED", "1"))
SAMPLE = 5


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path, late_answer=1)


def boundaries(world, *verb, user="demo", least=5):
    """Run a verb to its end and return all its boundaries: more than ``least`` commits."""
    done = world.victim(["none", "0", *verb], user)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts["commit"] > least
    return [(kind, number) for kind, most in counts.items() for number in range(1, most + 1)]


def chosen(found, full):
    return found if full else random.Random(SEED).sample(found, min(SAMPLE, len(found)))


HOW_MUCH = [pytest.param(False, id="sample"), pytest.param(True, id="all", marks=[pytest.mark.full, pytest.mark.long])]


def consistent(world, site, server_id, before):
    """Assert that the server has what its rows say and nothing else is outside; return it, None when it is gone."""
    new = {
        key: each
        for key, each in site.volumes().items()
        if (each["name"] or "").startswith(sites.NAME) and key not in before
    }
    with world.cloud() as cloud:
        with cloud.parts.journal.database.reader() as conn:
            assert claims.all_of(conn, None) == []
        try:
            server = cloud.server(server_id)
        except bfv.errors.NotFound:
            assert new == {}
            return None
        assert cloud.parts.journal.opened(server_id) == []
    if server.status == "ERROR":
        assert server.fault.message
        assert new == {}
        return server
    assert (server.status, server.task_state) == ("BUILD", "spawning")
    [device] = server.devices
    assert list(new) == [device.volume_id]
    assert new[device.volume_id]["status"] == "reserved"
    bound = [each["id"] for each in site.attachments().values() if each["volume_id"] == device.volume_id]
    assert bound == [device.attachment_id]
    return server


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_boot(world, site, raw_image, full):
    first = str(uuid.uuid4())
    before = site.ours()[0]
    found = boundaries(world, "boot", raw_image, first)
    _delete(world, first)
    for kind, number in chosen(found, full):
        server_id = str(uuid.uuid4())
        died = world.victim([kind, str(number), "boot", raw_image, server_id])
        assert died.returncode == -9, (kind, number, died.stderr)

        _repaired(world)

        server = consistent(world, site, server_id, before)
        if server is not None:
            _delete(world, server_id)
        assert site.ours()[0] == before, (kind, number)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_delete(world, site, raw_image, full):
    before = site.ours()[0]
    found = boundaries(world, "delete", _booted(world, raw_image))
    for kind, number in chosen(found, full):
        server_id = _booted(world, raw_image)
        died = world.victim([kind, str(number), "delete", server_id])
        assert died.returncode == -9, (kind, number, died.stderr)

        _repaired(world)

        if consistent(world, site, server_id, before) is not None:
            _delete(world, server_id)
        assert site.ours()[0] == before, (kind, number)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_rebuild(world, site, raw_image, full):
    server_id = _booted(world, raw_image)
    found = boundaries(world, "rebuild", server_id, raw_image)
    before = site.ours()[0] - {world_volume(world, server_id)}
    for kind, number in chosen(found, full):
        died = world.victim([kind, str(number), "rebuild", server_id, raw_image])
        assert died.returncode == -9, (kind, number, died.stderr)

        _repaired(world)

        assert consistent(world, site, server_id, before) is not None
    _delete(world, server_id)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_disconnect(world, site, raw_image, full):
    server_id = _booted(world, raw_image)
    before = site.ours()[0] - {world_volume(world, server_id)}
    _connect(world, server_id)
    found = boundaries(world, "disconnect", server_id)
    for kind, number in chosen(found, full):
        _connect(world, server_id)
        died = world.victim([kind, str(number), "disconnect", server_id])
        assert died.returncode == -9, (kind, number, died.stderr)

        _repaired(world)
        with world.cloud("bfv") as cloud:
            cloud.disconnect(server_id)

        assert consistent(world, site, server_id, before) is not None
    _delete(world, server_id)


def world_volume(world, server_id):
    with world.cloud() as cloud:
        return cloud.server(server_id).devices[0].volume_id


def _booted(world, image):
    request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME)
    with world.cloud() as cloud:
        cloud.boot(request)
        assert cloud.wait(request.server_id, 300).task_state == "spawning"
    return request.server_id


def _delete(world, server_id):
    with world.cloud() as cloud:
        cloud.delete(server_id)


def _connect(world, server_id):
    with world.cloud() as cloud:
        cloud.connect(server_id, {"host": "host1"})


def _repaired(world):
    """Repair until nothing is open, as a timer would."""

    def nothing_open():
        with world.cloud("bfv") as cloud:
            cloud.repair()
            return not cloud.parts.journal.opened()

    sites.until(nothing_open)


def test_without_rights_in_the_project_the_intent_names_what_is_left_and_the_owners_delete_removes_it(
    world, site, raw_image
):
    before = site.ours()[0]
    server_id = str(uuid.uuid4())
    died = world.victim(["after", "1", "boot", raw_image, server_id], user="noservice")
    assert died.returncode == -9, died.stderr

    told = world.run("repair", user="bfv", expect=1)

    assert "inherited role" in told
    with world.cloud("noservice") as cloud:
        server = cloud.server(server_id)
        assert server.status == "ERROR"
        assert "inherited role" in server.fault.details
        assert len(server.left_outside) == 1
        [volume_id] = site.ours()[0] - before
        site.settle(volume_id, "available")
        cloud.delete(server_id)
        assert cloud.servers() == []
    assert site.ours()[0] == before


def test_a_copied_marker_is_neither_adopted_nor_deleted(world, site, raw_image):
    before = site.ours()[0]
    server_id = str(uuid.uuid4())
    died = world.victim(["after", "1", "boot", raw_image, server_id])
    assert died.returncode == -9, died.stderr
    [ours] = site.ours()[0] - before
    site.settle(ours, "available")
    # Cinder's times have a resolution of a second: of the same second nobody can tell which is older.
    time.sleep(1.1)
    marker = site.volumes()[ours]["metadata"]
    assert len(marker) == 1
    planted = site.call(
        "demo",
        "POST",
        f"{site.volume_url}/volumes",
        json={"volume": {"size": 1, "imageRef": raw_image, "metadata": marker, "volume_type": "cell1"}},
    ).json()["volume"]["id"]
    site.settle(planted, "available")

    _repaired(world)

    with world.cloud() as cloud:
        assert cloud.server(server_id).devices[0].volume_id == ours
        history = [step.name for _, steps in cloud.history(server_id) for step in steps]
        assert "copy" in history
        cloud.delete(server_id)
    assert site.volumes()[planted]["status"] == "available"
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{planted}")
    site.settle(planted, None)


def test_a_deletion_waits_until_a_lost_answer_can_no_longer_come_and_then_ends(site, tmp_path, raw_image):
    world = sites.World(site, tmp_path, late_answer=5)
    before = site.ours()
    server_id = _booted(world, raw_image)
    world.run("connect", server_id, "--host", "host1")
    died = world.victim(["before", "1", "disconnect", server_id])
    assert died.returncode == -9, died.stderr

    world.run("delete", server_id)

    assert site.ours() == before
