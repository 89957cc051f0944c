# SPDX-License-Identifier: Apache-2.0
"""What is written on a server over HTTP: names, metadata, tags, locks, states, and what becomes of its volumes."""

import json

import pytest
import sqlalchemy as sa

from cells.schema_cell import instance_info_caches
from tests.api.test_golden import NOWHERE, differences, shape
from tests.api.test_lists import GOLDEN

PAGE = [{"address": "fa:16:3e:00:00:01", "network": {"label": "red", "subnets": [{"ips": [
    {"address": "10.0.0.5", "version": 4, "type": "fixed",
     "floating_ips": [{"address": "172.16.0.5", "version": 4, "type": "floating"}]},
    {"address": "fd00::5", "version": 6, "type": "fixed", "floating_ips": []},
]}]}}]  # fmt: skip


@pytest.fixture(scope="module")
def server_id(door, image):
    made = door.boot(image, metadata={"a": "b"}, tags=["first", "first"], hostname="web-1")
    shown = door.running(made)
    assert (shown["tags"], shown["OS-EXT-SRV-ATTR:hostname"]) == (["first"], "web-1")
    yield made
    door("DELETE", f"/servers/{made}", user="admin")
    door.gone(made)


@pytest.fixture
def ask(door, server_id):
    """Ask something of the server and return the answer."""

    def run(method, path="", body=None, version="2.96", **more):
        return door(method, f"/servers/{server_id}{path}", body, version=version, **more)

    return run


def act(ask, user="demo", **body):
    return ask("POST", "/action", body, user=user)


def told(answer):
    (fault,) = answer.json().values()
    return fault["message"]


def test_a_name_a_description_and_a_host_name_are_changed(door, ask, server_id):
    answer = ask("PUT", body={"server": {"name": "new", "description": "why", "hostname": "web-2.example"}})
    assert answer.status_code == 200
    changed = answer.json()["server"]
    assert (changed["name"], changed["description"], changed["OS-EXT-SRV-ATTR:hostname"]) == (
        "new", "why", "web-2.example"
    )  # fmt: skip
    assert door.show(server_id) == changed
    assert ask("PUT", body={"server": {"description": None}}).json()["server"]["description"] is None
    assert ask("PUT", body={"server": {}}).status_code == 200
    golden = GOLDEN["servers/put-name"]
    older = ask("PUT", body=golden["request"], version=golden["version"])
    assert set(differences(golden["body"], shape(older.json()))) == set()


@pytest.mark.parametrize(
    ("server", "version"),
    [({"name": ""}, "2.96"), ({"name": "x" * 256}, "2.96"), ({"name": None}, "2.96"), ({"hostname": "a b"}, "2.96"),
     ({"hostname": "web.example"}, "2.93"), ({"hostname": "web"}, "2.89"), ({"description": "x"}, "2.18"),
     ({"name": "\U0001f600"}, "2.96"), ({"OS-DCF:diskConfig": "AUTO"}, "2.96"), ({"accessIPv4": "10.0.0.1"}, "2.96")],
)  # fmt: skip
def test_a_change_that_cannot_be_is_refused(door, ask, server_id, server, version):
    before = door.show(server_id)
    assert ask("PUT", body={"server": server}, version=version).status_code == 400
    assert door.show(server_id) == before


def test_metadata_is_added_to_replaced_and_taken_away(ask):
    assert ask("PUT", "/metadata", {"metadata": {"a": "b"}}).json() == {"metadata": {"a": "b"}}
    assert ask("POST", "/metadata", {"metadata": {"c": "d"}}).json() == {"metadata": {"a": "b", "c": "d"}}
    assert ask("PUT", "/metadata/c", {"meta": {"c": "D"}}).json() == {"meta": {"c": "D"}}
    assert ask("GET", "/metadata/c").json() == {"meta": {"c": "D"}}
    assert ask("GET", "/metadata").json() == {"metadata": {"a": "b", "c": "D"}}
    gone = ask("DELETE", "/metadata/c")
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (ask("GET", "/metadata/c"), ask("DELETE", "/metadata/c")):
        assert (answer.status_code, told(answer)) == (404, "Metadata item was not found")
    assert told(ask("PUT", "/metadata/c", {"meta": {"x": "y"}})) == "Request body and URI mismatch"
    assert ask("PUT", "/metadata/a", {"meta": {"a": "b", "c": "d"}}).status_code == 400
    assert ask("PUT", "/metadata", {"metadata": {"a": 1}}).status_code == 400
    many = ask("POST", "/metadata", {"metadata": {f"key{n}": "" for n in range(128)}})
    assert (many.status_code, told(many)) == (403, "Maximum number of metadata items exceeds 128")
    assert ask("GET", "/metadata").json() == {"metadata": {"a": "b"}}


