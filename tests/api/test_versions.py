# SPDX-License-Identifier: Apache-2.0
"""Which microversion answers, which documents tell, and the ids of requests."""

import re

import pytest

from bfv.api.versions import MAX

OURS = f"2.{MAX}"
ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def root(door):
    return door.url.removesuffix("/v2.1")


@pytest.mark.parametrize("path", ["", "/"])
def test_the_versions_are_told_without_a_token(door, path):
    (told,) = door("GET", root(door) + path, user=None).json()["versions"]
    assert (told["id"], told["min_version"], told["version"], told["status"]) == ("v2.1", "2.1", OURS, "CURRENT")
    assert told["links"] == [{"rel": "self", "href": f"{root(door)}/v2.1/"}]


@pytest.mark.parametrize("path", ["", "/"])
def test_the_version_is_told_without_a_token(door, path):
    answer = door("GET", door.url + path, user=None)
    told = answer.json()["version"]
    assert (told["id"], told["version"]) == ("v2.1", OURS)
    assert told["media-types"][0]["base"] == "application/json"
    assert answer.headers["OpenStack-API-Version"] == "compute 2.1"


def test_a_path_of_no_version_offers_choices(door):
    answer = door("GET", f"{root(door)}/v3/x", user=None)
    assert answer.status_code == 300
    assert answer.json()["choices"][0]["links"][0]["href"] == f"{root(door)}/v2.1/v3/x"


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({}, "2.1"),
        ({"OpenStack-API-Version": "compute 2.37"}, "2.37"),
        ({"OpenStack-API-Version": "volume 3.1, compute 2.37"}, "2.37"),
        ({"OpenStack-API-Version": "volume 3.1"}, "2.1"),
        ({"OpenStack-API-Version": "compute latest"}, OURS),
        ({"X-OpenStack-Nova-API-Version": "2.30"}, "2.30"),
        ({"X-OpenStack-Nova-API-Version": "2.30", "OpenStack-API-Version": "compute 2.31"}, "2.31"),
    ],
)
def test_a_microversion_is_negotiated(door, headers, answered):
    answer = door("GET", "/flavors", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["OpenStack-API-Version"] == f"compute {answered}"
    assert answer.headers["X-OpenStack-Nova-API-Version"] == answered
    assert {part.strip() for part in answer.headers["Vary"].split(",")} == {
        "OpenStack-API-Version", "X-OpenStack-Nova-API-Version"
    }  # fmt: skip


@pytest.mark.parametrize("asked", ["2.999", "2.0", f"2.{MAX + 1}", "3.1", "1.1"])
def test_a_microversion_outside_the_range_is_406(door, asked):
    answer = door("GET", "/flavors", version=asked)
    assert answer.status_code == 406
    fault = answer.json()["computeFault"]
    assert fault["code"] == 406
    assert fault["message"] == f"Version {asked} is not supported by the API. Minimum is 2.1 and maximum is {OURS}."
    assert answer.headers["OpenStack-API-Version"] == f"compute {asked}"


@pytest.mark.parametrize("asked", ["abc", "2", "2.01", "2.1.1", "-2.1", "2." + "9" * 400])
def test_what_is_no_microversion_is_400(door, asked):
    answer = door("GET", "/flavors", version=asked)
    assert answer.status_code == 400
    assert "OpenStack-API-Version" not in answer.headers
    assert len(answer.json()["badRequest"]["message"]) < 200


def test_each_answer_has_a_request_id_of_its_own(door):
    answers = [door("GET", "/flavors"), door("GET", "/nosuch"), door("GET", "/flavors", user=None)]
    answers.append(door("GET", door.url, user=None))
    ids = [answer.headers["x-openstack-request-id"] for answer in answers]
    assert [answer.headers["x-compute-request-id"] for answer in answers] == ids
    assert all(ID.fullmatch(each) for each in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("kept", [True, False])
def test_a_request_id_that_is_given_goes_on_to_the_other_services(door, image, kept):
    given = "req-11111111-2222-3333-4444-555555555555" if kept else "req-no\tlog"
    server_id = door.boot(image)
    door.running(server_id)
    answer = door("DELETE", f"/servers/{server_id}", headers={"X-OpenStack-Request-Id": given})
    assert answer.headers["x-openstack-request-id"] != given
    door.gone(server_id)
    calls = door.calls("DELETE", "/volumes/")
    assert (calls[-1]["global_id"] == given) is kept
