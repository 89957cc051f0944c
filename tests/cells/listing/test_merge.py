# SPDX-License-Identifier: Apache-2.0
"""Filters and orders that only cells know, over cells that are up and cells that are down."""

import datetime as dt

import pytest

from cells import BadValue, CellDown, flavors
from cells.listing import Query
from cells.schema_cell import instances, tags
from tests.cells.listing.world import FLAVOR, Made, ids, moment


def add(world, *all_columns):
    """Add a server for each dict of columns, spread over the cells; return their ids."""
    made = [(Made(number, cell=number % 3), columns) for number, columns in enumerate(all_columns)]
    world.add_all(made)
    return [one.id for one, _ in made]


def test_servers_of_all_cells_are_sorted_by_what_was_asked_for(world):
    a, b, none, c = add(
        world, {"display_name": "b"}, {"display_name": "B"}, {"display_name": None}, {"display_name": "a"}
    )
    assert world.ids(sort_keys=("display_name",), sort_dirs=("asc",)) == [none, b, c, a]
    assert world.ids(sort_keys=("display_name",), sort_dirs=("desc",)) == [a, c, b, none]
    assert world.ids(sort_keys=("display_name",), limit=1, marker=b) == [none]


def test_a_missing_direction_is_the_first_one_and_ties_go_by_age(world):
    first, second, third = add(world, {"power_state": 1}, {"power_state": 1}, {"power_state": 0})
    assert world.ids(sort_keys=("power_state", "host"), sort_dirs=("asc",)) == [third, first, second]
    assert world.ids(sort_keys=("power_state", "host")) == [second, first, third]


def test_a_merged_list_without_details_tells_names(world):
    (one,) = add(world, {"display_name": "web"})
    (entry,) = world.page(sort_keys=("host",), detail=False).servers
    assert (entry.uuid, entry.display_name, entry.vm_state) == (one, "web", "active")


def test_a_down_cell_is_reported_and_the_others_are_listed(world):
    made = add(world, *[{"host": "h"}] * 4)
    world.down(1)
    page = world.page(filters={"host": "h"})
    assert ids(page) == [made[3], made[2], made[0]]
    assert [down.cell.name for down in page.unasked] == ["cell2"]


def test_a_project_is_asked_of_its_own_cells_only(world):
    mine = world.add(Made(0, cell=0, project="mine"), host="h")
    for cell in (0, 1):
        world.add(Made(1 + cell, cell=cell, project="other"), host="h")
    world.down(1)
    page = world.page(project_id="mine", filters={"host": "h"})
    assert (ids(page), page.unasked) == ([mine.id], ())


def test_a_marker_whose_place_only_a_down_cell_knows_is_refused_and_says_why(world):
    made = add(world, {}, {})
    world.down(1)
    with pytest.raises(CellDown, match="is only known there") as told:
        world.page(marker=made[1], sort_keys=("host",))
    assert told.value.cell == "cell2"
    assert world.ids(marker=made[0], sort_keys=("created_at",), sort_dirs=("asc",)) == []


def test_a_marker_deleted_meanwhile_keeps_its_place(world):
    made = add(world, {}, {}, {})
    with world.databases[1].writer() as conn:
        conn.execute(instances.update().values(deleted=instances.c.id))
    assert world.ids(marker=made[1], sort_keys=("created_at",)) == [made[0]]


def test_servers_not_shown_by_default_are_not_in_merged_lists(world):
    for number, row in enumerate(("deleted", "soft", "hidden", "missing", "alive")):
        world.add(Made(number, row=row))
    assert world.ids(sort_keys=("host",)) == [Made(4).id]
    assert world.ids(deleted=True) == [Made(1).id, Made(0).id]
    assert world.ids(deleted=False, sort_keys=("host",)) == [Made(4).id]
    assert world.ids(filters={"status": "SOFT_DELETED"}) == [Made(1).id]


def test_changes_show_deleted_servers_too(world):
    old, young = {"updated_at": moment(0)}, {"updated_at": moment(10)}
    world.add_all([(Made(0), old), (Made(1), young), (Made(2, row="deleted"), young), (Made(3), {"updated_at": None})])
    assert world.ids(filters={"changes-since": moment(5)}) == [Made(2).id, Made(1).id]
    assert world.ids(filters={"changes-since": moment(5)}, deleted=False) == [Made(1).id]
    assert world.ids(filters={"changes-since": moment(5)}, deleted=True) == [Made(2).id]
    assert world.ids(filters={"changes-before": moment(0).isoformat() + "Z"}) == [Made(0).id]
    aware = moment(10).replace(tzinfo=dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=2)))
    assert world.ids(filters={"changes-since": aware.isoformat()}) == [Made(2).id, Made(1).id]


