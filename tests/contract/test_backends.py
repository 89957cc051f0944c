# SPDX-License-Identifier: Apache-2.0
"""What Cinder tells of itself: types, pools, services, zones; and quotas."""

import uuid

import pytest

from tests.contract.door import acted, emptied, over_quota, refused

TYPE = {"id", "name", "is_public", "description", "extra_specs"}
ACCESS = {"os-volume-type-access:is_public"}
ZONES = "RESKEY:availability_zones"


def types(site, who):
    return {row["name"]: row for row in site.volume(who, "GET", "/types").json()["volume_types"]}


def test_how_a_type_encrypts_is_told_to_admins(site, admin, member):
    rows = site.volume(admin, "GET", "/types").json()["volume_types"]
    path = f"/types/{next(row['id'] for row in rows if row['name'] == 'cell1')}/encryption"
    answer = site.volume(admin, "GET", path)
    assert (answer.status_code, answer.json()) == (200, {})
    text = "Policy doesn't allow volume_extension:volume_type_encryption:get to be performed."
    refused(site.volume(member, "GET", path), 403, text)
    unknown = str(uuid.uuid4())
    refused(
        site.volume(admin, "GET", f"/types/{unknown}/encryption"), 404, f"Volume type {unknown} could not be found."
    )


def test_a_type_that_encrypts(site, admin, member):
    given = {"encryption": {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256,
                            "control_location": "front-end"}}  # fmt: skip
    body = {"volume_type": {"name": f"locked-{uuid.uuid4().hex[:8]}"}}
    kind = site.volume(admin, "POST", "/types", json=body).json()["volume_type"]["id"]
    path = f"/types/{kind}/encryption"
    try:
        text = "Policy doesn't allow volume_extension:volume_type_encryption:create to be performed."
        refused(site.volume(member, "POST", path, json=given), 403, text)
        answer = site.volume(admin, "POST", path, json=given)
        assert answer.status_code == 200
        made, told = answer.json()["encryption"], site.volume(admin, "GET", path).json()
        ident = made.pop("encryption_id")
        assert made == {**given["encryption"], "volume_type_id": kind}
        assert told.pop("encryption_id") == ident
        assert told.pop("created_at")
        rest = {"volume_type_id": kind, "deleted": False, "deleted_at": None, "updated_at": None}
        assert told == {**given["encryption"], **rest}
        text = f"Volume type encryption for type {kind} already exists."
        refused(site.volume(admin, "POST", path, json=given), 400, text)
    finally:
        site.volume(admin, "DELETE", f"/types/{kind}")


def test_types(site, admin, member):
    seen, all_of_it = types(site, member), types(site, admin)
    assert {"cell1", "cell2", "cell1-fast", "cell2-fast", "lost", "__DEFAULT__"} <= set(seen)
    assert set(seen["cell2"]) == TYPE | ACCESS
    assert seen["cell2"]["extra_specs"] == {ZONES: "cell2"}
    assert seen["lost"]["extra_specs"] == {}
    assert set(all_of_it["cell2"]) == TYPE | ACCESS | {"qos_specs_id"}
    assert all_of_it["cell2"]["extra_specs"] == {"volume_backend_name": "cell2", ZONES: "cell2"}
    ident = seen["cell2"]["id"]
    for who, rows in ((member, seen), (admin, all_of_it)):
        assert site.volume(who, "GET", f"/types/{ident}").json() == {"volume_type": rows["cell2"]}
        specs = site.volume(who, "GET", f"/types/{ident}/extra_specs").json()
        assert specs == {"extra_specs": rows["cell2"]["extra_specs"]}
    default = site.volume(member, "GET", "/types/default").json()["volume_type"]
    assert default == {key: value for key, value in seen["cell1"].items() if key in TYPE}
    for wrong in ("cell1", str(uuid.uuid4())):
        refused(site.volume(member, "GET", f"/types/{wrong}"), 404, f"Volume type {wrong} could not be found.")
    text = "Invalid filters name are found in query options."
    refused(site.volume(member, "GET", "/types", params={"name": "cell1"}), 400, text)


