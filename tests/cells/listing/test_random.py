# SPDX-License-Identifier: Apache-2.0
"""Pages of random clouds against a model, while cells go down and come back between the pages."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cells.listing import Query
from tests.cells.listing.world import Made, ids, kinds, moment

CELLS = 3
ROWS = st.sampled_from(["alive"] * 6 + ["deleted"] * 3 + ["soft", "hidden", "missing"])
SERVERS = st.lists(
    st.builds(
        Made,
        number=st.just(0),
        cell=st.sampled_from([0, 1, 2, 0, 1, 2, None]),
        project=st.sampled_from("ppq"),
        queued=st.sampled_from([False, False, True, True, None]),
        row=ROWS,
    ),
    max_size=14,
)
DOWNS = st.lists(st.sets(st.sampled_from(range(CELLS)), max_size=2), max_size=6)
TEXT = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0"), max_size=3)
NAMES = st.none() | st.sampled_from(["", "a", "A", "a ", "B", "b", "ä", "Z"]) | TEXT
random_clouds = settings(max_examples=15, deadline=None, database=None,
                         suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip


def build(world, servers):
    world.down()
    world.empty()
    made = [replace(one, number=number) for number, one in enumerate(servers)]
    world.add_all([(one, {}) for one in made])
    return made


@pytest.mark.parametrize("project", [None, "p"])
@random_clouds
@given(servers=SERVERS, downs=DOWNS, limit=st.integers(1, 5))
def test_pages_are_those_of_the_model_whatever_goes_down_between_them(world, project, servers, downs, limit):
    made = build(world, servers)
    left = [one for one in reversed(made) if project in (None, one.project)]
    marker, outages = None, [*downs]
    while True:
        down = outages.pop(0) if outages else set()
        world.down(*down)
        page = world.page(project_id=project, limit=limit, marker=marker)
        expected = [one for one in left if one.shown(down)][:limit]
        assert ids(page) == [one.id for one in expected]
        assert kinds(page) == "".join("-" if one.cell is None else "UD"[one.cell in down] for one in expected)
        missed = {f"cell{one.cell + 1}" for one in expected if one.cell in down}
        assert missed <= {told.cell.name for told in page.unasked}
        marker = page.next_marker
        if marker is None:
            break
        left = left[left.index(expected[-1]) + 1 :]


@random_clouds
@given(servers=SERVERS, limit=st.integers(1, 5))
def test_both_ways_to_list_agree_while_all_cells_are_up(world, servers, limit):
    build(world, [one for one in servers if one.cell is not None])
    by_mapping = world.walk(limit=limit)
    assert by_mapping == world.walk(limit=limit, sort_keys=("created_at",), sort_dirs=("desc",))
    assert by_mapping == [one.uuid for one in world.listing.stream(Query(limit=limit))]
    assert by_mapping == [one.uuid for one in world.listing.stream(Query(limit=limit, sort_keys=("created_at",)))]
    assert len(set(by_mapping)) == len(by_mapping)


def place(value):
    """Return where a value stands by the stated rule: NULL first, then by the bytes."""
    return (value is not None, value.encode() if isinstance(value, str) else value or 0)


@random_clouds
@given(
    servers=st.lists(st.tuples(st.integers(0, CELLS - 1), NAMES, st.sampled_from([None, 0, 1, 4]), st.booleans()),
                     max_size=12),
    dirs=st.tuples(*[st.sampled_from(["asc", "desc"])] * 2),
    limit=st.integers(1, 4),
)  # fmt: skip
def test_every_order_is_total_and_the_same_in_cells_and_between_them(world, servers, dirs, limit):
    world.down()
    world.empty()
    rows, made = [], []
    for number, (cell, name, state, twin) in enumerate(servers):
        created = moment(number - number % 3 if twin else number)
        made.append((Made(number, cell), {"display_name": name, "power_state": state, "created_at": created}))
        rows.append((name, state, created, made[-1][0].id))
    world.add_all(made)
    expected = sorted(rows, key=lambda row: row[3])
    for column, direction in ((2, dirs[0]), (1, dirs[1]), (0, dirs[0])):
        expected.sort(key=lambda row: place(row[column]), reverse=direction == "desc")
    order = {"sort_keys": ("display_name", "power_state"), "sort_dirs": dirs}
    assert world.walk(limit=limit, **order) == [row[3] for row in expected]
    assert [one.uuid for one in world.listing.stream(Query(limit=limit, **order))] == [row[3] for row in expected]


@random_clouds
@given(servers=SERVERS, downs=DOWNS, limit=st.integers(1, 5))
def test_a_walk_by_name_repeats_nobody_and_misses_only_servers_of_cells_that_were_down(world, servers, downs, limit):
    made = build(world, servers)
    alive = {one.id: one for one in made if one.cell is not None and one.row == "alive"}
    found, marker, ever_down = [], None, set()
    outages = [*downs]
    while True:
        down = outages.pop(0) if outages else set()
        if marker is not None:
            down -= {alive[marker].cell}
        world.down(*down)
        page = world.page(limit=limit, marker=marker, sort_keys=("display_name",), sort_dirs=("asc",))
        assert {told.cell.name for told in page.unasked} == {f"cell{number + 1}" for number in down}
        ever_down |= down
        found += ids(page)
        marker = page.next_marker
        if marker is None:
            break
    assert len(set(found)) == len(found)
    assert set(found) <= set(alive)
    assert {alive[one].cell for one in set(alive) - set(found)} <= ever_down
