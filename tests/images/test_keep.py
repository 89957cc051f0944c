# SPDX-License-Identifier: Apache-2.0
"""Images that rules name are planned and kept warm, and what each source needs is told."""

import json

import pytest

from bfv.errors import BadConfig
from bfv.images import check, keep
from bfv.images.keep import Rule
from tests import sites
from tests.images.conftest import forget
from tests.images.test_standing import image
from tests.images.test_warm import ours


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("id:abc", Rule("id", "abc")),
        ("name:debian-*", Rule("name", "debian-*")),
        ("cell1/property:os=x/y", Rule("property", "os=x/y", "cell1")),
        ("name:a/b", Rule("name", "a/b")),
    ],
)
def test_rules_are_read(text, wanted):
    assert keep.rule(text, ["cell1"]) == wanted


@pytest.mark.parametrize("text", ["debian", "id:", "property:x", "size:3", "cell9/name:x"])
def test_a_rule_that_says_nothing_is_refused_with_the_words_that_would_do(text):
    with pytest.raises(BadConfig, match=r"\[images\] keep"):
        keep.rule(text, ["cell1"])


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        (Rule("name", "deb*"), True),
        (Rule("name", "Deb*"), False),
        (Rule("id", "i"), True),
        (Rule("property", "os_distro=debian"), True),
        (Rule("property", "os_distro=suse"), False),
        (Rule("property", "none=None"), False),
    ],
)
def test_a_rule_names_images(rule, named):
    assert rule.names(image()) is named


def test_what_is_missing_is_planned_with_its_bytes_and_warmed_once(site, tmp_path, make_image):
    name = f"keep-{tmp_path.parent.name}-{tmp_path.name}"
    kept = make_image(name=name)
    world = sites.World(site, tmp_path, sources="snapshot", keep=f"cell2/name:{name}")
    with world.cloud("admin") as cloud:
        assert cloud.images.plan() == [keep.Planned(kept, name, "cell2", "cold", "snapshot", 4 << 20)]
        [done] = cloud.images.keep()
        assert (done.cell, done.state, done.kind) == ("cell2", "made", "snapshot")
        assert [(each.state, each.bytes) for each in cloud.images.plan()] == [("warm", 0)]
        assert cloud.images.keep() == []
    assert len(ours(site, kept)) == 1


def test_what_each_source_needs_is_told(site, place, world, make_image, cluster):
    make_image()
    demo = site.caller("demo").project_id
    with world.cloud("admin") as cloud:
        lines = {each.what: each for each in check.check(cloud.parts, {"cell2": cluster}, [demo])}
        assert lines["Glance: locations"].state == "ok"
        assert lines["cell cell2, tier default"].found == "its Ceph holds Glance's store cell2"
        assert (lines["cell cell2: Ceph"].state, "second format" in lines["cell cell2: Ceph"].found) == ("ok", True)
        assert lines["cell cell1, tier default: Ceph"].state == "unknown"
        assert lines[f"project {demo}: shared snapshots"].state == "ok"
    world.write_config(service_user="bfv-plain")
    with world.cloud("admin") as cloud:
        [line] = check.check(cloud.parts, {})
        assert (line.state, "no admin" in line.found) == ("bad", True)


@pytest.fixture
def locked(site):
    """A type of the second cell whose volumes are encrypted."""
    types, name = f"{site.volume_url}/types", f"locked-{sites.NAME}"
    specs = {"volume_backend_name": "cell2", "RESKEY:availability_zones": "cell2"}
    made = site.call("admin", "POST", types, json={"volume_type": {"name": name, "extra_specs": specs}})
    kind = made.json()["volume_type"]["id"]
    words = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "control_location": "front-end"}
    assert site.call("admin", "POST", f"{types}/{kind}/encryption", json={"encryption": words}).status_code == 200
    yield name
    site.call("admin", "DELETE", f"{types}/{kind}")


def test_an_encrypted_type_is_never_warm_and_that_is_told(site, world, make_image, locked):
    world.config.write_text(world.config.read_text().replace("fast:cell2-fast", f"locked:{locked}"))
    image = make_image()
    with world.cloud("admin") as cloud:
        lines = {each.what: each for each in check.check(cloud.parts, {})}
        told = lines["cell cell2, tier locked"]
        assert (told.state, told.found) == ("bad", f"type {locked} is encrypted: every boot is a download")
        [line] = [each for each in cloud.images.map([image]) if each.tier == "locked"]
        assert (line.state, line.why) == ("cold", "volumes of an encrypted type are never cloned")
        [done] = cloud.images.warm(image, ["cell2"], tiers=["locked"])
        assert (done.state, "encrypted types" in done.why) == ("failed", True)
    assert ours(site, image) == []


def test_what_cinder_evicts_again_and_again_is_told_and_left_alone(site, tmp_path, make_image):
    name = f"keep-{tmp_path.parent.name}-{tmp_path.name}"
    kept = make_image(name=name)
    world = sites.World(site, tmp_path, sources="cache", keep=f"cell2/name:{name}")
    with world.cloud("admin") as cloud:
        for _ in range(3):
            [done] = cloud.images.keep()
            assert (done.state, done.kind) == ("made", "cache")
            forget(site, kept)
            cloud.images.map([kept])
        assert cloud.images.keep() == []
        assert [each.state for each in cloud.images.plan()] == ["thrash"]
        told = [each.found for each in check.check(cloud.parts, {}) if each.state == "bad"]
        assert f"evicts image {kept} again and again" in told


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_verbs_of_operators_tell_in_words_and_in_json(site, tmp_path, make_image):
    name = f"keep-{tmp_path.parent.name}-{tmp_path.name}"
    kept = make_image(name=name)
    world = sites.World(site, tmp_path, sources="snapshot", keep=f"cell2/name:{name}")

    assert json.loads(world.run("--json", "image", "plan", "--run", user="admin"))[0]["state"] == "made"
    assert "0 MiB to be copied" in world.run("image", "plan", user="admin")
    assert "Glance: locations" in world.run("image", "check", user="admin")
    assert "nothing is left behind" in world.run("image", "janitor", "--dry-run", user="admin")
    told = world.run("image", "warm", kept, "--cell", "cell9", user="admin", expect=1)
    assert "Cell cell9 is not configured" in told
