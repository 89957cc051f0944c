# SPDX-License-Identifier: Apache-2.0
"""Glance v2: images and their bytes."""

import hashlib
import os
import struct
import time
import uuid

import pytest
import requests

from tests.contract.door import glance_refused

QUEUED = {
    *("id", "name", "disk_format", "container_format", "visibility", "size", "virtual_size", "status", "checksum"),
    *("protected", "min_ram", "min_disk", "owner", "os_hidden", "os_hash_algo", "os_hash_value", "created_at"),
    *("updated_at", "tags", "self", "file", "schema"),
}
DATA = os.urandom(1 << 20)


def patch(site, who, image_id, **step):
    return site.image(who, "PATCH", f"/v2/images/{image_id}", [step])


def show(site, who, image_id):
    return site.image(who, "GET", f"/v2/images/{image_id}").json()


def test_versions_need_no_token(site):
    for path, status in (("/", 300), ("/versions", 200)):
        answer = requests.get(site.image_url + path, timeout=60)
        assert answer.status_code == status
        rows = {row["id"]: row for row in answer.json()["versions"]}
        assert rows["v2.17"]["status"] == "CURRENT"
        assert rows["v2.0"] == {
            "id": "v2.0",
            "status": "SUPPORTED",
            "links": [{"rel": "self", "href": f"{site.image_url}/v2/"}],
        }


def test_no_token(site):
    answer = site.image(None, "GET", "/v2/images")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Keystone uri="http')
    assert "<title>401 Unauthorized</title>" in answer.text
    assert site.image("rubbish", "GET", "/v2/images").status_code == 401
    assert "x-openstack-request-id" not in answer.headers


