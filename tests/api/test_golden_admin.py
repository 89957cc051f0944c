# SPDX-License-Identifier: Apache-2.0
"""The answers of a real nova 34.0.0 beside ours, for what operators ask: codes, headers, keys, types and texts.

In the order in which nova was asked: a limit that one call sets is what the next one shows.
"""

import json
from pathlib import Path

import pytest

from tests.api.conftest import away, opened
from tests.api.test_golden import differences, shape

GOLDEN = json.loads(Path(__file__).with_name("golden_admin.json").read_text())
PROJECT, USER = "00c0ffeec0ffeec0ffeec0ffee000000", "u000c0ffeec0ffeec0ffeec0ffee0000"
APART = {"down-refuse/services-2.68", "down-refuse/services-host-2.69"}
BOUND = {"misc/quota-put-below-usage"}
# Nova had no reason to tell there.
NULLABLE = {"services[].disabled_reason"}


def ask(door, golden, name):
    caller, member = door.site.caller("demo"), "nonadmin" in name
    path = golden["path"].removeprefix("/v2.1").replace(PROJECT, caller.project_id).replace(USER, caller.user_id)
    body = json.loads(json.dumps(golden["request"]).replace("c01-cmp000", "cell1-host1")) if golden["request"] else None
    user = "demo" if member else "admin"
    return door(golden["method"], path, body, user=user, version=(golden["version"] or "2.1"))


def compare(golden, answer, but=frozenset()):
    assert answer.status_code == golden["status"], answer.text
    assert {header for header in golden["headers"] if header not in answer.headers} == set()
    ours = shape(answer.json()) if answer.content else "NoneType"
    assert set(differences(golden["body"], ours)) - but == set()
    if golden["message"]:
        (fault,) = answer.json().values()
        return fault["message"]
    return None


def test_operators_get_the_answers_of_nova(door, image):
    made = [door.boot(image) for _ in range(2)]
    for server_id in made:
        door.running(server_id)
    seen = 0
    for name, golden in GOLDEN.items():
        if name in APART:
            continue
        answer = ask(door, golden, name)
        told = compare(golden, answer, NULLABLE if "services" in name else frozenset())
        if name in BOUND:
            golden = {**golden, "message": golden["message"].replace("reserved 9", "reserved 2")}
        assert told == golden["message"], name
        seen += 1
    assert seen == len(GOLDEN) - len(APART)
    door("PUT", "/os-services/enable", {"host": "cell1-host1", "binary": "nova-compute"}, user="admin", version="2.1")
    assert door("DELETE", "/flavors/gold", user="admin").status_code == 202
    for server_id in made:
        door("DELETE", f"/servers/{server_id}")
        door.gone(server_id)


@pytest.mark.parametrize(("version", "hosts"), [("2.68", 2), ("2.69", 4)])
def test_services_of_a_cell_that_is_down_are_unknown_from_2_69_on_and_missing_below(world, door, version, hosts):
    golden = GOLDEN["down-refuse/services-2.68" if version == "2.68" else "down-refuse/services-host-2.69"]
    with away(world, "cell2"), opened(world) as lost:
        answer = lost("GET", "/os-services", user="admin", version=version)
        assert len(answer.json()["services"]) == hosts
        one = ask(lost, {**golden, "path": golden["path"].replace("c02-cmp000", "cell2-host1")}, "")
    compare(golden, one, NULLABLE)
    if version == "2.68":
        assert answer.headers["Warning"] == '199 bfv "1 cells give no answer, services there are not listed: cell2"'
    else:
        assert one.json()["services"] == [{"binary": "nova-compute", "host": "cell2-host1", "status": "UNKNOWN"}]
        assert "Warning" not in answer.headers
