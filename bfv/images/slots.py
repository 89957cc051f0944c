# SPDX-License-Identifier: Apache-2.0
"""How many warm-ups work on one cell's storage at once: a download takes a worker of cinder's and Ceph's bandwidth."""

import contextlib
import threading
from collections.abc import Callable, Iterator


class Slots:
    """So many for each cell, in this process; for many threads."""

    def __init__(self, width: int) -> None:
        self._width, self._lock = width, threading.Lock()
        self._cells: dict[str, threading.Semaphore] = {}

    @contextlib.contextmanager
    def of(self, cell: str, wait: Callable[[Callable[[], bool]], object]) -> Iterator[None]:
        """Hold one while the block runs; ``wait`` calls what it is given until that is true, or raises."""
        with self._lock:
            slots = self._cells.setdefault(cell, threading.Semaphore(self._width))
        wait(lambda: slots.acquire(blocking=False))
        try:
            yield
        finally:
            slots.release()
