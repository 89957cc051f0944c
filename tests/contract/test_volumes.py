# SPDX-License-Identifier: Apache-2.0
"""Cinder v3: volumes from all sources, their states, who sees what of them, and how they go."""

import time
import uuid

import pytest
import requests

from tests.contract.door import acted, cinder_headers, emptied, refused

BUSY = (
    "Invalid volume: Volume status must be available or error or error_restoring or error_extending or "
    "error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or "
    "be disassociated from snapshots after volume transfer."
)
NOBODY = "00000000-0000-4000-8000-000000000000"
OLD = {
    *("id", "status", "size", "availability_zone", "created_at", "updated_at", "name", "description", "volume_type"),
    *("snapshot_id", "source_volid", "metadata", "links", "user_id", "bootable", "encrypted", "replication_status"),
    *("consistencygroup_id", "multiattach", "attachments"),
}
NEW = OLD | {"group_id", "shared_targets", "service_uuid", "volume_type_id", "consumes_quota"}
SHOWN = NEW | {"os-vol-tenant-attr:tenant_id"}
ADMIN = SHOWN | {
    *("migration_status", "provider_id", "cluster_name", "os-vol-host-attr:host"),
    *("os-vol-mig-status-attr:migstat", "os-vol-mig-status-attr:name_id"),
}


def create(site, who, version="3.71", **body):
    return site.volume(who, "POST", "/volumes", {"volume": body}, version=version)


def type_id(site, who, name):
    rows = site.volume(who, "GET", "/types").json()["volume_types"]
    return next(row["id"] for row in rows if row["name"] == name)


def test_versions(site, member):
    root = site.volume_url.removesuffix("/v3")
    answer = requests.get(f"{root}/", timeout=60)
    assert answer.status_code == 300
    row = answer.json()["versions"][0]
    kind = "application/vnd.openstack.volume+json;version=3"
    assert row == {
        "id": "v3.0",
        "status": "CURRENT",
        "version": "3.71",
        "min_version": "3.0",
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{site.volume_url}/"},
        ],
        "media-types": [{"base": "application/json", "type": kind}],
    }
    below = site.volume(member, "GET", "/")
    assert (below.status_code, below.json()) == (200, answer.json())
    assert site.volume(None, "GET", "").status_code == 401


def test_microversions(site, member):
    assert site.volume(member, "GET", "/volumes", version=None).headers["OpenStack-API-Version"] == "volume 3.0"
    text = "Version 3.99 is not supported by the API. Minimum is 3.0 and maximum is 3.71."
    refused(site.volume(member, "GET", "/volumes", version="3.99"), 406, text, "3.99")
    answer = site.volume(member, "GET", "/volumes", version="rubbish")
    text = "API Version String rubbish is of invalid format. Must be of format MajorNum.MinorNum."
    assert (answer.status_code, answer.json()) == (400, {"badRequest": {"code": 400, "message": text}})
    refused(site.volume(member, "GET", "/messages", version="3.2"), 404, "The resource could not be found.", "3.2")


def test_paths(site, tenant, stranger, admin, member):
    answer = site.volume(member, "GET", f"/{tenant.id}/volumes")
    assert answer.status_code == 200
    for who in (member, admin):
        refused(site.volume(who, "GET", f"/{stranger.id}/volumes"), 400, "Malformed request url")
    answer = site.volume(member, "GET", "/nope")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    answer = site.volume(member, "POST", "/volumes", data=b"no json", headers={"Content-Type": "application/json"})
    refused(answer, 400, "Malformed request body")


def test_no_token(site):
    for token in (None, "rubbish"):
        answer = site.volume(token, "GET", "/volumes")
        assert answer.status_code == 401
        text = "The request you have made requires authentication."
        assert answer.json() == {"error": {"code": 401, "title": "Unauthorized", "message": text}}
        assert answer.headers["WWW-Authenticate"].startswith('Keystone uri="http')


