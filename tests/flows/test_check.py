# SPDX-License-Identifier: Apache-2.0
"""`bfv check` says of each thing whether it is ready, and what to do where it is not."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("nothing_left")


def check(world, *words, expect, user="bfv"):
    text = world.run("--json", "check", *words, user=user, expect=expect)
    return {line["what"]: line for line in json.loads(text)}


def test_a_cloud_that_is_ready(world, site):
    demo = site.caller("demo").project_id

    found = check(world, "--project", demo, expect=0)

    assert {line["state"] for line in found.values()} <= {"ok", "unknown"}
    assert found["cell cell1, tier default"]["found"].startswith(site.backends["cell1"])
    assert "holds glance's store" in found["cell cell1: Ceph"]["found"]
    assert "boots and rebuilds" in found["cinder"]["found"]
    assert found["cinder's call-backs"]["state"] == "ok"
    assert found[f"project {demo}"]["state"] == "ok"


def test_what_is_wrong_with_a_cell_is_named_with_what_to_do(world):
    text = world.config.read_text()
    text = text.replace("volume_type = cell1\n", "volume_type = nowhere\n").replace(
        "availability_zone = cell2", "availability_zone = mars"
    )
    world.config.write_text(text)

    found = check(world, expect=1)

    assert found["cell cell1, tier default"]["found"] == "no volume type nowhere"
    assert found["cell cell2, tier default"]["found"] == "cinder has no zone mars"
    assert "cell1" in found["cell cell2, tier default"]["todo"]


def test_a_type_that_leads_elsewhere_than_the_cells_backend(world, site):
    world.config.write_text(world.config.read_text().replace("volume_type = cell1\n", "volume_type = lost\n"))

    found = check(world, expect=1)

    assert found["cell cell1, tier default"]["state"] == "bad"
    assert "leads to" in found["cell cell1, tier default"]["found"]


def test_rights_that_are_missing_are_named(world, site):
    outside = site.caller("noservice").project_id
    found = check(world, "--project", outside, expect=1)
    assert found[f"project {outside}"]["todo"].startswith("openstack") or found[f"project {outside}"]["state"] == "ok"

    world.write_config(service_user="bfv-nosvc")
    assert check(world, expect=1)["service user: role service"]["state"] == "bad"
    world.write_config(service_user="bfv-plain")
    assert check(world, expect=0)["service user: sees all volumes"]["state"] == "unknown"


def test_a_probe_learns_what_no_api_tells_and_leaves_nothing(world, site, raw_image):
    before = site.volumes()

    found = check(world, "--probe", "--image", raw_image, expect=0)

    assert "was ready on" in found["cell cell1: probe"]["found"]
    assert "was ready on" in found["cell cell2: probe"]["found"]
    assert site.internal_project in found["cell cell2: image-volume cache"]["found"]
    assert {key for key, each in site.volumes().items() if each["name"] == "bfv-probe"} <= set(before)


def test_databases_that_are_not_made_yet(world, tmp_path):
    text = world.config.read_text().replace(f"{world.home}/bfv.db", f"{tmp_path}/other.db")
    world.config.write_text(text)

    found = check(world, expect=1)

    assert "bfv db init" in found["journal"]["todo"]
