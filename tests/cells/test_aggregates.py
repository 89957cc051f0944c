# SPDX-License-Identifier: Apache-2.0
"""Aggregates and the zones that they make, on tables that we made and on tables that nova makes."""

import threading

import pytest
import sqlalchemy as sa

from cells import Exists, NotEmpty, NotMapped, Registry, aggregates
from cells.schema_api import host_mappings
from cells.schema_place import aggregate_hosts, aggregate_metadata


@pytest.fixture
def hosts(api):
    """Maps three hosts to a cell."""
    cell = Registry(api).add_cell("cell1", "sqlite:////cells/cell1.db")
    with api.writer() as conn:
        conn.execute(host_mappings.insert(), [{"host": name, "cell_id": cell.id} for name in ("h1", "h2", "h3")])


def test_an_aggregate_is_written_and_read_back(api, hosts):
    made = aggregates.create(api, "rack1", "az1")
    with_host = aggregates.add_host(api, "rack1", "h1")

    assert (made.name, made.hosts, made.metadata) == ("rack1", (), {"availability_zone": "az1"})
    assert with_host.hosts == ("h1",)
    assert aggregates.list_aggregates(api) == [with_host]
    assert aggregates.add_host(api, "rack1", "h1") == with_host


def test_a_zone_is_the_value_of_an_aggregates_metadata(api, hosts):
    aggregates.create(api, "rack1", "az1")
    aggregates.create(api, "ssd")
    aggregates.add_host(api, "rack1", "h1")
    aggregates.add_host(api, "ssd", "h1")
    aggregates.add_host(api, "ssd", "h2")

    assert aggregates.zones(api) == {"h1": "az1"}
    assert aggregates.set_zone(api, "rack1", "az9").availability_zone == "az9"
    assert aggregates.zones(api) == {"h1": "az9"}
    assert aggregates.set_zone(api, "rack1", None).availability_zone is None
    assert aggregates.zones(api) == {}


def test_other_metadata_makes_no_zone(api, hosts):
    made = aggregates.create(api, "ssd")
    aggregates.add_host(api, "ssd", "h1")
    with api.writer() as conn:
        conn.execute(aggregate_metadata.insert().values(aggregate_id=made.id, key="ssd", value="true"))

    assert aggregates.zones(api) == {}
    assert aggregates.set_zone(api, "ssd", "az1").metadata == {"ssd": "true", "availability_zone": "az1"}


def test_a_host_is_in_one_zone_only(api, hosts):
    aggregates.create(api, "rack1", "az1")
    aggregates.create(api, "row1", "az1")
    aggregates.create(api, "rack2", "az2")
    aggregates.create(api, "later")
    for name in ("rack1", "row1", "later"):
        aggregates.add_host(api, name, "h1")

    with pytest.raises(Exists, match="h1 is in availability zone az1 already, by aggregate rack1"):
        aggregates.add_host(api, "rack2", "h1")
    with pytest.raises(Exists, match="one zone only"):
        aggregates.set_zone(api, "later", "az2")
    assert aggregates.zones(api) == {"h1": "az1"}
    assert aggregates.set_zone(api, "later", "az1").availability_zone == "az1"


def test_where_rows_put_a_host_in_two_zones_the_older_aggregate_counts(api, hosts):
    aggregates.create(api, "old", "az1")
    new = aggregates.create(api, "new", "az2")
    aggregates.add_host(api, "old", "h1")
    with api.writer() as conn:
        conn.execute(aggregate_hosts.insert().values(aggregate_id=new.id, host="h1"))

    assert aggregates.zones(api) == {"h1": "az1"}


def test_two_that_put_a_host_in_two_zones_at_once_cannot_both(api, hosts):
    for name in ("az1", "az2"):
        aggregates.create(api, name, name)
    outcomes = []

    def add(name):
        try:
            outcomes.append(aggregates.add_host(api, name, "h1").name)
        except Exists:
            outcomes.append(None)

    threads = [threading.Thread(target=add, args=(name,)) for name in ("az1", "az2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str)[0] is None
    assert len(set(outcomes)) == 2


def test_a_name_is_taken_once_and_is_found_exactly(api, hosts):
    aggregates.create(api, "rack1")
    with pytest.raises(Exists, match="rack1"):
        aggregates.create(api, "rack1", "az1")
    assert aggregates.list_aggregates(api)[0].availability_zone is None
    with pytest.raises(NotMapped, match="RACK1"):
        aggregates.add_host(api, "RACK1", "h1")


def test_a_host_that_no_cell_has_cannot_be_added(api, hosts):
    aggregates.create(api, "rack1")
    for wrong in ("h4", "H1"):
        with pytest.raises(NotMapped, match=wrong):
            aggregates.add_host(api, "rack1", wrong)


def test_a_host_leaves_and_an_aggregate_without_hosts_goes(api, hosts):
    aggregates.create(api, "rack1", "az1")
    aggregates.add_host(api, "rack1", "h1")
    with pytest.raises(NotEmpty, match="h1"):
        aggregates.delete(api, "rack1")

    assert aggregates.remove_host(api, "rack1", "h1").hosts == ()
    with pytest.raises(NotMapped, match="not in aggregate"):
        aggregates.remove_host(api, "rack1", "h1")
    aggregates.delete(api, "rack1")

    assert aggregates.list_aggregates(api) == []
    with api.reader() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(aggregate_metadata)).scalar() == 0


def test_a_hosts_cell_is_told_by_its_mapping(api, hosts):
    assert aggregates.host_cells(api) == {"h1": "cell1", "h2": "cell1", "h3": "cell1"}


def test_an_aggregate_is_renamed_and_its_metadata_written_over(api, hosts):
    aggregates.create(api, "rack1", "az1")
    aggregates.create(api, "rack2", "az2")
    aggregates.add_host(api, "rack1", "h1")
    aggregates.add_host(api, "rack2", "h2")
    changed = aggregates.update(api, "rack1", "rack9", {"ssd": "yes", "old": None})
    assert (changed.name, changed.metadata) == ("rack9", {"availability_zone": "az1", "ssd": "yes"})
    assert changed.updated_at >= changed.created_at
    assert aggregates.update(api, "rack9", None, {"ssd": None, "availability_zone": "az3"}).metadata == {
        "availability_zone": "az3"
    }
    for name, kind in (("rack2", Exists), ("none", NotMapped)):
        with pytest.raises(kind):
            aggregates.update(api, "rack9" if kind is Exists else name, name, {"x": "y"})
    aggregates.create(api, "both")
    for host in ("h1", "h2"):
        aggregates.add_host(api, "both", host)
    with pytest.raises(Exists, match="one zone only"):
        aggregates.update(api, "both", None, {"availability_zone": "az3"})
    assert aggregates.list_aggregates(api)[0].metadata == {"availability_zone": "az3"}
