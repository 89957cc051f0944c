# SPDX-License-Identifier: Apache-2.0
"""What operators see and change of services, hypervisors, aggregates and zones, over cells of which one may be down."""

import pytest

from tests.api.conftest import away, opened

HOSTS = ["cell1-host1", "cell1-host2", "cell2-host1", "cell2-host2"]


def ask(door, method, path, body=None, version="2.96"):
    return door(method, path, body, user="admin", version=version)


def service(door, host="cell1-host2"):
    (found,) = ask(door, "GET", f"/os-services?host={host}").json()["services"]
    return found


def test_a_service_is_changed_by_its_uuid(door):
    path = f"/os-services/{service(door)['id']}"
    told = ask(door, "PUT", path, {"status": "disabled", "disabled_reason": "disk", "forced_down": True})
    assert told.status_code == 200
    assert told.json()["service"] == service(door)
    assert {key: service(door)[key] for key in ("status", "disabled_reason", "forced_down", "state", "zone")} == {
        "status": "disabled", "disabled_reason": "disk", "forced_down": True, "state": "down", "zone": "nova",
    }  # fmt: skip
    both = ask(door, "PUT", path, {"status": "enabled", "disabled_reason": "x"})
    assert (both.status_code, "is invalid" in both.text) == (400, True)
    assert ask(door, "PUT", path, {}).json()["badRequest"]["message"].startswith("No updates were requested.")
    back = ask(door, "PUT", path, {"status": "enabled", "forced_down": "false"}).json()["service"]
    assert (back["status"], back["disabled_reason"], back["state"]) == ("enabled", None, "up")


def test_a_service_is_changed_by_its_host_in_old_words(door):
    words = {"host": "cell1-host2", "binary": "nova-compute"}
    put = lambda action, version="2.11", **more: ask(door, "PUT", f"/os-services/{action}", {**words, **more}, version)  # noqa: E731
    told = put("disable-log-reason", disabled_reason="disk").json()["service"]
    assert told == {**words, "status": "disabled", "disabled_reason": "disk"}
    assert put("force-down", forced_down=True).json()["service"] == {**words, "forced_down": True}
    assert (service(door)["state"], service(door)["disabled_reason"]) == ("down", "disk")
    assert put("disable-log-reason").json()["badRequest"]["message"] == "Missing disabled reason field"
    assert put("force-down").json()["badRequest"]["message"] == "Missing forced_down field"
    assert put("force-down", "2.10").json()["itemNotFound"]["message"] == "Unknown action"
    nowhere = put("enable", host="nosuch")
    assert (nowhere.status_code, nowhere.json()["itemNotFound"]["message"]) == (
        404, "Host 'nosuch' is not mapped to any cell")  # fmt: skip
    assert "Only nova-compute" in put("enable", binary="nova-conductor").text
    put("force-down", forced_down=False)
    assert put("enable").json()["service"] == {**words, "status": "enabled"}


@pytest.mark.parametrize(("key", "code"), [("nosuch", 400), ("00000000-dead-4eef-8000-000000000000", 404)])
def test_a_service_that_is_none(door, key, code):
    assert ask(door, "PUT", f"/os-services/{key}", {"forced_down": True}).status_code == code


def test_hypervisors_have_the_shape_of_each_microversion(door):
    old = ask(door, "GET", "/os-hypervisors/detail", version="2.27").json()["hypervisors"]
    assert [each["hypervisor_hostname"] for each in old] == HOSTS
    assert isinstance(old[0]["id"], int)
    assert isinstance(old[0]["cpu_info"], str)
    assert old[0]["vcpus"] > 0
    middle = ask(door, "GET", "/os-hypervisors/detail?with_servers=true", version="2.87").json()["hypervisors"][0]
    assert (middle["cpu_info"], middle["servers"]) == ({}, [])
    new = ask(door, "GET", f"/os-hypervisors/{middle['id']}").json()["hypervisor"]
    assert new == {
        "id": middle["id"], "hypervisor_hostname": HOSTS[0], "state": "up", "status": "enabled",
        "hypervisor_type": middle["hypervisor_type"], "hypervisor_version": 0, "host_ip": None, "uptime": None,
        "service": {"id": service(door, HOSTS[0])["id"], "host": HOSTS[0], "disabled_reason": None},
    }  # fmt: skip
    stats = ask(door, "GET", "/os-hypervisors/statistics", version="2.87").json()["hypervisor_statistics"]
    assert (stats["count"], stats["vcpus"]) == (4, sum(each["vcpus"] for each in old))
    assert ask(door, "GET", "/os-hypervisors/statistics", version="2.88").status_code in (400, 404)


