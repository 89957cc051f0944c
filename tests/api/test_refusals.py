# SPDX-License-Identifier: Apache-2.0
"""Who may not, and what cannot be: over all routes, in nova's shapes, and without a word too many."""

import json
import socket
import uuid

import pytest
import requests

from bfv.api.bodies import MAX_BODY
from bfv.api.policies import RULES as POLICIES
from bfv.api.roles import ADMIN, OWN_USER, SERVICE
from bfv.api.routes import ROUTES
from tests import sites
from tests.api import examples
from tests.api.examples import names

NOWHERE = examples.NOWHERE
DEFAULTS = {name: check for name, check, *_ in POLICIES}
# A user's own key pairs are changed by whoever may log in, as in nova.
CHANGES = [route for route in ROUTES if route.method != "GET" and DEFAULTS[route.policy] != OWN_USER]
# What only admins or services may do is refused by the rule, whichever server it is.
OF_A_SERVER = [
    route for route in ROUTES if "{server_id}" in route.path and DEFAULTS[route.policy] not in (ADMIN, SERVICE)
]
OF_SERVICES = [route for route in ROUTES if DEFAULTS[route.policy] == SERVICE]


def ask(door, route, server_id=examples.NOWHERE, **more):
    path = examples.path(route, server_id=server_id)
    return door(route.method, path, examples.body(route), version=examples.version(route), **more)


@pytest.fixture(scope="module")
def server_id(door, image):
    """A server of demo's that nobody changes."""
    made = door.boot(image)
    door.running(made)
    yield made
    door("DELETE", f"/servers/{made}")
    door.gone(made)


@pytest.mark.parametrize("token", [None, "no token", "x" * 5000, "é"], ids=["none", "wrong", "long", "odd"])
def test_without_a_token_that_counts_nothing_is_answered(door, token):
    headers = {"X-Auth-Token": token.encode("latin-1")} if token else {}
    for route in ROUTES:
        answer = ask(door, route, user=None, headers=headers)
        assert answer.status_code == 401, names(route)
        assert answer.json()["error"]["code"] == 401
        assert "Keystone uri=" in answer.headers["WWW-Authenticate"]


def test_an_expired_token_is_no_token_though_it_was_good_before(door, site):
    token = site.auth("demo").get_token(sites._session())
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    requests.delete(f"{site.auth_url}/auth/tokens", headers=headers, timeout=60).raise_for_status()
    for route in ROUTES:
        assert ask(door, route, user=None, headers={"X-Auth-Token": token}).status_code == 401


@pytest.mark.parametrize("route", OF_A_SERVER, ids=names)
def test_the_server_of_another_project_is_not_found(door, route, server_id):
    answer = ask(door, route, server_id, user="other")
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["code"] == 404
    nowhere = ask(door, route, user="other").json()["itemNotFound"]["message"]
    assert answer.json()["itemNotFound"]["message"].replace(server_id, "X") == nowhere.replace(
        "00000000-dead-4eef-8000-000000000000", "X"
    )
    assert door.show(server_id)["id"] == server_id


@pytest.mark.parametrize("route", CHANGES, ids=names)
def test_who_may_only_look_cannot_change(door, route, server_id, reader):
    answer = ask(door, route, server_id, user=reader)
    assert answer.status_code == 403
    policy = f"os_compute_api:{route.policy}"
    assert answer.json()["forbidden"]["message"] == f"Policy doesn't allow {policy} to be performed."
    assert door("GET", f"/servers/{server_id}", user=reader).status_code == 200


@pytest.mark.parametrize("user", ["demo", "admin"])
@pytest.mark.parametrize("route", OF_SERVICES, ids=names)
def test_what_services_tell_and_ask_is_for_services_alone(door, user, route):
    assert ask(door, route, user=user).status_code == 403
    answered = {"bfv:hosts:report": 204, "os-server-external-events:create": 207}.get(route.policy, 404)
    assert ask(door, route, user="bfv").status_code == answered


def test_a_token_of_no_project_is_refused(door, site):
    person = {"name": "demo", "domain": {"id": "default"}, "password": "labdemo"}
    identity = {"methods": ["password"], "password": {"user": person}}
    made = requests.post(f"{site.auth_url}/auth/tokens", timeout=60,
                         json={"auth": {"identity": identity, "scope": "unscoped"}})  # fmt: skip
    answer = door("GET", "/servers", user=None, headers={"X-Auth-Token": made.headers["X-Subject-Token"]})
    assert answer.status_code == 403
    assert "project" in answer.json()["forbidden"]["message"]


