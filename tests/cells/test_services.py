# SPDX-License-Identifier: Apache-2.0
"""Services and nodes of a cell as operators see them, on tables that we made and on tables that nova makes."""

import pytest

from cells import Cell, Host, NotMapped, Registry, hosts, nodes, servers, services
from cells.types import Flavor, Server

ONE = Host(cell="cell1", host="h1", node="n1", vcpus=8, memory_mb=4096, memory_mb_used=96, local_gb=10,
           hypervisor_type="KVM")  # fmt: skip
TWO = Host(cell="cell1", host="h2", node="n2", vcpus=1, memory_mb=1, local_gb=1)


@pytest.fixture
def registered(cell):
    for host in (ONE, TWO):
        hosts.register(cell, host)
    hosts.report(cell, [ONE, TWO])
    return cell


def test_a_service_is_listed_and_changed(registered):
    first, second = services.list_services(registered)
    assert (first.host, first.binary, first.disabled, first.forced_down) == ("h1", "nova-compute", False, False)
    changed = services.update(registered, first.id, disabled=True, disabled_reason="disk", forced_down=True)
    assert (changed.disabled, changed.disabled_reason, changed.forced_down) == (True, "disk", True)
    assert services.list_services(registered) == [changed, second]
    with pytest.raises(NotMapped):
        services.update(registered, 99, disabled=True)


def test_nodes_are_listed_with_their_services(registered):
    (service, _), (node, other) = services.list_services(registered), nodes.list_nodes(registered)
    assert (node.node, node.host, node.hypervisor_type, node.service_uuid) == ("n1", "h1", "KVM", service.uuid)
    assert (node.capacity["vcpus"], node.capacity["free_ram_mb"]) == (8, 4000)
    assert len({node.uuid, other.uuid, service.uuid}) == 3
    assert hosts.is_up(node, node.seen_at, 60)


def test_servers_are_found_by_their_hosts(registered):
    flavor = Flavor(1, "f", "f", 1, 1, 1)
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    for key, host in zip(ids, ("h1", "h2", None), strict=True):
        servers.insert(registered, Server(key, "p", "u", f"name-{host}", "active", flavor, host=host))
    assert nodes.servers_on(registered, ["h1", "h9"]) == {"h1": [(ids[0], "name-h1")]}


def test_mapped_hosts_have_their_cells_uuid(api):
    cell = Registry(api).add_cell("cell1", "sqlite:////cells/cell1.db")
    assert isinstance(cell, Cell)
    for host in ("b", "a"):
        hosts.map_host(api, host, cell)
    assert services.mapped_hosts(api) == [("b", cell.uuid), ("a", cell.uuid)]
