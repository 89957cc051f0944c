# SPDX-License-Identifier: Apache-2.0
"""Each rule of the choice of a cell and a host is a row."""

import dataclasses
import datetime as dt

import pytest

from bfv.choose import Known, Wish, choose
from bfv.errors import BadRequest, NoRoom
from bfv.fit import Placing, Size
from cells.types import CELL0_UUID, Cell, Host
from imagebackends.types import Target

NOW = dt.datetime(2026, 1, 1)


def cell(name, disabled=False, uuid=None):
    return Cell(id=1, uuid=uuid or name, name=name, disabled=disabled, database_connection="sqlite://")


def host(name, **changes):
    """A host of 4 vcpus, 4 GiB and 100 GiB that reported just now and promises no more than it has."""
    values = {"cell": "-", "node": name, "seen_at": NOW, "vcpus": 4, "memory_mb": 4096, "local_gb": 100,
              "cpu_allocation_ratio": 1.0, "ram_allocation_ratio": 1.0, "disk_allocation_ratio": 1.0}  # fmt: skip
    return Host(host=name, **{**values, **changes})


CELLS = [cell("cell0", uuid=CELL0_UUID), cell("a"), cell("b"), cell("c", disabled=True)]
TARGETS = [
    Target("a", "default", "type-a", "zone-a"),
    Target("a", "fast", "type-a-fast", "zone-a"),
    Target("b", "default", "type-b", "zone-b"),
    Target("c", "default", "type-c", "zone-c"),
    Target("d", "default", "type-d", "zone-d"),
]
SMALL = Size(1, 1024, 0)
# Cells without hosts, and cells with them: a has zones az1 and nova, b has az2 alone.
BARE = Known(CELLS, TARGETS, now=NOW)
HOSTED = dataclasses.replace(
    BARE, hosts={"a": [host("a1"), host("a2")], "b": [host("b1")]}, zones={"a1": "az1", "b1": "az2"}
)
STRICT = Placing(cross_az_attach=False)


def known(base=HOSTED, **changes):
    return dataclasses.replace(base, **changes)


def order(known, wish):
    return [(choice.cell, choice.host) for choice in choose(known, wish).choices]


