# SPDX-License-Identifier: Apache-2.0
"""Manage and unmanage: what cinder says, and what becomes of it after its 202."""

import uuid

import pytest

from tests.contract.door import acted, cinder_headers, emptied, refused
from tests.contract.test_volumes import BUSY

CREATED = {"status": "creating", "size": 0, "name": "adopted", "bootable": "true", "volume_type": "cell1"}


@pytest.fixture
def image(site, admin, make_volume):
    """An image in the pool of the first cell's backend that is no volume: it was one."""
    volume_id = make_volume(who=admin, volume_type="cell1")
    unmanage(site, admin, volume_id)
    site.states(admin, volume_id, None)
    return f"volume-{volume_id}"


@pytest.fixture
def manage(site, admin):
    """Manage an image as somebody; what becomes of it is removed at the end, and with it the image."""
    made = []

    def act(image, who=admin, version="3.71", path="/manageable_volumes", **changes):
        volume = {"host": site.backends["cell1"], "ref": {"source-name": image}, "name": "adopted"}
        volume |= {"volume_type": "cell1", "availability_zone": "cell1", "metadata": {"m": "1"}, "bootable": True}
        body = {key: value for key, value in (volume | changes).items() if value is not None}
        answer = site.volume(who, "POST", path, {"volume": body}, version=version)
        made.extend([answer.json()["volume"]["id"]] if answer.status_code == 202 else [])
        return answer

    yield act
    for volume_id in made:
        site.remove(admin, volume_id)


def unmanage(site, who, volume_id):
    return site.volume(who, "POST", f"/volumes/{volume_id}/action", {"os-unmanage": {}})


def test_an_image_becomes_a_volume_under_the_volumes_name(site, admin, image, manage):
    answer = manage(image)

    assert answer.status_code == 202
    cinder_headers(answer)
    body = answer.json()["volume"]
    assert {key: body[key] for key in CREATED} == CREATED
    volume = site.settle(admin, body["id"], "available")
    assert (volume["size"], volume["bootable"], volume["metadata"]) == (1, "true", {"m": "1"})
    assert (volume["os-vol-host-attr:host"], volume["availability_zone"]) == (site.backends["cell1"], "cell1")
    assert "volume_image_metadata" not in volume
    # It is there by its old name no more. The older path is what clients use.
    late = manage(image, path="/os-volume-manage").json()["volume"]["id"]
    volume = site.settle(admin, late, "error")
    assert (volume["size"], volume["os-vol-host-attr:host"]) == (0, site.backends["cell1"])
    assert site.volume(admin, "GET", "/messages", params={"resource_uuid": late}).json() == {"messages": []}


def test_a_volume_that_is_unmanaged_leaves_its_image_by_its_name(site, admin, image, manage):
    first = manage(image).json()["volume"]["id"]
    site.settle(admin, first, "available")

    emptied(unmanage(site, admin, first))
    site.states(admin, first, None)
    refused(unmanage(site, admin, first), 404, f"Volume {first} could not be found.")

    second = manage(f"volume-{first}").json()["volume"]["id"]
    site.settle(admin, second, "available")


def test_one_that_failed_can_be_unmanaged(site, admin, image, manage):
    made = manage(image, volume_type="cell2", availability_zone=None).json()["volume"]["id"]
    assert site.settle(admin, made, "error")["size"] == 0

    emptied(unmanage(site, admin, made))

    site.states(admin, made, None)
    site.settle(admin, manage(image).json()["volume"]["id"], "available")


def test_what_is_refused_at_once(site, admin, member, image, manage):
    policy = "Policy doesn't allow volume_extension:volume_manage to be performed."
    refused(manage(image, member), 403, policy)
    refused(manage(image, version="3.7"), 404, "The resource could not be found.", "3.7")
    refused(manage(image, host="lab@nope#nope"), 400, "Host 'lab@nope#nope' not found")
    words = "Invalid volume type: Cannot find requested 'none' volume type"
    refused(manage(image, volume_type="none"), 400, words)
    words = "Invalid input received: One and only one of cluster and host must be set."
    refused(manage(image, host=None), 400, words)
    for changes, end in (
        ({"ref": None}, "'ref' is a required property"),
        ({"colour": "red"}, "Additional properties are not allowed ('colour' was unexpected)"),
    ):
        answer = manage(image, **changes)
        assert answer.status_code == 400
        assert answer.json()["badRequest"]["message"].endswith(end)
    made = manage(image).json()["volume"]["id"]
    site.settle(admin, made, "available")
    words = "Unable to manage existing volume. The volume is already managed"
    refused(manage(f"volume-{made}"), 400, words)


def test_a_volume_that_is_reserved_is_not_unmanaged(site, admin, image, manage):
    made = manage(image).json()["volume"]["id"]
    site.settle(admin, made, "available")
    body = {"attachment": {"volume_uuid": made, "instance_uuid": str(uuid.uuid4())}}
    assert site.volume(admin, "POST", "/attachments", body).status_code == 200

    refused(unmanage(site, admin, made), 400, BUSY)


def test_what_a_managed_volume_keeps_of_an_image_is_written_afterwards(site, admin, image, manage):
    made = manage(image, bootable=False).json()["volume"]["id"]
    site.settle(admin, made, "available")
    path = f"/volumes/{made}/action"

    answer = site.volume(admin, "POST", path, {"os-set_image_metadata": {"metadata": {"image_id": made}}})
    assert (answer.status_code, answer.json()) == (200, {"metadata": {"image_id": made}})
    acted(site.volume(admin, "POST", path, {"os-set_bootable": {"bootable": True}}), 200)

    volume = site.show(admin, made)
    assert (volume["volume_image_metadata"], volume["bootable"]) == ({"image_id": made}, "true")