def test_create(site, admin, tenant, member):
    body = {"name": "contract", "disk_format": "raw", "container_format": "bare", "min_disk": 1, "os_distro": "tux"}
    answer = site.image(member, "POST", "/v2/images", body | {"tags": ["t"]})
    assert answer.status_code == 201
    image = answer.json()
    try:
        path = f"/v2/images/{image['id']}"
        assert answer.headers["Location"] == site.image_url + path
        assert "copy-image" in answer.headers["OpenStack-image-import-methods"]
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        assert image == {
            **body,
            "id": image["id"],
            "visibility": "shared",
            "size": None,
            "virtual_size": None,
            "status": "queued",
            "checksum": None,
            "protected": False,
            "min_ram": 0,
            "owner": tenant.id,
            "os_hidden": False,
            "os_hash_algo": None,
            "os_hash_value": None,
            "created_at": image["created_at"],
            "updated_at": image["created_at"],
            "tags": ["t"],
            "self": path,
            "file": f"{path}/file",
            "schema": "/v2/schemas/image",
        }
        assert image["created_at"].endswith("Z")
        assert len(image["created_at"]) == len("2026-01-01T00:00:00Z")
        assert show(site, member, image["id"]) == image
        empty = site.image(member, "GET", f"{path}/file")
        assert (empty.status_code, empty.content) == (204, b"")
    finally:
        site.image(admin, "DELETE", f"/v2/images/{image['id']}")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (
            {"disk_format": "odd"},
            400,
            "Provided object does not match schema &#x27;image&#x27;: &#x27;odd&#x27; is not one",
        ),
        ({"id": "nope"}, 400, "&#x27;nope&#x27; does not match"),
        ({"name": 3}, 400, "3 is not of type &#x27;null&#x27;, &#x27;string&#x27;"),
        ({"status": "active"}, 403, "Attribute &#x27;status&#x27; is read-only."),
        ({"visibility": "public"}, 403, "You are not authorized to complete publicize_image action."),
        ({"owner": "f" * 32}, 403, f"You are not permitted to create images owned by &#x27;{'f' * 32}&#x27;"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_create_refusals(site, member, body, status, words):
    glance_refused(site.image(member, "POST", "/v2/images", body), status, words)


def test_reader_may_not_create(site, reader):
    answer = site.image(reader, "POST", "/v2/images", {"name": "x"})
    glance_refused(answer, 403, "You are not authorized to complete add_image action.")


def test_upload_and_download(site, member, make_image):
    image_id = make_image(DATA)
    image = show(site, member, image_id)
    assert set(image) == QUEUED | {"stores"}
    assert (image["status"], image["size"], image["virtual_size"]) == ("active", len(DATA), len(DATA))
    assert image["checksum"] == hashlib.md5(DATA).hexdigest()
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha256", hashlib.sha256(DATA).hexdigest())
    assert image["stores"] == "cell1"
    answer = site.image(member, "GET", f"/v2/images/{image_id}/file")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-MD5"] == image["checksum"]
    glance_refused(
        site.upload(member, image_id, DATA), 409, "Image status transition from active to saving is not allowed"
    )


def test_an_image_without_bytes_of_an_id_that_was_chosen(site, admin, member, other):
    ident, mapping = str(uuid.uuid4()), '[{"snapshot_id": "s", "boot_index": 0}]'
    body = {"id": ident, "name": "contract", "disk_format": "raw", "container_format": "bare", "visibility": "private",
            "min_disk": 0, "min_ram": 0, "base_image_ref": "", "bdm_v2": "True",
            "block_device_mapping": mapping}  # fmt: skip
    made = site.image(member, "POST", "/v2/images", body)
    assert (made.status_code, made.json()["id"], made.json()["status"]) == (201, ident, "queued")
    try:
        again = site.image(member, "POST", "/v2/images", body)
        glance_refused(again, 409, f"Image ID {ident} already exists!")
        assert site.image(other, "POST", "/v2/images", body).status_code == 409
        assert site.upload(member, ident, b"").status_code == 204
        found = show(site, member, ident)
        assert (found["status"], found["size"], found["block_device_mapping"], found["bdm_v2"]) == (
            "active", 0, mapping, "True"
        )  # fmt: skip
        assert site.upload(member, ident, b"").status_code == 409
        assert show(site, member, ident)["status"] == "active"
    finally:
        assert site.image(member, "DELETE", f"/v2/images/{ident}").status_code == 204
    assert site.image(member, "GET", f"/v2/images/{ident}").status_code == 404


def test_upload_in_chunks(site, member, make_image):
    image_id = make_image(None)
    parts = (DATA[start : start + 100_000] for start in range(0, len(DATA), 100_000))
    assert site.upload(member, image_id, parts).status_code == 204
    assert site.image(member, "GET", f"/v2/images/{image_id}/file").content == DATA


def test_upload_refusals(site, member, other, make_image):
    image_id = make_image(None)
    path = f"/v2/images/{image_id}/file"
    glance_refused(site.image(member, "PUT", path, data=b"x"), 415, "Invalid content type None")
    glance_refused(site.upload(other, image_id, b"x"), 404, f"No image found with ID {image_id}")
    formless = make_image(None, container_format=None)
    words = "Property container_format must be set prior to saving data."
    glance_refused(site.upload(member, formless, b"x"), 400, words)


def boot_sector(partition):
    data = bytearray(1 << 20)
    data[510:512] = b"\x55\xaa"
    if partition:
        data[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0" * 3, 0x83, b"\0" * 3, 1, 2047)
    return bytes(data)


def test_boot_sector_without_partition_is_refused(site, member, make_image):
    image_id = make_image(None)
    words = "The request media type application/octet-stream is not supported by this server."
    glance_refused(site.upload(member, image_id, boot_sector(False)), 415, words, "Image failed safety checks")
    image = show(site, member, image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert site.upload(member, make_image(None), boot_sector(True)).status_code == 204


def test_formats_are_compared(site, member, make_image):
    image_id = make_image(None, disk_format="qcow2")
    words = "Image disk_format qcow2 does not match stream data raw"
    glance_refused(site.upload(member, image_id, b"x" * 65536), 415, words)
    empty = make_image(None)
    assert site.upload(member, empty, b"").status_code == 204
    image = show(site, member, empty)
    assert (image["status"], image["size"], image["virtual_size"]) == ("active", 0, None)


def test_other_projects_do_not_see_it(site, admin, member, other, make_image):
    image_id = make_image()
    path = f"/v2/images/{image_id}"
    words = f"No image found with ID {image_id}"
    for tail in ("", "/file"):
        glance_refused(site.image(other, "GET", path + tail), 404, words)
    glance_refused(site.image(other, "GET", f"{path}/members"), 404, f"Image {image_id} not found.")
    glance_refused(site.image(other, "DELETE", path), 404, f"Failed to find image {image_id} to delete")
    assert site.image(admin, "GET", path).status_code == 200


def test_locations_are_for_services(site, admin, service, plain, member, make_image):
    image_id = make_image(DATA)
    path = f"/v2/images/{image_id}/locations"
    url = f"rbd://{site.fsids['cell1']}/images/{image_id}/snap"
    for who in (admin, service):
        assert site.image(who, "GET", path).json() == [{"url": url, "metadata": {"store": "cell1"}}]
    denied = "You are not authorized to complete fetch_image_location action."
    glance_refused(site.image(member, "GET", path), 403, denied)
    glance_refused(site.image(member, "GET", path, beside=service), 403, denied)
    glance_refused(site.image(plain, "GET", path), 404, f"No image found with ID {image_id}")
    queued = make_image(None)
    assert site.image(service, "GET", f"/v2/images/{queued}/locations").json() == []


def test_service_tokens_are_not_looked_at(site, nosvc, member, make_image):
    image_id = make_image(None)
    for beside in (nosvc, "rubbish"):
        assert site.image(member, "GET", f"/v2/images/{image_id}", beside=beside).status_code == 200


def test_deactivate(site, admin, member, reader, make_image):
    image_id = make_image(DATA)
    path = f"/v2/images/{image_id}"
    for _ in range(2):
        assert site.image(member, "POST", f"{path}/actions/deactivate").status_code == 204
    image = show(site, member, image_id)
    assert image["status"] == "deactivated"
    assert set(image) == QUEUED
    words = "The requested image has been deactivated. Image data download is forbidden."
    glance_refused(site.image(member, "GET", f"{path}/file"), 403, words)
    for _ in range(2):
        assert site.image(admin, "POST", f"{path}/actions/reactivate").status_code == 204
    assert show(site, member, image_id)["status"] == "active"


def test_update(site, member, other, make_image):
    image_id = make_image(DATA)
    assert patch(site, member, image_id, op="add", path="/my", value="v").json()["my"] == "v"
    assert patch(site, member, image_id, op="replace", path="/min_disk", value=2).json()["min_disk"] == 2
    assert "my" not in patch(site, member, image_id, op="remove", path="/my").json()
    again = patch(site, member, image_id, op="remove", path="/my")
    glance_refused(again, 409, "There was a conflict when trying to complete your request.", "my does not exist.")
    for name in ("id", "status"):
        answer = patch(site, member, image_id, op="replace", path=f"/{name}", value="x")
        glance_refused(answer, 403, f"Attribute &#x27;{name}&#x27; is read-only.")
    answer = patch(site, member, image_id, op="replace", path="/disk_format", value="qcow2")
    glance_refused(answer, 403, "Attribute disk_format can be only replaced for a queued image.")
    answer = patch(site, member, image_id, op="replace", path="/visibility", value="public")
    glance_refused(answer, 403, "You are not authorized to complete publicize_image action.")
    patch(site, member, image_id, op="replace", path="/visibility", value="community")
    answer = patch(site, other, image_id, op="replace", path="/name", value="x")
    glance_refused(answer, 403, "You are not authorized to complete modify_image action.")


def test_tags(site, member, make_image):
    image_id = make_image(None)
    path = f"/v2/images/{image_id}/tags/hot"
    assert site.image(member, "PUT", path).status_code == 204
    assert show(site, member, image_id)["tags"] == ["hot"]
    assert site.image(member, "DELETE", path).status_code == 204
    glance_refused(site.image(member, "DELETE", path), 404, "The resource could not be found.")


def test_delete(site, member, make_image):
    image_id = make_image()
    path = f"/v2/images/{image_id}"
    patch(site, member, image_id, op="replace", path="/protected", value=True)
    glance_refused(site.image(member, "DELETE", path), 403, f"Image {image_id} is protected and cannot be deleted.")
    patch(site, member, image_id, op="replace", path="/protected", value=False)
    gone = site.image(member, "DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    glance_refused(site.image(member, "DELETE", path), 404, f"Failed to find image {image_id} to delete")
    glance_refused(site.image(member, "GET", path), 404, f"No image found with ID {image_id}")
    glance_refused(site.image(member, "GET", "/v2/images/nope"), 404, "No image found with ID nope")
    glance_refused(site.image(member, "GET", "/v2/nope"), 404, "The resource could not be found.")


def test_stores_and_copies(site, admin, member, make_image):
    stores = site.image(member, "GET", "/v2/info/stores").json()["stores"]
    assert [(row["id"], row.get("default")) for row in stores] == [("cell1", "true"), ("cell2", None)]
    methods = site.image(member, "GET", "/v2/info/import").json()["import-methods"]
    assert methods["value"] == ["glance-direct", "web-download", "copy-image"]
    image_id = make_image()
    body = {"method": {"name": "copy-image"}, "stores": ["cell2"]}
    answer = site.image(member, "POST", f"/v2/images/{image_id}/import", body)
    glance_refused(answer, 403, "You are not authorized to complete copy_image action.")


def test_a_copy_holds_its_image_and_changes_it(site, admin, make_image):
    image_id = make_image(os.urandom(24 << 20))
    before = show(site, admin, image_id)
    assert before["stores"] == "cell1"
    time.sleep(1.1)
    path, body = f"/v2/images/{image_id}/import", {"method": {"name": "copy-image"}, "stores": ["cell2"]}
    first = site.image(admin, "POST", path, body)
    assert (first.status_code, first.content) == (202, b"")
    glance_refused(site.image(admin, "POST", path, body), 409, "Image has active task")
    deadline, told = time.monotonic() + 120, set()
    # The stores are named once the task is at work, which is a moment later.
    while "os_glance_import_task" in (after := show(site, admin, image_id)):
        told.add(after.get("os_glance_importing_to_stores"))
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "cell2" in told

    assert sorted(after["stores"].split(",")) == ["cell1", "cell2"]
    assert after["updated_at"] > before["updated_at"]
    same = before.keys() - {"stores", "updated_at"}
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    assert {key: after[key] for key in after.keys() - before.keys()} == {
        "os_glance_importing_to_stores": "",
        "os_glance_failed_import": "",
    }
    glance_refused(site.image(admin, "POST", path, body), 400, "Image is already present at store")


def listed(site, who, **query):
    answer = site.image(who, "GET", "/v2/images", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_list(site, member, make_image):
    names = [f"contract-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    first, second = (make_image(None, name=name, my_key="v", tags=["t"]) for name in names)
    assert listed(site, member, name="no-such-image") == {
        "images": [],
        "first": "/v2/images?name=no-such-image",
        "schema": "/v2/schemas/images",
    }
    found = listed(site, member, name=names[0])
    assert found["images"] == [show(site, member, first)]
    both = listed(site, member, name=f"in:{names[0]},{names[1]}", sort="name:asc")
    assert [row["name"] for row in both["images"]] == sorted(names)
    assert [row["id"] for row in listed(site, member, id=f"in:{second}")["images"]] == [second]
    assert len(listed(site, member, my_key="v", tag="t", status="queued", name=names[0])["images"]) == 1
    assert listed(site, member, name=names[0], status="active")["images"] == []
    assert listed(site, member, limit=0)["images"] == []


def test_list_pages(site, member, make_image):
    key = uuid.uuid4().hex
    made = {make_image(None, contract=key) for _ in range(3)}
    seen, query = [], {"contract": key, "limit": 1}
    page = listed(site, member, **query)
    while page["images"]:
        assert page["next"].startswith(f"/v2/images?contract={key}&limit=1&marker=")
        seen += [row["id"] for row in page["images"]]
        page = site.image(member, "GET", page["next"]).json()
    assert set(seen) == made
    assert len(seen) == 3
    assert "next" not in page


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"limit": "-1"}, "limit param must be positive"),
        ({"marker": "zz"}, "No image found with ID zz"),
        ({"visibility": "odd"}, "Invalid visibility value: odd"),
        ({"sort_key": "nope"}, "Invalid sort key: nope. It must be one of the following: name, status,"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_list_refusals(site, member, query, words):
    glance_refused(site.image(member, "GET", "/v2/images", params=query), 400, words)


MEMBER = {"member_id", "image_id", "status", "created_at", "updated_at", "schema"}


def test_members(site, tenant, stranger, member, other, make_image):
    name = f"contract-{uuid.uuid4().hex[:8]}"
    image_id = make_image(name=name)
    path = f"/v2/images/{image_id}/members"
    made = site.image(member, "POST", path, {"member": stranger.id})
    assert made.status_code == 200
    row = made.json()
    assert set(row) == MEMBER
    assert (row["member_id"], row["image_id"], row["status"]) == (stranger.id, image_id, "pending")
    twice = site.image(member, "POST", path, {"member": stranger.id})
    glance_refused(twice, 409, f"Member {stranger.id} is duplicated for image {image_id}")
    for who in (member, other):
        assert site.image(who, "GET", path).json() == {"members": [row], "schema": "/v2/schemas/members"}

    assert site.image(other, "GET", f"/v2/images/{image_id}").status_code == 200
    assert listed(site, other, name=name)["images"] == []
    own = f"{path}/{stranger.id}"
    denied = "You are not authorized to complete modify_member action."
    glance_refused(site.image(member, "PUT", own, {"status": "accepted"}), 403, denied)
    odd = site.image(other, "PUT", own, {"status": "odd"})
    glance_refused(odd, 400, "Status must be &quot;pending&quot;, &quot;accepted&quot; or &quot;rejected&quot;.")
    assert site.image(other, "PUT", own, {"status": "accepted"}).json()["status"] == "accepted"
    assert [each["id"] for each in listed(site, other, name=name)["images"]] == [image_id]
    denied = "You are not authorized to complete delete_image action."
    glance_refused(site.image(other, "DELETE", f"/v2/images/{image_id}"), 403, denied)

    assert site.image(member, "DELETE", own).status_code == 204
    words = f"{stranger.id} not found in the member list of the image {image_id}."
    glance_refused(site.image(member, "DELETE", own), 404, words)
    glance_refused(site.image(other, "GET", f"/v2/images/{image_id}"), 404, f"No image found with ID {image_id}")


def test_visibility(site, admin, member, other, make_image):
    name = f"contract-{uuid.uuid4().hex[:8]}"
    image_id = make_image(None, name=name)

    def seen(visibility):
        step = {"op": "replace", "path": "/visibility", "value": visibility}
        assert site.image(admin, "PATCH", f"/v2/images/{image_id}", [step]).status_code == 200
        shown = site.image(other, "GET", f"/v2/images/{image_id}").status_code == 200
        by_name = bool(listed(site, other, name=name)["images"])
        by_kind = bool(listed(site, other, name=name, visibility=visibility)["images"])
        return shown, by_name, by_kind

    assert seen("private") == (False, False, False)
    assert seen("community") == (True, False, True)
    assert seen("public") == (True, True, True)