@pytest.mark.parametrize(
    ("wish", "servers", "cells"),
    [
        (Wish(), {}, ["a", "b"]),
        (Wish(), {"a": 2, "b": 1}, ["b", "a"]),
        (Wish(availability_zone="zone-b"), {"b": 9}, ["b"]),
        (Wish(volume_type="fast"), {}, ["a"]),
        (Wish(volume_type="type-b"), {}, ["b"]),
        (Wish(only=("b", "holds snapshot s")), {"b": 9}, ["b"]),
    ],
)
def test_cells_without_hosts_are_candidates_with_the_zone_of_their_storage(wish, servers, cells):
    assert order(known(BARE, servers=servers), wish) == [(name, None) for name in cells]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (Wish(), [("a", "a1"), ("b", "b1")]),
        (Wish(availability_zone="az1"), [("a", "a1")]),
        (Wish(availability_zone="nova"), [("a", "a2")]),
        (Wish(availability_zone="az2"), [("b", "b1")]),
        (Wish(volume_type="fast", availability_zone="nova"), [("a", "a2")]),
        (Wish(only_hosts=frozenset({"a2", "b1"})), [("a", "a2"), ("b", "b1")]),
        (Wish(only_hosts=frozenset({"b1"})), [("b", "b1")]),
        (Wish(never_hosts=frozenset({"a1"})), [("a", "a2"), ("b", "b1")]),
        (Wish(never_hosts=frozenset({"a1", "a2"})), [("b", "b1")]),
        (Wish(only_hosts=frozenset({"a1", "b1"}), never_hosts=frozenset({"a1"})), [("b", "b1")]),
    ],
)
def test_cells_with_hosts_are_chosen_by_the_zones_and_the_group_rule_of_these(wish, expected):
    assert order(HOSTED, wish) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("a", "a1"), ("b", "b1")]),
        # Free memory decides between hosts, then vcpus, then the name.
        ({"hosts": {"a": [host("a1", memory_mb_used=1), host("a2")]}}, [("a", "a2"), ("b", None)]),
        ({"hosts": {"a": [host("a1", vcpus_used=1), host("a2")]}}, [("a", "a2"), ("b", None)]),
        ({"claimed": {"a1": Size(1, 512)}}, [("a", "a2"), ("b", "b1")]),
        # Between cells: warm before cold, then servers, then free memory, then configured order.
        ({"seconds": {"a": 60, "b": 1}, "servers": {"b": 9}}, [("b", "b1"), ("a", "a1")]),
        ({"seconds": {"a": 1.2, "b": 0.1}, "servers": {"b": 9}}, [("a", "a1"), ("b", "b1")]),
        ({"seconds": {"b": 3}, "servers": {"b": 9}}, [("b", "b1"), ("a", "a1")]),
        ({"seconds": {"a": 60, "b": 60}, "servers": {"a": 1}}, [("b", "b1"), ("a", "a1")]),
        ({"hosts": {"a": [host("a1")], "b": [host("b1"), host("b2")]}}, [("b", "b1"), ("a", "a1")]),
        ({"hosts": {"a": [host("a1")], "b": [host("b1"), host("b2", disabled=True)]}}, [("a", "a1"), ("b", "b1")]),
        (
            {"hosts": {"a": [host("a1")], "b": [host("b1"), host("b2")]}, "servers": {"b": 1}},
            [("a", "a1"), ("b", "b1")],
        ),
        ({"claimed": {"a1": SMALL, "a2": Size(4, 4096)}}, [("b", "b1"), ("a", "a1")]),
        # Cells that may not be used.
        ({"down": {"a": "no answer within 5 seconds"}}, [("b", "b1")]),
        ({"cells": [cell("a", disabled=True), cell("b")]}, [("b", "b1")]),
        ({"cells": [cell("b")]}, [("b", "b1")]),
    ],
)
def test_the_best_cell_is_first_and_its_best_host_is_taken(changes, expected):
    assert order(known(**changes), Wish(size=SMALL)) == expected


def seen(seconds_ago):
    return {"seen_at": NOW - dt.timedelta(seconds=seconds_ago)}


@pytest.mark.parametrize(
    ("changes", "size", "claimed", "reason"),
    [
        ({}, Size(4, 4096, 100), {}, None),
        ({"disabled": True}, SMALL, {}, "disabled"),
        ({"forced_down": True}, SMALL, {}, "forced down"),
        ({"seen_at": None}, SMALL, {}, "not reporting"),
        (seen(61), SMALL, {}, "not reporting"),
        (seen(59), SMALL, {}, None),
        ({"vcpus_used": 3}, Size(vcpus=1), {}, None),
        ({"vcpus_used": 3}, Size(vcpus=2), {}, "without enough vcpus"),
        ({"memory_mb_used": 3072}, Size(memory_mb=1024), {}, None),
        ({"memory_mb_used": 3073}, Size(memory_mb=1024), {}, "without enough memory"),
        ({"local_gb_used": 99}, Size(disk_gb=1), {}, None),
        ({"local_gb_used": 99}, Size(disk_gb=2), {}, "without enough disk"),
        # A root that is a volume takes no disk of the host, however full that is.
        ({"local_gb_used": 100}, SMALL, {}, None),
        ({"local_gb_used": 150}, SMALL, {}, None),
        # What was promised counts as if it were used.
        ({"vcpus_used": 2}, Size(vcpus=1), {"b1": Size(vcpus=1)}, None),
        ({"vcpus_used": 2}, Size(vcpus=1), {"b1": Size(vcpus=2)}, "without enough vcpus"),
        ({}, Size(memory_mb=1024), {"b1": Size(memory_mb=3073)}, "without enough memory"),
        ({}, Size(disk_gb=60), {"b1": Size(disk_gb=50)}, "without enough disk"),
        ({}, Size(vcpus=1), {"other": Size(vcpus=4)}, None),
        # Ratios: the host's own, else nova's initial ones (4, 1, 1).
        ({"vcpus_used": 7, "cpu_allocation_ratio": 2.0}, Size(vcpus=1), {}, None),
        ({"vcpus_used": 8, "cpu_allocation_ratio": 2.0}, Size(vcpus=1), {}, "without enough vcpus"),
        ({"vcpus_used": 15, "cpu_allocation_ratio": None}, Size(vcpus=1), {}, None),
        ({"vcpus_used": 16, "cpu_allocation_ratio": 0.0}, Size(vcpus=1), {}, "without enough vcpus"),
        ({"memory_mb_used": 4096, "ram_allocation_ratio": None}, SMALL, {}, "without enough memory"),
        ({"memory_mb_used": 4096, "ram_allocation_ratio": 1.5}, SMALL, {}, None),
        ({"local_gb_used": 100, "disk_allocation_ratio": 2.0}, Size(disk_gb=1), {}, None),
        # No ratio lets one server be larger than its host.
        ({"cpu_allocation_ratio": 16.0}, Size(vcpus=5), {}, "without enough vcpus"),
        ({"ram_allocation_ratio": 16.0}, Size(memory_mb=4097), {}, "without enough memory"),
    ],
)
def test_a_host_that_cannot_take_the_server_is_left_out_with_the_reason(changes, size, claimed, reason):
    large = host("a1", vcpus=64, memory_mb=1 << 20)
    place = known(targets=TARGETS[:3], hosts={"a": [large], "b": [host("b1", **changes)]}, claimed=claimed)
    chosen = choose(place, Wish(size=size))

    assert ("b" in [choice.cell for choice in chosen.choices]) == (reason is None)
    assert chosen.why_not == ({"b": f"no host fits: 1 {reason} (b1)"} if reason else {})


