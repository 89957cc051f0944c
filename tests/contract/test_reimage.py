# SPDX-License-Identifier: Apache-2.0
"""Cinder writes an image onto a volume that exists (3.68)."""

import time

import pytest
import requests

from tests.contract.door import acted, refused

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def volume(make_volume):
    return make_volume(volume_type="cell1")


def reimage(site, who, volume_id, version="3.71", **body):
    return site.volume(who, "POST", f"/volumes/{volume_id}/action", {"os-reimage": body}, version=version)


def test_available(site, member, volume, warm_image):
    acted(reimage(site, member, volume, image_id=warm_image))
    states = site.states(member, volume, "available", "error")
    assert [state for state in states if state != "downloading"] == ["available"]
    made = site.show(member, volume)
    assert (made["bootable"], made["volume_image_metadata"]["image_id"]) == ("true", warm_image)


def test_reserved(site, member, volume, warm_image, reserve):
    _, server = reserve(volume)
    text = f"Volume {volume} status must be available or error, but current status is reserved."
    refused(reimage(site, member, volume, image_id=warm_image), 400, f"Invalid volume: {text}")
    acted(reimage(site, member, volume, image_id=warm_image, reimage_reserved=True))
    assert site.states(member, volume, "reserved", "error")[-1] == "reserved"
    deadline = time.monotonic() + 120
    told = []
    while not told and time.monotonic() < deadline:
        events = requests.get(f"{site.nova_url}/events", timeout=60).json()
        told = [each for each in events if each["tag"] == volume]
        time.sleep(0.1)
    assert told == [{"name": "volume-reimaged", "server_uuid": server, "tag": volume}]


def test_refusals(site, member, other, volume, warm_image, make_image, reserve):
    text = "The resource could not be found."
    refused(reimage(site, member, volume, "3.67", image_id=warm_image), 404, text, "3.67")
    text = "Invalid input for field/attribute os-reimage. Value: {}. 'image_id' is a required property"
    refused(reimage(site, member, volume), 400, text)
    refused(reimage(site, member, volume, image_id=NOBODY), 404, f"Image {NOBODY} could not be found.")
    queued = make_image(None)
    text = f"Invalid input received: Image {queued} is not active."
    refused(reimage(site, member, volume, image_id=queued), 400, text)
    ident, _ = reserve(volume)
    site.volume(member, "POST", f"/attachments/{ident}/action", {"os-complete": {}})
    text = f"Volume {volume} status must be available or error, but current status is in-use."
    refused(reimage(site, member, volume, image_id=warm_image), 400, f"Invalid volume: {text}")


def test_the_image_is_looked_at_before_the_volume_is(site, other, volume, warm_image):
    refused(reimage(site, other, volume, image_id=warm_image), 404, f"Volume {volume} could not be found.")
