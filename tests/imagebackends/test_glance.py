# SPDX-License-Identifier: Apache-2.0
"""An image is what glance tells of it, and a name that says too little or too much is refused."""

import uuid
from urllib.parse import unquote

import pytest

from imagebackends.errors import BadRequest, MaybeRunning, NotAllowed, NotFound
from imagebackends.glance import Images, volume_snapshots
from imagebackends.types import Image
from tests.imagebackends.conftest import PROJECT, REQUEST_ID, TOKEN, Answer

IMAGE_ID = "70a0e3a5-1b8e-4c2b-8a1f-0d9b7c6e5f41"
NEW = {"id": IMAGE_ID, "name": None, "status": "queued", "size": None, "virtual_size": None, "min_disk": None}
NOT_FOUND = Answer(
    404, "<html>No image found</html>", {"Content-Type": "text/html", "x-openstack-request-id": "req-of-glance"}
)


def told_by_glance(**changes):
    """Return an image as glance tells it (``glance/api/v2/images.py:ResponseSerializer``)."""
    return {
        "id": IMAGE_ID,
        "name": "debian 12",
        "status": "active",
        "size": 4 << 20,
        "virtual_size": 2 << 30,
        "min_disk": 2,
        "min_ram": 512,
        "disk_format": "qcow2",
        "container_format": "bare",
        "owner": PROJECT,
        "visibility": "shared",
        "protected": False,
        "tags": ["a"],
        "os_hidden": False,
        "os_hash_algo": "sha512",
        "os_hash_value": "00",
        "checksum": "00",
        "created_at": "2026-03-04T05:06:07Z",
        "updated_at": "2026-03-04T05:06:07Z",
        "self": f"/v2/images/{IMAGE_ID}",
        "file": f"/v2/images/{IMAGE_ID}/file",
        "schema": "/v2/schemas/image",
        "stores": "cell1,cell2",
        "direct_url": "rbd://secret/place",
        "locations": [],
        **changes,
    }


@pytest.fixture
def images(settings, session):
    return Images(settings, session)


def test_an_image_is_read_by_its_id(script, images, access):
    script.on("GET", f"/v2/images/{IMAGE_ID}", Answer(200, told_by_glance()))

    found = images.get(access, IMAGE_ID)

    sizes = {"size": 4 << 20, "virtual_size": 2 << 30, "min_disk": 2, "min_ram": 512}
    formats = {"disk_format": "qcow2", "container_format": "bare"}
    formats |= {"stores": ("cell1", "cell2"), "updated_at": "2026-03-04T05:06:07Z", "digest": "00"}
    assert found == Image(
        id=IMAGE_ID,
        name="debian 12",
        status="active",
        owner=PROJECT,
        visibility="shared",
        checksum="00",
        **sizes,
        **formats,
    )
    [asked] = script.asked
    assert (asked.headers["X-Auth-Token"], asked.headers["X-OpenStack-Request-ID"]) == (TOKEN, REQUEST_ID)


def test_what_glance_does_not_know_itself_is_a_property(script, images, access):
    own = {"hw_disk_bus": "scsi", "block_device_mapping": "[]", "os_type": "linux"}
    script.on("GET", f"/v2/images/{IMAGE_ID}", Answer(200, told_by_glance(**own)))

    assert images.get(access, IMAGE_ID).properties == own


def test_what_a_new_image_does_not_have_yet_is_nothing(script, images, access):
    script.on("GET", f"/v2/images/{IMAGE_ID}", Answer(200, NEW))

    nothing = {"min_disk": 0, "min_ram": 0, "disk_format": "", "container_format": "", "owner": "", "visibility": ""}
    assert images.get(access, IMAGE_ID) == Image(IMAGE_ID, "", "queued", 0, None, **nothing)


@pytest.mark.parametrize("words", [IMAGE_ID, IMAGE_ID.upper(), IMAGE_ID.replace("-", "")])
def test_an_id_is_looked_for_as_an_id(script, images, access, words):
    script.on("GET", f"/v2/images/{IMAGE_ID}", Answer(200, told_by_glance()))

    assert images.find(access, words).id == IMAGE_ID


def test_a_name_is_looked_for_as_it_is(script, images, access):
    script.on("GET", "/v2/images", Answer(200, {"images": [told_by_glance(colour="blue")]}))

    found = images.find(access, "debian 12 & more")

    assert (found.id, found.properties) == (IMAGE_ID, {"colour": "blue"})
    assert [each.query for each in script.asked] == [{"name": "debian 12 & more"}]


