# SPDX-License-Identifier: Apache-2.0
"""The API's own OpenAPI document against the API: what fits it, and what does not, is answered and tells no secret.

``BFV_FUZZ_CASES`` is how many cases there are, by default a sample that `BFV_SEED` chooses; ``make fuzz-api`` takes
20,000. Each case is as some user, in some microversion, to ids that are there and to ids that are made up.
"""

import itertools
import os
import random

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from bfv.api import openapi, versions
from bfv.api.routes import ROUTES

CASES = int(os.environ.get("BFV_FUZZ_CASES", "150"))
SEED = int(os.environ.get("BFV_SEED", "1"))
# One of each span in which all schemas are the same.
VERSIONS = (1, 9, 12, 14, 25, 34, 42, 49, 54, 56, 63, 68, 74, 87, 91, versions.MAX)
# Cases of an operation: to begin with one costs as much as twenty cases.
FEWEST = 12
USERS = ("admin", "admin", "admin", "demo", "demo", "bfv", "other")
# RSA keys are slow to make; that one is made is tested elsewhere.
SLOW = ("POST /os-keypairs", 91)
NOT_SERVED = 501
# Shown to admins, and in no log.
USER_DATA = "czNjcmV0LWRhdGE="
SECRETS = ("labsvc", "labadmin", "labdemo", "s3cret", "sqlite", "SELECT", "INSERT", "UPDATE ", "Traceback",
           ".py", "site-packages")  # fmt: skip


@pytest.fixture(scope="module")
def there(door, image):
    """Names of things that are there, by the name of the part of a path that they stand in."""
    server_id = door.boot(image, adminPass="s3cret-pass", user_data=USER_DATA)
    volume_id = door.running(server_id)["os-extended-volumes:volumes_attached"][0]["id"]
    body = {"server_group": {"name": "g", "policy": "affinity"}}
    group = door("POST", "/os-server-groups", body, version="2.96").json()["server_group"]["id"]
    aggregate = door("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, user="admin").json()["aggregate"]["id"]
    node = door("GET", "/os-hypervisors", user="admin", version="2.96").json()["hypervisors"][0]["id"]
    service = door("GET", "/os-services", user="admin", version="2.96").json()["services"][0]["id"]
    yield {"server_id": server_id, "group_id": group, "aggregate_id": str(aggregate), "hypervisor_id": node,
           "service_id": service, "flavor_id": "big", "project_id": door.site.caller("demo").project_id,
           "name": "default", "host": "fuzz1", "key": "x", "volume_id": volume_id, "tag": "x", "network_label": "x",
           "request_id": "req-x"}  # fmt: skip
    door("DELETE", f"/servers/{server_id}", user="admin")


def operations(rng, number):
    """Yield so many operations, each with its microversion, those of the newest and of another one in turn."""
    others = rng.sample(VERSIONS[:-1], len(VERSIONS) - 1)
    every = [of_version(rng, version) for version in (versions.MAX, *others)]
    pairs = itertools.chain(zip(every[0], every[1], strict=False), *(((each,) for each in more) for more in every[2:]))
    yield from itertools.islice(itertools.chain.from_iterable(pairs), number)


def of_version(rng, version):
    schema = schemathesis.openapi.from_dict(openapi.document(ROUTES, version))
    found = [result.ok() for result in schema.get_all_operations()]
    for operation in rng.sample(found, len(found)):
        if not (operation.label == SLOW[0] and version <= SLOW[1]):
            yield version, operation


def cases(operation, version, there):
    header = {versions.HEADER: f"compute 2.{version}"}
    names = {part["name"] for part in operation.definition.raw.get("parameters", ()) if part.get("in") == "path"}
    known = {name: value for name, value in there.items() if name in names}
    ways = [(mode, ids) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) for ids in (known, None)]
    return st.one_of(*(operation.as_strategy(mode, headers=header, **({"path_parameters": ids} if ids else {}))
                       for mode, ids in ways if ids != {}))  # fmt: skip


def test_whatever_is_asked_is_answered_below_500_and_tells_no_secret(door, there, caplog):
    rng, home = random.Random(SEED), str(door.world.home)
    hidden = (*SECRETS, home, *(door.token(user) for user in set(USERS)))
    users, asked = itertools.cycle(USERS), []

    def judge(case):
        user = next(users)
        answer = case.call(base_url=door.url, headers={"X-Auth-Token": door.token(user)}, timeout=120)
        asked.append(answer.status_code)
        told = f"{case.method} {answer.request.url} {answer.request.body!r:.500} as {user}: {answer.status_code}"
        # What is not served on purpose is told so.
        assert answer.status_code < 500 or answer.status_code == NOT_SERVED, f"{told} {answer.text}"
        sent = f"{answer.request.url} {answer.request.body!r}"
        for secret in hidden:
            assert secret not in answer.text or secret in sent, told

    count = max(FEWEST, CASES // (len(VERSIONS) * len(ROUTES) * 2 // 3))
    for number, (version, operation) in enumerate(operations(rng, CASES // count)):
        run = given(case=cases(operation, version, there))(judge)
        run = settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
                       suppress_health_check=list(HealthCheck))(run)  # fmt: skip
        seed(SEED + number)(run)()
    assert len(asked) >= CASES * 0.8
    assert {200, 400, 404} <= set(asked)
    said = "\n".join(record.getMessage() for record in caplog.records)
    for secret in {*hidden, USER_DATA} - {".py"}:
        assert secret not in said
    assert door("GET", "/flavors").status_code == 200
