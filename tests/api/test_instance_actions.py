# SPDX-License-Identifier: Apache-2.0
"""What was asked of a server is told from the journal: by whom, when, with its steps and how it ended."""

import uuid

import pytest

from tests import sites
from tests.api.conftest import away, opened, world_with_hosts

SECRETS = ("s3cret-pass", "czNjcmV0", "10.9.8.7", "auth_username")


@pytest.fixture(scope="module")
def asked(door, image):
    """A server that was made, locked, unlocked and stopped, and the ids of those requests, the oldest first."""
    server = {"name": "asked", "imageRef": image, "flavorRef": "tiny", "networks": "none", "adminPass": SECRETS[0],
              "user_data": SECRETS[1]}  # fmt: skip
    made = door("POST", "/servers", {"server": server}, version="2.96")
    server_id = made.json()["server"]["id"]
    door.running(server_id)
    answers = [made, act(door, server_id, lock={"locked_reason": "why"}), act(door, server_id, unlock=None)]
    assert act(door, server_id, **{"os-start": None}).status_code == 409
    answers.append(act(door, server_id, **{"os-stop": None}))
    sites.until(lambda: door.show(server_id)["status"] == "SHUTOFF")
    yield server_id, [answer.headers["x-openstack-request-id"] for answer in answers]
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)


def act(door, server_id, user="demo", headers=None, **body):
    return door("POST", f"/servers/{server_id}/action", body, version="2.96", user=user, headers=headers)


def actions(door, server_id, query="", version="2.96", user="demo"):
    return door("GET", f"/servers/{server_id}/os-instance-actions{query}", version=version, user=user)


def test_actions_are_listed_the_youngest_first_with_who_asked_and_by_which_request(door, asked):
    server_id, ids = asked
    found = actions(door, server_id).json()["instanceActions"]
    assert [each["action"] for each in found] == ["stop", "unlock", "lock", "create"]
    assert [each["request_id"] for each in found] == ids[::-1]
    caller = door.site.caller("demo")
    assert {(each["user_id"], each["project_id"]) for each in found} == {(caller.user_id, caller.project_id)}
    assert {each["instance_uuid"] for each in found} == {server_id}
    assert {each["message"] for each in found} == {None}
    assert all(each["start_time"] <= each["updated_at"] for each in found)
    older = actions(door, server_id, version="2.57").json()
    assert older.keys() == {"instanceActions"}
    assert "updated_at" not in older["instanceActions"][0]


def test_actions_have_pages_and_times(door, asked):
    server_id, ids = asked
    seen, path = [], f"{door.url}/servers/{server_id}/os-instance-actions?limit=3"
    while path:
        page = door("GET", path, version="2.58").json()
        seen += [each["request_id"] for each in page["instanceActions"]]
        assert len(page["instanceActions"]) <= 3
        path = page.get("links", [{}])[0].get("href")
    assert seen == ids[::-1]
    first = actions(door, server_id).json()["instanceActions"][-1]
    since, before = (actions(door, server_id, f"?changes-{name}={first['updated_at']}Z").json()["instanceActions"]
                     for name in ("since", "before"))  # fmt: skip
    assert ([each["request_id"] for each in since], [each["request_id"] for each in before]) == (ids[::-1], ids[:1])


