# SPDX-License-Identifier: Apache-2.0
"""Everything that the flows work with, assembled from a configuration in one place."""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from oslo_config import cfg

import imagebackends
from bfv import config, owner
from bfv.config import Timing
from bfv.decide import Rules
from bfv.errors import BadConfig
from bfv.journal import Intent, Journal
from bfv.rights import Rights
from bfv.waits import Waits
from cells.database import Database
from cells.errors import NotMapped
from cells.registry import Registry
from cells.types import CELL0_UUID, Cell
from imagebackends.backend import Backend
from imagebackends.glance import Images
from imagebackends.http import make_session
from imagebackends.types import Target


class CellDatabases:
    """The databases of the cells, each opened when it is first needed."""

    def __init__(self, conf: cfg.ConfigOpts, registry: Registry) -> None:
        self._conf, self._registry = conf, registry
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], Database] = {}

    def of(self, cell: Cell) -> Database:
        """Return the database of a cell."""
        key = (cell.uuid, cell.database_connection)
        with self._lock:
            if key not in self._open:
                self._open[key] = open_database(self._conf, cell.name, cell.database_connection)
            return self._open[key]

    def named(self, name: str) -> Database:
        """Return the database of a cell by its name. Raises BadConfig for one without a mapping."""
        try:
            return self.of(self._registry.cell(name))
        except NotMapped as error:
            raise BadConfig(f"Cell {name} has no cell mapping; make it with `bfv cell create`.") from error

    def cell0(self) -> Database:
        """Return the graveyard of servers that never had a cell."""
        return self.named(CELL0_UUID)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for database in self._open.values():
                database.close()
            self._open.clear()


@dataclass(frozen=True)
class Parts:
    """What a flow may use. One for each process; all of it is safe for many threads."""

    conf: cfg.ConfigOpts
    api: Database
    registry: Registry
    cells: CellDatabases
    journal: Journal
    rights: Rights
    backend: Backend
    images: Images
    waits: Waits
    rules: Rules
    targets: Sequence[Target]
    timing: Timing
    # Sweeps that flows of this process have left, to be run when they are done.
    left: "queue.SimpleQueue[Intent]" = field(default_factory=queue.SimpleQueue)

    def target(self, cell: str, tier: str) -> Target:
        """Return where disks of a cell and tier go. Raises BadConfig when it is configured no more."""
        for target in self.targets:
            if (target.cell, target.tier) == (cell, tier):
                return target
        raise BadConfig(f"Tier {tier} of cell {cell} is not configured any more.")

    def close(self) -> None:
        """Close all connections."""
        self.cells.close()
        self.api.close()
        self.journal.database.close()


def open_database(conf: cfg.ConfigOpts, name: str, url: str) -> Database:
    """Return a database with the configured time-outs; nothing is connected yet."""
    return Database(
        name,
        url,
        connect_timeout=conf.database.connect_timeout,
        statement_timeout=conf.database.statement_timeout,
        pool_size=conf.database.pool_size,
    )


def assemble(conf: cfg.ConfigOpts) -> Parts:
    """Build the parts from a configuration; nothing is connected yet. Raises BadConfig."""
    api_url = config.required(conf, "database", "api_connection")
    api = open_database(conf, "api", api_url)
    registry = Registry(api, base_url=api_url)
    own = open_database(conf, "journal", config.required(conf, "database", "connection"))
    settings, timing = config.storage(conf), config.timing(conf)
    session = make_session(settings)
    backend = imagebackends.load("cinder", settings, session)
    return Parts(
        conf=conf,
        api=api,
        registry=registry,
        cells=CellDatabases(conf, registry),
        journal=Journal(own, owner.this_process(), conf.engine.lease),
        rights=Rights(conf, session),
        backend=backend,
        images=Images(settings, session),
        waits=Waits(backend, timing.poll, timing.poll_max, timing.clock_skew),
        rules=config.rules(conf),
        targets=config.targets(conf),
        timing=timing,
    )
