# SPDX-License-Identifier: Apache-2.0
"""Cinder's lists: filters, order, pages, and whose rows they show."""

import datetime as dt
import uuid

import pytest

from tests.contract.door import refused

OWN_LINKS = {"self", "bookmark"}


@pytest.fixture
def tagged(make_volume):
    """A volume that no other has the name and metadata of."""
    key = uuid.uuid4().hex
    return key, make_volume(name=f"contract-{key}", metadata={"key": key})


def ids(site, who, path="/volumes", version="3.71", **query):
    answer = site.volume(who, "GET", path, params=query, version=version)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["volumes"]]


def test_brief_and_detail(site, member, tagged):
    key, ident = tagged
    rows = site.volume(member, "GET", "/volumes", params={"name": f"contract-{key}"}).json()
    assert set(rows) == {"volumes"}
    assert set(rows["volumes"][0]) == {"id", "name", "links"}
    detail = site.volume(member, "GET", "/volumes/detail", params={"name": f"contract-{key}"}).json()
    assert detail == {"volumes": [site.show(member, ident)]}


@pytest.mark.parametrize("path", ["/volumes", "/volumes/detail"])
def test_metadata_filter(site, member, other, tagged, path):
    key, ident = tagged
    for text in (f"{{'key': '{key}'}}", f'{{"key": "{key}"}}'):
        assert ids(site, member, path, metadata=text) == [ident]
    assert ids(site, member, path, metadata=f"{{'key': '{key}', 'no': 'x'}}") == []
    assert ids(site, other, path, metadata=f"{{'key': '{key}'}}") == []


def test_status_filters(site, member, tagged):
    key, ident = tagged
    common = {"metadata": f"{{'key': '{key}'}}"}
    for query in ({"status": "available"}, {"size": 1}, {"bootable": "false"}, {"availability_zone": "cell2"}):
        assert ids(site, member, **common, **query) == [ident]
    for query in ({"status": "error"}, {"size": 2}, {"bootable": "true"}, {"availability_zone": "cell1"}):
        assert ids(site, member, **common, **query) == []


def test_all_tenants_is_for_admins(site, admin, tenant, other, tagged):
    key, ident = tagged
    query = {"name": f"contract-{key}"}
    assert ids(site, admin, **query) == []
    assert ids(site, admin, all_tenants=1, **query) == [ident]
    assert ids(site, admin, all_tenants=1, project_id=tenant.id, **query) == [ident]
    assert ids(site, admin, all_tenants=1, project_id="f" * 32, **query) == []
    assert ids(site, admin, all_tenants=1, host=site.backends["cell2"], **query) == [ident]
    assert ids(site, admin, all_tenants=1, host=site.backends["cell1"], **query) == []
    assert ids(site, other, all_tenants=1, **query) == []


def test_filters_that_are_not_allowed(site, admin, member, tagged):
    _, ident = tagged
    for name in ("odd", "host", "name~"):
        text = f"Invalid filters {name} are found in query options."
        refused(site.volume(member, "GET", "/volumes", params={name: "x"}), 400, text)
    assert ident in ids(site, member, version="3.30", odd=1)
    assert ids(site, admin, all_tenants=1, odd=1) == []


def test_time_filters(site, member, tagged):
    key, ident = tagged
    common = {"metadata": f"{{'key': '{key}'}}"}
    then = dt.datetime.fromisoformat(site.show(member, ident)["updated_at"])

    def moment(seconds):
        return (then + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")

    for text, found in (
        (f"gt:{moment(-1)}", [ident]),
        (f"gt:{moment(0)}", []),
        (f"gte:{moment(0)}", [ident]),
        (f"lt:{moment(0)}", []),
        (f"lt:{moment(1)}", [ident]),
        (f"gt:{moment(-1)},lt:{moment(1)}", [ident]),
    ):
        assert ids(site, member, **common, updated_at=text) == found, text
    assert ids(site, member, **common, created_at=f"lt:{moment(1)}") == [ident]
    refused(site.volume(member, "GET", "/volumes", params={"updated_at": "2036"}), 400, "Invalid 2036 operator")


def test_order_and_pages(site, member, make_volume):
    key = uuid.uuid4().hex
    made = [make_volume(metadata={"key": key}, name=f"contract-{n}", wait=None) for n in (2, 1, 3)]
    common = {"metadata": f"{{'key': '{key}'}}"}
    by_name = [made[1], made[0], made[2]]
    assert ids(site, member, **common, sort="name:asc") == by_name
    assert ids(site, member, **common, sort_key="name", sort_dir="desc") == by_name[::-1]
    assert ids(site, member, **common, sort="name", limit=1, offset=1) == [by_name[1]]
    assert ids(site, member, **common, sort="name:asc", marker=by_name[0]) == by_name[1:]

    page = site.volume(member, "GET", "/volumes", params={**common, "sort": "name:asc", "limit": 2}).json()
    assert [row["id"] for row in page["volumes"]] == by_name[:2]
    link = page["volumes_links"]
    assert [each["rel"] for each in link] == ["next"]
    assert link[0]["href"].startswith(f"{site.volume_url}/volumes?")
    assert link[0]["href"].endswith(f"&marker={by_name[1]}")
    rest = site.call(member, "GET", link[0]["href"], headers={"OpenStack-API-Version": "volume 3.71"}).json()
    assert [row["id"] for row in rest["volumes"]] == by_name[2:]
    assert set(rest) == {"volumes"}
    counted = site.volume(member, "GET", "/volumes", params={**common, "limit": 1, "with_count": "true"}).json()
    assert counted["count"] == 3
    assert ids(site, member, limit=0) == []


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"limit": "-1"}, 400, "limit param must be positive"),
        ({"sort": "nope:asc"}, 400, "Invalid input received: Invalid sort key"),
        ({"marker": "zz"}, 404, "Volume zz could not be found."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_list_refusals(site, member, query, status, text):
    refused(site.volume(member, "GET", "/volumes", params=query), status, text)


def test_summary(site, member, tagged):
    key, _ = tagged
    found = site.volume(member, "GET", "/volumes/summary").json()["volume-summary"]
    assert set(found) == {"total_count", "total_size", "metadata"}
    assert key in found["metadata"]["key"]


def test_resource_filters(site, member):
    rows = site.volume(member, "GET", "/resource_filters").json()["resource_filters"]
    found = {row["resource"]: row["filters"] for row in rows}
    assert found["volume"] == [
        *("name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size"),
        *("created_at", "updated_at", "consumes_quota"),
    ]
    assert found["attachment"] == ["volume_id", "status", "instance_id", "attach_status"]
    assert found["message"] == ["resource_uuid", "resource_type", "event_id", "request_id", "message_level"]
