# SPDX-License-Identifier: Apache-2.0
"""Cells and mappings, on tables that we made and on tables that nova makes."""

import threading
from contextlib import suppress

import pytest
import sqlalchemy as sa

from cells import CELL0_UUID, BadCell, Exists, Flavor, NotEmpty, NotMapped, Registry, encode
from cells.schema_api import cell_mappings, host_mappings, instance_mappings

URL = "sqlite:////cells/{}.db"
SPEC = encode.request_spec(server_id="s", project_id="p", user_id="u", flavor=Flavor(1, "f", "f", 1, 1, 1),
                           image=None, is_bfv=True)  # fmt: skip


@pytest.fixture
def registry(api) -> Registry:
    return Registry(api)


@pytest.fixture
def cell1(registry):
    return registry.add_cell("cell1", URL.format("cell1"))


def mapped(registry, server_id, project_id="p", cell=None, queued: object = False):
    registry.map_server(server_id, project_id, "u", SPEC)
    if cell:
        registry.assign(server_id, cell)
    with registry.database.writer() as conn:
        row = instance_mappings.c.instance_uuid == server_id
        conn.execute(instance_mappings.update().where(row).values(queued_for_delete=queued))


def ids(mappings):
    return [mapping.server_id for mapping in mappings]


# Cells


def test_cells_are_told_in_the_order_of_their_making(registry):
    made = [registry.add_cell(name, URL.format(name)) for name in ("b", "a")]
    assert registry.cells() == made
    assert [(cell.name, cell.disabled, cell.is_cell0) for cell in made] == [("b", False, False), ("a", False, False)]


def test_a_cell_is_found_by_name_and_by_uuid_exactly(registry, cell1):
    assert registry.cell("cell1") == registry.cell(cell1.uuid) == cell1
    for other in ("CELL1", "cell", ""):
        with pytest.raises(NotMapped):
            registry.cell(other)


def test_cell0_is_told_by_its_uuid(registry):
    with pytest.raises(NotMapped):
        registry.cell0()
    made = registry.add_cell("cell0", URL.format("cell0"), uuid=CELL0_UUID)
    assert registry.cell0() == made
    assert made.is_cell0


def test_a_name_or_uuid_that_is_taken_is_refused(registry, cell1):
    for name, uuid in (("cell1", None), (cell1.uuid, None), ("cell2", cell1.uuid)):
        with pytest.raises(Exists):
            registry.add_cell(name, URL.format("x"), uuid=uuid)
    assert registry.cells() == [cell1]


def test_of_racing_cells_of_one_name_one_is_made(registry):
    rounds, start = 10, threading.Barrier(4)
    outcomes: list[str] = []

    def add():
        for number in range(rounds):
            start.wait()
            with suppress(Exists):
                outcomes.append(registry.add_cell(f"cell{number}", URL.format("x")).name)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == sorted(cell.name for cell in registry.cells()) == [f"cell{n}" for n in range(rounds)]


def test_a_backup_url_is_refused(registry):
    with pytest.raises(BadCell, match="high availability"):
        registry.add_cell("cell1", "mysql+pymysql://u:p@one,two/nova")
    assert registry.cells() == []


def test_the_url_of_a_cell_is_not_in_its_repr(registry, cell1):
    assert cell1.database_connection == URL.format("cell1")
    assert "sqlite" not in repr(cell1)


def test_a_cell_is_changed_where_something_is_given(registry, cell1):
    assert registry.update_cell("cell1", disabled=True).disabled
    changed = registry.update_cell(cell1.uuid, name="new", database_connection=URL.format("new"), disabled=False)
    assert (changed.name, changed.database_connection, changed.disabled) == ("new", URL.format("new"), False)
    with registry.database.reader() as conn:
        assert conn.execute(sa.select(cell_mappings.c.transport_url)).scalar() == "none:///"


def test_a_change_to_a_taken_name_or_a_backup_url_is_refused(registry, cell1):
    registry.add_cell("cell2", URL.format("x"))
    with pytest.raises(Exists):
        registry.update_cell("cell2", name="cell1")
    with pytest.raises(BadCell):
        registry.update_cell("cell1", database_connection="mysql+pymysql://u:p@one,two/nova")
    with pytest.raises(NotMapped):
        registry.update_cell("cell3", disabled=True)
    assert registry.update_cell("cell1", name="cell1") == cell1


def test_a_cell_with_servers_or_hosts_is_kept(registry, cell1):
    mapped(registry, "s1", cell=cell1, queued=True)
    with pytest.raises(NotEmpty, match="cell1"):
        registry.delete_cell("cell1")
    registry.unmap("s1")
    with registry.database.writer() as conn:
        conn.execute(host_mappings.insert().values(cell_id=cell1.id, host="h"))
    with pytest.raises(NotEmpty, match="cell1"):
        registry.delete_cell("cell1")
    with registry.database.writer() as conn:
        conn.execute(host_mappings.delete())
    registry.delete_cell("cell1")
    with pytest.raises(NotMapped):
        registry.delete_cell("cell1")


def test_rows_of_an_old_nova_are_read(registry):
    with registry.database.writer() as conn:
        conn.execute(cell_mappings.insert().values(uuid="u1", name=None, disabled=None, database_connection=None))
        conn.execute(cell_mappings.insert().values(uuid="u2", name="twice"))
        conn.execute(cell_mappings.insert().values(uuid="u3", name="twice"))
    assert [(cell.name, cell.disabled) for cell in registry.cells()] == [
        ("u1", False),
        ("twice", False),
        ("twice", False),
    ]
    with pytest.raises(BadCell, match="use a uuid"):
        registry.cell("twice")


