# SPDX-License-Identifier: Apache-2.0
"""Begin what is asked of servers, in turn: one change of a server at a time, and the older one is finished first."""

import contextlib
import queue
import time
from collections.abc import Mapping
from typing import Any

from bfv import dispatch
from bfv.engine import Engine
from bfv.errors import Conflict, Failed, MaybeRunning, NotFound, Refused
from bfv.journal import SLOTS, Intent
from bfv.parts import Parts
from bfv.types import Caller
from cells.errors import Exists
from cells.types import ServerMapping

ATTEMPTS = 3
# Seconds: how long a volume waits for its turn, and how often it asks.
PATIENCE, ASK = 20.0, 0.05


class Turns:
    """Opens intents and has the engine run them, or runs them here."""

    def __init__(self, parts: Parts, engine: Engine) -> None:
        self._parts, self._engine = parts, engine

    def handle(self, intent_id: str) -> float | None:
        """Run an intent, as the engine asks; return the seconds after which to run it again, if any."""
        again = dispatch.run(self._parts, intent_id)
        self.sweep()
        return again

    def sweep(self) -> None:
        """Start the sweeps that flows have left."""
        with contextlib.suppress(queue.Empty):
            while True:
                swept = self._parts.left.get_nowait()
                self._engine.submit(swept.id, f"{swept.verb} {swept.cell}")

    def start(self, intent: Intent, who: Caller) -> None:
        """Have the engine run an intent with the rights of who asked."""
        self._parts.rights.keep(intent.id, who)
        cell = intent.decision["cells"][0] if intent.decision else intent.cell
        # A lane for each verb: a deletion never waits behind boots that wait for volumes.
        self._engine.submit(intent.id, f"{intent.verb} {cell}")

    def start_here(self, intent: Intent, who: Caller) -> None:
        """Run a short intent in this thread; the engine goes on with one whose outcome is not known yet."""
        self._parts.rights.keep(intent.id, who)
        if self.handle(intent.id) is not None:
            self.start(intent, who)

    def open(self, verb: str, mapping: ServerMapping, who: Caller | None, request: Mapping[str, Any],
             **words: Any) -> Intent:  # fmt: skip
        """Open an intent of a verb; one that a dead worker left in its way is finished first.

        ``words`` are further ones of ``Journal.insert``.

        Raises BadRequest while another worker is on one, Refused where nothing may be written, and what finishing it
        raises.
        """
        self._parts.writable.require([mapping.cell.name] if mapping.cell else [])
        for _ in range(ATTEMPTS):
            try:
                return self._parts.journal.open(
                    verb,
                    mapping.server_id,
                    project_id=mapping.project_id,
                    cell=mapping.cell.name if mapping.cell else None,
                    request=who.asked(request) if who else request,
                    user_id=who.user_id if who else "-",
                    request_id=who.request_id if who else f"req-{mapping.server_id}",
                    **words,
                )
            except Exists:
                self._finish_older(verb, mapping.server_id, who)
        raise Conflict(f"Server {mapping.server_id} is being changed by others; try again.")

    def open_in_turn(self, verb: str, mapping: ServerMapping, who: Caller, request: Mapping[str, Any],
                     **words: Any) -> Intent:  # fmt: skip
        """Open an intent when those on other volumes of the server are done: people attach several at once."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.open(verb, mapping, who, request, **words)
            except Conflict:
                opened = {each.verb for each in self._parts.journal.opened(mapping.server_id)}
                if opened - {"attach", "detach"} or time.monotonic() > deadline:
                    raise
            time.sleep(ASK)

    def _finish_older(self, verb: str, server_id: str, who: Caller | None) -> None:
        """Finish what is open in a verb's slot: run over a half-done one, nobody could tell what is whose."""
        slot = SLOTS.get(verb, verb)
        for older in self._parts.journal.opened(server_id):
            if SLOTS.get(older.verb, older.verb) != slot:
                continue
            taken = self._parts.journal.take(older.id)
            if taken is None:
                raise Conflict(f"A {older.verb} of server {server_id} is still running; try again when it is done.")
            with contextlib.suppress(Refused, NotFound, Failed):
                self.run_taken(taken, who)

    def run_taken(self, intent: Intent, who: Caller | None) -> None:
        """Run an intent that is held, in this thread; let go of it if it stays open."""
        if who is not None:
            self._parts.rights.keep(intent.id, who)
        try:
            dispatch.FLOWS[intent.verb](self._parts, intent)
        finally:
            self._parts.rights.forget(intent.id)
            self._parts.journal.release(intent)

    def run_now(self, verb: str, mapping: ServerMapping, who: Caller | None, request: Mapping[str, Any]) -> None:
        """Run a short flow in this thread."""
        self.run_taken(self.open(verb, mapping, who, request), who)

    def end_of(self, intent: Intent) -> Intent:
        """Wait for a flow of this process and return its intent. Raises why it stays open, if it does."""
        timing = self._parts.timing
        self._engine.wait(intent.id, timing.give_up + timing.delete)
        ended = self._parts.journal.get(intent.id)
        if ended.is_open:
            reasons = [step for step in self._parts.journal.history(ended) if step.name == "left open"]
            raise MaybeRunning(
                f"The {intent.verb} of server {intent.server_id} is not done: "
                f"{reasons[-1].detail if reasons else 'it still runs'}"
            )
        return ended
