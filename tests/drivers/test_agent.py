# SPDX-License-Identifier: Apache-2.0
"""The agent reports a driver's hosts in their cells, whatever is down elsewhere, and silence is noticed."""

import datetime as dt
import threading

import pytest

from bfv.drivers.agent import Agent
from cells import Registry, aggregates, hosts
from cells.create import create_api, create_cell
from cells.database import Database, utcnow
from cells.pool import Cells
from cells.schema_place import services
from tests import sites
from tests.drivers.conftest import new_guest

NAMES = ("cell1", "cell2")


class Places:
    """An API database, two cells, and a pool that asks them; each can be taken away and given back."""

    def __init__(self, home):
        self.home = home
        self.api = Database("api", self.url("api"))
        create_api(self.api)
        self.registry = Registry(self.api)
        self.cells = {}
        for name in NAMES:
            create_cell(self.database(self.registry.add_cell(name, self.url(name))))
        self.pool = Cells(self.database, cell_timeout=60)

    def url(self, name):
        return f"sqlite:///{self.home}/{name}.db"

    def database(self, cell):
        found = self.cells.get(cell.name)
        if found is None or found.safe_url() != cell.database_connection:
            self.cells[cell.name] = Database(cell.name, cell.database_connection)
        return self.cells[cell.name]

    def take(self, name):
        # Its last connection takes the write-ahead log into the file.
        (self.api if name == "api" else self.cells[name]).close()
        path = self.home / f"{name}.db"
        path.rename(self.home / f"{name}.away")
        path.mkdir()

    def give(self, name):
        (self.home / f"{name}.db").rmdir()
        (self.home / f"{name}.away").rename(self.home / f"{name}.db")

    def reports(self, name):
        """Return how often each host of a cell has reported."""
        with self.cells[name].reader() as conn:
            return dict(
                conn.execute(services.select().with_only_columns(services.c.host, services.c.report_count)).all()
            )

    def mapped(self):
        return aggregates.host_cells(self.api)

    def close(self):
        self.pool.close()
        for database in (self.api, *self.cells.values()):
            database.close()


@pytest.fixture
def places(tmp_path):
    places = Places(tmp_path)
    yield places
    places.close()


@pytest.fixture
def agent(places, make):
    return Agent(make(hosts_per_cell=1), places.registry, places.pool, 0.05)


def test_hosts_are_registered_mapped_and_reported_with_what_they_use(places, make):
    driver = make(hosts_per_cell=1)
    agent, guest = Agent(driver, places.registry, places.pool, 60), new_guest()
    agent.beat()
    driver.plug("cell2-host1", guest)
    driver.spawn("cell2-host1", guest)
    agent.beat()

    assert places.mapped() == {"cell1-host1": "cell1", "cell2-host1": "cell2"}
    assert [places.reports(name) for name in NAMES] == [{"cell1-host1": 2}, {"cell2-host1": 2}]
    [host] = hosts.list(places.cells["cell2"], "cell2")
    assert (host.host, host.memory_mb_used, host.running_vms) == ("cell2-host1", 1024, 1)
    assert hosts.is_up(host, utcnow(), 60)


def test_it_reports_again_and_again_and_is_silent_after_its_end(places, agent):
    agent.start()
    assert places.reports("cell1")["cell1-host1"] >= 1
    sites.until(lambda: places.reports("cell1")["cell1-host1"] >= 3)
    agent.stop()
    [host] = hosts.list(places.cells["cell1"], "cell1")
    sites.until(lambda: "bfv-heartbeat" not in [thread.name for thread in threading.enumerate()])
    assert hosts.is_up(host, host.seen_at + dt.timedelta(seconds=60), 60)
    assert not hosts.is_up(host, host.seen_at + dt.timedelta(seconds=61), 60)


def test_without_the_api_database_hosts_that_were_found_are_reported_and_nobody_asks_for_it(places, agent, caplog):
    agent.beat()
    places.take("api")
    agent.beat()
    assert caplog.text == ""
    assert [places.reports(name) for name in NAMES] == [{"cell1-host1": 2}, {"cell2-host1": 2}]


def test_hosts_that_could_not_be_mapped_are_mapped_later(places, agent, caplog):
    places.take("api")
    agent.start()
    agent.stop()
    assert "used as they were" in caplog.text
    places.give("api")
    agent.beat()
    assert places.mapped() == {"cell1-host1": "cell1", "cell2-host1": "cell2"}


def test_a_cell_that_is_down_holds_up_no_other_and_is_reported_again_when_it_is_back(places, agent, caplog):
    agent.beat()
    places.take("cell1")
    agent.beat()
    assert places.reports("cell2") == {"cell2-host1": 2}
    assert "hosts of cell cell1 are not reported" in caplog.text
    places.give("cell1")
    agent.beat()
    assert places.reports("cell1") == {"cell1-host1": 2}


def test_a_cell_that_has_moved_gets_reports_where_it_is(places, agent):
    agent.beat()
    places.take("cell1")
    agent.beat()
    (places.home / "cell1.away").rename(places.home / "moved.db")
    places.registry.update_cell("cell1", database_connection=places.url("moved"))
    agent.beat()
    assert places.reports("cell1") == {"cell1-host1": 2}


def test_a_host_of_another_cell_and_a_cell_without_a_mapping_are_told_and_the_rest_is_reported(places, make, caplog):
    hosts.map_host(places.api, "cell1-host1", places.registry.cell("cell2"))
    agent = Agent(make(cells="cell1,cell2,cell3", hosts_per_cell=1), places.registry, places.pool, 60)
    agent.beat()
    assert "cell1-host1 is mapped to cell cell2" in caplog.text
    assert "cell cell3 are not reported: it has no cell mapping" in caplog.text
    assert places.reports("cell2") == {"cell2-host1": 1}