def test_blank(site, admin, tenant, member, other, plain, make_volume):
    body = {"size": 1, "name": "contract", "metadata": {"k": "v"}, "volume_type": "cell2"}
    answer = create(site, member, **body)
    assert answer.status_code == 202
    cinder_headers(answer)
    volume = answer.json()["volume"]
    ident = volume["id"]
    try:
        assert volume == {
            "id": ident,
            "status": "creating",
            "size": 1,
            "availability_zone": "cell2",
            "created_at": volume["created_at"],
            "updated_at": None,
            "name": "contract",
            "description": None,
            "volume_type": "cell2",
            "snapshot_id": None,
            "source_volid": None,
            "metadata": {"k": "v"},
            "links": [
                {"rel": "self", "href": f"{site.volume_url}/volumes/{ident}"},
                {"rel": "bookmark", "href": f"{site.volume_url.removesuffix('/v3')}/volumes/{ident}"},
            ],
            "user_id": tenant.user_id("member"),
            "bootable": "false",
            "encrypted": False,
            "replication_status": None,
            "consistencygroup_id": None,
            "multiattach": False,
            "attachments": [],
            "group_id": None,
            "shared_targets": True,
            "service_uuid": None,
            "volume_type_id": type_id(site, member, "cell2"),
            "consumes_quota": True,
        }
        shown = site.settle(member, ident, "available")
        assert set(shown) == SHOWN
        changed = ("status", "created_at", "updated_at", "shared_targets", "service_uuid")
        assert {k: v for k, v in shown.items() if k in NEW and k not in changed} == {
            k: v for k, v in volume.items() if k not in changed
        }
        assert shown["created_at"] == f"{volume['created_at'][:19]}.000000"
        assert (shown["shared_targets"], shown["os-vol-tenant-attr:tenant_id"]) == (False, tenant.id)
        assert uuid.UUID(shown["service_uuid"])
        seen = site.show(admin, ident)
        assert set(seen) == ADMIN
        assert seen["os-vol-host-attr:host"] == site.backends["cell2"]
        for who in (other, plain):
            refused(site.volume(who, "GET", f"/volumes/{ident}"), 404, f"Volume {ident} could not be found.")
    finally:
        site.remove(admin, ident)


def test_columns_by_microversion(site, admin, member, make_volume):
    ident = make_volume()
    by_version = {
        "3.0": set(),
        "3.13": {"group_id"},
        "3.48": {"group_id", "shared_targets", "service_uuid"},
        "3.63": {"group_id", "shared_targets", "service_uuid", "volume_type_id"},
        "3.65": {"group_id", "shared_targets", "service_uuid", "volume_type_id", "consumes_quota"},
    }
    for version, more in by_version.items():
        answer = site.volume(member, "GET", f"/volumes/{ident}", version=version)
        cinder_headers(answer, version)
        assert set(answer.json()["volume"]) == OLD | more | {"os-vol-tenant-attr:tenant_id"}, version
    old = site.volume(admin, "GET", f"/volumes/{ident}", version="3.0").json()["volume"]
    assert ADMIN - set(old) == NEW - OLD | {"provider_id", "cluster_name"}


def test_from_image(site, member, make_volume, warm_image):
    ident = make_volume(imageRef=warm_image, volume_type="cell1", wait=None)
    states = site.states(member, ident, "available", "error")
    assert [state for state in states if state != "creating"] == ["available"]
    volume = site.show(member, ident)
    assert set(volume) == SHOWN | {"volume_image_metadata"}
    assert volume["bootable"] == "true"
    image = site.image(member, "GET", f"/v2/images/{warm_image}").json()
    assert volume["volume_image_metadata"] == {
        "os_distro": "tux",
        "image_id": warm_image,
        "image_name": image["name"],
        "checksum": image["checksum"],
        "container_format": "bare",
        "disk_format": "raw",
        "min_disk": "0",
        "min_ram": "0",
        "size": str(image["size"]),
    }


def test_cold_image_is_downloaded_once(site, admin, member, make_image, make_volume):
    image_id = make_image()
    first = make_volume(imageRef=image_id, wait=None, metadata={"m": "1"}, description="d")
    states = site.states(member, first, "available", "error")
    assert [state for state in states if state not in ("creating", "downloading")] == ["available"]
    query = {"all_tenants": 1, "name": f"image-{image_id}"}
    rows = site.volume(admin, "GET", "/volumes/detail", params=query).json()["volumes"]
    try:
        assert len(rows) == 1
        cached = rows[0]
        assert set(cached) == ADMIN
        assert cached["os-vol-tenant-attr:tenant_id"] == site.internal_project
        assert cached["os-vol-host-attr:host"] == site.backends["cell2"]
        assert (cached["source_volid"], cached["bootable"], cached["description"]) == (first, "false", "d")
        assert cached["metadata"] == {"m": "1", "readonly": "True"}
        second = make_volume(imageRef=image_id, wait=None)
        assert "downloading" not in site.states(member, second, "available", "error")
        assert site.volume(admin, "GET", "/volumes/detail", params=query).json()["volumes"] == rows
        mine = site.volume(member, "GET", "/volumes", params={"name": f"image-{image_id}"}).json()
        assert mine == {"volumes": []}
    finally:
        for row in rows:
            site.remove(admin, row["id"])


