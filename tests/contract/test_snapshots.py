# SPDX-License-Identifier: Apache-2.0
"""Cinder's snapshots, volumes from them, and what they hold up."""

import time
import uuid

import pytest

from tests.contract.door import acted, emptied, refused
from tests.contract.test_volumes import BUSY

BRIEF = {"id", "created_at", "updated_at", "name", "description", "volume_id", "status", "size", "metadata"}
NEW = BRIEF | {"group_snapshot_id", "user_id", "consumes_quota"}
SHOWN = NEW | {"os-extended-snapshot-attributes:project_id", "os-extended-snapshot-attributes:progress"}


def wait(site, who, ident, *last):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = site.volume(who, "GET", f"/snapshots/{ident}")
        state = None if answer.status_code == 404 else answer.json()["snapshot"]["status"]
        if state in last:
            return
        time.sleep(0.05)
    raise AssertionError(f"snapshot {ident} is {state}")


def create(site, who, version="3.71", **body):
    return site.volume(who, "POST", "/snapshots", {"snapshot": body}, version=version)


@pytest.fixture
def volume(make_volume):
    return make_volume(size=2)


@pytest.fixture
def snapshot(site, member, volume):
    ident = create(site, member, volume_id=volume, name="contract", metadata={"s": "1"}).json()["snapshot"]["id"]
    wait(site, member, ident, "available")
    return ident


def test_create_show_list(site, tenant, member, other, volume):
    answer = create(site, member, volume_id=volume, name="contract", metadata={"s": "1"})
    assert answer.status_code == 202
    made = answer.json()["snapshot"]
    ident = made["id"]
    assert made == {
        "id": ident,
        "created_at": made["created_at"],
        "updated_at": None,
        "name": "contract",
        "description": None,
        "volume_id": volume,
        "status": "creating",
        "size": 2,
        "metadata": {"s": "1"},
        "group_snapshot_id": None,
        "user_id": tenant.user_id("member"),
        "consumes_quota": True,
    }
    wait(site, member, ident, "available")
    shown = site.volume(member, "GET", f"/snapshots/{ident}").json()["snapshot"]
    assert set(shown) == SHOWN
    assert shown["os-extended-snapshot-attributes:project_id"] == tenant.id
    assert shown["os-extended-snapshot-attributes:progress"] == "100%"
    refused(site.volume(other, "GET", f"/snapshots/{ident}"), 404, f"Snapshot {ident} could not be found.")
    query = {"volume_id": volume}
    assert site.volume(member, "GET", "/snapshots/detail", params=query).json() == {"snapshots": [shown]}
    rows = site.volume(member, "GET", "/snapshots", params=query | {"name": "contract"}).json()["snapshots"]
    assert rows == [{key: value for key, value in shown.items() if key in BRIEF}]
    assert site.volume(other, "GET", "/snapshots", params=query).json() == {"snapshots": []}
    text = "Invalid filters odd are found in query options."
    refused(site.volume(member, "GET", "/snapshots", params={"odd": 1}), 400, text)


def test_create_refusals(site, admin, member, reader, volume, make_volume, reserve):
    text = "Invalid input for field/attribute snapshot. Value: {}. 'volume_id' is a required property"
    refused(create(site, member), 400, text)
    unknown = str(uuid.uuid4())
    refused(create(site, member, volume_id=unknown), 404, f"Volume {unknown} could not be found.")
    text = "Policy doesn't allow volume:create_snapshot to be performed."
    refused(create(site, reader, volume_id=volume), 403, text)
    lost = make_volume(volume_type="lost", wait="error")
    refused(create(site, member, volume_id=lost), 400, "Invalid volume: volume is not assigned to a host")
    reset = {"os-reset_status": {"status": "maintenance"}}
    acted(site.volume(admin, "POST", f"/volumes/{volume}/action", reset))
    text = "Invalid volume: The snapshot cannot be created when the volume is in maintenance mode."
    refused(create(site, member, volume_id=volume), 400, text)
    reset["os-reset_status"]["status"] = "available"
    acted(site.volume(admin, "POST", f"/volumes/{volume}/action", reset))
    ident, _ = reserve(volume)
    site.volume(member, "POST", f"/attachments/{ident}/action", {"os-complete": {}})
    text = f"Invalid volume: Volume {volume} status must be available, but current status is: in-use."
    refused(create(site, member, "3.65", volume_id=volume), 400, text, "3.65")
    for version, more in (("3.65", {"force": True}), ("3.66", {})):
        made = create(site, member, version, volume_id=volume, **more)
        assert made.status_code == 202
        wait(site, member, made.json()["snapshot"]["id"], "available")


def test_a_snapshot_holds_its_volume(site, member, volume, snapshot):
    refused(site.volume(member, "DELETE", f"/volumes/{volume}"), 400, BUSY)
    emptied(site.volume(member, "DELETE", f"/snapshots/{snapshot}"))
    wait(site, member, snapshot, None)
    text = f"Snapshot {snapshot} could not be found."
    refused(site.volume(member, "DELETE", f"/snapshots/{snapshot}"), 404, text)
    emptied(site.volume(member, "DELETE", f"/volumes/{volume}"))


def test_volume_from_snapshot(site, member, other, service, volume, snapshot, make_volume):
    ident = make_volume(snapshot_id=snapshot, size=None, volume_type=None)
    made = site.show(member, ident)
    assert (made["size"], made["snapshot_id"], made["volume_type"]) == (2, snapshot, "cell2")
    token = site.login(site.password(service, **site.scope(member.project))).headers["X-Subject-Token"]
    theirs = make_volume(token, snapshot_id=snapshot, size=None)
    assert site.show(member, theirs)["snapshot_id"] == snapshot

    def create_volume(who, **body):
        return site.volume(who, "POST", "/volumes", {"volume": {"snapshot_id": snapshot} | body})

    refused(create_volume(other), 404, f"Snapshot {snapshot} could not be found.")
    text = "Volume size '1'GB cannot be smaller than the snapshot size 2GB. They must be >= original snapshot size."
    refused(create_volume(member, size=1), 400, f"Invalid input received: {text}")
    rows = site.volume(member, "GET", "/types").json()["volume_types"]
    wrong = next(row["id"] for row in rows if row["name"] == "cell1")
    text = "requested type is not compatible; recommend omitting the type argument"
    text = f"Invalid input received: Invalid volume_type provided: {wrong} ({text})."
    refused(create_volume(member, volume_type="cell1"), 400, text)
    text = "Availability zone 'cell1' is invalid."
    refused(create_volume(member, availability_zone="cell1"), 400, text)
    # Neither the snapshot nor its volume needs to wait for the clones.
    emptied(site.volume(member, "DELETE", f"/volumes/{volume}", params={"cascade": "true"}))
    site.states(member, volume, None)
    assert site.show(member, ident)["status"] == "available"


def test_snapshot_of_an_image_keeps_what_it_knows(site, member, make_volume, warm_image):
    source = make_volume(imageRef=warm_image, volume_type="cell1")
    snapshot = create(site, member, volume_id=source).json()["snapshot"]["id"]
    wait(site, member, snapshot, "available")
    ident = make_volume(snapshot_id=snapshot, size=None, volume_type=None, wait=None)
    assert site.show(member, ident)["bootable"] == "true"
    made = site.settle(member, ident, "available")
    assert made["volume_image_metadata"] == site.show(member, source)["volume_image_metadata"]
