# SPDX-License-Identifier: Apache-2.0
"""Images of servers over HTTP: what is answered by microversion, and what is left of one that failed: nothing."""

import pytest
import requests

from tests import sites
from tests.api.test_edits import told


@pytest.fixture(scope="module")
def server_id(door, image):
    made = door.boot(image)
    door.running(made)
    yield made
    door("DELETE", f"/servers/{made}")
    door.gone(made)


def create(door, server_id, version="2.96", user="demo", **words):
    body = {"createImage": {"name": f"{sites.NAME}-image", **words}}
    return door("POST", f"/servers/{server_id}/action", body, version=version, user=user)


def left(site, server_id, door):
    """Return the images and the snapshots that there are of a server."""
    images = site.call("demo", "GET", f"{site.image_url}/v2/images?name={sites.NAME}-image").json()["images"]
    (volume,) = door.show(server_id)["os-extended-volumes:volumes_attached"]
    query = {"volume_id": volume["id"]}
    return images, site.call("demo", "GET", f"{site.volume_url}/snapshots", params=query).json()["snapshots"]


@pytest.mark.parametrize("version", ["2.44", "2.45"])
def test_the_answer_names_the_image(door, site, server_id, version):
    answer = create(door, server_id, version, metadata={"a": "b"})
    assert answer.status_code == 202
    door.running(server_id)
    ([image], [snapshot]) = left(site, server_id, door)
    assert (image["status"], image["a"]) == ("active", "b")
    if version == "2.44":
        assert (answer.content, answer.headers["Location"].rpartition("/")[2]) == (b"", image["id"])
    else:
        assert (answer.json(), "Location" in answer.headers) == ({"image_id": image["id"]}, False)
    assert door("DELETE", f"/bfv/images/{image['id']}", user="other").status_code == 404
    deleted = door("DELETE", f"/bfv/images/{image['id']}")
    assert deleted.status_code == 200, deleted.text
    (stays,) = deleted.json()["image"]["snapshots"]
    assert (stays["snapshot_id"], stays["image_id"]) == (snapshot["id"], image["id"])
    assert door("GET", "/bfv/left-snapshots").json() == {"snapshots": [{**stays, "server_id": server_id}]}
    assert door("GET", "/bfv/left-snapshots", user="other").json() == {"snapshots": []}
    site.drop_snapshot(snapshot["id"])


def test_an_image_that_cannot_be_made_is_refused(door, server_id):
    assert create(door, server_id, name="").status_code == 400
    many = {f"key{n}": "" for n in range(129)}
    answer = create(door, server_id, "2.38", metadata=many)
    assert (answer.status_code, told(answer)) == (403, "Image metadata limit exceeded")
    assert create(door, server_id, metadata={"owner": "me"}).status_code == 400
    door.running(server_id)
    assert create(door, server_id, user="other").status_code == 404


def test_what_fails_after_the_answer_leaves_neither_image_nor_snapshot_and_says_why(door, site, server_id):
    rule = {"kind": "status_before", "method": "PUT", "path": "/file", "status": 403, "times": 1}
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    answer = create(door, server_id)
    assert answer.status_code == 202
    door.running(server_id)
    requests.delete(f"{site.control_url}/faults", timeout=60)
    assert left(site, server_id, door) == ([], [])
    action = door("GET", f"/servers/{server_id}/os-instance-actions", version="2.96").json()["instanceActions"][0]
    assert (action["action"], action["request_id"]) == ("createImage", answer.headers["x-openstack-request-id"])
    assert "activate image" in action["message"]
