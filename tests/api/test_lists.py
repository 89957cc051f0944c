# SPDX-License-Identifier: Apache-2.0
"""Lists over HTTP: filters and orders as nova reads them, and what is shown of a cell that is down."""

import json
from pathlib import Path

import pytest

from tests.api.conftest import away, opened, world_with_hosts
from tests.api.test_golden import differences, shape

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


@pytest.fixture(scope="module")
def pair(door, image):
    """Two servers of demo's, the older one first, and one of other's."""
    made = [door.boot(image, name=f"list-{letter}") for letter in "ab"]
    strange = door.boot(image, name="list-c", user="other")
    for server_id in made:
        door.running(server_id)
    yield made
    for server_id, user in (*((each, "demo") for each in made), (strange, "other")):
        door("DELETE", f"/servers/{server_id}", user=user)


def names(door, query, user="demo", version="2.96"):
    answer = door("GET", f"/servers?{query}", user=user, version=version)
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()["servers"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["list-b", "list-a"]),
        ("name=list-a", ["list-a"]),
        ("name=^list", ["list-b", "list-a"]),
        ("status=active", ["list-b", "list-a"]),
        ("status=ERROR&status=SHUTOFF", []),
        ("sort_key=display_name&sort_dir=asc", ["list-a", "list-b"]),
        ("flavor=tiny&deleted=False", ["list-b", "list-a"]),
        ("flavor=nosuch", []),
        ("limit=1", ["list-b"]),
        ("limit=1&name=list", ["list-b"]),
        ("host=nosuch", ["list-b", "list-a"]),
        ("project_id=nosuch", ["list-b", "list-a"]),
        ("all_tenants=0", ["list-b", "list-a"]),
    ],
)
def test_a_list_is_filtered_and_ordered(door, pair, query, found):
    assert names(door, query) == found


def test_admins_list_all_projects_and_filter_by_what_is_theirs(door, pair):
    assert names(door, "all_tenants=1&name=list", user="admin") == ["list-c", "list-b", "list-a"]
    project = door.site.caller("other").project_id
    assert names(door, f"all_tenants=1&project_id={project}&name=list", user="admin") == ["list-c"]
    assert names(door, "all_tenants=1&host=nosuch", user="admin") == []
    assert names(door, "", user="admin") == []


@pytest.mark.parametrize(
    ("query", "version", "code"),
    [
        ("all_tenants=1", "2.96", 403),
        ("status=nosuch", "2.38", 400),
        ("status=nosuch", "2.37", 200),
        ("status=DELETED", "2.96", 403),
        ("sort_key=host", "2.96", 403),
        ("sort_key=nosuch", "2.96", 400),
        ("sort_key=uuid&sort_dir=up", "2.96", 400),
        ("name=(", "2.96", 400),
        ("ip=10.", "2.96", 400),
        ("locked=maybe", "2.73", 400),
        ("locked=maybe", "2.72", 200),
    ],
)
def test_a_list_that_cannot_be_asked_for_is_refused(door, query, version, code):
    assert door("GET", f"/servers?{query}", version=version).status_code == code


def test_pages_of_a_filtered_list_lead_on_with_the_filter(door, pair):
    first = door("GET", "/servers?limit=1&name=list&status=ACTIVE", version="2.96").json()
    (link,) = first["servers_links"]
    assert "name=list" in link["href"]
    second = door("GET", link["href"], version="2.96").json()
    assert [each["id"] for each in first["servers"] + second["servers"]] == pair[::-1]


@pytest.fixture
def building(site, door, image):
    """Two servers of demo's that are built for as long as the test runs."""
    with site.silent("cell1"), site.silent("cell2"):
        made = [door.boot(image, name=f"new-{letter}", tags=["fresh"]) for letter in "ab"]
        yield
    for server_id in made:
        door.running(server_id)
        door("DELETE", f"/servers/{server_id}")
        door.gone(server_id)


def test_servers_that_no_cell_has_yet_are_in_filtered_lists_and_before_all_others(door, pair, building):
    assert names(door, "name=new") == ["new-b", "new-a"]
    assert names(door, "name=^NEW-A$&status=BUILD") == ["new-a"]
    assert names(door, "status=ACTIVE&name=new") == names(door, "name=new&tags=nosuch") == []
    assert names(door, "tags=fresh&flavor=tiny&vm_state=building&locked=false") == ["new-b", "new-a"]
    assert names(door, "not-tags=fresh&name=new") == names(door, "changes-before=2026-01-01T00:00:00Z&name=new") == []
    assert names(door, "sort_key=display_name&sort_dir=asc") == ["new-b", "new-a", "list-a", "list-b"]
    assert door("GET", "/servers?name=(", version="2.96").status_code == 400
    seen, url = [], f"{door.url}/servers?name=new|list&limit=1"
    while url:
        page = door("GET", url, version="2.96").json()
        seen += [each["name"] for each in page["servers"]]
        url = page.get("servers_links", [{}])[0].get("href")
    assert seen == ["new-b", "new-a", "list-b", "list-a"]


