# SPDX-License-Identifier: Apache-2.0
"""How much is copied at once in each cluster, and when it waits: a cluster that is ill has other work to do."""

import contextlib
import threading
import time
from collections.abc import Iterator

from bfv.errors import MaybeRunning
from bfv.migrate.move import Move
from imagebackends.rbd.pool import Cluster

LOOK = 5.0
_LOCK = threading.Lock()
_SLOTS: dict[str, threading.Semaphore] = {}


@contextlib.contextmanager
def held(move: Move) -> Iterator[None]:
    """Have a slot of the target's cluster for as long as the block lasts. Raises MaybeRunning while it stays ill."""
    cluster = move.new.cluster
    with _LOCK:
        slot = _SLOTS.setdefault(cluster.fsid, threading.Semaphore(move.parts.conf.migrate.slots))
    with slot:
        _wait_for_health(move, cluster)
        yield


def _wait_for_health(move: Move, cluster: Cluster) -> None:
    deadline = time.monotonic() + move.parts.conf.migrate.health_timeout
    while (health := cluster.health()) not in ("HEALTH_OK", "HEALTH_WARN"):
        move.job.still_ours()
        if time.monotonic() > deadline:
            raise MaybeRunning(f"Ceph ({cluster.ceph.conf}) says {health}; nothing more is copied into it now.")
        time.sleep(LOOK)
