# SPDX-License-Identifier: Apache-2.0
import pytest

from bfv.choose import Wish, choose
from bfv.errors import BadRequest, NoRoom
from cells.types import CELL0_UUID, Cell
from imagebackends.types import Target


def cell(name, disabled=False, uuid=None):
    return Cell(id=1, uuid=uuid or name, name=name, disabled=disabled, database_connection="sqlite://")


CELLS = [cell("cell0", uuid=CELL0_UUID), cell("a"), cell("b"), cell("c", disabled=True)]
TARGETS = [
    Target("a", "default", "type-a", "zone-a"),
    Target("a", "fast", "type-a-fast", "zone-a"),
    Target("b", "default", "type-b", "zone-b"),
    Target("c", "default", "type-c", "zone-c"),
]


@pytest.mark.parametrize(
    ("wish", "servers", "order"),
    [
        (Wish(), {}, ["a", "b"]),
        (Wish(), {"a": 2, "b": 1}, ["b", "a"]),
        (Wish(availability_zone="zone-b"), {"b": 9}, ["b"]),
        (Wish(volume_type="fast"), {}, ["a"]),
        (Wish(volume_type="type-b"), {}, ["b"]),
        (Wish(only=("b", "holds snapshot s")), {"b": 9}, ["b"]),
    ],
)
def test_order(wish, servers, order):
    assert [choice.cell for choice in choose(CELLS, TARGETS, wish, servers)] == order


def test_each_choice_says_why():
    found = choose(CELLS, TARGETS, Wish(availability_zone="zone-a", volume_type="fast"), {"a": 3})

    assert found[0].why == "in availability zone zone-a, has volume type fast, 3 servers of the project"
    assert found[0].target.volume_type == "type-a-fast"


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish(availability_zone="mars"), "choose one of: zone-a, zone-b, zone-c"),
        (Wish(volume_type="gold"), "choose one of: default, fast"),
        (Wish(availability_zone="zone-a", only=("b", "holds volume v")), "must be in cell b"),
    ],
)
def test_a_wish_that_no_cell_can_meet_is_refused_with_what_there_is(wish, words):
    if wish.only:
        wish = Wish(availability_zone="zone-a", only=wish.only)
    with pytest.raises(BadRequest, match=words):
        choose(CELLS, TARGETS, wish, {})


def test_a_disabled_cell_is_no_room_and_not_a_bad_request():
    with pytest.raises(NoRoom, match="c disabled"):
        choose(CELLS, TARGETS, Wish(availability_zone="zone-c"), {})


def test_a_cloud_without_storage_says_what_to_configure():
    with pytest.raises(NoRoom, match=r"\[cell:NAME\]"):
        choose(CELLS, [], Wish(), {})
