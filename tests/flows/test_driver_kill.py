# SPDX-License-Identifier: Apache-2.0
"""A process with a compute driver is killed at every boundary: also before each change of a guest on its host.

After `bfv repair` server, guest and cloud tell the same, and after a DELETE nothing is left anywhere. All boundaries
with `full`.
"""

import contextlib
import uuid

import pytest

import bfv
from tests import sites
from tests.flows.test_boot import boot
from tests.flows.test_driver import OFF, RUNS, DriverWorld, state
from tests.flows.test_kill import boundaries, chosen

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def world(site, tmp_path):
    return DriverWorld(site, tmp_path, late_answer=1)


def whole(world, site, server_id, before):
    """Assert that server, guest and cloud tell the same; return the server, None when it is gone."""
    new = {key: each for key, each in site.volumes().items()
           if (each["name"] or "").startswith(sites.NAME) and key not in before}  # fmt: skip
    with world.cloud() as cloud:
        try:
            server = cloud.server(server_id)
        except bfv.errors.NotFound:
            assert (new, world.all_files()) == ({}, [])
            return None
        assert cloud.parts.journal.opened(server_id) == []
    if server.status == "ERROR":
        assert server.fault.message
        assert (new, world.files()) == ({}, set())
        return server
    assert (state(server), server.task_state, server.fault) == (
        RUNS if server.vm_state == "active" else OFF, None, None)  # fmt: skip
    assert world.files() == {f"{server_id}.guest", f"{server_id}.volumes"}
    assert world.guest(server)["power_state"] == server.power_state
    [device] = server.devices
    assert list(new) == [device.volume_id]
    assert new[device.volume_id]["status"] == "in-use"
    bound = [each["id"] for each in site.attachments().values() if each["volume_id"] == device.volume_id]
    assert bound == [device.attachment_id]
    return server


def repaired(world):
    def nothing_open():
        with world.cloud("bfv") as cloud:
            cloud.repair()
            return not cloud.parts.journal.opened()

    sites.until(nothing_open)


def ended(world, server_id, verb):
    """Return how a verb of a server ended, [] if it was never accepted."""
    with world.cloud() as cloud:
        return [intent.phase for intent, _ in cloud.history(server_id) if intent.verb == verb]


def gone(world, server_id):
    with world.cloud() as cloud, contextlib.suppress(bfv.errors.NotFound):
        cloud.delete(server_id)
    assert world.all_files() == []


def killed_at(found, full):
    """Return where to kill: everywhere, or once while a guest changes and once elsewhere."""
    if full:
        return found
    guest, other = ([each for each in found if (each[0] == "guest") is of_guest] for of_guest in (True, False))
    return [*chosen(guest, full)[:1], *chosen(other, full)[:1]]


VERBS = ["boot", "delete", "rebuild", "stop", "reboot"]
PLANS = [
    *(pytest.param(verb, False, id=f"{verb}-some") for verb in VERBS),
    *(pytest.param(verb, True, id=f"{verb}-all", marks=pytest.mark.full) for verb in VERBS),
]


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("verb", "full"), PLANS)
def test_a_process_that_is_killed_anywhere_leaves_what_repair_can_end(world, site, raw_image, verb, full):
    before = site.ours()[0]
    words = {"boot": [raw_image], "rebuild": [raw_image]}.get(verb, [])

    def plan(server_id):
        if verb != "boot":
            with world.cloud() as cloud:
                boot(cloud, raw_image, server_id=server_id)
        return [verb, *words, server_id] if verb == "boot" else [verb, server_id, *words]

    first = str(uuid.uuid4())
    found = boundaries(world, *plan(first))
    assert {kind for kind, _ in found} >= {"commit", "guest"}
    gone(world, first)
    for kind, number in killed_at(found, full):
        server_id = str(uuid.uuid4())
        died = world.victim([kind, str(number), *plan(server_id)])
        assert died.returncode == -9, (kind, number, died.stderr)

        repaired(world)

        server = whole(world, site, server_id, before)
        if verb in ("stop", "reboot"):
            assert ended(world, server_id, verb) in ([], ["done"]), (kind, number)
            assert state(server) == (OFF if verb == "stop" and ended(world, server_id, verb) else RUNS)
        gone(world, server_id)
        assert site.ours()[0] == before, (kind, number)