BASE = "mysql+pymysql://nova:p%40ss@db.example:3307/nova_api?charset=utf8#frag"


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{scheme}://{username}:{password}@{hostname}:{port}/nova_cell1?{query}",
         "mysql+pymysql://nova:p%40ss@db.example:3307/nova_cell1?charset=utf8"),
        ("{scheme}://{username}:{password}@other/{path}_cell2", "mysql+pymysql://nova:p%40ss@other/nova_api_cell2"),
        ("mysql+pymysql://u:p@h/nova", "mysql+pymysql://u:p@h/nova"),
        ("mysql+pymysql://u:p@h/{unknown}", "mysql+pymysql://u:p@h/{unknown}"),
    ],
)  # fmt: skip
def test_templates_are_filled_from_the_base_and_stored_as_they_are(template, filled, api):
    registry = Registry(api, BASE)
    with api.writer() as conn:
        conn.execute(cell_mappings.insert().values(uuid="u", name="cell1", database_connection=template))
    assert registry.cell("cell1").database_connection == filled
    assert Registry(api).cell("cell1").database_connection == template


def test_a_new_cell_may_be_a_template_only_with_a_base(api):
    template = "{scheme}://{username}:{password}@{hostname}/nova_cell1"
    with pytest.raises(BadCell, match="template"):
        Registry(api).add_cell("cell1", template)
    Registry(api, BASE).add_cell("cell1", template)
    with api.reader() as conn:
        assert conn.execute(sa.select(cell_mappings.c.database_connection)).scalar() == template


# Servers


def test_a_new_server_has_no_cell_and_its_request_spec(registry):
    registry.map_server("s1", "p", "u", SPEC)
    mapping = registry.mapping("s1")
    assert (mapping.project_id, mapping.user_id, mapping.cell, mapping.queued_for_delete) == ("p", "u", None, False)
    assert mapping.created_at is not None
    assert registry.request_spec("s1") == SPEC


def test_mapping_twice_is_refused_and_changes_nothing(registry):
    registry.map_server("s1", "p", "u", SPEC)
    with pytest.raises(Exists):
        registry.map_server("s1", "q", "u", {})
    assert registry.mapping("s1").project_id == "p"
    assert registry.request_spec("s1") == SPEC


def test_a_server_gets_its_cell_and_may_get_the_next_one(registry, cell1):
    registry.map_server("s1", "p", "u", SPEC)
    cell2 = registry.add_cell("cell2", URL.format("cell2"))
    for cell in (cell1, cell1, cell2):
        registry.assign("s1", cell)
        assert registry.mapping("s1").cell == cell


def test_a_request_spec_is_replaced(registry):
    registry.map_server("s1", "p", "u", SPEC)
    registry.update_request_spec("s1", {"new": "spec"})
    assert registry.request_spec("s1") == {"new": "spec"}


def test_what_is_not_mapped_is_told(registry, cell1):
    assert registry.find_mapping("s1") is None
    for call in (
        lambda: registry.mapping("s1"),
        lambda: registry.assign("s1", cell1),
        lambda: registry.queue_for_delete("s1"),
        lambda: registry.request_spec("s1"),
        lambda: registry.update_request_spec("s1", {}),
    ):
        with pytest.raises(NotMapped):
            call()


def test_unmapping_leaves_nothing_and_may_be_repeated(registry):
    registry.map_server("s1", "p", "u", SPEC)
    registry.map_server("s2", "p", "u", SPEC)
    for _ in range(2):
        registry.unmap("s1")
        assert registry.find_mapping("s1") is None
        with pytest.raises(NotMapped):
            registry.request_spec("s1")
    assert registry.request_spec("s2") == SPEC


def test_a_server_in_deletion_is_not_listed_but_found(registry):
    mapped(registry, "s1")
    for _ in range(2):
        registry.queue_for_delete("s1")
        assert registry.mappings("p") == []
        assert registry.mapping("s1").queued_for_delete is True


def test_servers_are_listed_youngest_first_in_pages(registry, cell1):
    for number, queued in enumerate([False, None, True, False, False]):
        mapped(registry, f"s{number}", cell=cell1 if number else None, queued=queued)
    mapped(registry, "other", project_id="q")
    assert ids(registry.mappings("p")) == ["s4", "s3", "s1", "s0"]
    assert ids(registry.mappings()) == ["other", "s4", "s3", "s1", "s0"]
    assert ids(registry.mappings("p", 2)) == ["s4", "s3"]
    assert ids(registry.mappings("p", 2, "s3")) == ["s1", "s0"]
    assert ids(registry.mappings("p", marker="s2")) == ["s1", "s0"]
    assert ids(registry.mappings("p", marker="s0")) == []
    assert [mapping.cell for mapping in registry.mappings("p", 1)] == [cell1]


@pytest.mark.parametrize("marker", ["unknown", "other"])
def test_a_marker_that_is_not_the_projects_is_refused(marker, registry):
    mapped(registry, "other", project_id="q")
    with pytest.raises(NotMapped):
        registry.mappings("p", marker=marker)


def test_servers_are_counted_by_cell(registry, cell1):
    cell2 = registry.add_cell("cell2", URL.format("cell2"))
    registry.add_cell("empty", URL.format("empty"))
    placed = [(cell1, False), (cell1, None), (cell1, True), (cell2, False), (None, False)]
    for number, (cell, queued) in enumerate(placed):
        mapped(registry, f"s{number}", cell=cell, queued=queued)
    mapped(registry, "other", project_id="q", cell=cell1)
    assert registry.servers_by_cell("p") == {"cell1": 2, "cell2": 1}