@pytest.mark.parametrize(
    ("wish", "hosts", "expected"),
    [
        # A volume that is to be made will be where the cell's storage is.
        (Wish(), {"a1": "zone-a", "b1": "zone-b"}, [("a", "a1"), ("b", "b1")]),
        (Wish(), {"a2": "zone-a", "b1": "zone-a"}, [("a", "a2")]),
        (Wish(volume_zone="zone-a", only=("a", "holds it")), {"a1": "zone-b", "a2": "zone-a"}, [("a", "a2")]),
        (Wish(volume_zone="zone-a", availability_zone="zone-a"), {"a1": "zone-a", "b1": "zone-b"}, [("a", "a1")]),
    ],
)
def test_without_cross_az_attach_a_host_is_in_the_zone_of_its_volumes(wish, hosts, expected):
    assert order(known(zones=hosts, placing=STRICT), wish) == expected


def test_with_cross_az_attach_the_zone_of_a_volume_is_no_matter():
    wish = Wish(availability_zone="az1", volume_zone="elsewhere", only=("a", "holds volume v"))
    assert order(HOSTED, wish) == [("a", "a1")]


def test_without_cross_az_attach_a_zone_other_than_the_volumes_is_a_bad_request():
    wish = Wish(availability_zone="az1", volume_zone="zone-a", only=("a", "holds volume v"))
    with pytest.raises(BadRequest, match=r"volume is in availability zone zone-a.*instead of az1"):
        choose(known(placing=STRICT), wish)


def test_without_cross_az_attach_no_host_in_the_zone_of_the_volumes_is_no_room():
    with pytest.raises(NoRoom, match="a: no host fits: 2 not in zone zone-a of the volumes"):
        choose(known(placing=STRICT), Wish())


def test_without_cross_az_attach_a_cell_without_hosts_is_in_the_zone_of_its_storage():
    place = known(BARE, placing=STRICT)
    assert order(place, Wish(volume_zone="zone-b", only=("b", "holds it"))) == [("b", None)]
    with pytest.raises(NoRoom, match="a: not in zone zone-b of the volumes"):
        choose(place, Wish(volume_zone="zone-b", only=("a", "holds it")))


def test_storage_of_no_known_zone_is_not_held_against_a_host():
    place = known(targets=[Target("a", "default", "type-a")], placing=STRICT)
    assert order(place, Wish()) == [("a", "a1")]


