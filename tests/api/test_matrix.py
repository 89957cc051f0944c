# SPDX-License-Identifier: Apache-2.0
"""Every route as a member of another project and as a reader: nothing is changed, and nothing of the project is told.

What there is, is compared row by row in all databases before and after; what may be told, by names that are in them.
"""

import sqlite3

import pytest

from bfv.api import versions
from bfv.api.policies import RULES
from bfv.api.roles import ANYBODY, SERVICE
from bfv.api.routes import ROUTES
from tests.api import examples
from tests.api.test_groups_and_quotas import KEY

DEFAULTS = {name: check for name, check, *_ in RULES}
# Hosts report all the time.
ALIVE = {"services", "compute_nodes"}
MARK = "tell-nobody"


@pytest.fixture(scope="module")
def owned(door, image):
    """What demo's project has: the ids of it by their names in a path."""
    server_id = door.boot(image, name=f"{MARK}-server", metadata={"a": f"{MARK}-meta"})
    door.running(server_id)
    group = {"server_group": {"name": f"{MARK}-group", "policy": "affinity"}}
    made = door("POST", "/os-server-groups", group, version="2.96").json()["server_group"]["id"]
    pair = {"keypair": {"name": f"{MARK}-key", "public_key": KEY}}
    assert door("POST", "/os-keypairs", pair, version="2.92").status_code == 201
    caller = door.site.caller("demo")
    flavor = {"flavor": {"name": f"{MARK}-flavor", "id": "owned", "ram": 1, "vcpus": 1, "disk": 0,
                         "os-flavor-access:is_public": False}}  # fmt: skip
    assert door("POST", "/flavors", flavor, user="admin").status_code == 200
    aggregate = door("POST", "/os-aggregates", {"aggregate": {"name": f"{MARK}-aggregate"}}, user="admin")
    yield {"server_id": server_id, "group_id": made, "project_id": caller.project_id, "flavor_id": "owned",
           "aggregate_id": str(aggregate.json()["aggregate"]["id"]), "user_id": caller.user_id,
           "name": f"{MARK}-key"}  # fmt: skip
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)
    door("DELETE", f"/os-server-groups/{made}")
    door("DELETE", f"/os-keypairs/{MARK}-key")


def rows(home):
    """Return all rows of all databases but those that hosts write."""
    found = {}
    for path in sorted(home.glob("*.db")):
        with sqlite3.connect(path) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in sorted(set(tables) - ALIVE):
                found[path.name, table] = db.execute(f'SELECT * FROM "{table}"').fetchall()
    return found


def query(owned, route):
    # Not by the rule: a rule that lets too many in is what is looked for.
    return f"?user_id={owned['user_id']}" if route.path.startswith("/os-keypairs") else ""


@pytest.mark.parametrize("who", ["other", "reader"])
def test_no_route_changes_or_tells_what_is_not_the_callers(door, world, owned, reader, who):
    user = reader if who == "reader" else who
    before = rows(world.home)
    # A reader makes no servers, and sees what its project has.
    asked = [route for route in ROUTES if route.policy != "servers:create" or who == "reader"]
    # Whoever may log in has groups of an own project, as far as its role goes, and key pairs of its own.
    asked = [route for route in asked if (route.policy, who) != ("os-server-groups:create", "other")]
    codes = {}
    for route in asked:
        path = examples.path(route, **owned) + query(owned, route)
        body = examples.body(route)
        if route.policy == "os-keypairs:create":
            body = {"keypair": {**body["keypair"], "user_id": owned["user_id"]}}
        answer = door(route.method, path, body, user=user, version=examples.version(route))
        codes[examples.names(route)] = answer.status_code
        assert answer.status_code < 500, (examples.names(route), answer.text)
        assert KEY not in answer.text, examples.names(route)
        if who == "other":
            assert MARK not in answer.text.replace(owned["name"], ""), (examples.names(route), answer.text)
            assert owned["server_id"] not in answer.text.replace(path, "") or answer.status_code == 404
        if route.method != "GET":
            assert answer.status_code in (403, 404), (examples.names(route), answer.text)
    assert rows(world.home) == before
    open_to_all = {examples.names(route) for route in asked if DEFAULTS[route.policy] == ANYBODY}
    if who == "other":
        let_in = {name for name, code in codes.items() if code == 200} - open_to_all
        assert let_in == {"GET /servers", "GET /servers/detail", "GET /os-server-groups", "GET /os-image-sources",
                          "GET /bfv/left-snapshots"}  # fmt: skip


def test_the_comparison_sees_a_change(door, world, owned):
    before = rows(world.home)
    assert door("DELETE", f"/os-keypairs/{MARK}-key", version="2.2").status_code == 204
    assert rows(world.home) != before
    pair = {"keypair": {"name": f"{MARK}-key", "public_key": KEY}}
    assert door("POST", "/os-keypairs", pair, version="2.92").status_code == 201


@pytest.mark.parametrize(
    "part", ["a/b", "%2e%2e", "%00", "x" * 4000, "ünïcödé", "💾", "a b", "%ff", "'; DROP TABLE x; --"]
)
def test_odd_ids_are_4xx_everywhere(door, part):
    for route in ROUTES:
        if "{" not in route.path:
            continue
        odd = dict.fromkeys(examples.IDS, part)
        answer = door(route.method, route.path.format(**odd), examples.body(route), user="admin",
                      version=examples.version(route))  # fmt: skip
        assert answer.status_code < 500, (examples.names(route), answer.text)
        if route.path.startswith("/servers") or route.method != "GET":
            assert answer.status_code >= 400 or route.policy.startswith("os-quota"), examples.names(route)


@pytest.mark.parametrize("body", [[], "x", 1, None, True, {"x": {"y": {}}}, {"": None}, {"server": []}])
def test_bodies_of_other_types_are_400_everywhere(door, body):
    for route in ROUTES:
        schema = route.body(route.until or versions.MAX) if route.body else {"type": "null"}
        if schema["type"] != "null" and DEFAULTS[route.policy] != SERVICE:
            answer = door(route.method, examples.path(route), body, user="admin", version=examples.version(route))
            assert answer.status_code == 400, (examples.names(route), answer.text)
