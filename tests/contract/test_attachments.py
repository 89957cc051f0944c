# SPDX-License-Identifier: Apache-2.0
"""Cinder's attachments: the way from reserved to attached and back, and who may let go."""

import uuid

import pytest
import requests

from tests.contract.door import acted, emptied, refused
from tests.contract.test_volumes import BUSY

CONNECTOR = {
    "host": "h1",
    "initiator": "iqn.x",
    "ip": "1.2.3.4",
    "platform": "x86_64",
    "os_type": "linux",
    "multipath": False,
}
FIELD = "Invalid input for field/attribute"
UNKNOWN = "Volume attachment could not be found with filter: attachment_id = {}."


@pytest.fixture
def volume(make_volume):
    return make_volume()


def attach(site, who, version="3.71", **body):
    return site.volume(who, "POST", "/attachments", {"attachment": body}, version=version)


def connection(site, volume_id, attachment_id):
    number = 2
    return {
        "name": f"volumes/volume-{volume_id}",
        "hosts": ["127.0.0.1"],
        "ports": [f"{number}6789"],
        "cluster_name": "cell2",
        "auth_enabled": True,
        "auth_username": "cinder",
        "secret_type": "ceph",
        "secret_uuid": "22222222-cccc-4ccc-8ccc-222222222222",
        "volume_id": volume_id,
        "discard": True,
        "qos_specs": None,
        "access_mode": "rw",
        "encrypted": False,
        "cacheable": False,
        "driver_volume_type": "rbd",
        "attachment_id": attachment_id,
        "enforce_multipath": False,
    }


def test_the_whole_way(site, admin, service, member, volume):
    server = str(uuid.uuid4())
    answer = attach(site, member, volume_uuid=volume, instance_uuid=server, connector=None)
    assert answer.status_code == 200
    reserved = answer.json()["attachment"]
    ident, path = reserved["id"], f"/attachments/{reserved['id']}"
    assert reserved == {
        "id": ident,
        "status": "reserved",
        "instance": server,
        "volume_id": volume,
        "attached_at": "",
        "detached_at": "",
        "attach_mode": "null",
        "connection_info": {},
    }
    assert site.volume(member, "GET", path).json() == answer.json()
    shown = site.show(member, volume)
    assert (shown["status"], shown["attachments"]) == ("reserved", [])
    refused(site.volume(member, "DELETE", f"/volumes/{volume}"), 400, BUSY)

    answer = site.volume(member, "PUT", path, {"attachment": {"connector": CONNECTOR}})
    assert answer.status_code == 200
    known = connection(site, volume, ident)
    assert answer.json()["attachment"] == reserved | {"connection_info": known}
    attaching = site.volume(member, "GET", path).json()["attachment"]
    assert attaching["status"] == "attaching"
    assert (attaching["attach_mode"], attaching["connection_info"]) == ("rw", known)
    assert attaching["attached_at"].endswith(".000000")
    assert site.show(member, volume)["status"] == "attaching"

    acted(site.volume(member, "POST", f"{path}/action", {"os-complete": {}}), 204)
    acted(site.volume(member, "POST", f"{path}/action", {"os-complete": {}}), 204)
    attached = site.volume(member, "GET", path).json()["attachment"]
    assert attached == attaching | {"status": "attached"}
    shown = {who: site.show(who, volume) for who in (member, admin)}
    for who, host in ((member, None), (admin, "h1")):
        assert shown[who]["status"] == "in-use"
        assert shown[who]["attachments"] == [
            {
                "id": volume,
                "attachment_id": ident,
                "volume_id": volume,
                "server_id": server,
                "host_name": host,
                "device": "na",
                "attached_at": attached["attached_at"],
            }
        ]
    refused(site.volume(member, "DELETE", f"/volumes/{volume}"), 400, BUSY)

    gone = site.volume(member, "DELETE", path, beside=service)
    assert (gone.status_code, gone.json()) == (200, {"attachments": []})
    refused(site.volume(member, "DELETE", path, beside=service), 404, UNKNOWN.format(ident))
    assert site.show(member, volume)["status"] == "available"


def test_only_the_same_server_reserves_twice(site, member, volume, reserve):
    first, server = reserve(volume)
    text = "status must be available or downloading to reserve, but the current status is reserved."
    text = f"Invalid volume: Volume {volume} {text}"
    refused(attach(site, member, volume_uuid=volume, instance_uuid=str(uuid.uuid4())), 400, text)
    refused(attach(site, member, volume_uuid=volume), 400, text)
    second, _ = reserve(volume, server)
    left = site.volume(member, "DELETE", f"/attachments/{second}").json()
    brief = {"id": first, "status": "reserved", "instance": server, "volume_id": volume}
    assert left == {"attachments": [brief]}
    assert site.show(member, volume)["status"] == "reserved"
    assert site.volume(member, "DELETE", f"/attachments/{first}").json() == {"attachments": []}
    assert site.show(member, volume)["status"] == "available"