def test_private_type(site, admin, member):
    name = f"contract-{uuid.uuid4().hex[:8]}"
    body = {"volume_type": {"name": name, "extra_specs": {"a": "b"}, "os-volume-type-access:is_public": False}}
    text = "Policy doesn't allow volume_extension:type_create to be performed."
    refused(site.volume(member, "POST", "/types", body), 403, text)
    made = site.volume(admin, "POST", "/types", body)
    assert made.status_code == 200
    kind = made.json()["volume_type"]
    path = f"/types/{kind['id']}"
    try:
        assert set(kind) == TYPE | ACCESS
        assert (kind["is_public"], kind["extra_specs"]) == (False, {"a": "b"})
        text = f"Volume type {kind['id']} could not be found."
        refused(site.volume(member, "GET", path), 404, text)
        create = {"volume": {"size": 1, "volume_type": kind["id"]}}
        refused(site.volume(member, "POST", "/volumes", create), 404, text)
        assert name not in types(site, member)
        more = {"extra_specs": {"c": "d"}}
        assert site.volume(admin, "POST", f"{path}/extra_specs", more).json() == more
        assert site.volume(admin, "GET", f"{path}/extra_specs").json() == {"extra_specs": {"a": "b", "c": "d"}}
        refused(site.volume(admin, "POST", "/types", body), 409, f"Volume Type {name} already exists.")
    finally:
        gone = site.volume(admin, "DELETE", path)
    emptied(gone)
    refused(site.volume(admin, "DELETE", path), 404, f"Volume type {kind['id']} could not be found.")


CAPABILITIES = {
    *("vendor_name", "driver_version", "storage_protocol", "total_capacity_gb", "free_capacity_gb"),
    *("reserved_percentage", "multiattach", "thin_provisioning_support", "max_over_subscription_ratio"),
    *("location_info", "backend_state", "qos_support", "volume_backend_name", "replication_enabled"),
    *("allocated_capacity_gb", "filter_function", "goodness_function", "timestamp"),
}


def test_pools(site, admin, member):
    path = "/scheduler-stats/get_pools"
    brief = site.volume(admin, "GET", path).json()
    # The real one has one more, on nova's own pool.
    assert {row["name"] for row in brief["pools"]} >= set(site.backends.values())
    assert all(set(row) == {"name"} for row in brief["pools"])
    rows = site.volume(admin, "GET", path, params={"detail": "true"}).json()["pools"]
    for row in (row for row in rows if row["name"] in site.backends.values()):
        cell = next(cell for cell, backend in site.backends.items() if backend == row["name"])
        able = row["capabilities"]
        assert set(able) == CAPABILITIES
        assert able["location_info"].split(":")[0] == cell
        assert able["location_info"].split(":")[2:] == [site.fsids[cell], "cinder", "volumes"]
        assert (able["volume_backend_name"], able["backend_state"], able["storage_protocol"]) == (cell, "up", "ceph")
        assert able["free_capacity_gb"] <= able["total_capacity_gb"]
    text = "Policy doesn't allow scheduler_extension:scheduler_stats:get_pools to be performed."
    refused(site.volume(member, "GET", path), 403, text)


def test_services(site, admin, member):
    rows = site.volume(admin, "GET", "/os-services").json()["services"]
    common = {"binary", "host", "zone", "status", "state", "updated_at", "cluster", "disabled_reason"}
    more = {"backend_state", "replication_status", "active_backend_id", "frozen"}
    for row in rows:
        assert set(row) == common | (more if row["binary"] == "cinder-volume" else set())
        assert (row["status"], row["state"]) == ("enabled", "up")
    mine = site.volume(admin, "GET", "/os-services", params={"binary": "cinder-volume"}).json()["services"]
    assert {f"{row['host']}#{row['zone']}" for row in mine} >= set(site.backends.values())
    text = "Policy doesn't allow volume_extension:services:index to be performed."
    refused(site.volume(member, "GET", "/os-services"), 403, text)


def test_zones(site, member):
    rows = site.volume(member, "GET", "/os-availability-zone").json()["availabilityZoneInfo"]
    # In the order in which the real one's services first reported.
    assert sorted(rows, key=lambda row: row["zoneName"]) == [
        {"zoneName": cell, "zoneState": {"available": True}} for cell in ("cell1", "cell2")
    ]