def test_changed_image_is_downloaded_again(site, admin, member, make_image, make_volume):
    image_id = make_image()
    make_volume(imageRef=image_id)
    query = {"all_tenants": 1, "name": f"image-{image_id}"}
    before = site.volume(admin, "GET", "/volumes", params=query).json()["volumes"]
    time.sleep(1.1)  # glance compares the times of changes, which it keeps to the second
    step = {"op": "add", "path": "/changed", "value": "yes"}
    site.image(member, "PATCH", f"/v2/images/{image_id}", [step])
    make_volume(imageRef=image_id)
    site.states(admin, before[0]["id"], None)
    after = site.volume(admin, "GET", "/volumes", params=query).json()["volumes"]
    assert len(after) == 1
    assert after[0]["id"] != before[0]["id"]
    site.remove(admin, after[0]["id"])


def test_image_refusals(site, admin, member, other, make_image):
    image_id = make_image(min_disk=2)
    queued = make_image(None)

    def create_from(who, given, **body):
        return create(site, who, **({"size": 1, "imageRef": given} | body))

    text = "Invalid input received: Volume size 1GB cannot be smaller than the image minDisk size 2GB."
    refused(create_from(member, image_id), 400, text)
    refused(create_from(member, queued), 400, f"Invalid input received: Image {queued} is not active.")
    text = "Invalid image identifier or unable to access requested image."
    for who, given in ((other, image_id), (member, "nope"), (member, NOBODY)):
        refused(create_from(who, given), 400, text)
    site.image(admin, "POST", f"/v2/images/{image_id}/actions/deactivate")
    text = f"Invalid input received: Image {image_id} is not active."
    refused(create_from(member, image_id, size=2), 400, text)
    name = site.image(member, "GET", f"/v2/images/{queued}").json()["name"]
    refused(create_from(member, name), 400, f"Invalid input received: Image {queued} is not active.")


