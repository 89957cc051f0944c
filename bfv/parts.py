# SPDX-License-Identifier: Apache-2.0
"""Everything that the flows work with, assembled from a configuration in one place."""

import dataclasses
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from oslo_config import cfg

import imagebackends
from bfv import config, drivers, owner
from bfv.cell_databases import CellDatabases, open_database
from bfv.ceph import Clusters
from bfv.config import Quota, Timing
from bfv.decide import Rules
from bfv.drivers import Driver
from bfv.errors import BadConfig
from bfv.fit import Placing
from bfv.hosts import Hosts
from bfv.images.places import Known
from bfv.images.slots import Slots
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
from imagebackends.rbd.bindings import Bindings
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
    places: Known
    # Warm-ups that run at once.
    slots: Slots
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
    # The cells' Ceph, for what asks it itself.
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


def assemble(conf: cfg.ConfigOpts, bindings: Bindings | None = None) -> Parts:
    """Build the parts from a configuration; nothing is connected yet. Raises BadConfig.

    ``bindings`` are what behaves as librados and librbd, None: these themselves.
    """
    api_url = config.required(conf, "database", "api_connection")
    # All requests and flows take turns at these two: a queue is no sign that they are down, as it is of a cell.
    patience = conf.database.statement_timeout
    api = open_database(conf, "api", api_url, patience)
    registry = Registry(api, base_url=api_url)
    databases = CellDatabases(conf, registry)
    own = open_database(conf, "journal", config.required(conf, "database", "connection"), patience)
    storage, timing = StorageState(), config.timing(conf)
    settings = dataclasses.replace(config.storage(conf), silent=storage.failed)
    session = make_session(settings)
    backend = imagebackends.load("cinder", settings, session)
    rights, targets = Rights(conf, session), config.targets(conf)
    return Parts(
        conf=conf,
        api=api,
        registry=registry,
        cells=databases,
        journal=Journal(own, owner.this_process(), conf.engine.lease),
        rights=rights,
        backend=backend,
        images=Images(settings, session),
        places=Known(rights, backend, targets, conf.images.places_fresh, conf.images.cache_project),
        slots=Slots(conf.images.parallel_per_cell),
        waits=Waits(backend, timing.poll, timing.poll_max, timing.clock_skew),
        rules=config.rules(conf),
        targets=targets,
        timing=timing,
        hosts=Hosts(databases, api, conf.scheduler.hosts_fresh),
        placing=config.placing(conf),
        pool=databases,
        listing=Listing(registry, databases),
        writable=Writable(api, databases.cell, databases),
        quota=config.quota(conf),
        clusters=Clusters(settings, session, bindings, storage.ok),
        nova=Nova(settings, session, conf.migrate.compute_endpoint),
        placement=Placement(settings, session, conf.placement.endpoint_override),
        storage=storage,
        driver=drivers.load(conf.compute.driver, conf) if conf.compute.driver else None,
    )
