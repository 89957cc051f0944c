# SPDX-License-Identifier: Apache-2.0
"""The one object that doors and libraries use: a short method for each verb."""

import contextlib
import dataclasses
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from oslo_config import cfg

from bfv import accept, dispatch, rebuild, repair, view
from bfv.engine import Engine, Heartbeat, InProcess
from bfv.errors import BadRequest, Failed, MaybeRunning, NotFound, Refused
from bfv.journal import SLOTS, Intent
from bfv.parts import Parts, assemble
from bfv.types import BootRequest, Caller, Decision, Deleted, ServerInfo
from cells import servers
from cells.database import Database
from cells.errors import Exists, NotMapped
from cells.types import Server, ServerMapping
from imagebackends.types import Attachment

ATTEMPTS = 3
Progress = Callable[[ServerInfo], None]


class Cloud:
    """All verbs, over one configuration. Close it, or use it with ``with``."""

    def __init__(self, conf: cfg.ConfigOpts, caller: Callable[[], Caller], engine: Engine | None = None) -> None:
        self.parts: Parts = assemble(conf)
        self._caller = caller
        self.engine = engine or InProcess(conf.engine.workers_per_cell)
        self.engine.start(self._handle)
        self._heart = Heartbeat(self.parts.journal.beat, conf.engine.lease / 3)
        self._heart.start()

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, seconds: float = 30.0) -> None:
        """Let running flows end for so many seconds, then let go; what is left is ``repair``'s."""
        self.engine.stop(seconds)
        self._heart.stop()
        self.parts.close()

    def decide(self, request: BootRequest, caller: Caller | None = None) -> Decision:
        """Return how a request would boot, and touch nothing. Raises what ``boot`` refuses."""
        return accept.consider(self.parts, caller or self._caller(), request).decision

    def boot(self, request: BootRequest, caller: Caller | None = None) -> ServerInfo:
        """Accept a server and start to build it; return it as it is accepted. A repetition returns the same server.

        Raises Refused, NotFound, NoRoom, MaybeRunning or CellDown when nothing was accepted.
        """
        who = caller or self._caller()
        if self.parts.registry.find_mapping(request.server_id) is None:
            considered = accept.consider(self.parts, who, request)
            try:
                intent = accept.accept(self.parts, who, considered)
            except Exists:
                return self._accepted_before(request.server_id, who)
            # Told before it is started: what is read afterwards would cost as much as what is done.
            told = view.accepted(intent, ())
            self._start(intent, who)
            return told
        return self._accepted_before(request.server_id, who)

    def delete(self, server_id: str, caller: Caller | None = None) -> Deleted:
        """Delete a server in whatever state it is, wait for the end and tell what was kept.

        Raises NotFound, Failed, MaybeRunning, NotAllowed, CellDown.
        """
        who = caller or self._caller()
        mapping = self._own(server_id, who)
        intent = self._open("delete", mapping, who, {})
        self._start(intent, who)
        ended = self._end_of(intent)
        if ended.phase == "failed":
            raise Failed(f"Server {server_id} was not deleted: {ended.outcome}")
        kept = [step.detail or "" for step in self.parts.journal.history(ended) if step.name == "kept"]
        return Deleted(server_id, tuple(kept))

    def rebuild(self, server_id: str, image: str, caller: Caller | None = None) -> ServerInfo:
        """Start to write another image onto a server's root volume; all its data is lost.

        Raises Refused, NotFound, MaybeRunning, CellDown when nothing was started.
        """
        who = caller or self._caller()
        mapping = self._own(server_id, who)
        _, server = self._row(mapping)
        found = self.parts.images.find(self.parts.rights.image(who), image)
        rebuild.check(self.parts, server, found)
        intent = self._open("rebuild", mapping, who, {"image": dataclasses.asdict(found)})
        self._start(intent, who)
        return self.server(server_id, who)

    def connect(self, server_id: str, connector: Mapping[str, Any], caller: Caller | None = None) -> list[Attachment]:
        """Return the connections to a server's volumes for the host that ``connector`` describes; repeatable.

        Without a ``caller`` the service user acts, scoped to the server's project. Raises BadRequest,
        NotFound, NotAllowed, Failed, MaybeRunning, CellDown.
        """
        if not connector.get("host"):
            raise BadRequest("A connector names its host.")
        mapping = self._mapping(server_id)
        _, server = self._row(mapping)
        if server.task_state in ("rebuilding", "deleting"):
            raise BadRequest(f"Server {server_id} is {server.task_state}; its volumes cannot be connected now.")
        self._run_now("connect", mapping, caller, {"connector": dict(connector)})
        _, server = self._row(mapping)
        return [_connection(device) for device in server.devices if device.connection_info]

    def disconnect(self, server_id: str, caller: Caller | None = None) -> None:
        """Have a server's host let go of its volumes, which stay reserved for the server; repeatable."""
        self._run_now("disconnect", self._mapping(server_id), caller, {})

    def server(self, server_id: str, caller: Caller | None = None) -> ServerInfo:
        """Return a server. Raises NotFound, CellDown."""
        return self._info(self._own(server_id, caller or self._caller()))

    def servers(
        self, caller: Caller | None = None, *, limit: int = 1000, marker: str | None = None
    ) -> list[ServerInfo]:
        """Return servers of the caller's project, newest first, at most ``limit``, after ``marker``."""
        who = caller or self._caller()
        found = []
        for mapping in self.parts.registry.mappings(who.project_id, limit, marker):
            try:
                found.append(self._info(mapping))
            except NotFound:
                continue
        return found

    def wait(
        self,
        server_id: str,
        seconds: float,
        caller: Caller | None = None,
        progress: Progress | None = None,
    ) -> ServerInfo:
        """Wait until nothing works on a server here, and return it. Raises MaybeRunning at the deadline."""
        who, deadline = caller or self._caller(), time.monotonic() + seconds
        while True:
            pending = [intent for intent in self.parts.journal.opened(server_id)
                       if intent.verb != "sweep" and intent.id in self.engine.running()]  # fmt: skip
            if not pending:
                return self.server(server_id, who)
            if time.monotonic() > deadline:
                raise MaybeRunning(f"Server {server_id} is not done after {seconds:.0f} seconds; it goes on.")
            if progress is not None:
                progress(self.server(server_id, who))
            self.engine.wait(pending[0].id, min(1.0, max(0.0, deadline - time.monotonic())))

    def repair(self, *, dry_run: bool = False) -> list[repair.Repaired]:
        """Finish or undo what crashes left open, with the service user's rights."""
        repaired = repair.repair(self.parts, dry_run=dry_run)
        self._sweep()
        return repaired

    def history(self, server_id: str, caller: Caller | None = None) -> Sequence[tuple[Intent, list[Any]]]:
        """Return what was asked of a server, with the steps of each, oldest first."""
        self._own(server_id, caller or self._caller())
        return [(intent, self.parts.journal.history(intent)) for intent in self.parts.journal.of_server(server_id)]

    def _accepted_before(self, server_id: str, who: Caller) -> ServerInfo:
        """Return the server of a repeated request. Raises BadRequest for an id that is another's, or was."""
        mapping = self.parts.registry.find_mapping(server_id)
        if mapping is not None and mapping.project_id != who.project_id:
            raise BadRequest(f"Server id {server_id} is taken; choose another.")
        try:
            return self.server(server_id, who)
        except NotFound as error:
            raise BadRequest(f"Server id {server_id} was a server's that is deleted; choose another.") from error

    def _handle(self, intent_id: str) -> float | None:
        again = dispatch.run(self.parts, intent_id)
        self._sweep()
        return again

    def _sweep(self) -> None:
        """Start the sweeps that flows have left."""
        with contextlib.suppress(queue.Empty):
            while True:
                swept = self.parts.left.get_nowait()
                self.engine.submit(swept.id, f"{swept.verb} {swept.cell}")

    def _start(self, intent: Intent, who: Caller) -> None:
        self.parts.rights.keep(intent.id, who)
        cell = intent.decision["cells"][0] if intent.decision else intent.cell
        # A lane for each verb: a deletion never waits behind boots that wait for volumes.
        self.engine.submit(intent.id, f"{intent.verb} {cell}")

    def _open(self, verb: str, mapping: ServerMapping, who: Caller | None, request: Mapping[str, Any]) -> Intent:
        """Open an intent of a verb; one that a dead worker left in its way is finished first.

        Raises BadRequest while another worker is on one, and what finishing it raises.
        """
        for _ in range(ATTEMPTS):
            try:
                return self.parts.journal.open(
                    verb,
                    mapping.server_id,
                    project_id=mapping.project_id,
                    cell=mapping.cell.name if mapping.cell else None,
                    request=request,
                    user_id=who.user_id if who else "-",
                    request_id=who.request_id if who else f"req-{mapping.server_id}",
                )
            except Exists:
                self._finish_older(verb, mapping.server_id, who)
        raise BadRequest(f"Server {mapping.server_id} is being changed by others; try again.")

    def _finish_older(self, verb: str, server_id: str, who: Caller | None) -> None:
        """Finish what is open in a verb's slot: run over a half-done one, nobody could tell what is whose."""
        slot = SLOTS.get(verb, verb)
        for older in self.parts.journal.opened(server_id):
            if SLOTS.get(older.verb, older.verb) != slot:
                continue
            taken = self.parts.journal.take(older.id)
            if taken is None:
                raise BadRequest(f"A {older.verb} of server {server_id} is still running; try again when it is done.")
            with contextlib.suppress(Refused, NotFound, Failed):
                self._run_taken(taken, who)

    def _run_taken(self, intent: Intent, who: Caller | None) -> None:
        """Run an intent that is held, in this thread; let go of it if it stays open."""
        if who is not None:
            self.parts.rights.keep(intent.id, who)
        try:
            dispatch.FLOWS[intent.verb](self.parts, intent)
        finally:
            self.parts.rights.forget(intent.id)
            self.parts.journal.release(intent)

    def _run_now(self, verb: str, mapping: ServerMapping, who: Caller | None, request: Mapping[str, Any]) -> None:
        """Run a short flow in this thread."""
        self._run_taken(self._open(verb, mapping, who, request), who)

    def _end_of(self, intent: Intent) -> Intent:
        """Wait for a flow of this process and return its intent. Raises why it stays open, if it does."""
        timing = self.parts.timing
        self.engine.wait(intent.id, timing.give_up + timing.delete)
        ended = self.parts.journal.get(intent.id)
        if ended.is_open:
            reasons = [step for step in self.parts.journal.history(ended) if step.name == "left open"]
            raise MaybeRunning(
                f"The {intent.verb} of server {intent.server_id} is not done: "
                f"{reasons[-1].detail if reasons else 'it still runs'}"
            )
        return ended

    def _mapping(self, server_id: str) -> ServerMapping:
        mapping = self.parts.registry.find_mapping(server_id)
        if mapping is None:
            raise NotFound(f"Server {server_id} could not be found.")
        return mapping

    def _own(self, server_id: str, who: Caller) -> ServerMapping:
        mapping = self._mapping(server_id)
        if mapping.project_id != who.project_id and "admin" not in who.roles:
            raise NotFound(f"Server {server_id} could not be found.")
        return mapping

    def _row(self, mapping: ServerMapping) -> tuple[Database, Server]:
        if mapping.cell is None:
            raise BadRequest(f"Server {mapping.server_id} is still being built.")
        database = self.parts.cells.of(mapping.cell)
        try:
            return database, servers.get(database, mapping.server_id)
        except NotMapped as error:
            building = self.parts.journal.opened(mapping.server_id, "boot")
            if building:
                raise BadRequest(f"Server {mapping.server_id} is still being built.") from error
            raise NotFound(f"Server {mapping.server_id} could not be found.") from error

    def _info(self, mapping: ServerMapping) -> ServerInfo:
        intents = self.parts.journal.of_server(mapping.server_id)
        left = [thing for intent in intents if intent.is_open for thing in self.parts.journal.objects(intent)]
        server = servers.find(self.parts.cells.of(mapping.cell), mapping.server_id) if mapping.cell else None
        if server is not None:
            return view.recorded(server, mapping, intents, left)
        for intent in intents:
            if intent.verb == "boot" and intent.is_open:
                return view.accepted(intent, left)
        raise NotFound(f"Server {mapping.server_id} could not be found.")


def _connection(device: Any) -> Attachment:
    info = dict(device.connection_info)
    data = {"driver_volume_type": info.get("driver_volume_type"), **info.get("data", {})}
    return Attachment(str(device.attachment_id), str(device.volume_id), None, "attached", data)