MALFORMED = "The server could not comply with the request since it is either malformed or otherwise incorrect."
FIELD = "Invalid input for field/attribute"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, MALFORMED),
        ({"size": 0}, 400, f"{FIELD} size. Value: 0. 0 is less than the minimum of 1"),
        ({"size": "x"}, 400, f"{FIELD} size. Value: x. 'x' does not match '^[0-9]+$'"),
        ({"size": 1, "volume_type": "nope"}, 404, "Volume type with name nope could not be found."),
        ({"size": 1, "volume_type": NOBODY}, 404, f"Volume type {NOBODY} could not be found."),
        ({"size": 1, "availability_zone": "nope"}, 400, "Availability zone 'nope' is invalid."),
        (
            {"size": 1, "volume_type": "cell1", "availability_zone": "cell2"},
            400,
            "Availability zone 'cell2' is invalid.",
        ),
        ({"size": 1, "snapshot_id": NOBODY}, 404, f"Snapshot {NOBODY} could not be found."),
        ({"size": 1, "source_volid": NOBODY}, 404, f"Volume {NOBODY} could not be found."),
        ({"size": 1, "metadata": {"a": 1}}, 400, f"{FIELD} a. Value: 1. 1 is not of type 'string'"),
        (
            {"size": 1, "metadata": {"k": "v" * 256}},
            400,
            f"{FIELD} k. Value: {'v' * 256}. '{'v' * 256}' is too long",
        ),
        ({"size": 1, "name": 5}, 400, f"{FIELD} name. Value: 5. 5 is not of type 'string', 'null'"),
        ({"size": 1, "name": "n" * 256}, 400, "Invalid input received: name has 256 characters, more than 255."),
        (
            {"size": 1, "odd": 1},
            400,
            f"{FIELD} volume. Value: {{'size': 1, 'odd': 1}}. Additional properties are not allowed "
            "('odd' was unexpected)",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_create_refusals(site, member, body, status, text):
    refused(create(site, member, **body), status, text)


def test_no_volume_in_the_body(site, member):
    refused(site.volume(member, "POST", "/volumes", {}), 400, "'volume' is a required property")


def test_size_may_be_text_and_nulls_are_left_out(site, member, make_volume):
    nulls = dict.fromkeys(("consistencygroup_id", "imageRef", "source_volid", "snapshot_id", "availability_zone"))
    ident = make_volume(size="1", volume_type=None, description="d", **nulls)
    volume = site.show(member, ident)
    assert (volume["size"], volume["volume_type"], volume["availability_zone"]) == (1, "cell1", "cell1")


def test_a_type_that_no_backend_has(site, admin, member, other, make_volume):
    ident = make_volume(volume_type="lost", wait=None)
    assert site.states(member, ident, "available", "error")[-1] == "error"
    volume = site.show(member, ident)
    assert (volume["shared_targets"], volume["service_uuid"], volume["availability_zone"]) == (True, None, "cell1")
    assert site.show(admin, ident)["os-vol-host-attr:host"] is None
    query = {"resource_uuid": ident}
    rows = site.volume(member, "GET", "/messages", params=query).json()["messages"]
    assert len(rows) == 1
    row = rows[0]
    assert row == {
        "id": row["id"],
        "event_id": "VOLUME_VOLUME_001_003",
        "user_message": "schedule allocate volume:Could not find any available weighted backend.",
        "message_level": "ERROR",
        "created_at": row["created_at"],
        "guaranteed_until": row["guaranteed_until"],
        "request_id": row["request_id"],
        "links": row["links"],
        "resource_type": "VOLUME",
        "resource_uuid": ident,
    }
    assert row["request_id"].startswith("req-")
    path = f"/messages/{row['id']}"
    assert site.volume(member, "GET", path).json() == {"message": row}
    text = f"Message {row['id']} could not be found."
    refused(site.volume(other, "GET", path), 404, text)
    # The list does not ask whose messages they are.
    assert site.volume(other, "GET", "/messages", params=query).json() == {"messages": rows}
    text = "Invalid filters odd are found in query options."
    refused(site.volume(member, "GET", "/messages", params={"odd": 1}), 400, text)
    emptied(site.volume(member, "DELETE", path), 204)
    refused(site.volume(admin, "DELETE", path), 404, f"Message {row['id']} could not be found.")


def test_source_volume(site, member, other, make_volume):
    source = make_volume(size=2)
    ident = make_volume(source_volid=source, size=None, volume_type=None)
    volume = site.show(member, ident)
    assert (volume["size"], volume["source_volid"], volume["volume_type"]) == (2, source, "cell2")
    refused(create(site, other, source_volid=source), 404, f"Volume {source} could not be found.")
    text = "Volume size '1'GB cannot be smaller than original volume size  2GB. They must be >= original volume size."
    refused(create(site, member, source_volid=source, size=1), 400, f"Invalid input received: {text}")
    wrong = type_id(site, member, "cell1")
    text = "requested type is not compatible; either match source volume, or omit type argument"
    text = f"Invalid input received: Invalid volume_type provided: {wrong} ({text})."
    refused(create(site, member, source_volid=source, volume_type="cell1"), 400, text)
    text = "Availability zone 'cell1' is invalid."
    refused(create(site, member, source_volid=source, availability_zone="cell1"), 400, text)


def test_delete(site, admin, member, reader, other, make_volume):
    ident = make_volume()
    path = f"/volumes/{ident}"
    refused(site.volume(other, "DELETE", path), 404, f"Volume {ident} could not be found.")
    refused(site.volume(reader, "DELETE", path), 403, "Policy doesn't allow volume:delete to be performed.")
    text = "Policy doesn't allow volume:force_delete to be performed."
    refused(site.volume(member, "DELETE", path, params={"force": "true"}), 403, text)
    reset = {"os-reset_status": {"status": "creating"}}
    acted(site.volume(admin, "POST", f"{path}/action", reset))
    refused(site.volume(member, "DELETE", path), 400, BUSY)
    acted(site.volume(admin, "POST", f"{path}/action", {"os-reset_status": {"status": "available"}}))
    emptied(site.volume(member, "DELETE", path))
    states = site.states(member, ident, None)
    assert [state for state in states if state != "deleting"] == [None]
    refused(site.volume(member, "GET", path), 404, f"Volume {ident} could not be found.")
    refused(site.volume(member, "DELETE", path), 404, f"Volume {ident} could not be found.")


def test_update_and_metadata(site, member, reader, other, make_volume):
    ident = make_volume(metadata={"k": "v"})
    path = f"/volumes/{ident}"
    answer = site.volume(member, "PUT", path, {"volume": {"name": "new"}})
    assert answer.status_code == 200
    assert set(answer.json()["volume"]) == NEW
    assert answer.json()["volume"]["name"] == "new"
    refused(site.volume(other, "PUT", path, {"volume": {"name": "x"}}), 404, f"Volume {ident} could not be found.")
    text = "Policy doesn't allow volume:update to be performed."
    refused(site.volume(reader, "PUT", path, {"volume": {"name": "x"}}), 403, text)
    shown = site.volume(member, "GET", f"{path}/metadata")
    assert shown.json() == {"metadata": {"k": "v"}}
    assert len(shown.headers["Etag"]) == 32
    added = site.volume(member, "POST", f"{path}/metadata", {"metadata": {"a": "b"}})
    assert added.json() == {"metadata": {"a": "b", "k": "v"}}
    assert site.volume(member, "PUT", f"{path}/metadata/a", {"meta": {"a": "c"}}).json() == {"meta": {"a": "c"}}
    emptied(site.volume(member, "DELETE", f"{path}/metadata/a"), 200)
    text = f"Volume {ident} has no metadata with key a."
    refused(site.volume(member, "DELETE", f"{path}/metadata/a"), 404, text)
    text = "Policy doesn't allow volume:create_volume_metadata to be performed."
    refused(site.volume(reader, "POST", f"{path}/metadata", {"metadata": {"a": "b"}}), 403, text)


def test_reader_and_service_may_not_create(site, reader, plain):
    for who in (reader, plain):
        text = "Policy doesn't allow volume:create to be performed."
        refused(create(site, who, size=1), 403, text)
    assert site.volume(reader, "GET", "/volumes/detail").status_code == 200


def test_admin_acts_in_the_users_project(site, service, member):
    """What a service does for a user, with its own token scoped to the user's project, belongs to the project."""
    token = site.login(site.password(service, **site.scope(member.project))).headers["X-Subject-Token"]
    answer = create(site, token, size=1, volume_type="cell1")
    assert answer.status_code == 202
    ident = answer.json()["volume"]["id"]
    try:
        assert set(answer.json()["volume"]) == NEW | {"migration_status", "provider_id", "cluster_name"}
        assert site.settle(member, ident, "available")["size"] == 1
    finally:
        site.remove(service, ident)


def test_actions(site, admin, member, reader, make_volume):
    ident = make_volume()
    path = f"/volumes/{ident}/action"
    text = "There is no such action: nope. Verify the request body and Content-Type header and try again."
    refused(site.volume(member, "POST", path, {"nope": {}}), 400, text)
    same = {"os-extend": {"new_size": 1}}
    text = "New size for extend must be greater than current size. (current: 1, extended: 1)."
    refused(site.volume(member, "POST", path, same), 400, f"Invalid input received: {text}")
    text = "Policy doesn't allow volume:extend to be performed."
    refused(site.volume(reader, "POST", path, {"os-extend": {"new_size": 2}}), 403, text)
    acted(site.volume(member, "POST", path, {"os-extend": {"new_size": 2}}))
    states = site.states(member, ident, "available")
    assert [state for state in states if state != "extending"] == ["available"]
    assert site.show(member, ident)["size"] == 2
    acted(site.volume(member, "POST", path, {"os-set_bootable": {"bootable": True}}), 200)
    assert site.show(member, ident)["bootable"] == "true"
    given = {"os-set_image_metadata": {"metadata": {"a": "b"}}}
    assert site.volume(member, "POST", path, given).json() == {"metadata": {"a": "b"}}
    assert site.show(member, ident)["volume_image_metadata"] == {"a": "b"}
    assert site.volume(member, "POST", path, {"os-show_image_metadata": {}}).json() == {"metadata": {"a": "b"}}
    emptied(site.volume(member, "POST", path, {"os-unset_image_metadata": {"key": "a"}}), 200)
    for name in ("os-reset_status", "os-force_delete"):
        rule = name.removeprefix("os-")
        text = f"Policy doesn't allow volume_extension:volume_admin_actions:{rule} to be performed."
        refused(site.volume(member, "POST", path, {name: {"status": "error"}}), 403, text)
