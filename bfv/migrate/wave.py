# SPDX-License-Identifier: Apache-2.0
"""Convert many servers with care: some at once, one host's first before its others, and an end when a cause repeats.

One server's failure is a row of the answer and no end; but one that repeats is not the servers' fault, so the wave
stops once ``failure_budget`` of them have failed for one reason. Nothing is begun outside of the window, and what is
begun is finished: a wave stops between servers, never in one.
"""

import datetime as dt
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from bfv import dispatch
from bfv.errors import CellsError, Conflict, NotFound, StorageError
from bfv.journal import DONE, Intent
from bfv.migrate.converted import SETTLED
from bfv.migrate.plan import Plan
from bfv.migrate.run import CONVERTED, planned
from bfv.parts import Parts
from bfv.types import new_request_id
from cells.errors import Exists

TROUBLE = ("failed", "not up", "unfinished")
LOOK = 1.0
ATTEMPTS = 10
# What differs between two servers that fail for one reason.
PARTICULAR = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


@dataclass(frozen=True)
class Window:
    """The hours of a day, local time, in which servers may be begun; it may go past midnight."""

    begins: dt.time = dt.time(0)
    ends: dt.time = dt.time(0)

    @classmethod
    def of(cls, text: str) -> "Window":
        """Return a window written as 22:00-04:00. Raises ValueError."""
        begins, _, ends = text.partition("-")
        return cls(dt.time.fromisoformat(begins.strip()), dt.time.fromisoformat(ends.strip()))

    def is_open(self, now: dt.time) -> bool:
        """Return whether a server may be begun at a time of day."""
        if self.begins == self.ends:
            return True
        if self.begins < self.ends:
            return self.begins <= now < self.ends
        return now >= self.begins or now < self.ends


@dataclass(frozen=True)
class Done:
    """What became of one server: converted, failed, not up (converted), unfinished, refused, not begun; and why."""

    server_id: str
    name: str
    host: str | None
    way: str | None
    state: str
    reason: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Wave:
    """How a wave is run: ``limit`` servers at most, ``workers`` at once."""

    name: str = "1"
    limit: int | None = None
    workers: int = 4
    window: Window = field(default_factory=Window)
    stop_and_start: bool = False
    failure_budget: int = 3


class Running:
    """A wave at work. ``stop`` ends it between two servers, and so does a reason that ``why_stop`` gives."""

    def __init__(self, parts: Parts, wave: Wave, tell: Callable[[Done], None] = lambda _: None,
                 why_stop: Callable[[], str | None] = lambda: None) -> None:  # fmt: skip
        self._parts, self._wave, self._tell, self._why_stop = parts, wave, tell, why_stop
        self._stop = threading.Event()
        self._proven: set[str | None] = set()
        self._barred: dict[str | None, str] = {}
        self._kept_off: list[Done] = []
        self._causes: Counter[str] = Counter()
        self.why_stopped: str | None = None

    def stop(self, why: str) -> None:
        """Begin no more servers; those that are begun are finished."""
        self.why_stopped = self.why_stopped or why
        self._stop.set()

    def run(self, plans: Sequence[Plan]) -> list[Done]:
        """Convert servers in the order of their plans and return what became of each."""
        # What was begun before is finished, whatever stands against it by now.
        begun = {each.server_id for each in self._parts.journal.opened(verb="migrate")}
        ready = [each for each in plans if not each.refusals or each.server_id in begun]
        done = [self._row(each, "refused", each.refusals[0]) for each in plans if each not in ready]
        for row in done:
            self._tell(row)
        left = ready[: self._wave.limit]
        running: dict[Future[Done], Plan] = {}
        with ThreadPoolExecutor(self._wave.workers, thread_name_prefix="bfv-migrate") as threads:
            while left or running:
                if why := self._why_stop():
                    self.stop(why)
                self._begin(threads, left, running)
                if not running and self._stop.is_set():
                    break
                if not running:
                    # Outside of the window: nothing to wait for but the clock.
                    self._stop.wait(LOOK)
                    continue
                ended = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED).done
                done.extend(self._heard(each.result(), running.pop(each)) for each in ended)
        done += [self._row(each, "not begun", self.why_stopped) for each in left]
        return done + self._kept_off

    def _begin(self, threads: ThreadPoolExecutor, left: list[Plan], running: dict[Future[Done], Plan]) -> None:
        """Begin as many as may run; a host's first server alone, until it is up again."""
        busy = {each.host for each in running.values()}
        for each in list(left):
            if each.host in self._barred:
                left.remove(each)
                self._kept_off.append(self._row(each, "not begun", self._barred[each.host]))
                continue
            if self._stop.is_set() or len(running) >= self._wave.workers or not self._is_open():
                return
            if each.host in self._proven or each.host not in busy:
                left.remove(each)
                busy.add(each.host)
                running[threads.submit(self._convert, each)] = each

    def _is_open(self) -> bool:
        return self._wave.window.is_open(dt.datetime.now().time())

    def _heard(self, row: Done, plan: Plan) -> Done:
        self._tell(row)
        if row.state == "converted":
            self._proven.add(plan.host)
        elif row.state == "not up" and plan.host not in self._proven:
            self._barred[plan.host] = f"The first server of host {plan.host} did not come up: {row.reason}"
        if row.state != "converted" and row.reason:
            cause = PARTICULAR.sub("?", row.reason)
            self._causes[cause] += 1
            if self._causes[cause] >= self._wave.failure_budget:
                self.stop(f"{self._causes[cause]} servers failed for one cause, the last one: {row.reason}")
        return row

    def _convert(self, plan: Plan) -> Done:
        began = time.monotonic()
        try:
            after = convert(self._parts, plan, self._wave.name, stop=self._wave.stop_and_start)
        except (StorageError, CellsError) as error:
            return self._row(plan, "failed", str(error), time.monotonic() - began)
        state = "unfinished" if after.is_open else "converted" if after.phase == DONE else "failed"
        if state == "failed" and self._parts.journal.opened(plan.server_id, CONVERTED):
            state = "not up"
        reason = None if state == "converted" else after.outcome or why_open(self._parts, after)
        return self._row(plan, state, reason, time.monotonic() - began)

    @staticmethod
    def _row(plan: Plan, state: str, reason: str | None, seconds: float = 0.0) -> Done:
        return Done(plan.server_id, plan.name, plan.host, plan.way, state, reason, seconds)