def test_nobody_reserves_a_volume_that_is_on_its_way_to_a_host(site, member, service, volume, reserve):
    first, server = reserve(volume)
    path = f"/attachments/{first}"
    assert site.volume(member, "PUT", path, {"attachment": {"connector": CONNECTOR}}).status_code == 200
    text = "status must be available or downloading to reserve, but the current status is attaching."
    text = f"Invalid volume: Volume {volume} {text}"
    refused(attach(site, member, volume_uuid=volume, instance_uuid=server), 400, text)
    acted(site.volume(member, "POST", f"{path}/action", {"os-complete": {}}), 204)
    second, _ = reserve(volume, server)
    for attachment in (first, second):
        assert site.volume(member, "DELETE", f"/attachments/{attachment}", beside=service).status_code == 200
    assert site.show(member, volume)["status"] == "available"


@pytest.fixture
def shared_type(site, admin):
    """A volume type whose volumes several servers may have at once."""
    name = f"contract-{uuid.uuid4().hex[:8]}"
    specs = {"multiattach": "<is> True", "volume_backend_name": "cell2"}
    made = site.volume(admin, "POST", "/types", {"volume_type": {"name": name, "extra_specs": specs}})
    yield name
    emptied(site.volume(admin, "DELETE", f"/types/{made.json()['volume_type']['id']}"))


def test_a_volume_that_several_servers_may_have(site, admin, service, member, shared_type):
    body = {"size": 1, "volume_type": shared_type, "availability_zone": "cell2"}
    volume = site.volume(member, "POST", "/volumes", {"volume": body}).json()["volume"]["id"]
    try:
        site.settle(admin, volume, "available")
        assert site.show(member, volume)["multiattach"] is True
        first = attach(site, member, volume_uuid=volume, instance_uuid=str(uuid.uuid4())).json()["attachment"]["id"]
        text = "status must be available or in-use or downloading to reserve, but the current status is reserved."
        text = f"Invalid volume: Volume {volume} {text}"
        refused(attach(site, member, volume_uuid=volume, instance_uuid=str(uuid.uuid4())), 400, text)
        path = f"/attachments/{first}"
        assert site.volume(member, "PUT", path, {"attachment": {"connector": CONNECTOR}}).status_code == 200
        acted(site.volume(member, "POST", f"{path}/action", {"os-complete": {}}), 204)
        second = attach(site, member, volume_uuid=volume, instance_uuid=str(uuid.uuid4())).json()["attachment"]["id"]
        assert site.show(member, volume)["status"] == "reserved"
        site.volume(member, "DELETE", f"/attachments/{second}", beside=service)
        assert site.show(member, volume)["status"] == "in-use"
        site.volume(member, "DELETE", path, beside=service)
        assert site.show(member, volume)["status"] == "available"
    finally:
        site.remove(admin, volume)


def test_list(site, admin, member, other, volume, reserve):
    first, server = reserve(volume)
    second, _ = reserve(volume, server)
    rows = site.volume(member, "GET", "/attachments", params={"volume_id": volume}).json()["attachments"]
    assert {row["id"] for row in rows} == {first, second}
    assert set(rows[0]) == {"id", "status", "instance", "volume_id"}
    rows = site.volume(member, "GET", "/attachments/detail", params={"instance_id": server}).json()["attachments"]
    assert {row["id"] for row in rows} == {first, second}
    assert set(rows[0]) > {"connection_info", "attach_mode"}
    query = {"volume_id": volume}
    assert site.volume(other, "GET", "/attachments", params=query).json() == {"attachments": []}
    assert site.volume(admin, "GET", "/attachments", params=query).json() == {"attachments": []}
    found = site.volume(admin, "GET", "/attachments", params=query | {"all_tenants": 1}).json()["attachments"]
    assert {row["id"] for row in found} == {first, second}
    text = "Invalid filters odd are found in query options."
    refused(site.volume(member, "GET", "/attachments", params={"odd": 1}), 400, text)


def test_create_refusals(site, member, reader, other, volume):
    server, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    body = {"volume_uuid": volume, "instance_uuid": server}
    refused(attach(site, member, **body | {"volume_uuid": unknown}), 404, f"Volume {unknown} could not be found.")
    refused(attach(site, other, **body), 404, f"Volume {volume} could not be found.")
    text = "Policy doesn't allow volume:attachment_create to be performed."
    refused(attach(site, reader, **body), 403, text)
    text = f"{FIELD} attachment. Value: {{'instance_uuid': '{server}'}}. 'volume_uuid' is a required property"
    refused(attach(site, member, instance_uuid=server), 400, text)
    text = f"{FIELD} volume_uuid. Value: x. 'x' is not a 'uuid'"
    refused(attach(site, member, **body | {"volume_uuid": "x"}), 400, text)
    text = f"{FIELD} attachment. Value: {body | {'mode': 'rw'}}. "
    text += "Additional properties are not allowed ('mode' was unexpected)"
    refused(attach(site, member, "3.53", **body, mode="rw"), 400, text, "3.53")
    refused(attach(site, member, "3.26", **body), 404, "The resource could not be found.", "3.26")