def test_a_server_is_not_made_with_too_much_metadata(door, image):
    server = {"name": "x", "imageRef": image, "flavorRef": "tiny", "networks": "none"}
    body = {"server": {**server, "metadata": {f"key{n}": "" for n in range(129)}}}
    assert door("POST", "/servers", body, version="2.96").status_code == 403


def test_tags_are_put_on_and_taken_off(door, ask, server_id):
    assert ask("PUT", "/tags", {"tags": ["b", "a", "a"]}).json() == {"tags": ["a", "b"]}
    made = ask("PUT", "/tags/c")
    assert (made.status_code, made.headers["Location"]) == (201, f"{door.url}/servers/{server_id}/tags/c")
    assert [ask("PUT", "/tags/c").status_code, ask("GET", "/tags/c").status_code] == [204, 204]
    assert ask("GET", "/tags").json() == {"tags": ["a", "b", "c"]}
    assert door.show(server_id)["tags"] == ["a", "b", "c"]
    listed = door("GET", "/servers/detail?tags=a,c", version="2.96").json()["servers"]
    assert [(each["id"], each["tags"]) for each in listed] == [(server_id, ["a", "b", "c"])]
    assert ask("DELETE", "/tags/a").status_code == 204
    assert told(ask("DELETE", "/tags/a")) == f"Instance {server_id} has no tag 'a'"
    assert told(ask("GET", "/tags/a")) == f"Server {server_id} has no tag 'a'"
    assert told(ask("PUT", "/tags/a,b")).startswith("Tag 'a,b' is invalid. It must be a non empty string")
    assert ask("PUT", "/tags/x", {"a": 1}).status_code == 400
    assert ask("PUT", "/tags", {"tags": [str(n) for n in range(51)]}).status_code == 400
    assert ask("PUT", "/tags", {"tags": [str(n) for n in range(50)]}).status_code == 200
    assert told(ask("PUT", "/tags/x")) == "The number of tags exceeded the per-server limit 50"
    assert ask("DELETE", "/tags").status_code == 204
    assert ask("GET", "/tags").json() == {"tags": []}
    assert ask("GET", "/tags", version="2.25").status_code == 404


def test_a_locked_server_is_changed_by_admins_alone(door, ask, server_id):
    assert act(ask, lock={"locked_reason": "mine"}).status_code == 202
    shown = door.show(server_id)
    assert (shown["locked"], shown["locked_reason"]) == (True, "mine")
    listed = door("GET", "/servers/detail?locked=true", version="2.96").json()["servers"]
    assert [(each["id"], each["locked_reason"]) for each in listed] == [(server_id, "mine")]
    refused = [
        act(ask, **{"os-stop": None}),
        act(ask, reboot={"type": "HARD"}),
        act(ask, rebuild={"imageRef": NOWHERE}),
        act(ask, forceDelete=None),
        ask("DELETE"),
        ask("POST", "/metadata", {"metadata": {"z": "z"}}),
        ask("DELETE", "/metadata/a"),
    ]
    for answer in refused:
        assert (answer.status_code, told(answer)) == (409, f"Instance {server_id} is locked")
    assert act(ask, lock={"locked_reason": "twice"}).status_code == 202
    assert door.show(server_id)["locked_reason"] == "mine"
    assert ask("PUT", "/tags/x").status_code == 201
    assert act(ask, user="admin", reboot={"type": "HARD"}).status_code == 202
    door.running(server_id)
    assert act(ask, unlock=None).status_code == 202
    shown = door.show(server_id)
    assert (shown["locked"], shown["locked_reason"]) == (False, None)
    assert ask("POST", "/metadata", {"metadata": {"z": "z"}}).status_code == 200


def test_what_an_admin_has_locked_an_admin_unlocks(door, ask, server_id):
    assert act(ask, user="admin", lock=None).status_code == 202
    answer = act(ask, unlock=None)
    policy = "os_compute_api:os-lock-server:unlock:unlock_override"
    assert (answer.status_code, told(answer)) == (403, f"Policy doesn't allow {policy} to be performed.")
    assert door.show(server_id)["locked"] is True
    assert act(ask, user="admin", unlock=None).status_code == 202
    assert door.show(server_id)["locked"] is False


def test_an_admin_writes_a_state_over_and_metadata_waits_for_a_calm_one(door, ask, server_id):
    assert act(ask, **{"os-resetState": {"state": "error"}}).status_code == 403
    assert act(ask, user="admin", **{"os-resetState": {"state": "gone"}}).status_code == 400
    assert act(ask, user="admin", **{"os-resetState": {"state": "error"}}).status_code == 202
    assert door.show(server_id)["status"] == "ERROR"
    for method, path, body, what in (
        ("POST", "/metadata", {"metadata": {}}, "update metadata"),
        ("DELETE", "/metadata/a", None, "delete metadata"),
        ("PUT", "/tags", {"tags": []}, "update tags"),
        ("DELETE", "/tags", None, "delete tags"),
    ):
        answer = ask(method, path, body)
        words = f"Cannot '{what}' instance {server_id} while it is in vm_state error"
        assert (answer.status_code, told(answer)) == (409, words)
    assert act(ask, user="admin", **{"os-resetState": {"state": "active"}}).status_code == 202
    assert door.running(server_id)["status"] == "ACTIVE"


