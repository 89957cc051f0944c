# SPDX-License-Identifier: Apache-2.0
"""A few threads of their own for each cell: a cell that hangs holds these and no other.

The standard library's pools are joined when the process ends, which a hung driver would delay; these threads are
daemons. And a call that nobody waits for any more can be left here, and is counted as what it is: a thread lost for
as long as the driver's time-outs let it hang.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
LOG = logging.getLogger(__name__)


class Latch:
    """Lets one thread wait until a number of calls have ended."""

    def __init__(self, count: int) -> None:
        self._left, self._lock, self._open = count, threading.Lock(), threading.Event()

    def count_down(self) -> None:
        """Say that one more has ended."""
        with self._lock:
            self._left -= 1
            last = self._left <= 0
        if last:
            self._open.set()

    def wait(self, seconds: float) -> None:
        """Return when all have ended, or after so many seconds."""
        self._open.wait(max(0.0, seconds))


class Call(Generic[T]):
    """One piece of work and what came of it: a ``value``, or the ``error`` that it raised.

    ``state`` goes from waiting over running to done, or ends as left by who had asked.
    """

    __slots__ = ("error", "latch", "state", "value", "work")

    def __init__(self, work: Callable[[], T], latch: Latch) -> None:
        self.work, self.latch = work, latch
        self.state: Literal["waiting", "running", "done", "left"] = "waiting"
        self.value: T | None = None
        self.error: Exception | None = None

    def end(self, value: T | None, error: Exception | None) -> None:
        """Give what came of it to who waits."""
        self.value, self.error, self.state = value, error, "done"
        self.latch.count_down()


class Lane:
    """Runs calls in order of their coming in at most ``size`` threads, which are kept."""

    def __init__(self, name: str, size: int) -> None:
        self._name, self.size = name, size
        self._ready = threading.Condition()
        self._waiting: deque[Call[Any]] = deque()
        self._threads = self._idle = self._hung = 0
        self._closed = False

    @property
    def is_hung(self) -> bool:
        """Whether every thread is held by a call that nobody waits for any more."""
        return self._hung >= self.size

    def submit(self, call: Call[Any]) -> None:
        """Run a call as soon as a thread is free."""
        with self._ready:
            self._waiting.append(call)
            if self._idle < len(self._waiting) and self._threads < self.size:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
            else:
                self._ready.notify()

    def leave(self, call: Call[Any]) -> Literal["waiting", "running", "done", "left"]:
        """Wait for a call no longer; return what it was doing. One that waited is never run."""
        with self._ready:
            was = call.state
            if was == "running":
                self._hung += 1
            elif was == "waiting":
                self._waiting.remove(call)
            if was != "done":
                call.state = "left"
            return was

    def drop(self, error: Exception) -> None:
        """End all that still waits with this error."""
        with self._ready:
            while self._waiting:
                self._waiting.popleft().end(None, error)

    def close(self) -> None:
        """Let each thread end when nothing waits any more."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def _serve(self) -> None:
        while call := self._next():
            value, error = None, None
            try:
                value = call.work()
            except Exception as raised:
                error = raised
            with self._ready:
                if call.state == "running":
                    call.end(value, error)
                    continue
                self._hung -= 1
            if error:
                LOG.info("%s: a call that nobody waited for any more ended: %s", self._name, type(error).__name__)

    def _next(self) -> Call[Any] | None:
        with self._ready:
            while not self._waiting:
                if self._closed:
                    self._threads -= 1
                    return None
                self._idle += 1
                self._ready.wait()
                self._idle -= 1
            call = self._waiting.popleft()
            call.state = "running"
            return call
