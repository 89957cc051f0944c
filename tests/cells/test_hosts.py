# SPDX-License-Identifier: Apache-2.0
"""Hosts of a cell as a nova-compute writes them of itself, on tables that we made and on tables that nova makes."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cells import Exists, Host, NotMapped, Registry, hosts
from cells.database import utcnow
from cells.schema_api import host_mappings
from cells.schema_place import compute_nodes, services

ONE = Host(cell="cell1", host="host1", node="node1", vcpus=8, vcpus_used=1, memory_mb=4096, memory_mb_used=512,
           local_gb=100, local_gb_used=10, running_vms=1, cpu_allocation_ratio=8.0, hypervisor_type="KVM")  # fmt: skip
TWO = replace(ONE, host="host2", node="node2")
LONG_AGO = dt.datetime(2026, 1, 1)


@pytest.fixture
def registered(cell):
    for host in (ONE, TWO):
        hosts.register(cell, host)
    return cell


def rows(db, table):
    with db.reader() as conn:
        return [dict(row._mapping) for row in conn.execute(sa.select(table).order_by(table.c.id))]


def write(db, statement):
    with db.writer() as conn:
        conn.execute(statement)


def without_times(host):
    return replace(host, seen_at=None)


def test_a_host_is_listed_as_it_was_registered_and_its_service_is_a_compute_service(registered):
    assert [without_times(host) for host in hosts.list(registered, "cell1")] == [ONE, TWO]
    service, _ = rows(registered, services)
    assert (service["binary"], service["topic"], service["report_count"]) == ("nova-compute", "compute", 0)
    assert (service["version"], service["deleted"]) == (hosts.SERVICE_VERSION, 0)
    node, other = rows(registered, compute_nodes)
    assert len({service["uuid"], node["uuid"], other["uuid"]}) == 3
    assert (node["free_ram_mb"], node["free_disk_gb"], node["mapped"]) == (4096 - 512, 90, 0)


def test_registering_again_changes_nothing(registered):
    hosts.set_disabled(registered, "host1", "disk is failing")
    before = [rows(registered, table) for table in (services, compute_nodes)]

    hosts.register(registered, replace(ONE, vcpus=1))

    assert [rows(registered, table) for table in (services, compute_nodes)] == before


def test_many_register_one_host_at_once_and_it_is_there_once(cell):
    start = threading.Barrier(4)

    def race(_):
        start.wait()
        hosts.register(cell, ONE)

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(race, range(4))]

    assert len(hosts.list(cell, "cell1")) == 1
    assert [len(rows(cell, table)) for table in (services, compute_nodes)] == [1, 1]


def test_a_report_counts_is_dated_and_brings_what_is_used(registered):
    write(registered, services.update().values(last_seen_up=LONG_AGO, updated_at=None))
    used = replace(ONE, vcpus_used=4, memory_mb=8192, memory_mb_used=1024, local_gb_used=50, running_vms=3)

    assert hosts.report(registered, [used]) == []
    assert hosts.report(registered, [used]) == []

    service, other = rows(registered, services)
    assert (service["report_count"], other["report_count"]) == (2, 0)
    assert utcnow() - service["last_seen_up"] < dt.timedelta(seconds=30)
    assert service["updated_at"] == service["last_seen_up"]
    assert other["last_seen_up"] == LONG_AGO
    node, untouched = rows(registered, compute_nodes)
    assert (node["free_ram_mb"], node["free_disk_gb"], node["disk_available_least"]) == (8192 - 1024, 50, 50)
    assert node["updated_at"] is not None
    assert untouched["updated_at"] is None
    assert [without_times(host) for host in hosts.list(registered, "cell1")] == [used, TWO]


def test_a_report_tells_who_is_not_registered_and_counts_the_others(registered):
    stranger, moved = replace(ONE, host="host3"), replace(TWO, node="node9")
    assert hosts.report(registered, []) == []
    assert hosts.report(registered, [ONE, stranger, moved]) == [stranger, moved]
    assert [service["report_count"] for service in rows(registered, services)] == [1, 1]


def test_many_hosts_report_in_one_go(cell):
    many = [replace(ONE, host=f"host{number:03}", node=f"node{number:03}") for number in range(hosts._BATCH + 5)]
    with cell.writer() as conn:
        conn.execute(services.insert(), [hosts._service_row(host) for host in many])
        conn.execute(compute_nodes.insert(), [hosts._node_row(host) for host in many])

    assert hosts.report(cell, many) == []

    assert {service["report_count"] for service in rows(cell, services)} == {1}


def test_a_report_lets_who_is_disabled_or_forced_down_be_so(registered):
    hosts.set_disabled(registered, "host1", "disk is failing")
    write(registered, services.update().where(services.c.host == "host2").values(forced_down=True))

    hosts.report(registered, [ONE, TWO])

    one, two = hosts.list(registered, "cell1")
    assert (one.disabled, one.disabled_reason, one.forced_down) == (True, "disk is failing", False)
    assert (two.disabled, two.disabled_reason, two.forced_down) == (False, None, True)
    hosts.set_disabled(registered, "host1", None)
    assert hosts.list(registered, "cell1")[0].disabled is False
    with pytest.raises(NotMapped, match="host9"):
        hosts.set_disabled(registered, "host9", "gone")


def test_a_deleted_host_is_not_listed_and_may_come_back(registered):
    for table in (services, compute_nodes):
        write(registered, table.update().where(table.c.host == "host1").values(deleted=table.c.id))
    assert [host.host for host in hosts.list(registered, "cell1")] == ["host2"]
    assert hosts.report(registered, [ONE]) == [ONE]

    hosts.register(registered, ONE)

    assert [host.host for host in hosts.list(registered, "cell1")] == ["host1", "host2"]
    assert hosts.report(registered, [ONE]) == []
    assert [service["report_count"] for service in rows(registered, services)] == [0, 0, 1]


def test_a_server_that_a_host_got_is_counted_until_the_next_report_tells(registered):
    hosts.take(registered, "host1", "node1", vcpus=2, memory_mb=1024, local_gb=5)

    one, two = hosts.list(registered, "cell1")
    assert (one.vcpus_used, one.memory_mb_used, one.local_gb_used, one.running_vms) == (3, 1536, 15, 2)
    assert without_times(two) == TWO
    assert rows(registered, compute_nodes)[0]["free_ram_mb"] == 4096 - 1536
    hosts.report(registered, [ONE])
    assert without_times(hosts.list(registered, "cell1")[0]) == ONE


NOW = dt.datetime(2026, 11, 25, 12, 0, 0)


@pytest.mark.parametrize(
    ("seconds", "forced_down", "up"),
    [(0, False, True), (60, False, True), (61, False, False), (-60, False, True), (-61, False, False),
     (0, True, False), (None, False, False)],
)  # fmt: skip
def test_a_host_is_up_while_it_reports_and_nobody_says_that_it_is_down(seconds, forced_down, up):
    seen_at = None if seconds is None else NOW - dt.timedelta(seconds=seconds)
    assert hosts.is_up(replace(ONE, seen_at=seen_at, forced_down=forced_down), NOW, 60) is up


def test_a_host_that_never_reported_is_as_old_as_its_service(registered):
    write(registered, services.update().where(services.c.host == "host1").values(created_at=LONG_AGO))
    one, two = hosts.list(registered, "cell1")
    assert one.seen_at == LONG_AGO
    assert (hosts.is_up(one, utcnow(), 60), hosts.is_up(two, utcnow(), 60)) == (False, True)


def test_a_host_is_in_one_cell(api):
    registry = Registry(api)
    first, second = (registry.add_cell(name, "sqlite:////nowhere.db") for name in ("cell1", "cell2"))
    for _ in range(2):
        hosts.map_host(api, "host1", first)
    hosts.map_host(api, "host2", second)

    assert [(row["host"], row["cell_id"]) for row in rows(api, host_mappings)] == [
        ("host1", first.id), ("host2", second.id)]  # fmt: skip
    with pytest.raises(Exists, match="host1 is mapped to cell cell1"):
        hosts.map_host(api, "host1", second)


def test_many_map_one_host_at_once_and_it_is_mapped_once(api):
    found = Registry(api).add_cell("cell1", "sqlite:////nowhere.db")
    start = threading.Barrier(4)

    def race(_):
        start.wait()
        hosts.map_host(api, "host1", found)

    with ThreadPoolExecutor(4) as pool:
        [*pool.map(race, range(4))]

    assert len(rows(api, host_mappings)) == 1
