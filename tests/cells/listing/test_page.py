# SPDX-License-Identifier: Apache-2.0
"""Pages in the order of acceptance, over cells that are up and cells that are down."""

import json

import pytest

from cells import NotMapped, servers
from cells.listing import BadQuery, Listing, Minimal, Query, Unplaced, list_servers, minimal, unplaced
from cells.schema_api import build_requests
from cells.schema_cell import instances
from tests.cells.listing.world import FLAVOR, Made, add_row, ids, kinds, moment


def make(world, count, **values):
    made = [Made(number, cell=number % 3, **values) for number in range(count)]
    world.add_all([(one, {}) for one in made])
    return made


def of(*made):
    return [one.id for one in made]


def test_a_page_has_the_youngest_servers_of_all_cells_in_order(world):
    made = make(world, 5)
    page = world.page(limit=3)
    assert ids(page) == of(*made[:1:-1])
    assert page.next_marker == made[2].id
    assert [entry.cell for entry in page.servers] == ["cell2", "cell1", "cell3"]
    last = world.page(limit=3, marker=page.next_marker)
    assert (ids(last), last.next_marker, last.unasked) == (of(made[1], made[0]), None, ())


def test_a_page_for_once_needs_no_listing(world):
    made = make(world, 3)
    assert ids(list_servers(world.registry, world.cells, Query())) == of(*reversed(made))


def test_a_project_sees_its_own(world):
    mine = world.add(Made(0, project="mine"))
    world.add(Made(1, project="other"))
    assert world.ids(project_id="mine") == [mine.id]
    assert world.ids(project_id="nobody") == []


def test_a_list_without_details_tells_names(world):
    made = world.add(Made(4))
    (entry,) = world.page(detail=False).servers
    assert (entry.uuid, entry.display_name, entry.created_at, entry.cell) == (made.id, "vm4", moment(4), "cell1")


def test_servers_of_a_down_cell_stand_where_they_belong(world):
    made = make(world, 6)
    world.down(1)
    page = world.page()
    assert ids(page) == of(*reversed(made))
    assert kinds(page) == "UDUUDU"
    (down,) = page.unasked
    assert down.cell.name == "cell2"
    assert page.servers[1] == Minimal(made[4].id, "p", "u", moment(4), "cell2", down.reason)


def test_a_marker_in_a_down_cell_and_a_deleted_one_are_good(world):
    made = make(world, 6)
    world.down(1)
    assert world.ids(marker=made[4].id) == of(*made[3::-1])
    servers.destroy(world.databases[0], made[3].id)
    world.registry.queue_for_delete(made[3].id)
    assert world.ids(marker=made[3].id) == of(*made[2::-1])


def test_a_marker_that_is_not_there_or_of_another_project_is_told(world):
    made = world.add(Made(0, project="other"))
    for query in ({"marker": "no-such"}, {"marker": made.id, "project_id": "p"}):
        for more in ({}, {"sort_keys": ("display_name",)}):
            with pytest.raises(NotMapped, match="Marker"):
                world.page(**query, **more)


def test_a_server_whose_delete_failed_or_is_under_way_is_shown_while_its_cell_is_up(world):
    plain, failed, done = world.add(Made(0)), world.add(Made(1, queued=True)), Made(2, queued=True, row="deleted")
    world.add(done)
    assert world.ids() == of(failed, plain)
    world.down(0)
    assert world.ids() == [plain.id]


def test_what_nova_does_not_show_is_not_shown(world):
    for number, row in enumerate(("deleted", "soft", "hidden", "missing")):
        world.add(Made(number, row=row))
        world.add(Made(number + 10, row=row, queued=True))
        world.add(Made(number + 20, row=row, queued=None))
    assert world.ids() == []


def test_a_mapping_that_nova_never_migrated_is_shown(world):
    made = world.add(Made(0, queued=None))
    assert world.ids() == [made.id]
    world.down(0)
    assert world.ids() == [made.id]


def test_a_page_is_filled_over_servers_that_are_gone(world):
    old = [world.add(Made(number)) for number in range(2)]
    for number in range(2, 12):
        world.add(Made(number, cell=number % 3, queued=number % 2 == 0, row="deleted"))
    young = world.add(Made(20))
    assert world.ids(limit=3) == of(young, *reversed(old))


def test_a_server_known_to_be_deleted_is_not_asked_for_again(world):
    made = world.add(Made(0, queued=True, row="deleted"))
    assert world.ids() == []
    with world.databases[0].writer() as conn:
        conn.execute(instances.update().values(deleted=0))
    assert world.ids() == []
    assert ids(Listing(world.registry, world.cells).page(Query())) == [made.id]


