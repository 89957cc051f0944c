# SPDX-License-Identifier: Apache-2.0
"""Which cells' storage is down by what boots have met there: cinder says `up` long after its Ceph has died."""

import datetime as dt
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bfv.types import utcnow


@dataclass(frozen=True)
class _Outage:
    since: dt.datetime
    reason: str
    seconds: float
    until: float


class StorageState:
    """What this process knows of the cells' storage; safe for many threads.

    A cell that failed is down for ``first`` seconds; then boots may try it again, and if it fails once more it is
    down for twice as long as before, at most ``longest``. ``clock`` tells the seconds.
    """

    def __init__(
        self, first: float = 30.0, longest: float = 600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first, self._longest, self._clock = first, longest, clock
        self._lock = threading.Lock()
        self._outages: dict[str, _Outage] = {}

    def failed(self, cell: str, reason: str) -> None:
        """Say that a cell's storage did not do its work, or not until the deadline."""
        with self._lock:
            before, now = self._outages.get(cell), self._clock()
            if before and now < before.until:
                # Those that were on their way when the first one failed tell nothing new.
                return
            seconds = min(before.seconds * 2, self._longest) if before else self._first
            self._outages[cell] = _Outage(before.since if before else utcnow(), reason, seconds, now + seconds)

    def ok(self, cell: str) -> None:
        """Say that a cell's storage did its work."""
        with self._lock:
            self._outages.pop(cell, None)

    def down(self) -> Mapping[str, tuple[dt.datetime, str]]:
        """Return the cells that are not to be tried now: since when (naive UTC), and why."""
        now = self._clock()
        with self._lock:
            return {cell: (out.since, out.reason) for cell, out in self._outages.items() if now < out.until}