def test_hypervisors_come_in_pages_and_are_found_by_name(door):
    names, url = [], "/os-hypervisors?limit=3"
    while url:
        page = ask(door, "GET", url).json()
        names += [each["hypervisor_hostname"] for each in page["hypervisors"]]
        url = page.get("hypervisors_links", [{"href": None}])[0]["href"]
    assert names == HOSTS
    pattern = "/os-hypervisors?hypervisor_hostname_pattern"
    found = ask(door, "GET", f"{pattern}=cell2-&with_servers=1").json()["hypervisors"]
    assert [(each["hypervisor_hostname"], each["servers"]) for each in found] == [(HOSTS[2], []), (HOSTS[3], [])]
    for way, version in ((f"{pattern}=nosuch", "2.53"), ("/os-hypervisors/nosuch/search", "2.52")):
        answer = ask(door, "GET", way, version=version)
        assert answer.json()["itemNotFound"]["message"] == "No hypervisor matching 'nosuch' could be found."
    for bad in (f"{pattern}=cell&limit=1", "/os-hypervisors?marker=nosuch", "/os-hypervisors?bogus=1"):
        assert ask(door, "GET", bad, version="2.53").status_code == 400
    for key, version, code in (("nosuch", "2.53", 400), ("nosuch", "2.52", 404), ("77", "2.52", 404)):
        assert ask(door, "GET", f"/os-hypervisors/{key}", version=version).status_code == code
    old = ask(door, "GET", "/os-hypervisors/host1/servers", version="2.52").json()["hypervisors"]
    assert [each["hypervisor_hostname"] for each in old] == [HOSTS[0], HOSTS[2]]


def test_hypervisors_tell_the_servers_on_them(door, image):
    server_id = door.boot(image)
    host = door.running(server_id) and ask(door, "GET", f"/servers/{server_id}").json()["server"][
        "OS-EXT-SRV-ATTR:host"]  # fmt: skip
    found = ask(door, "GET", f"/os-hypervisors?hypervisor_hostname_pattern={host}&with_servers=yes").json()
    assert [each["uuid"] for each in found["hypervisors"][0]["servers"]] == [server_id]
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)


def test_a_cell_that_is_down_is_told_and_takes_nothing_else_with_it(world, door):
    here, there = (service(door, f"cell{number}-host1")["id"] for number in (1, 2))
    with away(world, "cell2"), opened(world) as lost:
        answer = ask(lost, "GET", "/os-hypervisors/detail")
        assert [each["hypervisor_hostname"] for each in answer.json()["hypervisors"]] == HOSTS[:2]
        assert answer.headers["Warning"] == '199 bfv "1 cells give no answer, hypervisors there are not listed: cell2"'
        assert ask(lost, "PUT", f"/os-services/{here}", {"forced_down": False}).status_code == 200
        for path in (f"/os-services/{there}", "/os-services/00000000-dead-4eef-8000-000000000000"):
            answer = ask(lost, "PUT", path, {"forced_down": True})
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        zones = ask(lost, "GET", "/os-availability-zone/detail")
        assert (zones.status_code, "cell2" in zones.headers["Warning"]) == (200, True)
        cells = {each["name"]: each for each in ask(lost, "GET", "/bfv/cells").json()["cells"]}
        assert {name: each["state"] for name, each in cells.items()} == {"cell0": "up", "cell1": "up", "cell2": "down"}
        assert cells["cell2"]["since"].endswith("Z")


@pytest.fixture
def aggregate(door):
    """Makes an aggregate and removes it with its hosts."""
    made = []

    def make(**words):
        answer = ask(door, "POST", "/os-aggregates", {"aggregate": words})
        if answer.status_code == 200:
            made.append(answer.json()["aggregate"]["id"])
        return answer

    yield make
    for key in made:
        found = ask(door, "GET", f"/os-aggregates/{key}")
        for host in found.json()["aggregate"]["hosts"] if found.status_code == 200 else ():
            act(door, key, remove_host={"host": host})
        ask(door, "DELETE", f"/os-aggregates/{key}")


def act(door, key, **body):
    return ask(door, "POST", f"/os-aggregates/{key}/action", body)