def test_other_states(site, member, make_volume):
    lost = make_volume(volume_type="lost", wait="error")
    text = "Volume attachments can not be created if the volume is in an error state. "
    text = f"Invalid volume: {text}The Volume {lost} currently has a status of: error "
    refused(attach(site, member, volume_uuid=lost, instance_uuid=str(uuid.uuid4())), 400, text)


def test_update_refusals(site, member, other, volume, reserve):
    ident, _ = reserve(volume)
    path = f"/attachments/{ident}"

    def update(who, **body):
        return site.volume(who, "PUT", path, {"attachment": body})

    text = f"{FIELD} connector. Value: {{}}. {{}} should be non-empty"
    refused(update(member, connector={}), 400, text)
    text = f"{FIELD} attachment. Value: {{}}. 'connector' is a required property"
    refused(update(member), 400, text)
    # A connector without a host is not checked: it breaks.
    refused(update(member, connector={"ip": "1"}), 500, "Unable to update the attachment.")
    for method in ("GET", "DELETE"):
        refused(site.volume(other, method, path), 404, UNKNOWN.format(ident))
    refused(site.volume(member, "GET", "/attachments/nope"), 404, UNKNOWN.format("nope"))
    text = "The resource could not be found."
    complete = {"os-complete": {}}
    refused(site.volume(member, "POST", f"{path}/action", complete, version="3.43"), 404, text, "3.43")
    text = "There is no such action: nope. Verify the request body and Content-Type header and try again."
    refused(site.volume(member, "POST", f"{path}/action", {"nope": {}}), 400, text)


def test_with_connector_at_once(site, service, member, volume):
    body = {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4()), "connector": CONNECTOR}
    answer = attach(site, member, **body, mode="ro")
    made = answer.json()["attachment"]
    assert (made["status"], made["attach_mode"], made["attached_at"]) == ("reserved", "ro", "")
    assert made["connection_info"] == connection(site, volume, made["id"])
    assert site.show(member, volume)["status"] == "attaching"
    # Nova says nothing of this server, so its owner may let go.
    path = f"/attachments/{made['id']}"
    assert site.volume(member, "DELETE", path).json() == {"attachments": []}
    assert site.show(member, volume)["status"] == "available"


def test_completed_without_connector(site, member, volume, reserve):
    ident, _ = reserve(volume)
    acted(site.volume(member, "POST", f"/attachments/{ident}/action", {"os-complete": {}}), 204)
    shown = site.volume(member, "GET", f"/attachments/{ident}").json()["attachment"]
    assert (shown["status"], shown["connection_info"], shown["attached_at"]) == ("attached", {}, "")
    assert site.show(member, volume)["status"] == "in-use"
    assert site.volume(member, "DELETE", f"/attachments/{ident}").json() == {"attachments": []}


def test_what_nova_uses_only_services_let_go(site, service, nosvc, member, volume, reserve):
    ident, server = reserve(volume)
    path = f"/attachments/{ident}"
    site.volume(member, "PUT", path, {"attachment": {"connector": CONNECTOR}})
    told = {"server": server, "volume": volume, "attachment": ident}
    requests.put(f"{site.nova_url}/attachments", json=told, timeout=60)
    try:
        text = f"ConflictNovaUsingAttachment: Detach volume from instance {server} using the Compute API"
        refused(site.volume(member, "DELETE", path), 409, text)
        body = {"os-detach": {"attachment_id": ident}}
        refused(site.volume(member, "POST", f"/volumes/{volume}/action", body), 409, text)
        assert site.volume(member, "DELETE", path, beside=nosvc).status_code == 401
        assert site.volume(member, "DELETE", path, beside=service).json() == {"attachments": []}
    finally:
        requests.delete(f"{site.nova_url}/attachments", json=told, timeout=60)


@pytest.mark.parametrize("path", ["/volumes", "/types", "/limits"])
def test_a_bad_service_token_spoils_every_call(site, service, nosvc, member, path):
    for beside in (nosvc, "rubbish"):
        answer = site.volume(member, "GET", path, beside=beside)
        assert answer.status_code == 401
        text = "The request you have made requires authentication."
        assert answer.json() == {"error": {"code": 401, "title": "Unauthorized", "message": text}}
    assert site.volume(member, "GET", path, beside=service).status_code == 200
