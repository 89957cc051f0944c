# SPDX-License-Identifier: Apache-2.0
"""The API is data: each route has a policy that is documented, and a schema for whatever comes in."""

import jsonschema
import pytest

from bfv.api import policies, versions
from bfv.api.bodies import MAX_DEPTH, check, query
from bfv.api.faults import Fault
from bfv.api.routes import ROUTES


def names(route):
    return f"{route.method} {route.path} {route.action or ''}".strip()


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_each_route_has_a_policy_and_schemas(route):
    assert route.policy in {name for name, *_ in policies.RULES}
    assert (route.body is not None) == (route.method in ("POST", "PUT", "PATCH"))
    assert (route.query is not None) == (route.method == "GET")
    assert route.since <= versions.MAX
    for schema in filter(None, (route.body, route.query)):
        for version in (1, 2, 18, 19, 32, 36, 37, 42, 51, 66, 67, 74, 75, 76, 82, 92, 93, versions.MAX):
            jsonschema.Draft202012Validator.check_schema(schema(version))


def test_no_two_routes_answer_the_same_request():
    addresses = [(route.method, route.path, route.action) for route in ROUTES]
    assert len(addresses) == len(set(addresses))
    shared = {(method, path) for method, path, action in addresses if action is not None}
    assert not shared & {(method, path) for method, path, action in addresses if action is None}


def test_each_rule_that_is_checked_has_a_default():
    checked = {route.policy for route in ROUTES}
    known = {name for name, *_ in policies.RULES}
    beside = {"servers:index:get_all_tenants", "servers:detail:get_all_tenants", "os-extended-server-attributes",
              "limits:other_project", "os-lock-server:unlock:unlock_override", "os-volumes-attachments:swap",
              "os-instance-actions:events", "os-instance-actions:events:details",
              "servers:create_image:allow_volume_backed"}  # fmt: skip
    assert known == checked | beside


@pytest.mark.parametrize(
    ("server", "version", "told"),
    [
        ({"name": "x" * 256}, 96, "name. Value: xxx"),
        ({"name": " x"}, 96, "does not match"),
        ({"name": ""}, 96, "name"),
        ({"flavorRef": ""}, 96, "flavorRef"),
        ({"description": "d"}, 18, "'description' was unexpected"),
        ({"networks": "auto"}, 36, "networks"),
        ({"networks": [{"uuid": "no"}]}, 96, "networks"),
        ({"metadata": {"a": 1}}, 96, "Value: 1."),
        ({"metadata": {"": "b"}}, 96, "metadata"),
        ({"min_count": 0}, 96, "min_count"),
        ({"user_data": "no base 64!"}, 96, "Invalid input for field/attribute user_data."),
        ({"personality": []}, 2, "'personality' was unexpected"),
        ({"block_device_mapping_v2": [{"volume_type": "fast"}]}, 66, "'volume_type' was unexpected"),
    ],
)
def test_a_body_that_does_not_fit_is_told_what_is_wrong(server, version, told):
    create = next(route.body for route in ROUTES if (route.method, route.path) == ("POST", "/servers"))
    good = {"name": "x", "flavorRef": "tiny", "networks": [], "imageRef": ""}
    check(create, version, {"server": good})
    with pytest.raises(Fault, match=told) as caught:
        check(create, version, {"server": {**good, **server}})
    assert caught.value.code == 400


def test_what_is_secret_is_not_told_back():
    create = next(route.body for route in ROUTES if (route.method, route.path) == ("POST", "/servers"))
    for server in ({"adminPass": ["s3cret"]}, {"adminPass": "s3cret", "name": 1, "flavorRef": "x"}):
        with pytest.raises(Fault) as caught:
            check(create, 96, {"server": server})
        assert "s3cret" not in caught.value.message


def test_a_query_is_read_with_all_its_values_and_bounded():
    assert query("a=1&a=2&b=") == {"a": ["1", "2"], "b": [""]}
    for text in ("&".join("a=1" for _ in range(101)), "a=%ff"):
        with pytest.raises(Fault):
            query(text)


def test_the_bound_of_depth_is_above_what_schemas_need():
    assert MAX_DEPTH > 6
