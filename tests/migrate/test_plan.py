# SPDX-License-Identifier: Apache-2.0
"""Plans, windows and waves as pure functions: which way, what stands against it, what fits."""

import datetime as dt

import pytest

from bfv.migrate import plan as plans
from bfv.migrate.contract import Facts
from bfv.migrate.plan import CLONE, COPY, GIB, LIVE, RENAME, Place, Quota
from bfv.migrate.wave import Window
from imagebackends.rbd.types import Image, Locker, Snapshot, SnapshotName
from imagebackends.types import Target

NOW = dt.datetime(2026, 1, 1)
SAME = Place("cell1", "vms", "fsid1", Target("cell1", backend="h@vms#vms"), "fsid1", "vms", "cell1")
OTHER = Place("cell1", "vms", "fsid1", Target("cell1", backend="h@b#b"), "fsid1", "volumes", "cell1")
FAR = Place("cell1", "vms", "fsid1", Target("cell1", backend="h@c#c"), "fsid2", "volumes", "cell2")


def facts(**changes):
    return Facts(**{"server_id": "s", "project_id": "p", "user_id": "u", "name": "n", "host": "h", "is_off": True,
                    "image_id": "i", "root_gb": 1, **changes})  # fmt: skip


def image(**changes):
    return Image(**{"id": "1", "name": "s_disk", "size": GIB, "created_at": NOW, **changes})


@pytest.mark.parametrize(
    ("place", "asked", "features", "way"),
    [
        (SAME, None, (), RENAME),
        (OTHER, None, (), LIVE),
        (OTHER, None, ("journaling",), CLONE),
        (OTHER, CLONE, (), CLONE),
        (FAR, None, (), COPY),
    ],
)
def test_the_way_follows_from_where_disks_lie_and_go(place, asked, features, way):
    found = plans.plan(facts(), image(features=frozenset(features)), False, place, asked)

    assert (found.way, found.refusals, found.pool, found.target_pool) == (way, (), "vms", place.target_pool)
    assert found.steps
    assert found.space == (0 if way == RENAME else GIB)
    assert plans.Plan.from_dict(found.__dict__) == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"snapshots": (Snapshot(1, "nova-resize", GIB),)}, "confirm or revert the resize"),
        ({"snapshots": (Snapshot(1, "mine", GIB),)}, "snapshots that cinder would not know (mine)"),
        ({"features": frozenset({"migrating"})}, "commit or abort"),
        ({"features": frozenset({"non-primary"})}, "promote it"),
        ({"watchers": ("10.0.0.1:0/1",)}, "open at 10.0.0.1:0/1 though it is off"),
        ({"lockers": (Locker("client.1", "auto 1", "10.0.0.1:0/1"),)}, "break the lock"),
    ],
)
def test_what_stands_against_an_image_is_said_with_what_lifts_it(changes, words):
    [refusal] = plans.plan(facts(), image(**changes), False, OTHER).refusals
    assert words in refusal


def test_other_reasons_stand_beside_each_other():
    found = plans.plan(facts(refusals=("It is shelved: unshelve it.",)), image(), True, OTHER, RENAME)

    assert [each.split(":")[0] for each in found.refusals] == [
        "It is shelved",
        "Its disk has clones",
        "The way rename does not lead from vms to volumes; those are",
    ]
    assert found.way is None


def test_a_guest_that_runs_has_its_disk_open_and_may_be_planned():
    found = plans.plan(facts(is_off=False), image(watchers=("10.0.0.1:0/1",)), False, OTHER)
    assert (found.running, found.refusals) == (True, ())


def test_without_an_image_or_a_place_the_reason_is_told():
    [words] = plans.plan(facts(), None, False, OTHER).refusals
    assert "no image vms/s_disk" in words
    found = plans.plan(facts(), image(), False, Place("cell1", "vms", why_not="No backend."))
    assert found.refusals[0] == "No backend."


def test_a_size_of_no_whole_gib_is_rounded_up_and_told():
    found = plans.plan(facts(), image(size=3 * GIB + 4096, parent=SnapshotName("images", "i", "snap")), False, SAME)
    assert (found.size, found.gib, found.parent) == (3 * GIB + 4096, 4, "images/i")
    assert "to 4 GiB" in found.notes[-1]


def test_a_quota_refuses_the_plans_that_do_not_fit_and_only_those():
    found = [plans.plan(facts(server_id=key), image(size=size), False, SAME)
             for key, size in (("a", 2 * GIB), ("b", 2 * GIB), ("c", GIB))]  # fmt: skip

    told = plans.within(found, {"p": Quota(volumes=None, gigabytes=3)})

    assert [bool(each.refusals) for each in told] == [False, True, False]
    assert "has 1 gigabytes left, 2 are needed" in told[1].refusals[0]
    assert plans.within(found, {}) == found


@pytest.mark.parametrize(
    ("text", "now", "is_open"),
    [
        ("22:00-04:00", "23:30", True),
        ("22:00-04:00", "03:59", True),
        ("22:00-04:00", "04:00", False),
        ("09:00-17:00", "08:59", False),
        ("09:00-17:00", "16:59", True),
        ("00:00-00:00", "12:00", True),
    ],
)
def test_a_window_may_go_past_midnight(text, now, is_open):
    assert Window.of(text).is_open(dt.time.fromisoformat(now)) is is_open


def test_a_window_of_wrong_words_is_refused():
    with pytest.raises(ValueError, match="Invalid isoformat"):
        Window.of("night")
