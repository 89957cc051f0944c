# SPDX-License-Identifier: Apache-2.0
import pytest

from bfv import decide
from bfv.decide import GIB, Origin, Rules
from bfv.errors import BadRequest, Refused
from bfv.types import BootRequest, RootDevice
from cells.types import Flavor
from imagebackends.types import Image

FLAVOR = Flavor(id=1, flavorid="small", name="small", vcpus=1, memory_mb=512, root_gb=0)


def image(**changes):
    values = {
        "id": "i1",
        "name": "cirros",
        "status": "active",
        "size": GIB,
        "virtual_size": None,
        "min_disk": 0,
        "min_ram": 0,
        "disk_format": "raw",
        "container_format": "bare",
        "owner": "p",
        "visibility": "public",
        "properties": {},
    }
    return Image(**{**values, **changes})


def flavor(**changes):
    return Flavor(**{**{f: getattr(FLAVOR, f) for f in FLAVOR.__dataclass_fields__}, **changes})


def request(**changes):
    return BootRequest(**{"image": "cirros", "flavor": "small", "name": "vm", **changes})


EXPLICIT = RootDevice(source_type="image", uuid="i1", destination_type="local")
ALL_RULES = Rules(default="local", by_project={"p": "volume"}, by_cell={"c": "local"})


@pytest.mark.parametrize(
    ("asked", "props", "specs", "project", "cell", "kind", "rule"),
    [
        (EXPLICIT, {"bfv_root": "volume"}, {"bfv:root": "volume"}, "p", "c", "local", "explicit block device mapping"),
        (None, {"bfv_root": "local"}, {"bfv:root": "volume"}, "p", "c", "local", "image property bfv_root"),
        (None, {}, {"bfv:root": "local"}, "p", "c", "local", "flavor extra spec bfv:root"),
        (None, {}, {}, "p", "c", "volume", "rule for project p"),
        (None, {}, {}, "q", "c", "local", "rule for cell c"),
        (None, {}, {}, "q", "d", "local", "default"),
        (None, {"block_device_mapping": "[{}]"}, {"bfv:root": "local"}, "q", "c", "volume",
         "image of a volume-backed server"),
    ],
)  # fmt: skip
def test_the_first_rule_that_speaks_decides(asked, props, specs, project, cell, kind, rule):
    found = decide.root_kind(
        request(root=asked), image(properties=props), flavor(extra_specs=specs), project, cell, ALL_RULES
    )

    assert found == (kind, rule)


def test_a_rule_that_says_nonsense_is_named():
    with pytest.raises(BadRequest, match="image property bfv_root says 'ceph'"):
        decide.root_kind(request(), image(properties={"bfv_root": "ceph"}), FLAVOR, "p", "c", Rules())


@pytest.mark.parametrize(
    ("image_changes", "root_gb", "minimum", "size", "why"),
    [
        ({}, 0, 1, 1, "image size"),
        ({"size": GIB + 1}, 0, 1, 2, "image size"),
        ({"size": 10, "virtual_size": 3 * GIB}, 1, 1, 3, "image size"),
        ({"min_disk": 7}, 5, 1, 7, "image size"),
        ({}, 20, 1, 20, "flavor root_gb"),
        ({}, 0, 8, 8, "configured minimum"),
        ({"size": 0}, 0, 0, 1, "one GiB"),
    ],
)
def test_the_largest_of_all_sizes_is_taken(image_changes, root_gb, minimum, size, why):
    found = image(**image_changes)
    origin = Origin("image", "i1", decide.image_size(found))

    plan = decide.root_disk(request(), found, flavor(root_gb=root_gb), origin, Rules(min_size=minimum))

    assert (plan.size, plan.why, plan.delete_on_termination) == (size, why, True)


def test_an_explicit_size_and_life_time_win():
    root = RootDevice(source_type="image", uuid="i1", volume_size=4, delete_on_termination=False)

    plan = decide.root_disk(request(root=root), image(), flavor(root_gb=50), Origin("image", "i1", 2), Rules())

    assert (plan.size, plan.delete_on_termination) == (4, False)


def test_an_explicit_size_that_is_too_small_is_refused_with_the_size_it_needs():
    root = RootDevice(source_type="image", uuid="i1", volume_size=1)

    with pytest.raises(BadRequest, match="needs 2 GiB"):
        decide.root_disk(request(root=root), image(), FLAVOR, Origin("image", "i1", 2), Rules())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "queued"}, "is queued, not active"),
        ({"status": "deactivated"}, "is deactivated"),
        ({"min_ram": 513}, "needs 513 MiB"),
        ({"container_format": "ami"}, "only 'bare' boots"),
    ],
)
def test_images_that_cannot_boot(changes, words):
    with pytest.raises(BadRequest, match=words):
        decide.check_image(image(**changes), FLAVOR)


def test_a_server_has_its_ephemeral_and_swap_disks_where_the_operator_says():
    big = flavor(ephemeral_gb=5, swap=1025)

    plans = decide.other_disks(big, Rules(ephemeral="volume", swap="driver"))

    assert [(plan.role, plan.handling, plan.size, plan.guest_format) for plan in plans] == [
        ("ephemeral", "volume", 5, None),
        ("swap", "driver", 2, "swap"),
    ]
    assert decide.other_disks(FLAVOR, Rules(ephemeral="refuse", swap="refuse")) == ()
    with pytest.raises(Refused, match="has a swap disk"):
        decide.other_disks(big, Rules(swap="refuse"))


def test_a_config_drive_is_the_drivers_or_refused():
    assert decide.config_drive(request(), Rules(config_drive="refuse")) is None
    assert decide.config_drive(request(config_drive=True), Rules()) == "driver"
    with pytest.raises(Refused, match="no config drive"):
        decide.config_drive(request(config_drive=True), Rules(config_drive="refuse"))


def test_the_cost_of_an_image_that_is_not_raw_is_said():
    plan = decide.root_disk(request(), image(), FLAVOR, Origin("image", "i1", 1), Rules())

    assert decide.notes(image(), plan) == ()
    assert "qcow2, not raw" in decide.notes(image(disk_format="qcow2"), plan)[0]
