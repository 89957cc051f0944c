# SPDX-License-Identifier: Apache-2.0
"""Flavors as operators make and change them, over HTTP."""

import uuid

import pytest


def ask(door, method, path, body=None, version="2.96", user="admin"):
    return door(method, path, body, user=user, version=version)


@pytest.fixture
def flavor(door):
    """Makes a flavor and removes it again."""
    made = []

    def make(version="2.96", **words):
        body = {"flavor": {"name": "gold", "ram": 64, "vcpus": 1, "disk": 1, "id": "gold", **words}}
        answer = ask(door, "POST", "/flavors", body, version)
        if answer.status_code == 200:
            made.append(answer.json()["flavor"]["id"])
        return answer

    yield make
    for key in made:
        ask(door, "DELETE", f"/flavors/{key}")


def test_a_flavor_is_made_described_and_removed(door, flavor):
    made = flavor(description="fine", swap="8", **{"rxtx_factor": "1.5", "OS-FLV-EXT-DATA:ephemeral": 2}).json()[
        "flavor"
    ]
    shown = {key: made[key] for key in ("id", "ram", "swap", "rxtx_factor", "description", "OS-FLV-EXT-DATA:ephemeral")}
    assert shown == {"id": "gold", "ram": 64, "swap": 8, "rxtx_factor": 1.5, "description": "fine",
                     "OS-FLV-EXT-DATA:ephemeral": 2}  # fmt: skip
    assert ask(door, "PUT", "/flavors/gold", {"flavor": {"description": None}}).json()["flavor"]["description"] is None
    assert ask(door, "PUT", "/flavors/gold", {"flavor": {"description": "x"}}, "2.54").status_code == 404
    assert ask(door, "GET", "/flavors/gold", user="demo").status_code == 200
    assert ask(door, "DELETE", "/flavors/gold").status_code == 202
    for method, body in (("DELETE", None), ("PUT", {"flavor": {"description": "x"}})):
        answer = ask(door, method, "/flavors/gold", body)
        assert answer.json()["itemNotFound"]["message"] == "Flavor gold could not be found."


@pytest.mark.parametrize(("given", "stored"), [(None, None), (7, "7"), (7.0, "7"), ("a b", "a b")])
def test_an_id_is_what_is_asked_for_or_a_new_one(flavor, given, stored):
    made = flavor(id=given).json()["flavor"]
    assert made["id"] == (stored or str(uuid.UUID(made["id"])))


def test_names_and_ids_are_there_once(flavor):
    flavor()
    assert flavor(name="other").json()["conflictingRequest"]["message"] == "Flavor with ID gold already exists."
    assert flavor(id="other").json()["conflictingRequest"]["message"] == "Flavor with name gold already exists."


@pytest.mark.parametrize(
    "words",
    [{"ram": 0}, {"ram": "0"}, {"vcpus": "2147483648"}, {"disk": -1}, {"swap": 1.5}, {"rxtx_factor": 0}, {"name": " x"},
     {"rxtx_factor": "0"}, {"id": "a/b"}, {"id": " a"}, {"os-flavor-access:is_public": "maybe"}, {"vcpus": True},
     {"description": "x" * 65536}, {"nosuch": 1}],
)  # fmt: skip
def test_a_flavor_that_cannot_be_is_refused(door, flavor, words):
    before = ask(door, "GET", "/flavors").json()
    answer = flavor(**words)
    assert answer.status_code == 400, answer.text
    assert ask(door, "GET", "/flavors").json() == before


def test_extra_specs_are_written_and_removed(door, flavor):
    flavor()
    path = "/flavors/gold/os-extra_specs"
    assert ask(door, "POST", path, {"extra_specs": {"bfv:root": "volume", "n": 1}}).json() == {
        "extra_specs": {"bfv:root": "volume", "n": 1}}  # fmt: skip
    assert ask(door, "PUT", f"{path}/n", {"n": "2"}).json() == {"n": "2"}
    assert ask(door, "GET", path).json() == {"extra_specs": {"bfv:root": "volume", "n": "2"}}
    assert ask(door, "PUT", f"{path}/n", {"m": "2"}).json()["badRequest"]["message"] == "Request body and URI mismatch"
    for body in ({"n": "2", "m": "3"}, {}, {"n": None}, {"n": "x" * 256}):
        assert ask(door, "PUT", f"{path}/n", body).status_code == 400
    assert ask(door, "POST", path, {"extra_specs": {"a/b": "x"}}).status_code == 400
    assert ask(door, "DELETE", f"{path}/n").status_code == 200
    gone = ask(door, "DELETE", f"{path}/n")
    assert gone.json()["itemNotFound"]["message"] == "Flavor gold has no extra specs with key n."


def test_access_is_given_to_projects_and_taken(door, flavor):
    flavor(**{"os-flavor-access:is_public": False})
    project = door.site.caller("demo").project_id
    act = lambda verb, **words: ask(door, "POST", "/flavors/gold/action", {verb: words})  # noqa: E731
    assert ask(door, "GET", "/flavors/gold", user="demo").status_code == 404
    given = {"flavor_access": [{"flavor_id": "gold", "tenant_id": project}]}
    assert act("addTenantAccess", tenant=project).json() == given
    assert ask(door, "GET", "/flavors/gold", user="demo").status_code == 200
    assert ask(door, "GET", "/flavors/gold/os-flavor-access").json() == given
    words = f"Flavor access already exists for flavor gold and project {project} combination."
    assert act("addTenantAccess", tenant=project).json()["conflictingRequest"]["message"] == words
    assert act("addTenantAccess", tenant="nosuch").status_code == 400
    assert act("removeTenantAccess", tenant=project).json() == {"flavor_access": []}
    assert act("removeTenantAccess", tenant="nosuch").status_code == 404
    public = "/flavors/tiny"
    assert ask(door, "GET", f"{public}/os-flavor-access").status_code == 404
    refused = ask(door, "POST", f"{public}/action", {"addTenantAccess": {"tenant": project}})
    assert refused.json()["conflictingRequest"]["message"] == "Can not add access to a public flavor."