def test_a_name_of_several_images_is_refused_with_their_ids(script, images, access):
    other = str(uuid.uuid4())
    script.on("GET", "/v2/images", Answer(200, {"images": [told_by_glance(), told_by_glance(id=other)]}))

    with pytest.raises(BadRequest, match=f"Several images are called debian 12.*{IMAGE_ID}, {other}"):
        images.find(access, "debian 12")


def test_a_name_that_no_image_has_is_not_found(script, images, access):
    script.on("GET", "/v2/images", Answer(200, {"images": []}))

    with pytest.raises(NotFound, match="Image debian 13 could not be found"):
        images.find(access, "debian 13")


def test_an_id_that_no_image_has_is_not_found_and_is_no_name(script, images, access):
    script.on("GET", f"/v2/images/{IMAGE_ID}", NOT_FOUND)

    for ask in (images.get, images.find):
        with pytest.raises(NotFound, match=f"look at image {IMAGE_ID}") as caught:
            ask(access, IMAGE_ID)
        assert caught.value.request_id == "req-of-glance"
    assert script.took("GET", "/v2/images") == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(401, {"error": {"message": "no"}}), NotAllowed),
        (Answer(403, "Forbidden", {"Content-Type": "text/plain"}), NotAllowed),
        (Answer(500, ""), MaybeRunning),
        (Answer(503, "<html>", {"Content-Type": "text/html"}), MaybeRunning),
        (Answer(200, "<html>", {"Content-Type": "text/html"}), MaybeRunning),
        (Answer(200, {}), MaybeRunning),
        (Answer(fault="closed"), MaybeRunning),
        (Answer(fault="silent"), MaybeRunning),
    ],
)
def test_another_answer_is_an_error_of_ours(script, images, access, answer, kind, hurry):
    script.on("GET", "/v2/images.*", answer)
    if answer.fault == "silent":
        hurry()

    for ask in (lambda: images.get(access, IMAGE_ID), lambda: images.find(access, "a name")):
        with pytest.raises(kind) as caught:
            ask()
        assert type(caught.value) is kind
        assert TOKEN not in str(caught.value)


def image(**properties):
    return Image(IMAGE_ID, "", "active", 0, None, 0, 0, "", "", "", "", properties)


SNAPSHOT = {"source_type": "snapshot", "destination_type": "volume", "snapshot_id": "s", "boot_index": 0}


@pytest.mark.parametrize(
    ("mapping", "disks"),
    [
        ("", []),
        ("[]", []),
        ('[{"snapshot_id": "s"}]', [{"snapshot_id": "s"}]),
        ('[{"snapshot_id": "s", "destination_type": "local"}]', []),
        ([SNAPSHOT, {**SNAPSHOT, "destination_type": "local"}], [SNAPSHOT]),
    ],
)
def test_the_disks_of_a_volume_backed_servers_image_are_those_in_volumes(mapping, disks):
    assert volume_snapshots(image(block_device_mapping=mapping)) == disks
    assert volume_snapshots(image(colour="blue")) == []


@pytest.mark.parametrize("mapping", ["[", "no", "{}", "3", '["s"]', "[null]", '[{"snapshot_id": "s"}, 3]', {"a": 1}])
def test_a_mapping_that_makes_no_sense_is_refused(mapping):
    with pytest.raises(BadRequest, match=f"Image {IMAGE_ID} has a block_device_mapping that is no"):
        volume_snapshots(image(block_device_mapping=mapping))


@pytest.mark.parametrize("image_id", ["x?y=1", "../info/stores", "a b#c", "%2e"])
def test_an_id_is_one_part_of_an_address_whatever_it_holds(script, images, access, image_id):
    script.on("GET", "/v2/images/.*", NOT_FOUND)

    with pytest.raises(NotFound):
        images.get(access, image_id)
    [asked] = script.asked
    assert unquote(asked.path.removeprefix("/v2/images/")) == image_id
    assert asked.path.count("/") == 3
    assert asked.query == {}


def test_no_id_is_no_image(script, images, access):
    """Glance would answer with the list of all."""
    with pytest.raises(NotFound):
        images.get(access, "")
    assert script.asked == []


@pytest.mark.parametrize("listed", [[{"id": IMAGE_ID}], [None], None])
def test_a_list_that_makes_no_sense_may_be_running(script, images, access, listed):
    script.on("GET", "/v2/images", Answer(200, {"images": listed}))

    with pytest.raises(MaybeRunning):
        images.find(access, "debian 12")


def test_a_404_that_is_not_glances_own_may_be_running(script, images, access):
    script.on("GET", "/v2/images/.*", Answer(404, "<html>", {"Content-Type": "text/html"}))

    with pytest.raises(MaybeRunning, match="no request id"):
        images.get(access, IMAGE_ID)
