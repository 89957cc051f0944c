# SPDX-License-Identifier: Apache-2.0
"""Faults by rule: what the caller gets, and what was done all the same."""

import time
import uuid

import pytest
import requests

from tests.sites import until

CREATE = {"method": "POST", "path": "/volumes$"}


@pytest.mark.parametrize(("kind", "made"), [("lost_before", 0), ("lost_after", 1)])
def test_lost(demo, kind, made):
    demo.mock("POST", "/faults", {"kind": kind, **CREATE})
    with pytest.raises(requests.ConnectionError):
        demo.create()
    assert len(demo.volumes()) == made
    assert demo.create().status_code == 202


def test_lost_and_done_late(demo):
    demo.mock("POST", "/clock", {"hold": True})
    demo.mock("POST", "/faults", {"kind": "lost_late", "seconds": 10, **CREATE})
    with pytest.raises(requests.ConnectionError):
        demo.create(name="late")
    assert demo.volumes() == []
    demo.mock("POST", "/clock", {"advance": 9.5})
    assert demo.volumes() == []
    demo.mock("POST", "/clock", {"advance": 0.5})
    assert [row["name"] for row in demo.volumes()] == ["late"]


def test_late(demo):
    demo.mock("POST", "/faults", {"kind": "late", "seconds": 0.3, **CREATE})
    start = time.monotonic()
    assert demo.create().status_code == 202
    assert time.monotonic() - start >= 0.3
    demo.mock("POST", "/faults", {"kind": "late", "seconds": 10, **CREATE})
    with pytest.raises(requests.ReadTimeout):
        demo("POST", "/volumes", {"volume": {"size": 1}}, timeout=0.2)
    until(lambda: len(demo.volumes()) == 2)


def test_doubled(demo):
    demo.mock("POST", "/faults", {"kind": "doubled", **CREATE})
    answer = demo.create(name="twice")
    assert answer.status_code == 202
    rows = demo.volumes()
    assert [row["name"] for row in rows] == ["twice", "twice"]
    assert answer.json()["volume"]["id"] in {row["id"] for row in rows}


@pytest.mark.parametrize(("kind", "made"), [("status_before", 0), ("status_after", 1)])
@pytest.mark.parametrize("status", [401, 404, 409, 413, 500, 503, 504])
def test_any_status(demo, kind, made, status):
    rule = {"kind": kind, "status": status, "body": {"told": "so"}, "headers": {"Retry-After": "1"}, **CREATE}
    demo.mock("POST", "/faults", rule)
    answer = demo.create()
    assert (answer.status_code, answer.json(), answer.headers["Retry-After"]) == (status, {"told": "so"}, "1")
    assert len(demo.volumes()) == made


def test_nth_and_times(demo):
    demo.mock("POST", "/faults", {"kind": "status_before", "nth": 2, "times": 2, "status": 500, **CREATE})
    assert [demo.create().status_code for _ in range(5)] == [202, 500, 500, 202, 202]
    rule = demo.mock("GET", "/faults").json()["faults"][0]
    assert (rule["seen"], rule["hit"]) == (5, 2)
    demo.mock("DELETE", "/faults")
    demo.mock("POST", "/faults", {"kind": "status_before", "times": 0, "status": 500, "path": "/volumes"})
    assert {demo("GET", "/volumes").status_code for _ in range(3)} == {500}


def test_several_rules_each_count(demo):
    rules = [{"kind": "status_before", "nth": n, "status": 500 + n, **CREATE} for n in (1, 3)]
    assert demo.mock("POST", "/faults", rules).status_code == 200
    assert [demo.create().status_code for _ in range(4)] == [501, 202, 503, 202]


def test_rules_without_sense_are_refused(demo):
    for rule, word in (({"kind": "odd"}, "odd"), ({"kind": "late", "often": 1}, "often")):
        answer = demo.mock("POST", "/faults", rule)
        assert answer.status_code == 400
        assert word in answer.json()["error"]


def test_keystone_and_glance_fail_too(demo):
    demo.mock("POST", "/faults", {"kind": "status_before", "path": "^/identity/v3/auth/tokens", "status": 503})
    answer = demo.session.post(f"{demo.told['auth_url']}/auth/tokens", json={})
    assert answer.status_code == 503
    demo.mock("POST", "/faults", {"kind": "lost_before", "path": "^/image/"})
    with pytest.raises(requests.ConnectionError):
        demo("GET", "/v2/images")


@pytest.mark.parametrize(("kind", "times"), [("lost_before", 0), ("lost_after", 1), ("lost_late", 1), ("doubled", 2)])
def test_what_cinder_tells_the_compute_service_meets_them_too(demo, kind, times):
    volume = demo.volume()
    demo.status(volume)
    body = {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4()), "connector": {"host": "h"}}
    attachment = demo("POST", "/attachments", {"attachment": body}).json()["attachment"]["id"]
    demo("POST", f"/attachments/{attachment}/action", {"os-complete": {}})
    demo.mock("POST", "/clock", {"hold": True})
    demo.mock("POST", "/faults", {"kind": kind, "seconds": 10, "path": "/os-server-external-events$"})
    demo("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}})
    told = lambda: demo.mock("GET", "/compute/events").json()  # noqa: E731
    if kind == "lost_late":
        assert told() == []
        demo.mock("POST", "/clock", {"advance": 10})
    event = {"name": "volume-extended", "server_uuid": body["instance_uuid"], "tag": volume}
    assert told() == [event] * times
    # Where cinder hears nothing it tells its user.
    left = [each["event_id"] for each in demo("GET", "/messages").json()["messages"]]
    assert left == ([] if kind == "doubled" else ["VOLUME_VOLUME_007_009"])


def test_the_question_whether_an_attachment_is_used_meets_them_too(demo):
    volume = demo.volume()
    demo.status(volume)
    body = {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4()), "connector": {"host": "h"}}
    path = f"/attachments/{demo('POST', '/attachments', {'attachment': body}).json()['attachment']['id']}"
    question = {"method": "GET", "path": "/os-volume_attachments/"}
    demo.mock("POST", "/faults", [{"kind": "lost_before", **question}, {"kind": "status_before", "nth": 2, **question}])
    assert [demo("DELETE", path).status_code for _ in range(3)] == [500, 503, 200]
