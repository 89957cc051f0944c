# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is that of the routes: each call in the microversions that have it, and nothing else."""

import json
from pathlib import Path

import jsonschema
import pytest

from bfv.api import openapi, policies, versions
from bfv.api.routes import ROUTES

WRITTEN = Path(__file__).parent.parent.parent / "docs" / "openapi.json"


@pytest.mark.parametrize("version", [1, 36, 52, 53, 87, versions.MAX])
def test_each_call_is_there_in_the_microversions_that_have_it(version):
    found = openapi.document(ROUTES, version)["paths"]
    told = {(path, method.upper()) for path, methods in found.items() for method in methods}
    assert told == {(route.path, route.method) for route in ROUTES if route.serves(version)}


def test_calls_have_names_of_their_own_rules_that_there_are_and_schemas_that_are_some():
    calls = [call for methods in openapi.document(ROUTES, versions.MAX)["paths"].values() for call in methods.values()]
    header = openapi.document(ROUTES, versions.MAX)["components"]["parameters"]["microversion"]["schema"]
    jsonschema.validate(f"compute 2.{versions.MAX}", header)
    names = [call["operationId"] for call in calls]
    assert len(names) == len(set(names)) > 50
    rules = {rule.name for rule in policies.list_rules()}
    for call in calls:
        assert call["summary"]
        assert set(call["x-openstack-policy"]) <= rules
        for part in call["parameters"]:
            jsonschema.Draft202012Validator.check_schema(part.get("schema", {}))
        if "requestBody" in call:
            jsonschema.Draft202012Validator.check_schema(call["requestBody"]["content"]["application/json"]["schema"])


def test_actions_that_share_an_address_are_one_call_with_a_body_each():
    call = openapi.document(ROUTES, versions.MAX)["paths"]["/os-aggregates/{aggregate_id}/action"]["post"]
    bodies = call["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert {next(iter(body["properties"])) for body in bodies} == {"add_host", "remove_host", "set_metadata"}


def test_it_is_served_in_the_microversion_asked_for_and_written_in_the_newest(door):
    assert door("GET", "/bfv/openapi", version=f"2.{versions.MAX}").json() == json.loads(WRITTEN.read_text())
    old = door("GET", "/bfv/openapi", version="2.52").json()
    assert (old["info"]["version"], "/os-hypervisors/{hypervisor_id}/search" in old["paths"]) == ("2.52", True)
