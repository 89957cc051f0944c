# SPDX-License-Identifier: Apache-2.0
"""What people ask of conversions through a process that stays: plan, run as a job, status, undo, purge."""

import uuid
from collections.abc import Sequence
from typing import Any

from bfv.engine import Engine
from bfv.errors import NotFound
from bfv.journal import Intent
from bfv.migrate import job, look, report, wave
from bfv.migrate.look import Selection
from bfv.migrate.plan import Plan
from bfv.parts import Parts
from bfv.types import Caller


class Migrations:
    """The verbs; the caller has checked who may ask. All raise CellDown."""

    def __init__(self, parts: Parts, engine: Engine) -> None:
        self._parts, self._engine = parts, engine

    def plan(self, chosen: Selection) -> list[Plan]:
        """Return how each chosen server would go; touches nothing. Raises NotFound, Refused, MaybeRunning."""
        self._check(chosen)
        return look.read(self._parts, chosen)

    def run(self, chosen: Selection, how: dict[str, Any], who: Caller, *, rehearse: bool = True) -> job.State:
        """Start to convert servers and return the job that does it; ``how`` as ``bfv.migrate.job.request`` has it.

        Raises NotFound for a cell that is not there, Refused where nothing may be written.
        """
        self._check(chosen)
        self._parts.writable.require([chosen.cell] if chosen.cell else list(self._parts.conf.cells))
        intent = self._parts.journal.open(
            job.VERB, str(uuid.uuid4()), project_id=who.project_id, user_id=who.user_id, request_id=who.request_id,
            request=job.request(chosen, how, rehearse=rehearse))  # fmt: skip
        self._engine.submit(intent.id, job.VERB)
        return job.state(self._parts, intent)

    def jobs(self) -> list[job.State]:
        """Return all waves that were run as jobs, oldest first."""
        return [job.state(self._parts, each) for each in self._parts.journal.of_verbs([job.VERB])]

    def job(self, key: str) -> job.State:
        """Return how far a job is. Raises NotFound."""
        return job.state(self._parts, self._find(key))

    def stop(self, key: str) -> None:
        """Have a job begin no more servers; what it has begun is finished. Raises NotFound."""
        intent = self._find(key)
        self._parts.journal.cancel(intent.server_id, job.VERB)

    def states(self, server_ids: Sequence[str] = (), name: str | None = None) -> list[report.State]:
        """Return where each conversion is, of these servers or of a wave alone if any are named."""
        return [each for each in report.read(self._parts, server_ids) if name is None or each.wave == name]

    def undo(self, server_id: str, *, stop: bool = False, discard_writes: bool = False) -> None:
        """Start to bring a converted server back to its old disk. Raises NotFound, Conflict."""
        self._turn(server_id, "unmigrate", stop=stop, discard_writes=discard_writes)

    def purge(self, server_id: str) -> None:
        """Start to release what is left of a server's old disk: no way back from there. Raises NotFound, Conflict."""
        self._turn(server_id, "purge")

    def purge_wave(self, name: str) -> list[str]:
        """Start to purge all converted servers of a wave; return which these are. Raises NotFound, Conflict."""
        ready = [each.server_id for each in self.states(name=name) if each.state in ("converted", "settled")]
        if not ready:
            raise NotFound(f"Wave {name} has no converted server that could be purged.")
        for server_id in ready:
            self.purge(server_id)
        return ready

    def _check(self, chosen: Selection) -> None:
        if chosen.cell is not None and chosen.cell not in self._parts.conf.cells:
            raise NotFound(f"Cell {chosen.cell[:255]} could not be found.")

    def _turn(self, server_id: str, verb: str, **more: object) -> None:
        intent = wave.begin_turn(self._parts, server_id, verb, **more)
        self._engine.submit(intent.id, f"{intent.verb} {intent.cell}")

    def _find(self, key: str) -> Intent:
        for intent in self._parts.journal.of_verbs([job.VERB]):
            if intent.id == key:
                return intent
        raise NotFound(f"Job {key[:255]} could not be found.")
