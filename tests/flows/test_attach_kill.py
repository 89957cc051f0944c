# SPDX-License-Identifier: Apache-2.0
"""A process that attaches or detaches a volume is killed at every boundary, and each of its calls meets each fault.

After `bfv repair` the volume is the server's, in its rows, in cinder and on its host, or nobody's: never half of it.
"""

import random

import pytest

from bfv import VolumeRequest
from tests import sites
from tests.faultproxy import FaultProxy
from tests.flows.test_attach import plugged
from tests.flows.test_boot import boot
from tests.flows.test_driver import DriverWorld
from tests.flows.test_driver_kill import repaired
from tests.flows.test_faults import FAULTS, LATE, READ_TIMEOUT
from tests.flows.test_kill import HOW_MUCH, SEED, boundaries, chosen

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def volume(site):
    key = site.volume()
    yield key
    site.drop_volume(key)


@pytest.fixture(params=[pytest.param("library", marks=pytest.mark.full), "driver"])
def world(request, site, tmp_path):
    """A bfv whose servers no host has, or the hosts of the example driver."""
    return (DriverWorld if request.param == "driver" else sites.World)(site, tmp_path, late_answer=1)


def whole(world, site, server_id, volume):
    """Assert that all tell the same of a volume; return whether the server has it."""
    with world.cloud() as cloud:
        assert cloud.parts.journal.opened(server_id) == []
        server = cloud.server(server_id)
    assert (server.status, server.fault) == ("ACTIVE" if isinstance(world, DriverWorld) else "BUILD", None)
    devices = [device for device in server.devices if device.volume_id == volume]
    status, bound = site.volumes()[volume]["status"], site.bound(volume)
    hosted = isinstance(world, DriverWorld)
    if hosted:
        mine = {device.volume_id for device in server.devices}
        assert plugged(world, server) == (mine, mine)
    if not devices:
        assert (status, bound) == ("available", {})
        return False
    [device] = devices
    assert (status, bound) == ("in-use" if hosted else "reserved", {device.attachment_id: server_id})
    assert bool(device.connection_info) == hosted
    return True


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_a_process_that_is_killed_anywhere_leaves_a_volume_attached_or_free(world, site, raw_image, volume, verb, full):
    with world.cloud() as cloud:
        server_id = boot(cloud, raw_image, availability_zone=None).id

    def prepare():
        """Have the volume as it is before the verb."""
        with world.cloud() as cloud:
            has = any(device.volume_id == volume for device in cloud.server(server_id).devices)
            if has and verb == "attach":
                cloud.detach_volume(server_id, volume)
            if not has and verb == "detach":
                cloud.attach_volume(server_id, VolumeRequest(volume))

    prepare()
    found = boundaries(world, verb, server_id, volume, least=2)
    assert {kind for kind, _ in found} >= {"commit", "before", "after"}
    for kind, number in chosen(found, full):
        prepare()
        died = world.victim([kind, str(number), verb, server_id, volume])
        assert died.returncode == -9, (kind, number, died.stderr)

        repaired(world)

        whole(world, site, server_id, volume)
    with world.cloud() as cloud:
        cloud.delete(server_id)


CALLS = {
    "attach": [("POST", "/attachments$"), ("PUT", "/attachments/"), ("POST", "/attachments/.*/action$"),
               ("GET", "/volumes/")],
    "detach": [("DELETE", "/attachments/")],
}  # fmt: skip
MATRIX = [(verb, *call, fault) for verb, calls in CALLS.items() for call in calls for fault in FAULTS]
MATRIX.append(("detach", "DELETE", "/attachments/", "doubled"))
SAMPLE = random.Random(SEED).sample(MATRIX, 5)
CASES = [
    pytest.param(*case, marks=[] if case in SAMPLE else pytest.mark.full, id="-".join(case).replace(" ", "_"))
    for case in MATRIX
]


@pytest.fixture
def proxy(site):
    with FaultProxy(site.volume_url) as proxy:
        yield proxy


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("verb", "method", "path", "fault"), CASES)
def test_one_call_of_an_attach_or_a_detach_meets_one_fault(
    site, tmp_path, proxy, raw_image, volume, verb, method, path, fault
):
    world = DriverWorld(site, tmp_path, volume_url=proxy.url, late_answer=LATE, read_timeout=READ_TIMEOUT)
    how = {"nth": 1, "seconds": LATE} if fault == "late" else {"nth": 1}
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        if verb == "attach":
            rule = proxy.rule(method, path, fault, **how)
        cloud.attach_volume(server.id, VolumeRequest(volume))
        assert whole(world, site, server.id, volume)
        if verb == "detach":
            rule = proxy.rule(method, path, fault, **how)
        cloud.detach_volume(server.id, volume)
        assert not whole(world, site, server.id, volume)
        cloud.delete(server.id)
    assert rule.seen > 0


def test_a_cinder_that_is_away_leaves_an_attach_open_and_a_deletion_of_the_server_stops_it(
    site, tmp_path, proxy, raw_image, volume
):
    world = DriverWorld(site, tmp_path, volume_url=proxy.url, late_answer=1)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        proxy.rule("POST", "/attachments$", "failed before", code=503)
        intent, device = cloud.start_attach(server.id, VolumeRequest(volume))
        assert device is None
        assert cloud.parts.journal.get(intent.id).is_open

        cloud.delete(server.id)

        assert cloud.parts.journal.get(intent.id).phase == "cancelled"
    assert (site.volumes()[volume]["status"], site.bound(volume)) == ("available", {})
