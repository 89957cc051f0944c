# SPDX-License-Identifier: Apache-2.0
"""The answers of a real nova 34.0.0 beside ours: the same codes, headers, keys and types, but for what is listed here.

``golden.json`` holds what was asked of it and the shape of what it answered. Each difference has its reason in
``docs/compute-api.md``.
"""

import json
import re
from pathlib import Path

import pytest
import requests

from cells import servers as rows
from tests import sites

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
NOWHERE = "00000000-dead-4eef-8000-000000000000"
# What a value may be without being of another shape: what there may be nothing of, and what users and operators name.
NULLABLE = {"OS-EXT-STS:task_state", "OS-SRV-USG:launched_at", "description", "key_name", "OS-EXT-SRV-ATTR:user_data",
            "OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname"}  # fmt: skip
MAY_BE_EMPTY = {"tags", "server_groups", "os-extended-volumes:volumes_attached"}
NAMED = {"addresses", "metadata", "extra_specs"}
STATUS = {
    "errors/method-405": 405,
    "errors/method-405-list": 405,
    "servers/create-net-uuid": 202,
}
DIFFERENT = {
    "versions/extensions": {"extensions"},
    "errors/method-405": {"badMethod", "code", "message", "title"},
    "errors/method-405-list": {"badMethod", "code", "message", "title"},
    "servers/show-building": {"server.image"},
}


def shape(value):
    """Return a value with the names of types for its leaves, lists by their first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def differences(theirs, ours, path=""):
    """Yield where two shapes differ."""
    name = path.rpartition(".")[2]
    if name in NAMED and isinstance(theirs, dict) and isinstance(ours, dict):
        return
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in theirs.keys() ^ ours.keys():
            yield f"{path}.{key}".lstrip(".")
        for key in theirs.keys() & ours.keys():
            yield from differences(theirs[key], ours[key], f"{path}.{key}".lstrip("."))
    elif isinstance(theirs, list) and isinstance(ours, list):
        if bool(theirs) != bool(ours) and name not in MAY_BE_EMPTY:
            yield path
        for one, other in zip(theirs, ours, strict=False):
            yield from differences(one, other, f"{path}[]")
    elif theirs != ours and not (name in NULLABLE and {theirs, ours} == {"str", "NoneType"}):
        yield path


@pytest.fixture(scope="module")
def servers(door, image):
    """Two servers of demo's that run."""
    made = [door.boot(image) for _ in range(2)]
    for server_id in made:
        door.running(server_id)
    yield made
    for server_id in made:
        door("DELETE", f"/servers/{server_id}")
        door.gone(server_id)


def ask(door, golden, servers, image, user):
    path = re.sub(r"(?<=/servers/)[0-9a-f]{8}-[0-9a-f-]{27}", lambda m: m[0] if m[0] == NOWHERE else servers[0],
                  golden["path"])  # fmt: skip
    body = golden["request"]
    if isinstance(body, dict) and "imageRef" in body.get("server", ()):
        body = {"server": {**body["server"], "imageRef": image}}
        if body["server"]["flavorRef"] == "1":
            body["server"]["flavorRef"] = "tiny"
    url = door.url.removesuffix("/v2.1") + path
    sent = {} if body is None else {"data": body if isinstance(body, str) else json.dumps(body)}
    user = None if "no-token" in user else "admin" if "admin" in user and "nonadmin" not in user else "demo"
    return door(golden["method"], url, user=user, version=golden["version"], headers=golden["sent"], **sent)


APART = {"servers/delete-again-404", "servers/delete-deleting", "servers/create-multi", "servers/stop-locked-admin",
         "servers/stop-again-409", "servers/show-deleting", "down-refuse/list-2.69", "down-refuse/show-2.69",
         "down-refuse/show-2.71"}  # fmt: skip


@pytest.mark.parametrize("name", sorted(GOLDEN.keys() - APART))
def test_answers_are_of_the_shape_of_novas(door, servers, image, name):
    golden = GOLDEN[name]
    answer = ask(door, golden, servers, image, name)
    assert answer.status_code == STATUS.get(name, golden["status"]), answer.text
    missing = {header for header in golden["headers"] if header not in answer.headers}
    assert missing == set()
    if golden["body"] == "NoneType":
        assert answer.content == b""
        return
    ours = shape(answer.json())
    if golden["body"].get("servers") == []:
        # Nova was asked in a project without servers.
        ours = {"servers": []}
    assert set(differences(golden["body"], ours)) == DIFFERENT.get(name, set())
    if name == "servers/create-net-uuid":
        made = answer.json()["server"]["id"]
        assert answer.headers["Location"] == f"{door.url}/servers/{made}"
        assert door("DELETE", f"/servers/{made}").status_code == 204
        door.gone(made)


def test_each_difference_is_told_in_the_documents():
    text = (Path(__file__).parent.parent.parent / "docs" / "compute-api.md").read_text()
    for name in DIFFERENT:
        assert f"`{name}`" in text, name


def test_a_delete_is_answered_as_nova_does_while_it_runs_and_afterwards(door, image):
    made = door.boot(image)
    door.running(made)
    for name in ("servers/delete-deleting", "servers/delete-deleting", "servers/delete-again-404"):
        if name == "servers/delete-again-404":
            door.gone(made)
        answer = door("DELETE", f"/servers/{made}", version=GOLDEN[name]["version"])
        assert answer.status_code == GOLDEN[name]["status"], answer.text
        assert {"OpenStack-API-Version", "X-OpenStack-Nova-API-Version"} <= answer.headers.keys()


def same(name, answer):
    """Assert that an answer is what nova's was."""
    golden = GOLDEN[name]
    assert answer.status_code == golden["status"], answer.text
    assert {header for header in golden["headers"] if header not in answer.headers} == set()
    assert set(differences(golden["body"], shape(answer.json()))) == DIFFERENT.get(name, set())


def test_a_locked_and_a_busy_server_are_told_as_nova_does(door, site, image):
    made = door.boot(image)
    door.running(made)
    act = lambda version, **body: door("POST", f"/servers/{made}/action", body, version=version)  # noqa: E731
    assert act("2.69", lock=None).status_code == 202
    same("servers/stop-locked-admin", act("2.69", **{"os-stop": None}))
    assert act("2.69", unlock=None).status_code == 202
    rule = {"kind": "late", "method": "DELETE", "path": "/attachments/", "seconds": 1.0}
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    assert door("DELETE", f"/servers/{made}").status_code == 204
    same("servers/show-deleting", door("GET", f"/servers/{made}", version="2.69"))
    database = door.cloud.parts.cells.of(door.cloud.parts.registry.find_mapping(made).cell)
    sites.until(lambda: rows.get(database, made).task_state == "deleting", 10)
    same("servers/stop-again-409", act("2.69", **{"os-stop": None}))
    requests.delete(f"{site.control_url}/faults", timeout=60)
    door.gone(made)


def test_the_comparison_sees_what_differs():
    assert set(differences({"a": "str", "b": []}, {"a": "int", "c": []})) == {"a", "b", "c"}
    assert set(differences({"a": [{"b": "str"}]}, {"a": [{"b": "NoneType"}]})) == {"a[].b"}
    assert set(differences({"key_name": "str"}, {"key_name": "NoneType"})) == set()
