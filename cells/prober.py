# SPDX-License-Identifier: Apache-2.0
"""Looks after cells that are down, so that no request has to: one thread keeps the time for all of them.

A probe is a fresh connection and one statement, both bounded by the driver; a few run at once, so that many dead
cells never make many threads.
"""

import functools
import heapq
import itertools
import threading
import time
from collections.abc import Callable

from cells.lane import Call, Lane, Latch

Look = Callable[[], float | None]


class Prober:
    """Calls each look until it returns None, at the intervals in seconds that it returns, ``parallel`` at once."""

    def __init__(self, parallel: int = 4) -> None:
        self._ready = threading.Condition()
        self._due: list[tuple[float, int, Look]] = []
        self._order = itertools.count()
        self._lane = Lane("cell-probe", parallel)
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, look: Look, seconds: float = 0.0) -> None:
        """Call a look after so many seconds, and then again for as long as it asks for that."""
        with self._ready:
            if self._closed:
                return
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), look))
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_time, name="cell-prober", daemon=True)
                self._thread.start()
            self._ready.notify()

    def close(self) -> None:
        """Call no look any more."""
        with self._ready:
            self._closed = True
            self._due.clear()
            self._ready.notify()
        self._lane.close()

    def _keep_time(self) -> None:
        while look := self._next():
            self._lane.submit(Call(functools.partial(self._probe, look), Latch(1)))

    def _next(self) -> Look | None:
        with self._ready:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._ready.wait(wait)
            return None

    def _probe(self, look: Look) -> None:
        wait = look()
        if wait is not None:
            self.add(look, wait)
