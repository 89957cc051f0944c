# SPDX-License-Identifier: Apache-2.0
"""Every call that changes something is lost, late, doubled and failed, before and after it took effect.

The server ends complete or in ERROR, nothing is doubled, and after its deletion nothing is left.
"""

import random

import pytest

import bfv
from tests import sites
from tests.faultproxy import FaultProxy
from tests.flows.test_boot import HOST
from tests.flows.test_kill import SEED

pytestmark = pytest.mark.usefixtures("nothing_left")

FAULTS = ["lost before", "lost after", "reset after", "late", "failed before", "failed after"]
# Not of the calls that make something: no network of TCP doubles a POST, and cinder would make two.
DOUBLED = [("delete", "DELETE", "/attachments/", "doubled"), ("delete", "DELETE", "/volumes/", "doubled")]
CALLS = {
    "boot": [("POST", "/volumes$"), ("POST", "/attachments$"), ("GET", "/volumes/")],
    "delete": [("DELETE", "/attachments/"), ("DELETE", "/volumes/"), ("GET", "/volumes/")],
    "rebuild": [("POST", "/action$"), ("GET", "/volumes/")],
}
MATRIX = [(verb, *call, fault) for verb, calls in CALLS.items() for call in calls for fault in FAULTS] + DOUBLED
SAMPLE = random.Random(SEED).sample(MATRIX, 6)
CASES = [
    pytest.param(*case, marks=[] if case in SAMPLE else pytest.mark.full, id="-".join(case).replace(" ", "_"))
    for case in MATRIX
]


@pytest.fixture
def proxy(site):
    with FaultProxy(site.volume_url) as proxy:
        yield proxy


# How long an answer is waited for, how late one comes after that, and how late a request may still take effect: what is
# not made late is to be in time on a busy machine.
READ_TIMEOUT, LATE = 5, 6.0


@pytest.fixture
def shaky(site, tmp_path, proxy):
    return sites.World(site, tmp_path, volume_url=proxy.url, late_answer=LATE, read_timeout=READ_TIMEOUT)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("verb", "method", "path", "fault"), CASES)
def test_one_call_meets_one_fault(shaky, proxy, site, raw_image, verb, method, path, fault):
    how = {"nth": 1, "seconds": LATE} if fault == "late" else {"nth": 1}
    before, bound = site.ours()
    with shaky.cloud() as cloud:
        request = bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)
        if verb == "boot":
            rule = proxy.rule(method, path, fault, **how)
        cloud.boot(request)
        server = cloud.wait(request.server_id, 300)
        if verb == "rebuild":
            rule = proxy.rule(method, path, fault, **how)
            cloud.rebuild(server.id, raw_image)
            server = cloud.wait(server.id, 300)

        assert (server.status, server.fault) == ("BUILD", None)
        assert site.ours()[0] - before == {server.devices[0].volume_id}
        assert site.ours()[1] - bound == {server.devices[0].attachment_id}

        if verb == "delete":
            rule = proxy.rule(method, path, fault, **how)
        assert cloud.delete(server.id).kept == ()
        assert cloud.servers() == []
    assert rule.seen > 0


def test_a_cinder_that_is_away_leaves_a_server_in_build_and_comes_back(shaky, proxy, site, raw_image):
    rule = proxy.rule("POST", "/volumes$", "failed before", code=503)
    with shaky.cloud() as cloud:
        request = bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)
        cloud.boot(request)
        sites.until(lambda: rule.seen >= 2)
        assert cloud.server(request.server_id).status == "BUILD"

        proxy.clear()
        server = cloud.wait(request.server_id, 300)

        assert server.task_state == "spawning"
        cloud.delete(server.id)


@pytest.mark.parametrize("fault", FAULTS)
def test_connecting_a_host_may_be_repeated_after_any_fault(shaky, proxy, site, raw_image, fault):
    bound = site.ours()[1]
    with shaky.cloud() as cloud:
        request = bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME)
        cloud.boot(request)
        server = cloud.wait(request.server_id, 300)
        proxy.rule("PUT", "/attachments/", fault, nth=1, seconds=LATE)

        with pytest.raises(bfv.errors.MaybeRunning):
            cloud.connect(server.id, HOST)
        [attached] = cloud.connect(server.id, HOST)

        assert site.volumes()[attached.disk_id]["status"] == "in-use"
        proxy.rule("DELETE", "/attachments/", fault, nth=1, seconds=LATE)
        with pytest.raises(bfv.errors.MaybeRunning):
            cloud.disconnect(server.id)
        cloud.disconnect(server.id)
        assert site.volumes()[attached.disk_id]["status"] == "reserved"
        assert len(site.ours()[1] - bound) == 1
        cloud.delete(server.id)


def test_a_storm_of_boots_polls_by_time_and_makes_few_calls(site, tmp_path, proxy, raw_image):
    world = sites.World(site, tmp_path, volume_url=proxy.url)
    with world.cloud() as cloud:
        requests = [bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME) for _ in range(8)]
        for request in requests:
            cloud.boot(request)
        servers = [cloud.wait(request.server_id, 300) for request in requests]

        assert {server.task_state for server in servers} == {"spawning"}
        assert proxy.count("POST", "/volumes$") == 8
        assert proxy.count("POST", "/attachments$") == 8
        other = [call for call in proxy.calls if not (call.method == "POST" or "/volumes/detail" in call.path)]
        assert len(other) <= 8 * 3
        for server in servers:
            cloud.delete(server.id)
