# SPDX-License-Identifier: Apache-2.0
"""Report the hosts of a driver, as each nova-compute does for itself: who does not report counts as down.

One thread asks the driver and all cells at once, so that a cell that hangs delays no other's hosts. Reports go
to the cells' databases alone. The API database is needed once for each host, to map it to its cell, and to find a
cell; while it is away what was read before is used, and a host that could not be mapped is mapped later.
"""

import logging
from collections.abc import Sequence

from bfv.drivers.contract import Driver
from bfv.engine import Heartbeat
from cells import hosts
from cells.database import Database
from cells.errors import BadValue, CellDown, CellsError, Exists
from cells.pool import Cells
from cells.registry import Registry
from cells.types import Cell, Down, Host

LOG = logging.getLogger(__name__)


class Agent:
    """Reports every ``interval`` seconds, from ``start`` until ``stop``."""

    def __init__(self, driver: Driver, registry: Registry, pool: Cells, interval: float) -> None:
        self._driver, self._registry, self._pool = driver, registry, pool
        self._cells: dict[str, Cell] = {}
        self._stale = True
        self._mapped: set[str] = set()
        self._heart = Heartbeat(self.beat, interval)

    def start(self) -> None:
        """Report once now, so that the hosts are there for the first boot, and then again and again."""
        try:
            self.beat()
        except CellsError as error:
            # The next report may pass; a cloud opens without hosts rather than not at all.
            LOG.warning("hosts are not reported yet: %s", error)
        self._heart.start()

    def stop(self) -> None:
        """Report no more; the hosts count as down after ``service_down_time``."""
        self._heart.stop()

    def beat(self) -> None:
        """Ask the driver for its hosts and report each in its cell; what a cell cannot take is told and left out."""
        told: dict[str, list[Host]] = {}
        for host in self._driver.hosts():
            told.setdefault(host.cell, []).append(host)
        self._find(told)
        known = [self._cells[name] for name in told if name in self._cells]
        answers = self._pool.gather(known, lambda cell, database: _report(database, told[cell.name]))
        for answer in answers.values():
            if isinstance(answer, Down):
                self._stale = True
                LOG.warning("hosts of cell %s are not reported: %s", answer.cell.name, answer.reason)
        for cell in known:
            self._map(cell, told[cell.name])

    def _find(self, names: dict[str, list[Host]]) -> None:
        """Read the cells again if one is not known, or did not answer: its address may be another now."""
        if not self._stale and names.keys() <= self._cells.keys():
            return
        try:
            self._cells = {cell.name: cell for cell in self._registry.cells() if not cell.is_cell0}
            self._stale = False
        except CellDown as error:
            LOG.warning("cells are used as they were: %s", error)
        for name in names.keys() - self._cells.keys():
            LOG.warning("hosts of cell %s are not reported: it has no cell mapping", name)

    def _map(self, cell: Cell, told: Sequence[Host]) -> None:
        for host in told:
            if host.host in self._mapped:
                continue
            try:
                hosts.map_host(self._registry.database, host.host, cell)
                self._mapped.add(host.host)
            except CellDown as error:
                LOG.warning("host %s is not mapped to cell %s yet: %s", host.host, cell.name, error)
                return
            except (Exists, BadValue) as error:
                LOG.error("host %s of cell %s is not mapped: %s", host.host, cell.name, error)


def _report(database: Database, told: Sequence[Host]) -> None:
    strange = hosts.report(database, told)
    for host in strange:
        hosts.register(database, host)
    hosts.report(database, strange)
