# SPDX-License-Identifier: Apache-2.0
"""Wait for disks: one look at all of them serves every flow that waits.

Of the threads that wait with the same rights one looks for all, by one list call a tick, so a storm of N boots
costs as many calls as it lasts ticks, not N times that; one that waits alone asks for its disk, since a list tells what
the whole cloud has made of late. The interval starts small for fresh waits and grows with
the age of the youngest; and it is never shorter than twice the last look took, so that looking
leaves the service most of its time. Where the service tells that a disk is ready, the next look is at once; what is
told may get lost, and is never taken for the look.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bfv.errors import MaybeRunning, NotFound
from bfv.types import utcnow
from imagebackends.backend import Backend
from imagebackends.types import Access, Disk

Done = Callable[[Disk | None], bool]
# Seconds until an unlisted disk is asked for by itself, and for the last look.
CONFIRM, LAST = 5.0, 1.0


@dataclass(eq=False)
class _Wait:
    """A thread that waits for one disk; ``news`` is what a look brought last, None once the disk is gone."""

    disk_id: str
    since: dt.datetime
    started: float
    news: Disk | None
    confirmed: float = field(default_factory=time.monotonic)
    listed: bool = False
    woken: threading.Event = field(default_factory=threading.Event)

    def bring(self, news: Disk | None) -> None:
        """Wake the thread for what is new to it."""
        if news != self.news:
            self.news = news
            self.woken.set()


class Waits:
    """Waits for disks of one backend with intervals of ``first`` to ``longest`` seconds.

    ``quiet`` is after how many seconds without news a wait asks whether it is to stop.
    """

    def __init__(self, backend: Backend, first: float, longest: float, skew: float, quiet: float = 1.0) -> None:
        self._backend, self._quiet = backend, quiet
        self._first, self._longest = first, longest
        self._skew = dt.timedelta(seconds=skew)
        self._changed = threading.Condition()
        self._waiting: dict[str, list[_Wait]] = {}
        # Who looks for all with the same rights, until its own wait is over.
        self._looking: dict[str, _Wait] = {}
        self._hurried: set[str] = set()
        self._last_look: dict[str, float] = {}

    def until(
        self,
        access: Access,
        disk: Disk,
        done: Done,
        seconds: float,
        stop: Callable[[], None],
        *,
        vanishing: bool = False,
    ) -> Disk | None:
        """Wait until ``done`` holds of the disk (None once it is gone) and return it.

        ``stop`` is called when there is news, and now and then without; it raises to end the wait.
        ``vanishing`` says that the disk is being removed, so that one which a look does not show is asked for at once.
        Raises MaybeRunning at the deadline, after a last look: a process that stood still for a while has not seen
        what came meanwhile.
        """
        deadline = time.monotonic() + seconds
        key = "everywhere" if access.everywhere else access.project_id
        if done(disk):
            return disk
        wait = _Wait(disk.id, max(disk.created_at, utcnow() - self._skew), time.monotonic(), disk, listed=vanishing)
        with self._changed:
            self._waiting.setdefault(key, []).append(wait)
        try:
            while True:
                overdue = time.monotonic() > deadline
                self._next(key, access, wait, time.monotonic() + LAST if overdue else deadline)
                if done(wait.news):
                    return wait.news
                stop()
                if overdue:
                    now = wait.news.status if wait.news else "there"
                    raise MaybeRunning(f"Volume {disk.id} was still {now} after {seconds:.0f} seconds.")
        finally:
            self._leave(key, wait)

    def _leave(self, key: str, wait: _Wait) -> None:
        """End a wait; where it looked for all, another does from now on."""
        with self._changed:
            self._waiting[key].remove(wait)
            if self._looking.get(key) is wait:
                del self._looking[key]
            if key not in self._looking:
                # Who is woken may be leaving, too, and then wakes the next.
                for other in self._waiting[key][:1]:
                    other.woken.set()

    def hurry(self, disk_id: str) -> bool:
        """Have whoever waits for a disk look now, since it is told to be ready; return whether anybody waits here."""
        with self._changed:
            keys = {key for key, waits in self._waiting.items() if any(wait.disk_id == disk_id for wait in waits)}
            self._hurried |= keys
            self._changed.notify_all()
        return bool(keys)

    def _pause(self, key: str, seconds: float) -> None:
        """Let so many seconds go by before a look, fewer if it is asked for."""
        with self._changed:
            self._changed.wait_for(lambda: key in self._hurried, seconds)
            self._hurried.discard(key)

    def _next(self, key: str, access: Access, wait: _Wait, deadline: float) -> None:
        """Look for everybody, or wait for a while until somebody has looked and there is news."""
        with self._changed:
            leads = self._looking.setdefault(key, wait) is wait
            others = list(self._waiting[key])
        if leads:
            self._pause(key, min(self._interval(key, others), max(0.0, deadline - time.monotonic())))
            with self._changed:
                others = list(self._waiting[key])
            self._look(key, access, others)
        else:
            # Not all at each look: threads that wake for nothing cost more than the look.
            wait.woken.wait(min(self._quiet, max(0.0, deadline - time.monotonic())))
            wait.woken.clear()

    def _interval(self, key: str, waits: list[_Wait]) -> float:
        youngest = time.monotonic() - max(wait.started for wait in waits)
        # A tenth of the age: something that took 10 s so far is not late when seen a second later.
        return min(self._longest, max(self._first, youngest / 10, 2 * self._last_look.get(key, 0.0)))

    def _look(self, key: str, access: Access, waits: list[_Wait]) -> None:
        began = time.monotonic()
        try:
            if len(waits) == 1:
                self._confirm(access, waits[0])
                return
            found = self._backend.look(access, {wait.disk_id for wait in waits}, min(wait.since for wait in waits))
            for wait in waits:
                if wait.disk_id in found:
                    wait.listed = True
                    wait.bring(found[wait.disk_id])
                elif wait.listed or began - wait.confirmed > CONFIRM:
                    self._confirm(access, wait)
        except MaybeRunning:
            # No answer is no news: who waits has a deadline of its own.
            return
        finally:
            self._last_look[key] = time.monotonic() - began

    def _confirm(self, access: Access, wait: _Wait) -> None:
        """Ask for one disk: it waits alone, or the list does not name it, which is then unchanged or gone."""
        wait.confirmed = time.monotonic()
        try:
            wait.bring(self._backend.get(access, wait.disk_id))
        except NotFound:
            wait.bring(None)
