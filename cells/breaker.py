# SPDX-License-Identifier: Apache-2.0
"""Down as a state that is kept: who finds a database dead pays for it once, and those after it pay nothing.

Nova asks a dead cell again for every request, 60 seconds each (``nova/context.py:scatter_gather_cells``). Here what
transactions meet opens the cell's breaker, an open one refuses them at once, and only a probe closes it.
"""

import datetime as dt
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cells.database import utcnow
from cells.errors import CellDown, CellsError
from cells.types import Answers

# Answers that are older, in seconds, say nothing of now.
RECENT = 60.0
KEPT = 64


@dataclass(frozen=True)
class Patience:
    """When a cell counts as down, slow and up again; times in seconds.

    ``failures`` quick ones in a row open the breaker; one that took ``slow`` or longer does so alone, since each
    further one would cost a request as much. Probes come after ``probe_interval``, which doubles up to
    ``probe_interval_max``.
    """

    failures: int = 3
    slow: float = 1.0
    probe_interval: float = 1.0
    probe_interval_max: float = 30.0


@dataclass(frozen=True)
class Outage:
    """Why a cell is down, and since when (naive UTC)."""

    reason: str
    since: dt.datetime


class Breaker:
    """What is known of one cell's database; ``opened`` is called, outside of any lock, each time it is found down."""

    def __init__(self, name: str, patience: Patience, opened: Callable[[], None]) -> None:
        self._name, self._patience, self._opened = name, patience, opened
        self._lock = threading.Lock()
        self._failures = 0
        self._open: Outage | None = None
        self._unfit: Outage | None = None
        self._interval = patience.probe_interval
        self._probes = 0
        self._answers: deque[tuple[float, float]] = deque(maxlen=KEPT)

    @property
    def outage(self) -> Outage | None:
        """Why no transaction is tried, None while they are."""
        return self._open

    @property
    def trouble(self) -> Outage | None:
        """Why the cell is of no use: it is down, or its latest answer was that a table or a right is missing."""
        return self._open or self._unfit

    @property
    def probes(self) -> int:
        """How many probes were made since it is open, or were made in all when it was the last time."""
        return self._probes

    def check(self) -> None:
        """Raise CellDown, without waiting for anything, while it is open."""
        if outage := self._open:
            raise CellDown(self._name, outage.reason, outage.since)

    def answered(self, seconds: float) -> None:
        """Count an answer. One that began before it was found down does not close it: the probe on its way will."""
        with self._lock:
            self._answers.append((time.monotonic(), seconds))
            self._failures = 0
            self._unfit = None

    def failed(self, error: CellsError, seconds: float) -> None:
        """Count an outage. A missing table or right (BadCell) only stays known: to be told so costs no wait."""
        if not isinstance(error, CellDown):
            with self._lock:
                self._failures = 0
                self._unfit = Outage(str(error), self._unfit.since if self._unfit else utcnow())
            return
        with self._lock:
            self._failures += 1
            enough = seconds >= self._patience.slow or self._failures >= self._patience.failures
        if enough:
            self.late(error.reason)

    def late(self, reason: str) -> None:
        """Open it: a request has waited as long as it may. The first probe is due at once and tells dead from busy."""
        with self._lock:
            if self._open:
                return
            self._open = Outage(reason, utcnow())
            self._interval, self._probes = self._patience.probe_interval, 0
        self._opened()

    def probed(self, reason: str | None) -> float | None:
        """Take a probe's word: None closes it; a reason keeps it open. Return the seconds to the next probe, if any."""
        with self._lock:
            self._probes += 1
            if reason is None:
                self._open, self._unfit, self._failures = None, None, 0
                return None
            if self._open:
                self._open = Outage(reason, self._open.since)
            wait, self._interval = self._interval, min(self._interval * 2, self._patience.probe_interval_max)
            return wait

    def answers(self) -> Answers | None:
        """Return how long the answers of the last minute took, None if there were none."""
        since = time.monotonic() - RECENT
        with self._lock:
            recent = [seconds for at, seconds in self._answers if at >= since]
        if not recent:
            return None
        ordered = sorted(recent)
        p50, p99 = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99))
        return Answers(len(recent), recent[-1], p50, p99)

    def is_slow(self) -> bool:
        """Whether half of the last minute's answers took ``slow`` seconds or longer."""
        answers = self.answers()
        return answers is not None and answers.p50 >= self._patience.slow
