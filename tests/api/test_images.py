# SPDX-License-Identifier: Apache-2.0
"""Our own calls about images: how they stand, and having them warmed."""

import os

from tests import sites


def test_an_owner_has_its_image_warmed_and_a_stranger_sees_nothing_of_it(door):
    image = door.site.upload(os.urandom(1 << 20), user="demo", visibility="private")
    path = f"/os-image-sources?image={image}"
    asked = {"warm": {"image": image, "cells": ["cell2"]}}
    assert door("POST", "/os-image-sources", asked, user="other").status_code == 404
    assert door("GET", path, user="other").status_code == 404
    assert door("POST", "/os-image-sources", {"warm": {"image": image, "cells": ["nowhere"]}}).status_code == 400
    assert door("POST", "/os-image-sources", {"warm": {}}).status_code == 400

    answer = door("POST", "/os-image-sources", asked)

    assert answer.status_code == 202, answer.text
    assert [(each["cell"], each["state"]) for each in answer.json()["warm"]] == [("cell2", "warming")]

    def warm():
        lines = door("GET", path).json()["image_sources"]
        assert {each["image_id"] for each in lines} == {image}
        return [each["state"] for each in lines if (each["cell"], each["tier"]) == ("cell2", "default")] == ["warm"]

    sites.until(warm)
    assert door("POST", "/os-image-sources", asked).json()["warm"][0]["state"] == "hit"
