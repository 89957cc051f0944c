# SPDX-License-Identifier: Apache-2.0
"""What projects used, over HTTP; and what nova gave up to other services is not there."""

import datetime as dt

import pytest

from bfv.types import utcnow
from tests.api.conftest import away, opened, world_with_hosts

PATH = "/os-simple-tenant-usage"
KEYS = {"tenant_id", "total_hours", "total_local_gb_usage", "total_memory_mb_usage", "total_vcpus_usage", "start",
        "stop"}  # fmt: skip


@pytest.fixture(scope="module")
def servers(door, image):
    """Two servers of demo's that run and one that is deleted, in this order, and the time before them all."""
    before = utcnow() - dt.timedelta(seconds=5)
    made = [door.boot(image, name=f"u{number}") for number in range(3)]
    for server_id in made:
        door.running(server_id)
    door("DELETE", f"/servers/{made[2]}")
    door.gone(made[2])
    yield made, before
    for server_id in made[:2]:
        door("DELETE", f"/servers/{server_id}")
        door.gone(server_id)


def asked(door, query, path=PATH, *, user="admin", version="2.96"):
    return door("GET", f"{path}?{query}", user=user, version=version)


def project(door):
    return door.site.caller("demo").project_id


def test_a_project_sees_what_it_used_server_by_server(door, servers):
    made, before = servers
    answer = asked(door, f"start={before.isoformat()}", f"{PATH}/{project(door)}", user="demo")

    assert answer.status_code == 200, answer.text
    usage = answer.json()["tenant_usage"]
    assert set(usage) == KEYS | {"server_usages"}
    found = {each["instance_id"]: each for each in usage["server_usages"]}
    assert set(found) >= set(made)
    mine = found[made[0]]
    assert (mine["name"], mine["flavor"], mine["vcpus"], mine["memory_mb"], mine["local_gb"], mine["state"]) == (
        "u0", "tiny", 1, 128, 0, "active")  # fmt: skip
    assert (found[made[2]]["state"], mine["ended_at"]) == ("terminated", None)
    # Nova's rows keep whole seconds.
    assert found[made[2]]["ended_at"] >= found[made[2]]["started_at"][:19]
    assert 0 < mine["hours"] < 0.1
    assert usage["total_hours"] == pytest.approx(sum(each["hours"] for each in found.values()))
    assert usage["total_memory_mb_usage"] == pytest.approx(128 * usage["total_hours"])
    assert dt.datetime.fromisoformat(usage["start"]) == before
    assert dt.datetime.fromisoformat(usage["stop"]) <= utcnow()


def test_admins_see_all_projects_and_only_they(door, servers):
    _, before = servers
    [plain] = [each for each in asked(door, f"start={before.isoformat()}").json()["tenant_usages"]
               if each["tenant_id"] == project(door)]  # fmt: skip
    assert set(plain) == KEYS
    [detailed] = [each for each in asked(door, f"start={before.isoformat()}&detailed=1").json()["tenant_usages"]
                  if each["tenant_id"] == project(door)]  # fmt: skip
    assert set(detailed) == KEYS | {"server_usages"}
    assert asked(door, "", user="demo").status_code == 403
    assert asked(door, "", f"{PATH}/{project(door)}", user="other").status_code == 403
    assert asked(door, "start=2026-01-01T00:00:00", f"{PATH}/{project(door)}").status_code == 200


def test_pages_have_each_server_once(door, servers):
    made, before = servers
    url, seen = f"{PATH}/{project(door)}?start={before.isoformat()}&limit=2", []
    while url:
        answer = door("GET", url, version="2.40").json()
        page = answer["tenant_usage"].get("server_usages", [])
        assert len(page) <= 2
        seen += [each["instance_id"] for each in page]
        url = answer.get("tenant_usage_links", [{}])[0].get("href")
    assert set(seen) >= set(made)
    assert seen == sorted(set(seen))
    old = asked(door, f"start={before.isoformat()}&limit=1", f"{PATH}/{project(door)}", user="demo", version="2.39")
    assert len(old.json()["tenant_usage"]["server_usages"]) == len(seen)
    assert "tenant_usage_links" not in old.json()
    marker = asked(door, "start=2026-01-01T00:00:00&marker=00000000-dead-4eef-8000-000000000000")
    assert marker.status_code == 400


@pytest.mark.parametrize(
    ("query", "code"),
    [("start=2026-01-02T00:00:00&end=2026-01-01T00:00:00", 400), ("start=yesterday", 400), ("end=x", 400),
     ("start=2020-01-01 00:00:00.5&end=2020-01-02T00:00:00.25", 200), ("", 400), ("limit=-1", 400),
     ("start=2020-01-01T00:00:00&bogus=1", 400)],
)  # fmt: skip
def test_a_time_that_cannot_be_is_refused(door, query, code):
    assert asked(door, query).status_code == code
    assert asked(door, query, f"{PATH}/{project(door)}", user="demo").status_code == code


def test_a_time_without_servers_is_empty(door):
    query = "start=2020-01-01T00:00:00&end=2020-01-02T00:00:00"
    assert asked(door, query).json() == {"tenant_usages": []}
    assert asked(door, query, f"{PATH}/{project(door)}", user="demo").json() == {"tenant_usage": {}}


def test_a_cell_that_is_down_makes_the_answer_say_that_it_is_partial(site, tmp_path, image):
    world = world_with_hosts(site, tmp_path)
    with opened(world) as door:
        made = [door.boot(image) for _ in range(2)]
        for server_id in made:
            door.running(server_id)
        cells = {door.cloud.server(each, site.caller("demo")).cell: each for each in made}
    assert set(cells) == {"cell1", "cell2"}
    with away(world, "cell2"), opened(world) as door:
        answer = asked(door, "start=2026-01-01T00:00:00", f"{PATH}/{project(door)}", user="demo")
        assert [each["instance_id"] for each in answer.json()["tenant_usage"]["server_usages"]] == [cells["cell1"]]
        assert answer.headers["Warning"] == '199 bfv "1 cells give no answer, what ran there is not counted"'
        assert "counted: cell2" in asked(door, "start=2026-01-01T00:00:00").headers["Warning"]
    with opened(world) as door:
        whole = asked(door, "start=2026-01-01T00:00:00", f"{PATH}/{project(door)}", user="demo")
        assert "Warning" not in whole.headers
        assert len(whole.json()["tenant_usage"]["server_usages"]) == 2
        for server_id in made:
            door("DELETE", f"/servers/{server_id}")
            door.gone(server_id)


@pytest.mark.parametrize("version", ["2.1", "2.36", "2.96"])
@pytest.mark.parametrize(
    "path", ["images", "images/detail", "os-volumes", "os-volumes/detail", "os-snapshots", "os-networks",
             "os-tenant-networks", "os-floating-ips", "os-floating-ip-pools", "os-security-groups", "os-fping",
             "os-baremetal-nodes", "os-hosts", "os-volumes_boot"]
)  # fmt: skip
def test_what_nova_gave_up_to_other_services_is_not_there(door, path, version):
    answer = door("GET", f"/{path}", version=version)
    assert answer.status_code == 404
