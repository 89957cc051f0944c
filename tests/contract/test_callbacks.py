# SPDX-License-Identifier: Apache-2.0
"""What Cinder asks and tells the compute service of the catalog, and what becomes of its answers."""

import time
import uuid

import pytest

from tests.contract.door import acted, refused
from tests.contract.test_attachments import CONNECTOR

EVENTS = "/v2.1/os-server-external-events"
# Only the status of what the compute service says comes through.
WORDS = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    403: "Access was denied to this resource.",
    409: "There was a conflict when trying to complete your request.",
    500: "The server has either erred or is incapable of performing the requested operation.",
    503: "The server is currently unavailable. Please try again at a later time.",
}


@pytest.fixture
def attached(site, member, make_volume, reserve):
    """A volume of a server's that a host has: (volume, attachment, server)."""
    volume = make_volume()
    ident, server = reserve(volume)
    site.volume(member, "PUT", f"/attachments/{ident}", {"attachment": {"connector": CONNECTOR}})
    acted(site.volume(member, "POST", f"/attachments/{ident}/action", {"os-complete": {}}), 204)
    return volume, ident, server


def owner(site, admin, token):
    """Return whose a token is: user, project and roles."""
    found = site.identity(admin, "GET", "/auth/tokens", headers={"X-Subject-Token": token}).json()["token"]
    return found["user"]["name"], found["project"]["name"], {role["name"] for role in found["roles"]}


def asked(site, admin, call):
    """Return what was asked, in which version, as whom, and check that Cinder stands beside it."""
    method, path, headers, body = call
    assert headers["x-openstack-nova-api-version"] == headers["openstack-api-version"].removeprefix("compute ")
    name, project, roles = owner(site, admin, headers["x-service-token"])
    assert (name, project) == ("cinder", "service")
    assert "service" in roles
    return method, path, headers["openstack-api-version"], owner(site, admin, headers["x-auth-token"])[:2], body


def wait_for(calls, number=1):
    deadline = time.monotonic() + 120
    while len(calls) < number:
        assert time.monotonic() < deadline, calls
        time.sleep(0.05)


def test_who_lets_go_is_asked_about_as_that_user(site, admin, member, service, compute, attached):
    volume, ident, server = attached
    path, compute.attachment = f"/attachments/{ident}", ident
    text = f"ConflictNovaUsingAttachment: Detach volume from instance {server} using the Compute API"
    request_id = f"req-{uuid.uuid4()}"
    question = f"/v2.1/servers/{server}/os-volume_attachments/{volume}"
    for who in (member, admin):
        headers = {"X-OpenStack-Request-ID": request_id}
        refused(site.volume(who, "DELETE", path, headers=headers), 409, text)
        (call,) = compute.calls
        assert asked(site, admin, call) == ("GET", question, "compute 2.89", (who.name, who.project), None)
        assert call[2]["x-openstack-request-id"] == request_id
        compute.calls.clear()
    refused(
        site.volume(member, "POST", f"/volumes/{volume}/action", {"os-detach": {"attachment_id": ident}}), 409, text
    )
    assert len(compute.calls) == 1
    # A service knows what it does: nobody is asked.
    assert site.volume(member, "DELETE", path, beside=service).json() == {"attachments": []}
    assert len(compute.calls) == 1


def test_without_an_answer_nothing_is_let_go(site, member, compute, attached):
    _, ident, _ = attached
    path = f"/attachments/{ident}"
    for code, text in WORDS.items():
        compute.code = code
        refused(site.volume(member, "DELETE", path), code, text)
    assert len(compute.calls) == len(WORDS)
    assert site.volume(member, "GET", path).json()["attachment"]["status"] == "attached"


def test_what_no_server_uses_its_owner_lets_go(site, member, compute, attached):
    volume, ident, server = attached
    compute.attachment = str(uuid.uuid4())
    assert site.volume(member, "DELETE", f"/attachments/{ident}").json() == {"attachments": []}
    made = {"volume_uuid": volume, "instance_uuid": server, "connector": CONNECTOR}
    again = site.volume(member, "POST", "/attachments", {"attachment": made}).json()["attachment"]["id"]
    compute.code = 404
    assert site.volume(member, "DELETE", f"/attachments/{again}").json() == {"attachments": []}
    assert len(compute.calls) == 2


def test_a_reservation_is_let_go_without_a_question(site, member, compute, make_volume, reserve):
    ident, _ = reserve(make_volume())
    assert site.volume(member, "DELETE", f"/attachments/{ident}").json() == {"attachments": []}
    assert compute.calls == []


def test_an_extended_volume_in_use_is_told(site, admin, member, compute, attached):
    volume, _, server = attached
    text = f"Volume {volume} status must be '{{'status': 'available'}}' to extend, currently in-use."
    extend = {"os-extend": {"new_size": 2}}
    refused(site.volume(member, "POST", f"/volumes/{volume}/action", extend, version="3.41"), 400,
            f"Invalid volume: {text}", "3.41")  # fmt: skip
    acted(site.volume(member, "POST", f"/volumes/{volume}/action", extend, version="3.42"), 202, "3.42")
    wait_for(compute.calls)
    event = {"name": "volume-extended", "server_uuid": server, "tag": volume}
    (call,) = compute.calls
    assert asked(site, admin, call) == ("POST", EVENTS, "compute 2.51", ("cinder", "service"), {"events": [event]})
    # It is told once all is done.
    shown = site.show(member, volume)
    assert (shown["status"], shown["size"]) == ("in-use", 2)
    assert messages(site, member, volume) == []


def test_what_nobody_takes_is_told_to_the_user(site, member, compute, attached):
    volume, _, _ = attached
    text = "extend volume:Compute service failed to extend volume."
    for number, code in ((1, 404), (2, 500)):
        compute.code = code
        extend = {"os-extend": {"new_size": number + 1}}
        acted(site.volume(member, "POST", f"/volumes/{volume}/action", extend))
        deadline = time.monotonic() + 120
        while len(told := messages(site, member, volume)) < number and time.monotonic() < deadline:
            time.sleep(0.1)
        assert told == [("VOLUME_VOLUME_007_009", text)] * number
        assert len(compute.calls) == number, "each is told once"
        assert site.show(member, volume)["size"] == number + 1


def test_a_reimaged_volume_that_is_reserved_is_told(site, admin, member, compute, make_volume, warm_image, reserve):
    volume = make_volume()
    _, server = reserve(volume)
    body = {"os-reimage": {"image_id": warm_image, "reimage_reserved": True}}
    acted(site.volume(member, "POST", f"/volumes/{volume}/action", body))
    wait_for(compute.calls)
    event = {"name": "volume-reimaged", "server_uuid": server, "tag": volume}
    (call,) = compute.calls
    assert asked(site, admin, call) == ("POST", EVENTS, "compute 2.93", ("cinder", "service"), {"events": [event]})
    assert site.show(member, volume)["status"] == "reserved"


def messages(site, who, volume):
    found = site.volume(who, "GET", "/messages", params={"resource_uuid": volume}).json()["messages"]
    return [(each["event_id"], each["user_message"]) for each in found]