def test_the_project_in_the_address_must_be_that_of_the_token(door, site):
    own, other = site.caller("demo").project_id, site.caller("other").project_id
    assert door("GET", f"/{own}/servers").json().keys() == {"servers"}
    answer = door("GET", f"/{other}/servers")
    assert answer.status_code == 400
    assert other in answer.json()["badRequest"]["message"]


@pytest.mark.parametrize("path", ["/nosuch", "/servers/", "/servers/x/y", "/os-cells"])
def test_where_there_is_nothing(door, path):
    answer = door("GET", path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "404 Not Found"


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/servers"), ("PATCH", "/servers/x"), ("PATCH", "/flavors/x")])
def test_a_method_that_is_not_there(door, method, path):
    answer = door(method, path, {})
    assert answer.status_code == 405
    assert answer.json()["badMethod"]["code"] == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (b"{nope", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"", "application/json", 400),
        (b"null", "application/json", 400),
        (b'{"server": NaN}', "application/json", 400),
        (b'{"server": "\xff"}', "application/json", 400),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "application/json", 400),
        (b"[" * 50_000 + b"]" * 50_000, "application/json", 400),
        (b"<x/>", "application/xml", 415),
        (b'{"server": "' + b"x" * MAX_BODY + b'"}', "application/json", 413),
    ],
)
def test_a_body_that_cannot_be_one(door, data, kind, code):
    answer = door("POST", "/servers", headers={"Content-Type": kind}, data=data)
    (fault,) = answer.json().values()
    assert (answer.status_code, fault["code"]) == (code, code)


def test_a_body_of_unknown_length_is_bounded_too(door):
    big = door("POST", "/servers", data=iter([b"x" * MAX_BODY, b"x" * MAX_BODY]))
    assert big.status_code == 413
    small = door("POST", "/servers", data=iter([b'{"server"', b": 1}"]), headers={"Content-Type": "application/json"})
    assert small.status_code == 400
    assert "server" in small.json()["badRequest"]["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [("limit=-1", 400), ("limit=x", 400), ("limit=0", 200), ("marker=00000000-dead-4eef-8000-000000000000", 400),
     ("all_tenants=1", 403), ("changes-since=zz", 400), ("bogus=1", 200)],
)  # fmt: skip
def test_a_query_that_cannot_be_answered_is_refused(door, query, code):
    answer = door("GET", f"/servers?{query}", version="2.69")
    assert answer.status_code == code, answer.text


def test_what_a_query_does_not_know_is_refused_from_2_75_on(door):
    assert door("GET", "/servers?bogus=1", version="2.75").status_code == 400


def disk(**words):
    return {"block_device_mapping_v2": [words]}


