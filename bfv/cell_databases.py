# SPDX-License-Identifier: Apache-2.0
"""The cells' databases as a configuration describes them, found by name, also while the API database is away."""

import time

from oslo_config import cfg

from bfv.errors import BadConfig
from cells.breaker import Patience
from cells.database import Database
from cells.errors import CellDown, NotMapped
from cells.pool import Cells
from cells.registry import Registry
from cells.types import CELL0_UUID, Cell

# Seconds for which a cell's connection is used as it was read: who works for a cell must not need the API database.
KNOWN_FOR = 60.0


class CellDatabases(Cells):
    """The databases of the cells; what the registry tells of a cell is used for ``known_for`` seconds."""

    def __init__(self, conf: cfg.ConfigOpts, registry: Registry, known_for: float = KNOWN_FOR) -> None:
        options = conf.database
        super().__init__(
            lambda cell: open_database(conf, cell.name, cell.database_connection),
            options.cell_timeout,
            options.cell_threads,
            Patience(options.cell_failures, options.cell_slow, options.probe_interval, options.probe_interval_max),
        )
        self._registry, self._known_for = registry, known_for
        self._known: dict[str, tuple[Cell, float]] = {}

    def cell(self, name: str) -> Cell:
        """Return a cell by its name, as it was a short time ago. Raises BadConfig for one without a mapping.

        While the API database is away a cell that was read before is what it was then; CellDown for one that was not.
        """
        known, until = self._known.get(name, (None, 0.0))
        if known is None or time.monotonic() > until:
            try:
                known = self._registry.cell(name)
            except NotMapped as error:
                raise BadConfig(f"Cell {name} has no cell mapping; make it with `bfv cell create`.") from error
            except CellDown:
                if known is None:
                    raise
            self._known[name] = known, time.monotonic() + self._known_for
        return known

    def named(self, name: str) -> Database:
        """Return the database of a cell by its name. Raises what ``cell`` raises."""
        return self.of(self.cell(name))

    def cell0(self) -> Database:
        """Return the graveyard of servers that never had a cell."""
        return self.named(CELL0_UUID)


def open_database(conf: cfg.ConfigOpts, name: str, url: str, wait: float | None = None) -> Database:
    """Return a database with the configured time-outs; nothing is connected yet."""
    return Database(
        name,
        url,
        connect_timeout=conf.database.connect_timeout,
        statement_timeout=conf.database.statement_timeout,
        pool_size=conf.database.pool_size,
        sqlite_durable=conf.database.sqlite_durable,
        wait=wait,
    )
