# SPDX-License-Identifier: Apache-2.0
"""The cells' Ceph, for the few verbs that ask it themselves; nothing is loaded or connected before one does.

Every call that a cluster leaves without an answer makes its cell's storage down, whoever made it
(`imagebackends.http.Settings.silent`).
"""

import dataclasses
import threading
from collections.abc import Callable

from keystoneauth1.session import Session

from cells.lane import Call, Lane, Latch
from imagebackends.errors import BadRequest, Refused, Unreachable
from imagebackends.http import Settings
from imagebackends.rbd import bindings as binding
from imagebackends.rbd.bindings import Bindings
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.rbd.pools import Pools


class Clusters:
    """Nova's pool of each cell that names a ``ceph_conf``; ``heard`` is called with one that answers again."""

    def __init__(self, settings: Settings, session: Session, bindings: Bindings | None = None,
                 heard: Callable[[str], None] = lambda _: None) -> None:  # fmt: skip
        self.settings, self.session, self._bindings = settings, session, bindings
        self._heard, self._silent = heard, set[str]()
        self._lock = threading.RLock()
        self._pools: Pools | None = None

    @property
    def bindings(self) -> Bindings:
        """Return librados and librbd. Raises Unsupported that says what to install."""
        with self._lock:
            self._bindings = self._bindings or binding.load(self.settings.ceph_python)
            return self._bindings

    def pools(self) -> Pools:
        """Return the pools. Raises BadRequest where no cell names a cluster, Unsupported without librbd."""
        with self._lock:
            if not self.settings.ceph:
                raise BadRequest("No cell names its Ceph: set [cell:NAME] ceph_conf, ceph_user and nova_pool.")
            self._pools = self._pools or Pools(self.settings, self.bindings)
            return self._pools

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells that name a cluster."""
        return tuple(self.settings.ceph)

    def of(self, cell: str) -> Cluster:
        """Return a cell's cluster. Raises Refused where none is named, Unsupported without librbd."""
        if cell not in self.settings.ceph:
            raise Refused(
                f"Cell {cell} has no ceph_conf; set it in [cell:{cell}], and ceph_user and nova_pool with it."
            )
        return self.pools().clusters[cell]

    def pool(self, cell: str, name: str | None = None) -> Pool:
        """Return a pool of a cell's cluster, nova's own without a name. Raises what ``of`` raises."""
        cluster = self.of(cell)
        return cluster.pool(name or cluster.ceph.pool)

    def look(self, seconds: float) -> dict[str, str]:
        """Read one object of each cell's pool, of all at once, and return why, for each cell whose Ceph is silent.

        What else goes wrong says nothing of the cluster: ``pools`` tells it. Takes ``seconds`` at most. A cell that was
        silent at the last look and answers now is up again, sooner than boots would try it.
        """
        named = self.settings.ceph
        if not named:
            return {}
        lane, latch = Lane("ceph", len(named)), Latch(len(named))
        calls = {cell: Call(lambda cell=cell: self._read(cell, seconds), latch) for cell in named}  # type: ignore[misc]
        for call in calls.values():
            lane.submit(call)
        latch.wait(seconds)
        silent = {}
        for cell, call in calls.items():
            if lane.leave(call) != "done":
                silent[cell] = f"Ceph ({named[cell].conf}) gave no answer within {seconds:g} seconds"
            elif isinstance(call.error, Unreachable):
                silent[cell] = str(call.error)
        lane.close()
        for cell, reason in silent.items():
            if self.settings.silent:
                self.settings.silent(cell, reason)
        for cell in self._silent - silent.keys():
            if calls[cell].error is None:
                self._heard(cell)
        self._silent = set(silent)
        return silent

    def _read(self, cell: str, seconds: float) -> None:
        # A client of its own: those that work may wait longer than who only wants to know.
        ceph = dataclasses.replace(self.settings.ceph[cell], connect_timeout=seconds, timeout=seconds)
        cluster = Cluster(ceph, self.bindings)
        try:
            cluster.pool(ceph.pool).value("-")
        finally:
            cluster.close()

    def close(self) -> None:
        """End the connections when what runs has ended."""
        if self._pools is not None:
            self._pools.close()
