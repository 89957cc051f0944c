# SPDX-License-Identifier: Apache-2.0
"""What placement answers to what a conversion asks of it: the same cases on the mocked one and on nova's own."""

import uuid

import pytest

from bfv import mockcloud
from tests import sites
from tests.realnova.cloud import PLACEMENT_URL

CONCURRENT = "placement.concurrent_update"


@pytest.fixture(scope="module", params=["mock", pytest.param("real", marks=pytest.mark.nova)])
def call(request):
    """Return what makes one call and returns its status and body."""

    def ask(method, path, body=None):
        answer = site.call(
            "bfv", method, f"{url}{path}", json=body, headers={"OpenStack-API-Version": "placement 1.28"}
        )
        return answer.status_code, answer.json() if answer.content else None

    if request.param == "real":
        site, url = sites.lab(), PLACEMENT_URL
        yield ask
        return
    with mockcloud.start() as server:
        site, url = sites.mock_of(server), server.describe()["placement_url"]
        yield ask


@pytest.fixture
def provider(call):
    """A host of 4 processors and 10 GiB of disks."""
    made = call("POST", "/resource_providers", {"uuid": str(uuid.uuid4()), "name": f"host-{uuid.uuid4().hex[:8]}"})[1]
    inventories = {kind: {"total": total} for kind, total in (("VCPU", 4), ("DISK_GB", 10))}
    path = f"/resource_providers/{made['uuid']}"
    body = {"resource_provider_generation": made["generation"], "inventories": inventories}
    assert call("PUT", f"{path}/inventories", body)[0] == 200
    yield made["uuid"]
    # The mocked one forgets all at its end.
    call("DELETE", path)


@pytest.fixture
def count(call):
    """Return what counts a server for amounts by provider, and the server's path; uncounted at the end."""
    path = f"/allocations/{uuid.uuid4()}"

    def put(generation, **amounts):
        allocations = {where: {"resources": kinds} for where, kinds in amounts.items()}
        body = {"allocations": allocations, "consumer_generation": generation, "project_id": "p", "user_id": "u"}
        return call("PUT", path, body)

    yield put, path
    call("DELETE", path)


def refused(answer, status, code=None, words=""):
    assert answer[0] == status
    [error] = answer[1]["errors"]
    assert (error["status"], error.get("code", code)) == (status, code)
    assert words in error["detail"]


def test_a_provider_counts_its_changes_and_a_stale_one_is_refused(call, provider):
    path = f"/resource_providers/{provider}"
    status, shown = call("GET", path)
    assert (status, shown["uuid"], shown["generation"]) == (200, provider, 1)
    body = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 1}}}
    refused(call("PUT", f"{path}/inventories", body), 409, CONCURRENT, "resource provider generation conflict")
    unknown = uuid.uuid4()
    refused(call("GET", f"/resource_providers/{unknown}"), 404, "placement.undefined_code", "No resource provider with")


def test_who_is_counted_for_nothing_is_no_consumer(call, count):
    _, path = count
    assert call("GET", path) == (200, {"allocations": {}})
    refused(call("DELETE", path), 404, "placement.undefined_code", "No allocations for consumer")


def test_a_consumer_counts_its_changes_and_a_stale_one_is_refused(call, provider, count):
    put, path = count
    refused(put(1, **{provider: {"VCPU": 1}}), 409, CONCURRENT, "expected null but got 1")
    assert put(None, **{provider: {"VCPU": 1, "DISK_GB": 3}})[0] == 204

    status, shown = call("GET", path)

    assert (status, shown["consumer_generation"], shown["project_id"], shown["user_id"]) == (200, 1, "p", "u")
    [(where, each)] = shown["allocations"].items()
    assert (where, each["resources"]) == (provider, {"VCPU": 1, "DISK_GB": 3})
    assert each["generation"] == call("GET", f"/resource_providers/{provider}")[1]["generation"]
    refused(put(None, **{provider: {"VCPU": 1}}), 409, CONCURRENT, "expected 1 but got None")
    assert put(1, **{provider: {"VCPU": 1}})[0] == 204
    shown = call("GET", path)[1]
    assert (shown["consumer_generation"], shown["allocations"][provider]["resources"]) == (2, {"VCPU": 1})


def test_a_host_gives_no_more_than_it_has_and_says_which_class(call, provider, count):
    put, path = count
    assert put(None, **{provider: {"DISK_GB": 8}})[0] == 204
    other = f"/allocations/{uuid.uuid4()}"
    body = {"allocations": {provider: {"resources": {"DISK_GB": 3}}}, "consumer_generation": None,
            "project_id": "p", "user_id": "u"}  # fmt: skip
    refused(call("PUT", other, body), 409, "placement.undefined_code", "Unable to allocate inventory")
    assert call("GET", other) == (200, {"allocations": {}})
    # What it has itself does not count against it.
    assert put(1, **{provider: {"DISK_GB": 10}})[0] == 204
    refused(put(2, **{provider: {"MEMORY_MB": 1}}), 409, "placement.undefined_code", "MEMORY_MB")
    unknown = str(uuid.uuid4())
    refused(put(2, **{unknown: {"VCPU": 1}}), 400, "placement.undefined_code", unknown)
    assert call("GET", path)[1]["consumer_generation"] == 2


def test_a_consumer_of_nothing_is_gone(call, provider, count):
    put, path = count
    assert put(None, **{provider: {"VCPU": 1}})[0] == 204
    assert put(1)[0] == 204
    assert call("GET", path) == (200, {"allocations": {}})
    assert put(None, **{provider: {"VCPU": 1}})[0] == 204
    assert call("DELETE", path)[0] == 204
    assert call("GET", path) == (200, {"allocations": {}})