def test_each_choice_says_why():
    place = known(servers={"a": 3}, seconds={"a": 2.2})
    [choice] = choose(place, Wish(availability_zone="nova", volume_type="fast")).choices

    assert choice.why == (
        "in availability zone nova, has volume type fast, about 2 s to boot, 3 servers of the project, "
        "1 of 2 hosts fit (1 in another availability zone (a1))"
    )
    assert (choice.target.volume_type, choice.availability_zone) == ("type-a-fast", "nova")


def test_a_choice_tells_the_zone_of_its_host_and_without_hosts_that_of_its_storage():
    zones = [choice.availability_zone for place in (HOSTED, BARE) for choice in choose(place, Wish()).choices]
    assert zones == ["az1", "az2", "zone-a", "zone-b"]


def test_each_cell_that_is_left_out_says_why():
    place = known(down={"a": "no answer within 5 seconds"})

    assert choose(place, Wish()).why_not == {
        "a": "down: no answer within 5 seconds",
        "c": "disabled",
        "d": "not mapped",
    }


def test_no_room_tells_the_reasons_shortly_and_names_no_host():
    hosts = [host("a1", disabled=True), *(host(f"a{number}", vcpus=0) for number in range(2, 8))]
    place = known(BARE, hosts={"a": hosts}, down={"b": "no answer"})
    with pytest.raises(NoRoom) as refused:
        choose(place, Wish(size=SMALL))

    assert str(refused.value) == (
        "No cell can take the server now. a: no host fits: 1 disabled, 6 without enough vcpus; "
        "b: down; c: disabled; d: not mapped."
    )


def test_of_many_hosts_that_are_left_out_some_are_named():
    hosts = [host("a0"), *(host(f"a{number}", vcpus=0) for number in range(1, 6))]
    [choice, _] = choose(known(hosts={"a": hosts}), Wish(size=SMALL)).choices

    assert choice.why.endswith("1 of 6 hosts fit (5 without enough vcpus (a1, a2, a3, ...))")


@pytest.mark.parametrize(
    ("place", "wish", "words"),
    [
        (BARE, Wish(availability_zone="mars"), "choose one of: zone-a, zone-b, zone-c, zone-d"),
        (BARE, Wish(volume_type="gold"), "choose one of: default, fast"),
        (BARE, Wish(availability_zone="zone-a", only=("b", "holds volume v")), "must be in cell b"),
        (HOSTED, Wish(availability_zone="zone-a"), "choose one of: az1, az2, nova, zone-c, zone-d"),
        (HOSTED, Wish(availability_zone="az2", volume_type="fast"), "choose one of: az1, nova"),
        (HOSTED, Wish(availability_zone="az1", only=("b", "holds volume v")), "must be in cell b"),
    ],
)
def test_a_wish_that_no_cell_can_meet_is_refused_with_what_there_is(place, wish, words):
    with pytest.raises(BadRequest, match=words):
        choose(place, wish)


@pytest.mark.parametrize(
    ("place", "wish", "words"),
    [
        (BARE, Wish(availability_zone="zone-c"), "c: disabled"),
        (known(hosts={"a": [host("a1", disabled=True)]}), Wish(availability_zone="az1"), "1 disabled"),
        # Whose hosts cannot be asked may be in the zone: the wish is not wrong.
        (known(hosts={"a": [host("a1")]}, down={"b": "dead"}), Wish(availability_zone="az2"), "b: down"),
        (known(BARE, down={"b": "dead"}), Wish(availability_zone="zone-b"), "b: down"),
        (BARE, Wish(only_hosts=frozenset({"x"})), "asks for a host"),
    ],
)
def test_what_would_fit_another_time_is_no_room_and_not_a_bad_request(place, wish, words):
    with pytest.raises(NoRoom, match=words):
        choose(place, wish)


def test_a_cloud_without_storage_says_what_to_configure():
    with pytest.raises(NoRoom, match=r"\[cell:NAME\]"):
        choose(Known(CELLS, []), Wish())