def test_addresses_are_those_that_were_written_of_it(door, ask, server_id):
    assert ask("GET", "/ips").json() == {"addresses": {}}
    cell = door.cloud.parts.cells.of(door.cloud.parts.registry.find_mapping(server_id).cell)
    with cell.writer() as conn:
        row = {"instance_uuid": server_id, "network_info": json.dumps(PAGE), "deleted": 0}
        conn.execute(sa.insert(instance_info_caches).values(row))
    plain = [
        {"version": 4, "addr": "10.0.0.5"},
        {"version": 6, "addr": "fd00::5"},
        {"version": 4, "addr": "172.16.0.5"},
    ]
    assert ask("GET", "/ips").json() == {"addresses": {"red": plain}}
    assert ask("GET", "/ips/red").json() == {"red": plain}
    assert told(ask("GET", "/ips/blue")) == "Instance is not a member of specified network"
    shown = door.show(server_id)["addresses"]["red"]
    assert [each["OS-EXT-IPS:type"] for each in shown] == ["fixed", "fixed", "floating"]
    assert {each["OS-EXT-IPS-MAC:mac_addr"] for each in shown} == {"fa:16:3e:00:00:01"}
    listed = door("GET", "/servers/detail", version="2.96").json()["servers"]
    assert [each["addresses"]["red"] for each in listed if each["id"] == server_id] == [shown]


@pytest.mark.parametrize(
    ("version", "keys"),
    [("2.1", {"id"}), ("2.70", {"id", "tag"}), ("2.79", {"id", "tag", "delete_on_termination"}),
     ("2.89", {"tag", "delete_on_termination", "attachment_id", "bdm_uuid"})],
)  # fmt: skip
def test_volumes_are_listed_and_shown_by_microversion(door, ask, site, server_id, version, keys):
    (listed,) = ask("GET", "/os-volume_attachments", version=version).json()["volumeAttachments"]
    assert listed.keys() == {"volumeId", "serverId", "device"} | keys
    assert (listed["serverId"], listed["device"]) == (server_id, "/dev/vda")
    shown = ask("GET", f"/os-volume_attachments/{listed['volumeId']}", version=version).json()
    assert shown == {"volumeAttachment": listed}
    if version == "2.89":
        assert site.attachments()[listed["attachment_id"]]["volume_id"] == listed["volumeId"]
    assert ask("GET", "/os-volume_attachments?limit=0", version=version).json() == {"volumeAttachments": []}
    assert ask("GET", "/os-volume_attachments?offset=1", version=version).json() == {"volumeAttachments": []}
    missing = ask("GET", f"/os-volume_attachments/{NOWHERE}", version=version)
    assert (missing.status_code, told(missing)) == (
        404, f"Instance {server_id} is not attached to volume {NOWHERE}"
    )  # fmt: skip


def test_a_volume_is_told_to_stay_when_its_server_goes(door, ask, server_id):
    (held,) = ask("GET", "/os-volume_attachments", version="2.85").json()["volumeAttachments"]
    path = f"/os-volume_attachments/{held['volumeId']}"

    def put(version="2.85", user="demo", **words):
        body = {"volumeAttachment": {"volumeId": held["volumeId"], **words}}
        return ask("PUT", path, body, version=version, user=user)

    same = {name: held[name] for name in ("id", "serverId", "device")}
    assert put(**same, delete_on_termination=False).status_code == 202
    (shown,) = door.show(server_id)["os-extended-volumes:volumes_attached"]
    assert shown["delete_on_termination"] is False
    assert put(delete_on_termination=True).status_code == 202
    for name, value in (("device", "/dev/vdb"), ("tag", "x"), ("serverId", NOWHERE), ("id", NOWHERE)):
        assert told(put(**{name: value})) == f"The {name} property is not mutable"
    swap = "Policy doesn't allow os_compute_api:os-volumes-attachments:swap to be performed."
    assert told(put(volumeId=NOWHERE)) == told(put(version="2.84")) == swap
    assert put(version="2.84", delete_on_termination=True).status_code == 400
    assert put(version="2.84", user="bfv").status_code in (404, 501)


def test_a_server_is_deleted_by_force(door, image):
    made = door.boot(image)
    assert door("POST", f"/servers/{made}/action", {"forceDelete": None}, version="2.96").status_code == 202
    door.gone(made)
    again = door("POST", f"/servers/{made}/action", {"forceDelete": None}, version="2.96")
    assert again.status_code == 404
