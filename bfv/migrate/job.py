# SPDX-License-Identifier: Apache-2.0
"""A wave as a job that outlives who asked for it and the process that runs it: its intent is no server's.

Its history has a line for each server, so who asks reads how far it is, and the next worker goes on after the last one.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bfv.errors import Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.migrate import look, rehearsal, report, wave
from bfv.migrate.look import Selection
from bfv.migrate.wave import TROUBLE, Done, Running, Wave, Window
from bfv.parts import Parts

VERB = "wave"
REHEARSED, SERVER, UNSETTLED = "rehearsed", "server", "unsettled"
# States that say nothing of work that was done.
NO_WORK = ("refused", "not begun")


@dataclass(frozen=True)
class State:
    """How far a wave is; ``state``: running, stopping, done or failed. ``servers`` are those that have their word."""

    id: str
    wave: str
    state: str
    why: str | None
    created_at: dt.datetime
    closed_at: dt.datetime | None
    servers: tuple[dict[str, Any], ...]


def run(parts: Parts, intent: Intent) -> None:
    """Convert what is left of the chosen servers, and settle them. Raises MaybeRunning, CellDown to go on later."""
    job, asked = Job(parts, intent), intent.request
    try:
        plans = look.read(parts, _selection(asked["selection"]))
        if asked["rehearse"] and not job.passed(REHEARSED):
            for trial in rehearsal.of_each(parts, [each for each in plans if not each.refusals]):
                rehearsal.failed(wave.finish(parts, trial))
            job.step(REHEARSED)
    except (Refused, NotFound, Failed) as error:
        job.close(FAILED, str(error))
        return
    before = _rows(parts, intent)
    told = {row["server_id"] for row in before}
    plans = [each for each in plans if each.server_id not in told]
    how = _how(asked, sum(row["state"] not in NO_WORK for row in before))

    def tell(row: Done) -> None:
        job.step(SERVER, json.dumps({**dataclasses.asdict(row), "seconds": round(row.seconds, 1)}))

    running = Running(parts, how, tell, lambda: _why_stop(parts, intent))
    done = [dataclasses.asdict(row) for row in running.run([] if how.limit == 0 else plans)]
    # A process that ends leaves the rest to the next one.
    job.check()
    _settle(job, how.name)
    _end(job, [*before, *done], running.why_stopped)


def _settle(job: Job, name: str) -> None:
    """Settle all converted servers of a wave: also those that a dead worker had no time to tell of."""
    lines: list[str] = []
    converted = [
        each.server_id for each in report.read(job.parts, ()) if (each.wave, each.state) == (name, "converted")
    ]
    wave.settle(job.parts, converted, lambda server_id, why: lines.append(f"{server_id}: {why}") if why else None)
    for line in lines:
        job.tell(UNSETTLED, line)


def _end(job: Job, rows: list[dict[str, Any]], why_stopped: str | None) -> None:
    states = [row["state"] for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) or "no server is left to do"
    well = why_stopped is None and not any(state in TROUBLE for state in states)
    job.close(DONE if well else FAILED, f"{why_stopped}; {counts}" if why_stopped else counts)


def _why_stop(parts: Parts, intent: Intent) -> str | None:
    if parts.closing.is_set():
        return "the process ends; the next one goes on"
    return "it was asked to stop" if parts.journal.get(intent.id).cancel else None


def _selection(asked: Mapping[str, Any]) -> Selection:
    return Selection(**{**asked, "servers": tuple(asked["servers"])})


def _how(asked: Mapping[str, Any], begun: int) -> Wave:
    """Return how the wave goes on after so many servers."""
    how, limit = asked["how"], asked["how"]["limit"]
    return Wave(**{**how, "window": Window.of(how["window"]) if how["window"] else Window(),
                   "limit": None if limit is None else max(0, limit - begun)})  # fmt: skip


def request(chosen: Selection, how: dict[str, Any], *, rehearse: bool) -> dict[str, Any]:
    """Return what the intent of a wave is asked for; ``how`` is a Wave's fields, its window as text or None."""
    return {"selection": dataclasses.asdict(chosen), "how": how, "rehearse": rehearse}


def _rows(parts: Parts, intent: Intent) -> list[dict[str, Any]]:
    return [json.loads(step.detail or "{}") for step in parts.journal.history(intent) if step.name == SERVER]


def state(parts: Parts, intent: Intent) -> State:
    """Return how far a wave is."""
    word = ("stopping" if intent.cancel else "running") if intent.is_open else intent.phase
    why = wave.why_open(parts, intent) if intent.is_open else intent.outcome
    return State(intent.id, intent.request["how"]["name"], word, why, intent.created_at, intent.closed_at,
                 tuple(_rows(parts, intent)))  # fmt: skip