def test_an_aggregate_is_made_filled_changed_and_removed(door, aggregate):
    made = aggregate(name="rack1", availability_zone="az1").json()["aggregate"]
    assert made.keys() == {"id", "uuid", "name", "availability_zone", "created_at", "updated_at", "deleted",
                           "deleted_at"}  # fmt: skip
    key, path = made["id"], f"/os-aggregates/{made['id']}"
    assert "uuid" not in ask(door, "GET", path, version="2.40").json()["aggregate"]
    full = act(door, key, add_host={"host": HOSTS[0]}).json()["aggregate"]
    assert (full["hosts"], full["metadata"]) == ([HOSTS[0]], {"availability_zone": "az1"})
    zones = {each["zoneName"]: each for each in ask(door, "GET", "/os-availability-zone/detail").json()[
        "availabilityZoneInfo"]}  # fmt: skip
    assert zones["az1"]["hosts"][HOSTS[0]]["nova-compute"]["available"] is True
    assert zones["nova"]["hosts"].keys() == {*HOSTS[1:]}
    marked = act(door, key, set_metadata={"metadata": {"ssd": "yes", "old": None}}).json()["aggregate"]
    assert marked["metadata"] == {"availability_zone": "az1", "ssd": "yes"}
    renamed = ask(door, "PUT", path, {"aggregate": {"name": "rack2", "availability_zone": "az2"}}).json()["aggregate"]
    assert (renamed["name"], renamed["availability_zone"]) == ("rack2", "az2")
    assert renamed in ask(door, "GET", "/os-aggregates").json()["aggregates"]
    full = ask(door, "DELETE", path)
    assert full.json()["badRequest"]["message"] == (
        f"Cannot remove host from aggregate {key}. Reason: Host aggregate is not empty.")  # fmt: skip
    assert act(door, key, remove_host={"host": HOSTS[0]}).json()["aggregate"]["hosts"] == []
    assert ask(door, "DELETE", path).status_code == 200
    assert ask(door, "GET", path).json()["itemNotFound"]["message"] == f"Aggregate {key} could not be found."


def test_what_an_aggregate_cannot_be_is_refused_in_novas_words(door, aggregate):
    one, two = (aggregate(name=name, availability_zone=name).json()["aggregate"]["id"] for name in ("x1", "x2"))
    assert aggregate(name="x1").json()["conflictingRequest"]["message"] == "Aggregate x1 already exists."
    act(door, one, add_host={"host": HOSTS[0]})
    answers = {
        "exists": act(door, one, add_host={"host": HOSTS[0]}),
        "elsewhere": act(door, two, add_host={"host": HOSTS[0]}),
        "unmapped": act(door, one, add_host={"host": "nosuch"}),
        "absent": act(door, two, remove_host={"host": "nosuch"}),
        "taken": ask(door, "PUT", f"/os-aggregates/{two}", {"aggregate": {"name": "x1"}}),
        "no zone": ask(door, "PUT", f"/os-aggregates/{two}", {"aggregate": {"availability_zone": None}}),
    }
    told = {name: (each.status_code, next(iter(each.json().values()))["message"]) for name, each in answers.items()}
    assert told == {
        "exists": (409, f"Aggregate {one} already has host {HOSTS[0]}."),
        "elsewhere": (409, f"Cannot add host to aggregate {two}. Reason: One or more hosts already in availability "
                           "zone(s) ['x1']."),
        "unmapped": (404, "Host 'nosuch' is not mapped to any cell"),
        "absent": (404, f"Cannot remove host nosuch in aggregate {two}"),
        "taken": (409, "Aggregate x1 already exists."),
        "no zone": (400, f"Cannot update aggregate {two}. Reason: Aggregate x2 does not support empty named "
                         "availability zone."),
    }  # fmt: skip
    for key, code in (("x", 400), ("99999999999", 400), ("9999", 404)):
        assert ask(door, "GET", f"/os-aggregates/{key}").status_code == code
    for body in ({}, {"name": "a", "x": 1}, {"name": ""}, {"availability_zone": "a:b"}):
        assert ask(door, "PUT", f"/os-aggregates/{one}", {"aggregate": body}).status_code == 400


def test_no_zone_is_taken_from_under_servers(door, image, aggregate):
    server_id = door.boot(image)
    door.running(server_id)
    host = ask(door, "GET", f"/servers/{server_id}").json()["server"]["OS-EXT-SRV-ATTR:host"]
    plain, zoned = aggregate(name="p").json()["aggregate"]["id"], aggregate(name="z", availability_zone="az").json()
    refused = act(door, zoned["aggregate"]["id"], add_host={"host": host})
    assert (refused.status_code, "1 instance(s)" in refused.text) == (409, True)
    assert act(door, plain, add_host={"host": host}).status_code == 200
    moved = act(door, plain, set_metadata={"metadata": {"availability_zone": "az"}})
    assert moved.json()["badRequest"]["message"] == (
        f"Cannot update metadata of aggregate {plain}. Reason: One or more hosts contain instances in this zone."
    )
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)