@pytest.fixture
def counted(site, admin, own_tenant):
    """A project with limits of its own, and its member."""

    def limit(**values):
        return site.volume(admin, "PUT", f"/os-quota-sets/{own_tenant.id}", {"quota_set": values})

    yield own_tenant, own_tenant.person("member"), limit
    acted(site.volume(admin, "DELETE", f"/os-quota-sets/{own_tenant.id}"), 200)


COUNTS = ("volumes", "gigabytes", "snapshots")


def test_quota_sets(site, admin, stranger, counted):
    tenant, who, limit = counted
    path = f"/os-quota-sets/{tenant.id}"
    shown = site.volume(who, "GET", path).json()["quota_set"]
    kinds = types(site, admin)
    expected = {f"{what}_{kind}" for kind in kinds for what in COUNTS}
    expected |= {"volumes", "per_volume_gigabytes", "snapshots", "gigabytes", "backups", "backup_gigabytes", "groups"}
    assert set(shown) >= expected | {"id"}
    assert (shown["volumes"], shown["backups"], shown["groups"], shown["id"]) == (-1, 10, 10, tenant.id)
    defaults = site.volume(admin, "GET", f"{path}/defaults").json()["quota_set"]
    assert (defaults["volumes"], defaults["id"]) == (-1, tenant.id)
    used = site.volume(who, "GET", path, params={"usage": "True"}).json()["quota_set"]
    assert used["volumes"] == {"limit": -1, "in_use": 0, "reserved": 0}
    answer = limit(volumes=1, gigabytes=2)
    assert answer.status_code == 200
    assert "id" not in answer.json()["quota_set"]
    assert (answer.json()["quota_set"]["volumes"], answer.json()["quota_set"]["gigabytes"]) == (1, 2)
    text = "Policy doesn't allow volume_extension:quotas:show to be performed."
    refused(site.volume(stranger.person("member"), "GET", path), 403, text)
    text = "Policy doesn't allow volume_extension:quotas:update to be performed."
    refused(site.volume(who, "PUT", path, {"quota_set": {"volumes": 5}}), 403, text)
    refused(limit(odd=1), 400, "Invalid input received: Bad key(s) in quota set: odd")
    refused(limit(volumes=-2), 400, "volumes must be >= -1")


def test_over_quota(site, counted, make_volume):
    _, who, limit = counted
    limit(volumes=1, gigabytes=2)

    def create(**body):
        return site.volume(who, "POST", "/volumes", {"volume": body})

    gigabytes = "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota. "
    over_quota(create(size=3), f"{gigabytes}Requested 3G, quota is 2G and 0G has been consumed.")
    ident = make_volume(who)
    text = "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for quota 'volumes'."
    over_quota(create(size=1), text)
    over_quota(create(size=2), f"{gigabytes}Requested 2G, quota is 2G and 1G has been consumed.")
    answer = site.volume(who, "POST", f"/volumes/{ident}/action", {"os-extend": {"new_size": 5}})
    over_quota(answer, f"{gigabytes}Requested 4G, quota is 2G and 1G has been consumed.")
    assert site.volume(who, "GET", "/limits").json() == {
        "limits": {
            "rate": [],
            "absolute": {
                "maxTotalVolumes": 1,
                "maxTotalSnapshots": -1,
                "maxTotalVolumeGigabytes": 2,
                "maxTotalBackups": 10,
                "maxTotalBackupGigabytes": 1000,
                "totalVolumesUsed": 1,
                "totalGigabytesUsed": 1,
                "totalSnapshotsUsed": 0,
                "totalBackupsUsed": 0,
                "totalBackupGigabytesUsed": 0,
            },
        }
    }
    limit(volumes=-1, gigabytes=-1, per_volume_gigabytes=1)
    text = "VolumeSizeExceedsLimit: Requested volume size 3G is larger than maximum allowed limit 1G."
    over_quota(create(size=3), text)
    limit(per_volume_gigabytes=-1, volumes_cell2=1)
    text = "VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for quota 'volumes_cell2'."
    over_quota(create(size=1, volume_type="cell2"), text)
    limit(volumes_cell2=-1, snapshots=0)
    answer = site.volume(who, "POST", "/snapshots", {"snapshot": {"volume_id": ident}})
    over_quota(answer, "SnapshotLimitExceeded: Maximum number of snapshots allowed (0) exceeded")