def two(**words):
    return {"block_device_mapping_v2": [{"source_type": "blank", "volume_size": 1, **words}] * 2}


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ({"imageRef": "no id"}, "Invalid imageRef"),
        ({"imageRef": ""}, "Missing imageRef"),
        ({"imageRef": "00000000-dead-4eef-8000-000000000000"}, "image 00000000-dead"),
        ({"flavorRef": "nosuch"}, "Flavor nosuch could not be found"),
        ({"max_count": 1, "min_count": "2"}, "min_count must be <= max_count"),
        ({"min_count": 2, "hostname": "web"}, "a single hostname"),
        ({"max_count": "2", "networks": [{"port": str(uuid.uuid4())}]}, "a single configured port ID"),
        ({"max_count": 2, "networks": [{"uuid": str(uuid.uuid4()), "fixed_ip": "10.0.0.1"}]}, "an fixed_ip"),
        (
            {
                "max_count": 2,
                "imageRef": "",
                "block_device_mapping_v2": [{"source_type": "volume", "uuid": "x", "boot_index": 0}],
            },
            "to multiple instances",
        ),
        ({"max_count": 2, "name": "x" * 254}, "1 to 255 characters"),
        ({"availability_zone": "nosuch"}, "Availability zone nosuch"),
        ({"OS-DCF:diskConfig": "AUTO"}, "AUTO"),
        ({"block_device_mapping_v2": [{"source_type": "blank", "boot_index": 0}]}, "name a root"),
        ({"block_device_mapping_v2": [{"boot_index": 0}, {"boot_index": 1}]}, "source_type is missing"),
        (disk(source_type="volume", uuid=NOWHERE), f"volume {NOWHERE}"),
        (disk(source_type="snapshot", uuid=NOWHERE), f"snapshot {NOWHERE}"),
        (disk(source_type="image", uuid=NOWHERE, volume_size=1), f"image {NOWHERE}"),
        (disk(source_type="image", destination_type="local", uuid=NOWHERE), "Mapping image to local is not supported"),
        (disk(source_type="blank"), "needs a volume_size"),
        (disk(source_type="blank", uuid=NOWHERE), "Invalid device UUID."),
        (disk(source_type="volume"), "Missing device UUID."),
        (disk(source_type="volume", uuid=NOWHERE, volume_type="x"), "volume type to existing volume"),
        (disk(source_type="blank", volume_size=1, destination_type="local", volume_type="x"), "destination_type=local"),
        (disk(source_type="blank", volume_size=1, volume_type="nosuch"), "nosuch"),
        (disk(source_type="blank", volume_size=1, boot_index=2), "Boot sequence"),
        (disk(source_type="blank", volume_size=1, destination_type="local"), "larger than the instance type allows"),
        ({"imageRef": "", **disk(source_type="blank", volume_size=1)}, "no device has boot_index 0"),
        ({"imageRef": "", "block_device_mapping": [{"device_name": "vda"}]}, "Unrecognized legacy format"),
        ({**disk(source_type="blank", volume_size=1), "block_device_mapping": [{"device_name": "vdb"}]}, "syntaxes"),
        (two(device_name="/dev/vdb"), "a device name is there twice"),
        (two(tag="x"), "a tag is there twice"),
    ],
)
def test_a_server_that_cannot_be_made_leaves_no_trace(door, image, server, words):
    before = door("GET", "/servers").json()
    body = {"name": "x", "imageRef": image, "flavorRef": "tiny", "networks": "none", **server}
    answer = door("POST", "/servers", {"server": body}, version="2.96")
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["badRequest"]["message"]
    assert door("GET", "/servers").json() == before


@pytest.mark.parametrize(
    ("body", "words"),
    [({"nosuch": None}, "There is no such action: nosuch"), ({}, "Malformed"), ({"rebuild": {}, "x": 1}, "Malformed")],
)
def test_an_action_that_there_is_not(door, server_id, body, words):
    answer = door("POST", f"/servers/{server_id}/action", body)
    assert answer.status_code == 400
    assert words in answer.json()["badRequest"]["message"]


def test_a_root_volume_is_not_written_over_by_words_that_keep_it_in_nova(door, server_id, image):
    body = {"rebuild": {"imageRef": image}}
    answer = door("POST", f"/servers/{server_id}/action", body, version="2.92")
    assert answer.status_code == 400
    assert "2.93" in answer.json()["badRequest"]["message"]


def test_what_is_no_http_ends_the_connection(door):
    host, port = door.url.removeprefix("http://").removesuffix("/v2.1").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b"Traceback" not in sock.recv(4096)
    assert door("GET", "/flavors").status_code == 200


def test_bodies_that_are_promised_and_huge_are_not_read(door):
    host, port = door.url.removeprefix("http://").removesuffix("/v2.1").split(":")
    head = f"POST /v2.1/servers HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {door.token('demo')}\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
        assert b" 413 " in sock.recv(4096)


def test_no_answer_here_has_a_stack_trace_or_a_path(door, caplog):
    body = {"server": json.loads('{"name": "x"}')}
    texts = [door("POST", "/servers", body, version="2.96").text, door("GET", "/servers?limit=x").text]
    for text in (*texts, caplog.text):
        assert "Traceback" not in text
        assert ".py" not in text


def test_without_keystone_a_token_that_was_not_seen_before_is_503(door, site):
    fresh = site.auth("demo").get_token(sites._session())
    known = door("GET", "/flavors")
    rule = {"kind": "status_before", "path": "/auth/tokens", "times": 0}
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    try:
        answer = door("GET", "/flavors", user=None, headers={"X-Auth-Token": fresh})
        assert (known.status_code, door("GET", "/flavors").status_code) == (200, 200)
    finally:
        requests.delete(f"{site.control_url}/faults", timeout=60)
    assert answer.status_code == 503
    assert answer.json()["serviceUnavailable"]["code"] == 503
