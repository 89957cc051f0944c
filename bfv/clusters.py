# SPDX-License-Identifier: Apache-2.0
"""The cells' Ceph clusters as the configuration names them, reached when they are first needed.

Most of what runs here never calls Ceph itself, and the bindings come from the distribution: so they are loaded late.
"""

import threading

from bfv.errors import Refused
from imagebackends.http import Settings
from imagebackends.rbd import bindings
from imagebackends.rbd.pool import Cluster, Pool


class Clusters:
    """A connection to each cell's cluster, for all threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._known: dict[str, Cluster] = {}

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells whose cluster is named."""
        return tuple(self._settings.ceph)

    def of(self, cell: str) -> Cluster:
        """Return a cell's cluster. Raises Refused where none is named, Unsupported without the bindings."""
        ceph = self._settings.ceph.get(cell)
        if ceph is None:
            raise Refused(
                f"Cell {cell} has no ceph_conf; set it in [cell:{cell}], and ceph_user and nova_pool with it."
            )
        with self._lock:
            if cell not in self._known:
                self._known[cell] = Cluster(ceph, bindings.load(self._settings.ceph_python))
            return self._known[cell]

    def pool(self, cell: str, name: str | None = None) -> Pool:
        """Return a pool of a cell's cluster, nova's own without a name. Raises what ``of`` raises."""
        cluster = self.of(cell)
        return cluster.pool(name or cluster.ceph.pool)

    def close(self) -> None:
        """End all connections when what runs on them has ended."""
        with self._lock:
            for cluster in self._known.values():
                cluster.close()