@pytest.mark.parametrize(
    ("columns", "hits", "misses"),
    [
        ({"vm_state": "error"}, [{"status": "error"}, {"status": ["ACTIVE", "ERROR"]}, {"vm_state": "error"}],
         [{"status": "ACTIVE"}, {"vm_state": ["active", "paused"]}]),
        ({"vm_state": "active", "task_state": "rebooting"},
         [{"status": "REBOOT"}, {"status": "ACTIVE"}, {"task_state": "rebooting"}],
         [{"status": "HARD_REBOOT"}, {"status": "RESIZE"}, {"task_state": "deleting"}]),
        ({"display_name": "Web-1"}, [{"name": "eb-"}, {"name": "^web"}, {"name": "b.1$"}, {"name": ""}],
         [{"name": "^eb"}, {"name": "web1"}]),
        ({"display_description": "my web"}, [{"description": "web"}], [{"description": "db"}]),
        ({"host": "h1"}, [{"host": "h1"}], [{"host": "h"}]),
        ({"image_ref": "i1"}, [{"image": "i1"}], [{"image": "i"}]),
        ({"availability_zone": "az1"}, [{"availability_zone": "az1"}], [{"availability_zone": "az2"}]),
        ({"user_id": "u1"}, [{"user_id": "u1"}], [{"user_id": "u2"}]),
        ({"key_name": "k1"}, [{"key_name": "k1"}], [{"key_name": "k2"}]),
        ({"hostname": "web"}, [{"hostname": "web"}], [{"hostname": "db"}]),
        ({"power_state": 4}, [{"power_state": "4"}, {"power_state": [1, 4]}], [{"power_state": 1}]),
        ({"reservation_id": "r-1"}, [{"reservation_id": "r-1"}], [{"reservation_id": "r-2"}]),
        ({"created_at": moment(7)}, [{"created_at": moment(7)}], [{"created_at": moment(8)}]),
        ({"locked": True}, [{"locked": "True"}, {"locked": 1}], [{"locked": False}]),
        ({"locked": None}, [{"locked": "false"}], [{"locked": True}]),
        ({"power_state": 1, "host": "h"}, [{"power_state": 1, "host": "h"}], [{"power_state": 1, "host": "x"}]),
    ],
)  # fmt: skip
def test_a_filter_finds_what_fits_and_nothing_else(world, columns, hits, misses):
    (one,) = add(world, columns)
    for hit in hits:
        assert world.ids(filters=hit) == [one], hit
    for miss in misses:
        assert world.ids(filters=miss) == [], miss


def test_servers_are_filtered_by_id(world):
    _, one = add(world, {}, {})
    assert world.ids(filters={"uuid": one}) == [one]


def test_servers_are_filtered_by_tags(world):
    both, one, none = add(world, {}, {}, {})
    for position, (server, tag) in enumerate([(both, "a"), (both, "b"), (one, "a")]):
        with world.databases[[0, 0, 1][position]].writer() as conn:
            conn.execute(tags.insert().values(resource_id=server, tag=tag))
    assert world.ids(filters={"tags": "a,b"}) == [both]
    assert world.ids(filters={"tags-any": ["a", "b"]}) == [one, both]
    assert world.ids(filters={"not-tags": "a,b"}) == [none, one]
    assert world.ids(filters={"not-tags-any": "a,b"}) == [none]


def test_a_flavor_is_named_by_its_id_and_an_unknown_one_finds_nothing(world):
    flavor = flavors.create(world.registry.database, FLAVOR)
    one, _ = add(world, {"instance_type_id": flavor.id}, {"instance_type_id": flavor.id + 1})
    assert world.ids(filters={"flavor": FLAVOR.flavorid}) == [one]
    assert world.ids(filters={"flavor": "nosuch"}) == []


def test_a_pattern_that_only_the_database_cannot_parse_takes_no_cell_down(world):
    add(world, {}, {}, {})
    if world.databases[0].dialect == "sqlite":
        assert len(world.ids(filters={"name": "(?u:vm)"})) == 3
    else:
        with pytest.raises(BadValue):
            world.page(filters={"name": "(?u:vm)"})
    assert world.page().unasked == ()


def test_pages_of_a_filtered_list_go_on_where_the_last_one_ended(world):
    made = add(world, *[{"host": f"h{number % 2}"} for number in range(9)])
    assert world.walk(limit=2, filters={"host": "h1"}) == [made[number] for number in (7, 5, 3, 1)]
    stream = world.listing.stream(Query(limit=2, filters={"host": "h1"}, marker=made[5]))
    assert [entry.uuid for entry in stream] == [made[3], made[1]]