@pytest.fixture(scope="module")
def lost(site, tmp_path_factory, image):
    """A server in a cell that is down, and the door to it."""
    world = world_with_hosts(site, tmp_path_factory.mktemp("down"))
    with opened(world) as door:
        made = door.boot(image)
        door.running(made)
        cell = door.cloud.parts.registry.find_mapping(made).cell.name
    with away(world, cell), opened(world) as door:
        yield door, made, cell
    with opened(world) as door:
        assert door("DELETE", f"/servers/{made}").status_code == 204
        door.gone(made)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/metadata", None), ("GET", "/tags", None), ("GET", "/ips", None), ("GET", "/os-volume_attachments", None),
     ("GET", "/os-volume_attachments/x", None), ("PUT", "", {"server": {"name": "x"}}), ("PUT", "/tags/x", None),
     ("POST", "/metadata", {"metadata": {}}), ("POST", "/action", {"lock": None}),
     ("POST", "/action", {"unlock": None}), ("POST", "/action", {"createImage": {"name": "x"}}),
     ("POST", "/action", {"forceDelete": None})],
)  # fmt: skip
def test_what_only_its_cell_knows_of_it_is_never_told_as_nothing(lost, method, path, body):
    door, made, _ = lost
    answer = door(method, f"/servers/{made}{path}", body, version="2.96")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_what_is_asked_of_a_server_there_is_503_and_the_cells_name_is_for_admins(lost, image):
    door, made, cell = lost
    for user in ("demo", "admin"):
        answers = [door("DELETE", f"/servers/{made}", user=user)]
        answers += [door("POST", f"/servers/{made}/action", {"os-stop": None}, user=user)]
        answers += [
            door("POST", f"/servers/{made}/action", {"rebuild": {"imageRef": image}}, user=user, version="2.96")
        ]
        for answer in answers:
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            message = answer.json()["serviceUnavailable"]["message"]
            assert (cell in message) is (user == "admin")


@pytest.mark.parametrize(("version", "like"), [("2.69", "2.69"), ("2.71", "2.71"), ("2.101", "2.71")])
def test_a_server_there_is_shown_in_novas_shape(lost, version, like):
    door, made, _ = lost
    golden = GOLDEN[f"down-refuse/show-{like}"]["body"]
    ours = shape({"server": door.show(made, version=version)})
    # It is what it is while its cell is up: "", as the root is a volume; nova shows the image that it was made of.
    assert set(differences(golden, ours)) == {"server.image"}


def test_older_clients_are_told_to_come_again(lost):
    door, made, _ = lost
    answer = door("GET", f"/servers/{made}", version="2.68")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_a_list_has_it_at_its_place_from_2_69_on_and_says_so_below(lost):
    door, made, _ = lost
    found = door("GET", "/servers", version="2.69")
    assert set(differences(GOLDEN["down-refuse/list-2.69"]["body"], shape(found.json()))) == set()
    assert [each["id"] for each in found.json()["servers"]] == [made]
    assert "Warning" not in found.headers
    # What the `openstack` client always sends hides it from admins in nova.
    everything = door("GET", "/servers/detail?all_tenants=True&deleted=False", user="admin", version="2.69")
    assert [(each["id"], each["status"]) for each in everything.json()["servers"]] == [(made, "UNKNOWN")]
    older = door("GET", "/servers", version="2.68")
    assert older.json() == {"servers": []}
    assert "no answer" in older.headers["Warning"]


def test_a_filtered_list_says_that_a_cell_is_missing(lost):
    door, _, cell = lost
    for user, asked in (("demo", ""), ("admin", "&all_tenants=1")):
        answer = door("GET", f"/servers/detail?name=x{asked}", version="2.96", user=user)
        assert (cell in answer.headers["Warning"]) is (user == "admin")


def test_limits_count_it_and_its_zone_is_told_as_closed(lost):
    door, _, cell = lost
    absolute = door("GET", "/limits", version="2.96").json()["limits"]["absolute"]
    assert absolute["totalInstancesUsed"] == 1
    zones = door("GET", "/os-availability-zone").json()["availabilityZoneInfo"]
    assert {"zoneName": cell, "zoneState": {"available": False}, "hosts": None} in zones