@pytest.mark.parametrize(
    ("query", "version", "code"),
    [("?marker=req-none", "2.58", 400), ("?bogus=1", "2.58", 400), ("?bogus=1", "2.57", 200), ("?limit=x", "2.58", 400),
     ("?changes-before=2026-01-01T00:00:00Z", "2.65", 400), ("?changes-since=never", "2.58", 400),
     ("/req-none", "2.96", 404)],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused(door, asked, query, version, code):
    assert actions(door, asked[0], query, version).status_code == code


def test_an_action_is_shown_with_its_steps_and_admins_see_where_they_were(door, asked):
    server_id, ids = asked
    shown = actions(door, server_id, f"/{ids[0]}").json()["instanceAction"]
    events = shown["events"]
    assert [each["event"] for each in events[::-1]][:3] == ["cell", "ask_volume", "have_volume"]
    assert {each["result"] for each in events} == {"Success"}
    assert all(each["start_time"] <= each["finish_time"] for each in events)
    assert [each["hostId"] for each in events if each["event"] == "spawn"] == [door.show(server_id)["hostId"]]
    assert events[0].keys() == {"event", "start_time", "finish_time", "result", "hostId"}
    (spawn,) = [each for each in actions(door, server_id, f"/{ids[0]}", user="admin").json()["instanceAction"]["events"]
                if each["event"] == "spawn"]  # fmt: skip
    assert (spawn["host"], spawn["traceback"]) == (door.show(server_id, user="admin")["OS-EXT-SRV-ATTR:host"], None)
    assert spawn["details"] == f"host {spawn['host']}"
    for version, user, keys in (
        ("2.50", "demo", None),
        ("2.50", "admin", {"traceback"}),
        ("2.51", "demo", set()),
        ("2.62", "admin", {"traceback", "hostId", "host"}),
        ("2.83", "demo", {"hostId"}),
    ):
        action = actions(door, server_id, f"/{ids[0]}", version, user).json()["instanceAction"]
        assert ("events" in action) is (keys is not None)
        if keys is not None:
            assert action["events"][0].keys() == {"event", "start_time", "finish_time", "result"} | keys


def test_no_secret_is_told_to_anybody(door, asked):
    server_id, ids = asked
    for user in ("demo", "admin"):
        texts = [actions(door, server_id, user=user).text]
        texts += [actions(door, server_id, f"/{each}", user=user).text for each in ids]
        assert not [secret for secret in SECRETS if any(secret in text for text in texts)]


def test_requests_that_share_an_id_are_told_apart_by_their_own(door, image):
    server_id = door.boot(image)
    door.running(server_id)
    shared = {"X-OpenStack-Request-Id": f"req-{uuid.uuid4()}"}
    own = [act(door, server_id, headers=shared, lock=None), act(door, server_id, headers=shared, unlock=None)]
    ids = [answer.headers["x-openstack-request-id"] for answer in own]
    newest = actions(door, server_id, "?limit=2").json()["instanceActions"]
    assert [each["request_id"] for each in newest] == ids[::-1]
    assert actions(door, server_id, f"/{ids[0]}").json()["instanceAction"]["action"] == "lock"
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)


def test_of_a_deleted_server_they_are_told_from_2_21_on_and_to_its_project_alone(door, image):
    server_id = door.boot(image)
    door.running(server_id)
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)
    assert [each["action"] for each in actions(door, server_id, version="2.21").json()["instanceActions"]] == [
        "delete", "create"
    ]  # fmt: skip
    assert actions(door, server_id, version="2.20").status_code == 404
    assert actions(door, server_id, user="other").status_code == 404
    assert actions(door, server_id, user="admin").status_code == 200


def test_what_failed_says_why_in_its_users_words(site, tmp_path, image):
    world = world_with_hosts(site, tmp_path)
    world.config.write_text(world.config.read_text() + "fails = spawn:failed\n")
    with opened(world) as door:
        server_id = door.boot(image)
        sites.until(lambda: door.show(server_id)["status"] == "ERROR")
        sites.until(lambda: not door.cloud.parts.journal.opened(server_id))
        (action,) = actions(door, server_id).json()["instanceActions"]
        assert action["message"] == door.show(server_id)["fault"]["message"]
        events = actions(door, server_id, f"/{action['request_id']}").json()["instanceAction"]["events"]
        assert [each["result"] for each in events if each["event"] == "spawn"] == ["Error"]
        cell = door.cloud.parts.registry.find_mapping(server_id).cell.name
        door.cloud.parts.cells.named(cell).close()
        with away(world, cell):
            assert [each["action"] for each in actions(door, server_id).json()["instanceActions"]] == ["create"]
        assert door("DELETE", f"/servers/{server_id}").status_code == 204
        door.gone(server_id)
