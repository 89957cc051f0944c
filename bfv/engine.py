# SPDX-License-Identifier: Apache-2.0
"""Who runs a flow next: a port of five verbs, and the adapter that runs flows in this process.

No flow knows which engine runs it. A flow is a function of an intent's id that may be called any number of
times; what it returns is when to call it again (seconds), or None when there is nothing more to do here.
"""

import abc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

LOG = logging.getLogger(__name__)

Handler = Callable[[str], float | None]


class Engine(abc.ABC):
    """Runs the flow of an intent, at least once, in some worker."""

    @abc.abstractmethod
    def start(self, handler: Handler) -> None:
        """Say what runs an intent; called once, before the first ``submit``."""

    @abc.abstractmethod
    def submit(self, intent_id: str, lane: str) -> None:
        """Have an intent run soon; one lane (a cell) never holds up another. Repeatable."""

    @abc.abstractmethod
    def wait(self, intent_id: str, seconds: float) -> bool:
        """Return True once this engine has no more to do for the intent, False after ``seconds``."""

    @abc.abstractmethod
    def running(self) -> set[str]:
        """Return the intents that this process works on."""

    @abc.abstractmethod
    def stop(self, seconds: float) -> bool:
        """Take nothing more, let what runs end, and return whether all did within ``seconds``."""


class InProcess(Engine):
    """Threads of this process, at most ``width`` for each lane."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._handler: Handler | None = None
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._futures: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self, handler: Handler) -> None:
        """Say what runs an intent."""
        self._handler = handler

    def submit(self, intent_id: str, lane: str) -> None:
        """Queue an intent in its lane, unless it is there already."""
        with self._lock:
            if self._stopping.is_set() or intent_id in self._futures:
                return
            if lane not in self._lanes:
                self._lanes[lane] = ThreadPoolExecutor(self._width, thread_name_prefix=f"bfv-{lane}")
            self._futures[intent_id] = self._lanes[lane].submit(self._run, intent_id)

    def wait(self, intent_id: str, seconds: float) -> bool:
        """Wait for the thread that runs the intent."""
        with self._lock:
            future = self._futures.get(intent_id)
        return future is None or bool(wait([future], timeout=seconds).done)

    def running(self) -> set[str]:
        """Return the intents that are queued or run here."""
        with self._lock:
            return set(self._futures)

    def stop(self, seconds: float) -> bool:
        """Let threads end; what only waits to ask again is left to ``repair``."""
        self._stopping.set()
        with self._lock:
            futures, lanes = list(self._futures.values()), list(self._lanes.values())
        pending = wait(futures, timeout=seconds).not_done
        for lane in lanes:
            lane.shutdown(wait=not pending, cancel_futures=True)
        return not pending

    def _run(self, intent_id: str) -> None:
        assert self._handler is not None, "start() comes first"
        try:
            again = self._handler(intent_id)
            while again is not None and not self._stopping.wait(again):
                again = self._handler(intent_id)
        except Exception:
            # The intent stays open and repair takes it; a worker that dies silently would hide why.
            LOG.exception("flow of intent %s ended by an error of ours", intent_id)
        finally:
            with self._lock:
                self._futures.pop(intent_id, None)


class Heartbeat:
    """Calls ``beat`` every ``interval`` seconds until stopped, in a thread of its own."""

    def __init__(self, beat: Callable[[], object], interval: float) -> None:
        self._beat, self._interval = beat, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bfv-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """End at once."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            try:
                self._beat()
            except Exception:
                # The next beat may pass; if none does, the lease runs out, which is what leases are for.
                LOG.warning("heartbeat failed at %s", time.time(), exc_info=True)