def test_a_server_that_came_back_from_a_soft_delete_is_shown_again(world):
    made = world.add(Made(0, queued=True, row="soft"))
    assert world.ids() == []
    with world.databases[0].writer() as conn:
        conn.execute(instances.update().values(vm_state="active"))
    assert world.ids() == [made.id]


def test_a_server_in_two_cells_is_read_from_the_one_it_is_mapped_to(world):
    made = world.add(Made(0, cell=1), display_name="moved")
    with world.databases[0].writer() as conn:
        add_row(conn, Made(0, cell=0), {"display_name": "twin"})
    (entry,) = world.page().servers
    assert (entry.uuid, entry.display_name, entry.cell) == (made.id, "moved", "cell2")


def test_a_server_without_a_cell_stands_where_it_belongs(world):
    first, waiting, third = world.add(Made(0)), world.add(Made(1, cell=None)), world.add(Made(2))
    world.add(Made(3, cell=None, queued=True))
    page = world.page()
    assert ids(page) == of(third, waiting, first)
    assert page.servers[1] == Unplaced(world.registry.mapping(waiting.id))
    assert unplaced(world.registry, "p") == [page.servers[1]]
    assert unplaced(world.registry, "other") == []


def test_a_server_that_nova_is_placing_is_told_by_its_build_request(world):
    made = world.add(Made(0, cell=None))
    instance = json.dumps({"nova_object.name": "Instance", "nova_object.data": {"display_name": "soon"}})
    with world.registry.database.writer() as conn:
        conn.execute(build_requests.insert().values(instance_uuid=made.id, project_id="p", instance=instance))
    assert world.page().servers[0].build_request == {"display_name": "soon"}


def test_a_stream_has_all_servers(world):
    made = make(world, 7)
    found = [entry.uuid for entry in world.listing.stream(Query(limit=2))]
    assert found == of(*reversed(made))
    after = [entry.uuid for entry in world.listing.stream(Query(limit=2, marker=made[3].id))]
    assert after == of(*made[2::-1])
    assert [entry.uuid for entry in world.listing.stream(Query(limit=1000))] == found


def test_a_query_that_cannot_be_is_refused(world):
    for query in ({"limit": 0}, {"limit": 1001}, {"sort_keys": ("nosuch",)}, {"sort_dirs": ("up",)},
                  {"sort_keys": ("host",), "sort_dirs": ("asc", "asc")}, {"filters": {"nosuch": 1}},
                  {"filters": {"status": "FOO"}}, {"filters": {"name": "("}}, {"filters": {"locked": "x"}},
                  {"filters": {"power_state": "on"}}, {"filters": {"changes-since": "noon"}}):  # fmt: skip
        with pytest.raises(BadQuery):
            world.page(**query)
    with pytest.raises(BadQuery, match="nosuch, but by access_ip_v4, "):
        Query(sort_keys=("nosuch",))


def test_a_server_mapped_ahead_of_its_row_is_shown_to_who_knows_that_it_is_built(world):
    made = world.add(Made(0, row="missing"))
    assert world.ids() == []
    (entry,) = world.listing.page(Query(), lambda: {made.id}).servers
    assert entry == Unplaced(world.registry.mapping(made.id))
    assert list(world.listing.stream(Query(), lambda: {made.id})) == [entry]
    world.registry.queue_for_delete(made.id)
    assert world.listing.page(Query(), lambda: {made.id}).servers == ()


def test_what_is_known_while_a_cell_is_down_comes_from_what_was_asked_for(world):
    image, volume = world.add(Made(0)), world.add(Made(1))
    world.add_spec(image, availability_zone="az1")
    world.add_spec(volume, is_bfv=True)
    known = minimal(world.registry, world.registry.mapping(image.id), "why")
    assert known == Minimal(image.id, "p", "u", moment(0), "cell1", "why", FLAVOR, "az1", "i")
    known = minimal(world.registry, world.registry.mapping(volume.id), "why")
    assert (known.image_ref, known.availability_zone) == ("", None)


def test_a_server_of_a_down_cell_without_a_spec_or_with_a_delete_accepted_is_not_told(world):
    bare, queued = world.add(Made(0)), world.add(Made(1, queued=True))
    world.add_spec(queued)
    for made in (bare, queued):
        with pytest.raises(NotMapped):
            minimal(world.registry, world.registry.mapping(made.id), "why")
