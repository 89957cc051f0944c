# SPDX-License-Identifier: Apache-2.0
"""Everything that the flows work with, assembled from a configuration in one place."""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from oslo_config import cfg

import imagebackends
from bfv import config, drivers, owner
from bfv.cell_databases import CellDatabases, open_database
from bfv.clusters import Clusters
from bfv.config import Quota, Timing
from bfv.decide import Rules
from bfv.drivers import Driver
from bfv.errors import BadConfig
from bfv.fit import Placing
from bfv.hosts import Hosts
from bfv.journal import Intent, Journal
from bfv.nova import Nova
from bfv.placement import Placement
from bfv.rights import Rights
from bfv.storage_state import StorageState
from bfv.waits import Waits
from bfv.writable import Writable
from cells.database import Database
from cells.listing import Listing
from cells.pool import Cells
from cells.registry import Registry
from imagebackends.backend import Backend
from imagebackends.glance import Images
from imagebackends.http import make_session
from imagebackends.types import Target


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
    hosts: Hosts
    placing: Placing
    # Asks many cells at once: the same as ``cells``.
    pool: Cells
    listing: Listing
    writable: Writable
    quota: Quota
    clusters: Clusters
    nova: Nova
    placement: Placement
    # Runs the servers; None: they end as ready to connect.
    driver: Driver | None = None
    # Whose storage failed lately.
    storage: StorageState = field(default_factory=StorageState)
    # Sweeps that flows of this process have left, to be run when they are done.
    left: "queue.SimpleQueue[Intent]" = field(default_factory=queue.SimpleQueue)
    # Set when this process is about to end, and when it waits for no flow any more.
    closing: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)

    def target(self, cell: str, tier: str) -> Target:
        """Return where disks of a cell and tier go. Raises BadConfig when it is configured no more."""
        for target in self.targets:
            if (target.cell, target.tier) == (cell, tier):
                return target
        raise BadConfig(f"Tier {tier} of cell {cell} is not configured any more.")

    def close(self) -> None:
        """Close all connections."""
        self.clusters.close()
        self.cells.close()
        self.api.close()
        self.journal.database.close()


def assemble(conf: cfg.ConfigOpts) -> Parts:
    """Build the parts from a configuration; nothing is connected yet. Raises BadConfig."""
    api_url = config.required(conf, "database", "api_connection")
    api = open_database(conf, "api", api_url)
    registry = Registry(api, base_url=api_url)
    databases = CellDatabases(conf, registry)
    own = open_database(conf, "journal", config.required(conf, "database", "connection"))
    settings, timing = config.storage(conf), config.timing(conf)
    session = make_session(settings)
    backend = imagebackends.load("cinder", settings, session)
    return Parts(
        conf=conf,
        api=api,
        registry=registry,
        cells=databases,
        journal=Journal(own, owner.this_process(), conf.engine.lease),
        rights=Rights(conf, session),
        backend=backend,
        images=Images(settings, session),
        waits=Waits(backend, timing.poll, timing.poll_max, timing.clock_skew),
        rules=config.rules(conf),
        targets=config.targets(conf),
        timing=timing,
        hosts=Hosts(databases, api, conf.scheduler.hosts_fresh),
        placing=config.placing(conf),
        pool=databases,
        listing=Listing(registry, databases),
        writable=Writable(api, databases.cell, databases),
        quota=config.quota(conf),
        clusters=Clusters(settings),
        nova=Nova(settings, session, conf.migrate.compute_endpoint),
        placement=Placement(settings, session, conf.placement.endpoint_override),
        driver=drivers.load(conf.compute.driver, conf) if conf.compute.driver else None,
    )
