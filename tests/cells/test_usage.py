# SPDX-License-Identifier: Apache-2.0
"""What projects have, on tables that we made and on tables that nova makes."""

import dataclasses
import uuid

import pytest

from cells import Flavor, Registry, Server, encode, servers, usage
from cells.schema_api import instance_mappings, request_specs
from cells.usage import Usage

FLAVOR = Flavor(1, "m1", "m1", vcpus=2, memory_mb=512, root_gb=1)


def add(cell, project="p", user="u", **columns):
    server = Server(str(uuid.uuid4()), project, user, "vm", "active", FLAVOR)
    servers.insert(cell, server)
    if columns:
        servers.update(cell, server.uuid, **columns)
    return server.uuid


def test_a_projects_servers_are_summed_for_a_user_and_for_the_others(cell):
    add(cell)
    add(cell)
    add(cell, user="v")
    add(cell, project="q")

    assert usage.in_cell(cell, "p", "u") == {"u": Usage(2, 4, 1024), "": Usage(1, 2, 512)}
    assert usage.in_cell(cell, "p", "v") == {"v": Usage(1, 2, 512), "": Usage(2, 4, 1024)}
    assert usage.in_cell(cell, "p", "w") == usage.in_cell(cell, "p", "") == {"": Usage(3, 6, 1536)}
    assert usage.in_cell(cell, "nobody", "u") == {}


@pytest.mark.parametrize(
    ("columns", "counted"),
    [
        ({"vm_state": "error"}, 1),
        ({"vm_state": None}, 1),
        ({"vm_state": "shelved_offloaded"}, 1),
        ({"task_state": "deleting"}, 1),
        ({"vm_state": "soft-delete"}, 0),
        ({"hidden": True}, 0),
        ({"hidden": None}, 1),
    ],
)
def test_servers_count_as_nova_counts_them(cell, columns, counted):
    add(cell, **columns)

    assert usage.total(usage.in_cell(cell, "p", "u").values()).instances == counted


def test_deleted_servers_and_those_that_are_counted_elsewhere_do_not_count(cell):
    gone, elsewhere, here = (add(cell) for _ in range(3))
    servers.destroy(cell, gone)

    assert usage.in_cell(cell, "p", "u", [elsewhere]) == {"u": Usage(1, 2, 512)}
    assert usage.in_cell(cell, "p", "u", [elsewhere, here]) == {}


def test_columns_and_not_the_flavor_are_summed(cell):
    add(cell, vcpus=7, memory_mb=None)

    assert usage.in_cell(cell, "p", "u") == {"u": Usage(1, 7, 0)}


@pytest.fixture
def registry(api):
    return Registry(api)


def asked(registry, cell=None, project="p", user="u", flavor=FLAVOR):
    server_id = str(uuid.uuid4())
    spec = encode.request_spec(
        server_id=server_id, project_id=project, user_id=user, flavor=flavor, image=None, is_bfv=True
    )
    registry.map_server(server_id, project, user, spec)
    if cell:
        registry.assign(server_id, cell)
    return server_id


def test_of_a_cell_that_is_down_the_requests_are_summed(api, registry):
    one, other = (registry.add_cell(name, f"sqlite:////{name}.db") for name in ("cell1", "cell2"))
    asked(registry, one)
    asked(registry, one, user="v", flavor=dataclasses.replace(FLAVOR, vcpus=5, memory_mb=1))
    pending = asked(registry, one)
    deleted = asked(registry, one)
    registry.queue_for_delete(deleted)
    lost = asked(registry, one, user="w")
    with api.writer() as conn:
        conn.execute(request_specs.delete().where(request_specs.c.instance_uuid == lost))
    asked(registry, other)
    asked(registry, one, project="q")
    asked(registry)

    found = usage.asked_for(api, "p", one.id, [pending])

    assert found == {"u": Usage(1, 2, 512), "v": Usage(1, 5, 1), "w": Usage(1, 0, 0)}
    assert usage.asked_for(api, "p", one.id, [pending], [deleted])["u"] == Usage(2, 4, 1024)


def test_the_cells_of_a_project_are_those_of_its_mappings(api, registry):
    one, other, third = (registry.add_cell(name, f"sqlite:////{name}.db") for name in ("cell1", "cell2", "cell3"))
    asked(registry, one)
    registry.queue_for_delete(asked(registry, one))
    registry.queue_for_delete(asked(registry, other))
    asked(registry, third, project="q")
    asked(registry)

    assert usage.cells_of(api.rows, "p", [one, other, third]) == [one, other]
    assert usage.cells_of(api.rows, "nobody", [one, other, third]) == []


@pytest.mark.parametrize(("number", "all_of_them"), [(usage._FEW - 1, False), (usage._FEW, False), (241, True)])
def test_of_a_project_with_many_servers_all_cells_are_asked(api, registry, number, all_of_them):
    cells = [
        registry.add_cell(name, f"sqlite:////{name}.db")
        for name in ("cell0", "cell1", "cell2", "cell3", "cell4", "cell5")
    ]
    rows = [
        {"instance_uuid": str(uuid.UUID(int=each)), "project_id": "p", "cell_id": cells[each % 2].id}
        for each in range(number)
    ]
    with api.writer() as conn:
        conn.execute(instance_mappings.insert(), rows)
    assert usage.cells_of(api.rows, "p", cells) == (cells if all_of_them else cells[:2])
