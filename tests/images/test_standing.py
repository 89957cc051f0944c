# SPDX-License-Identifier: Apache-2.0
"""From what the next boot of an image comes: each rule a row."""

import dataclasses
import datetime as dt

import pytest

from bfv.images.book import Source
from bfv.images.places import Place
from bfv.images.standing import fingerprint, remark, standing
from imagebackends.types import Image, Target

NOW = dt.datetime(2026, 1, 1)
IMAGE = Image(
    id="i", name="debian", status="active", size=100 << 20, virtual_size=None, min_disk=0, min_ram=0,
    disk_format="raw", container_format="bare", owner="p", visibility="public", properties={"os_distro": "debian"},
    stores=("central",), updated_at="2026-01-01T00:00:00Z", digest="00",
)  # fmt: skip
PLACE = Place(Target("cell1"), store="cell1")
PLAIN = Place(Target("cell1"))


def source(kind="snapshot", **changes):
    values = {
        "id": 1, "image_id": "i", "cell": "cell1", "tier": "default", "kind": kind, "state": "warm",
        "version": fingerprint(IMAGE) if kind == "snapshot" else IMAGE.updated_at, "bytes": 100, "volume_id": "v",
        "snapshot_id": "s", "made_seconds": 7.0, "clone_seconds": 0.5, "made_at": NOW, "used_at": None,
        "turned_at": None, "reason": None,
    }  # fmt: skip
    return Source(**values | changes)


def image(**changes):
    return dataclasses.replace(IMAGE, **changes)


COPIED = image(stores=("central", "cell1"))
CASES = {
    "nothing is known of the cell": (IMAGE, None, [], ("unknown", "download")),
    "nothing is there": (IMAGE, PLACE, [], ("cold", "download")),
    "Glance's copy comes first": (COPIED, PLACE, [source()], ("warm", "glance")),
    "only a raw image is cloned from Glance": (image(stores=("cell1",), disk_format="qcow2"), PLACE, [],
                                               ("cold", "download")),
    "an encrypted image is never cloned": (image(stores=("cell1",), properties={"cinder_encryption_key_id": "k"}),
                                           PLACE, [], ("cold", "download")),
    "no volume of an encrypted type is": (COPIED, dataclasses.replace(PLACE, encrypted=True), [source()],
                                          ("cold", "download")),
    "a snapshot before a cache": (IMAGE, PLAIN, [source("cache"), source()], ("warm", "snapshot")),
    "a cache": (IMAGE, PLAIN, [source("cache")], ("warm", "cache")),
    "a tag makes a cache stale": (image(updated_at="2026-02-02T00:00:00Z"), PLAIN, [source("cache")],
                                  ("stale", "download")),
    "and leaves a snapshot warm": (image(updated_at="2026-02-02T00:00:00Z"), PLAIN, [source()], ("warm", "snapshot")),
    "a property makes it stale": (image(properties={"os_distro": "suse"}), PLAIN, [source()], ("stale", "download")),
    "retired": (IMAGE, PLAIN, [source(state="retired", reason="x")], ("retired", "download")),
    "removed by somebody": (IMAGE, PLAIN, [source(state="broken", reason="x")], ("evicted", "download")),
    "another cell's": (IMAGE, PLAIN, [source(cell="cell2")], ("cold", "download")),
    "another tier's": (IMAGE, PLAIN, [source(tier="fast")], ("cold", "download")),
    "made anew": (IMAGE, PLAIN, [source(state="broken"), source(id=2)], ("warm", "snapshot")),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rules(case):
    seen, place, sources, wanted = CASES[case]

    found = standing(seen, "cell1", "default", place, sources)

    assert (found.state, found.kind) == wanted


@pytest.mark.parametrize(
    ("sources", "seconds"),
    [
        ([source()], 0.5),
        ([source(clone_seconds=None)], 1.0),
        ([source(state="broken")], 7.0),
        ([], 1 + 104857600 / 50e6),
    ],
)
def test_seconds_are_as_measured_so_far(sources, seconds):
    assert standing(IMAGE, "cell1", "default", PLAIN, sources).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({}, "snapshot", ""),
        ({"disk_format": "qcow2"}, "cache", "converted from qcow2, once for this cell"),
        ({"properties": {"img_signature": "s"}}, "glance", "nobody looks at its signature"),
        ({"properties": {"img_signature": "s"}}, "snapshot",
         "cinder verified its signature, unless verify_glance_signatures is off"),
    ],
)  # fmt: skip
def test_what_making_a_source_takes_is_said(changes, kind, words):
    assert remark(dataclasses.replace(IMAGE, **changes), kind) == words
