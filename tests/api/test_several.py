# SPDX-License-Identifier: Apache-2.0
"""Many servers by one request: as many as the quota leaves, or none."""

import pytest
import requests

from bfv import groups
from tests.api.conftest import opened, world_with_hosts
from tests.api.test_golden import differences, shape
from tests.api.test_lists import GOLDEN


@pytest.fixture
def own(site, tmp_path):
    """A door of its own with room for five servers."""
    world = world_with_hosts(site, tmp_path)
    world.config.write_text(world.config.read_text() + "[quota]\ninstances = 5\n")
    with opened(world) as door:
        yield door
        for each in door("GET", "/servers").json()["servers"]:
            door("DELETE", f"/servers/{each['id']}")
            door.gone(each["id"])


def create(door, image, **words):
    server = {"name": "many", "imageRef": image, "flavorRef": "tiny", "networks": "none", **words}
    return door("POST", "/servers", {"server": server}, version="2.96")


def listed(door, **query):
    path = requests.Request("GET", f"{door.url}/servers/detail", params=query).prepare().url
    return door("GET", path, version="2.96", user="demo").json()["servers"]


def test_many_are_made_by_one_request_with_names_of_their_own(own, image):
    answer = create(own, image, min_count=1, max_count="3", metadata={"a": "b"}, tags=["t"])
    assert answer.status_code == 202
    found = listed(own)
    assert answer.json()["server"]["id"] == next(each["id"] for each in found if each["name"] == "many-1")
    assert {each["name"] for each in found} == {"many-1", "many-2", "many-3"}
    for each in found:
        shown = own.running(each["id"])
        assert (shown["metadata"], shown["tags"], shown["OS-EXT-SRV-ATTR:hostname"]) == (
            {"a": "b"}, ["t"], shown["name"]
        )  # fmt: skip
    seen = [own.show(each["id"], user="admin") for each in found]
    assert len({each["OS-EXT-SRV-ATTR:reservation_id"] for each in seen}) == 1
    assert {each["OS-EXT-SRV-ATTR:launch_index"] for each in seen} == {0, 1, 2}
    volumes = {volume["id"] for each in seen for volume in each["os-extended-volumes:volumes_attached"]}
    assert len(volumes) == 3


def test_servers_of_a_group_are_kept_apart_and_tell_their_group(own, image):
    caller = own.site.caller("demo")
    group = groups.create(own.cloud.parts, caller.project_id, caller.user_id, "apart", "anti-affinity").uuid
    server = {"name": "many", "imageRef": image, "flavorRef": "tiny", "networks": "none"}
    body = {"server": {**server, "min_count": 2}, "os:scheduler_hints": {"group": group}}
    assert own("POST", "/servers", body, version="2.96").status_code == 202
    found = listed(own)
    for each in found:
        assert own.running(each["id"])["server_groups"] == [group]
    hosts = {own.show(each["id"], user="admin")["OS-EXT-SRV-ATTR:host"] for each in found}
    assert len(hosts) == len(found) == 2


def test_as_many_as_the_quota_leaves_are_made_or_none(own, image):
    golden = GOLDEN["servers/create-multi"]
    refused = create(own, image, min_count=6)
    assert refused.status_code == 403
    assert refused.json()["forbidden"]["message"] == (
        "Quota exceeded for instances: Requested 6, but already used 0 of 5 instances"
    )
    assert listed(own) == []
    answer = create(own, image, min_count=2, max_count=9, return_reservation_id=True)
    assert (answer.status_code, set(differences(golden["body"], shape(answer.json())))) == (202, set())
    assert "Location" not in answer.headers
    found = listed(own, reservation_id=answer.json()["reservation_id"])
    for each in listed(own):
        own.running(each["id"])
    found = listed(own, reservation_id=answer.json()["reservation_id"])
    assert {each["name"] for each in found} == {f"many-{n}" for n in range(1, 6)}
    assert create(own, image).status_code == 403