def convert(parts: Parts, plan: Plan, wave: str, *, stop: bool = False) -> Intent:
    """Convert one server, or go on with what a dead worker left of it; return its intent as it is now.

    Raises Refused, Conflict while another works on it, CellDown.
    """
    parts.writable.require([plan.cell])
    try:
        intent = parts.journal.open(
            "migrate", plan.server_id, project_id=plan.project_id, user_id=plan.user_id, request_id=new_request_id(),
            request=planned(plan, wave=wave, stop=stop), cell=plan.cell)  # fmt: skip
    except Exists:
        intent = _taken(parts, plan.server_id, "migrate")
    return finish(parts, intent)


def finish(parts: Parts, intent: Intent) -> Intent:
    """Run an intent that is held until there is no more to do here; return it as it is then."""
    while (again := dispatch.run(parts, intent.id)) is not None and not parts.closing.wait(again):
        pass
    return parts.journal.get(intent.id)


def settle(parts: Parts, server_ids: Iterable[str], tell: Callable[[str, str | None], None]) -> int:
    """Do what is left behind the running guests of converted servers; return for how many it failed."""

    def one(server_id: str) -> int:
        failed = 0
        for kept in parts.journal.opened(server_id, CONVERTED):
            taken = parts.journal.take(kept.id)
            if taken is not None:
                after = finish(parts, taken)
                why = why_open(parts, after) if after.is_open else None
                failed += why is not None
                tell(server_id, why)
        return failed

    # More than a cluster's slots would wait for each other.
    with ThreadPoolExecutor(parts.conf.migrate.slots, thread_name_prefix="bfv-settle") as threads:
        return sum(threads.map(one, server_ids))


def turn(parts: Parts, server_id: str, verb: str, **more: object) -> Intent:
    """End a conversion by another verb, ``unmigrate`` or ``purge``; return its intent as it is now.

    Raises NotFound where nothing is converted, Conflict while another works on it.
    """
    return finish(parts, begin_turn(parts, server_id, verb, **more))


def begin_turn(parts: Parts, server_id: str, verb: str, **more: object) -> Intent:
    """Open what ``turn`` runs, or take what a dead worker left of it; return it held. Raises what ``turn`` raises."""
    under_way = parts.journal.opened(server_id, verb)
    if under_way:
        return _taken(parts, server_id, verb)
    if not parts.journal.opened(server_id, CONVERTED):
        raise NotFound(f"Server {server_id} is not converted, or its old disk is released: there is no way back to it. "
                       "A new image of its volume boots a server on nova's backend.")  # fmt: skip
    kept = _taken(parts, server_id, CONVERTED)
    parts.writable.require([str(kept.cell)])
    request = {**kept.request, SETTLED: has_settled(parts, kept), **more}
    _, intent = parts.journal.leave(kept, verb, "asked for", request, DONE)
    return intent


def has_settled(parts: Parts, kept: Intent) -> bool:
    """Return whether there is nothing left to do behind the guest."""
    return bool(kept.request.get(SETTLED)) or any(each.name == SETTLED for each in parts.journal.history(kept))


def why_open(parts: Parts, intent: Intent) -> str | None:
    """Return why an intent could not go on, None where nothing was in its way."""
    last = parts.journal.history(intent)[-1:]
    return last[0].detail if last and last[0].name == "left open" else None


def _taken(parts: Parts, server_id: str, verb: str) -> Intent:
    """Return the open intent of a verb, held by this process."""
    for _ in range(ATTEMPTS):
        for each in parts.journal.opened(server_id, verb):
            taken = parts.journal.take(each.id)
            if taken is not None:
                return taken
        time.sleep(LOOK / ATTEMPTS)
    raise Conflict(f"Server {server_id} is being changed by another worker; try again when it is done.")
