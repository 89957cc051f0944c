# SPDX-License-Identifier: Apache-2.0
"""The one object that doors and libraries use: a short method for each verb."""

import contextlib
import dataclasses
import datetime as dt
import queue
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from oslo_config import cfg

from bfv import (
    accept,
    attach,
    createimage,
    detach,
    dispatch,
    events,
    limits,
    lists,
    power,
    rebuild,
    repair,
    several,
    spawn,
    strays,
    tenantusage,
    view,
    zones,
)
from bfv.check import Line
from bfv.drivers.agent import Agent
from bfv.edits import Edits, check_lock
from bfv.engine import Engine, Heartbeat, InProcess
from bfv.errors import (
    BadConfig,
    BadRequest,
    CellDown,
    Conflict,
    Failed,
    MaybeRunning,
    NotFound,
    Refused,
    StorageError,
)
from bfv.images import check as image_check
from bfv.images import fleet, janitor, keep, overview
from bfv.job import Job
from bfv.journal import DONE, SLOTS, Intent
from bfv.limits import Limits
from bfv.migrate.run import CONVERTED
from bfv.parts import Parts, assemble
from bfv.types import BootRequest, Caller, Decision, Deleted, ServerEvent, ServerInfo, VolumeRequest
from cells import servers
from cells.database import Database
from cells.errors import BadCell, Exists, NotMapped
from cells.listing import Query
from cells.types import BlockDevice, Server, ServerMapping
from imagebackends.rbd.bindings import Bindings
from imagebackends.rbd.pool import Cluster
from imagebackends.types import Attachment

ATTEMPTS = 3
# Seconds: how long a volume waits for its turn, and how often it asks.
PATIENCE, ASK = 20.0, 0.05
Progress = Callable[[ServerInfo], None]


class Cloud:
    """All verbs, over one configuration. Close it, or use it with ``with``."""

    def __init__(self, conf: cfg.ConfigOpts, caller: Callable[[], Caller], engine: Engine | None = None,
                 bindings: Bindings | None = None) -> None:  # fmt: skip
        self.parts: Parts = assemble(conf, bindings)
        self._caller = caller
        # Called with each event of a server that other services tell of.
        self.listeners: list[Callable[[ServerEvent], None]] = []
        self.engine = engine or InProcess(conf.engine.workers_per_cell)
        self.engine.start(self._handle)
        self._heart = Heartbeat(self.parts.journal.beat, conf.engine.lease / 3)
        self._heart.start()
        # A Ceph that hangs is seen as soon as a database that does, and not by boots that wait for it.
        look = lambda: self.parts.clusters.look(self.parts.cells.cell_timeout)  # noqa: E731
        self._watch = Heartbeat(look, conf.database.probe_interval_max)
        if self.parts.clusters.settings.ceph:
            self._watch.start()
        self._agent = _agent(self.parts)
        # What is written about a server, and nothing outside.
        self.edits = Edits(self.parts, self._placed, self._run_now)

    def __enter__(self) -> "Cloud":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, seconds: float = 30.0) -> None:
        """Let running flows end for so many seconds, then let go; what is left is ``repair``'s."""
        self.parts.closing.set()
        if self._agent is not None:
            self._agent.stop()
        self.engine.stop(seconds)
        self.parts.closed.set()
        self._heart.stop()
        if self.parts.clusters.settings.ceph:
            self._watch.stop()
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
            try:
                return self.boot_many(request, 1, 1, who)[0]
            except Exists:
                return self._accepted_before(request.server_id, who)
        return self._accepted_before(request.server_id, who)

    def boot_many(self, request: BootRequest, least: int, most: int, caller: Caller | None = None) -> list[ServerInfo]:
        """Accept up to ``most`` servers, as many as quota and hosts allow, or none if these are fewer than ``least``.

        Raises what ``boot`` raises, and Exists for a server id that is on its way.
        """
        who = caller or self._caller()
        several.check(request, most)
        considered = accept.consider(self.parts, who, request)
        intents = accept.accept(self.parts, who, considered, least, most)
        # Told before they are started: what is read afterwards would cost as much as what is done.
        told = [view.accepted(intent, ()) for intent in intents]
        for intent in intents:
            self._start(intent, who)
        return told

    def delete(self, server_id: str, caller: Caller | None = None) -> Deleted:
        """Delete a server in whatever state it is, wait for the end and tell what was kept.

        Raises NotFound, Failed, MaybeRunning, NotAllowed, CellDown.
        """
        intent = self.start_delete(server_id, caller)
        ended = self._end_of(intent)
        if ended.phase == "failed":
            raise Failed(f"Server {server_id} was not deleted: {ended.outcome}")
        kept = [step.detail or "" for step in self.parts.journal.history(ended) if step.name == "kept"]
        return Deleted(server_id, tuple(kept))

    def start_delete(self, server_id: str, caller: Caller | None = None) -> Intent:
        """Start to delete a server in whatever state it is, and return at once; repeatable.

        Raises NotFound, NotAllowed, CellDown, and Conflict while another verb is finished first.
        """
        who = caller or self._caller()
        mapping = self._own(server_id, who)
        self._reachable(mapping, who)
        try:
            intent = self._open("delete", mapping, who, {})
        except Conflict:
            deleting = self.parts.journal.opened(server_id, "delete")
            if not deleting:
                raise
            return deleting[0]
        self._start(intent, who)
        return intent

    def warm(self, image: str, cells: Sequence[str] | None = None, caller: Caller | None = None, *,
             tiers: Sequence[str] = ("default",), wait: bool = True,
             progress: Callable[[fleet.Warmed], None] = lambda _: None) -> list[fleet.Warmed]:  # fmt: skip
        """Make the cheapest source of an image exist in these cells, None: all, before its first boot; repeatable.

        Returns what came of each, at once unless ``wait``. Raises NotFound, BadRequest, NotAllowed for another
        project's image, MaybeRunning.
        """
        found = fleet.find(self.parts, caller or self._caller(), image)
        places = fleet.targets(self.parts, cells, tiers)
        if wait:
            return fleet.over(self.parts, found, places, progress)
        started = [fleet.start(self.parts, found, each) for each in places]
        for _, intent in started:
            if intent is not None:
                self.engine.submit(intent.id, f"{intent.verb} {intent.cell}")
        return [told for told, _ in started]

    def image_map(self, images: Sequence[str] = (), caller: Caller | None = None, *,
                  count: bool = False) -> list[overview.Line]:  # fmt: skip
        """Return how these images, or all that the caller sees, stand in each cell. Raises NotFound, MaybeRunning.

        With ``count`` the Ceph of each cell that has a ``ceph_conf`` is asked for clones and snapshots.
        """
        clusters = self._clusters() if count else {}
        return overview.overview(self.parts, caller or self._caller(), images, clusters)

    def image_plan(self) -> list[keep.Planned]:
        """Return what the rules for images that are kept warm name, and what is missing. Raises NotAllowed."""
        return keep.plan(self.parts)

    def keep_images(self) -> list[fleet.Warmed]:
        """Warm what is missing of these, and return what came of it. Raises NotAllowed, MaybeRunning."""
        return keep.keep(self.parts)

    def image_check(self, projects: Sequence[str] = ()) -> list[Line]:
        """Return what each source of images needs of the operator, a line for each thing."""
        return image_check.check(self.parts, self._clusters(), projects)

    def image_janitor(self, *, dry_run: bool = False) -> list[janitor.Swept]:
        """Remove what nothing needs from the pools of the cells that have a ``ceph_conf``. Raises NotAllowed."""
        return janitor.sweep(self.parts, self._clusters(), dry_run=dry_run)

    def _clusters(self) -> Mapping[str, Cluster]:
        """Return the clusters of those cells that name one."""
        clusters = self.parts.clusters
        return clusters.pools().clusters if clusters.settings.ceph else {}

    def rebuild(self, server_id: str, image: str, caller: Caller | None = None) -> ServerInfo:
        """Start to write another image onto a server's root volume; all its data is lost.

        Raises Refused, NotFound, MaybeRunning, CellDown when nothing was started.
        """
        who = caller or self._caller()
        mapping, _, server = self._placed(server_id, who)
        check_lock(server, who)
        found = self.parts.images.find(self.parts.rights.image(who), image)
        rebuild.check(self.parts, server, found)
        intent = self._open("rebuild", mapping, who, {"image": dataclasses.asdict(found)})
        self._start(intent, who)
        return self.server(server_id, who)

    def create_image(self, server_id: str, name: str, metadata: Mapping[str, str] | None = None,
                     caller: Caller | None = None) -> str:  # fmt: skip
        """Start to make an image of a server's volumes; return its id: it is queued until it can be booted from.

        Raises Refused, NotFound, Failed, MaybeRunning, CellDown when nothing is left of it, or will be.
        """
        who = caller or self._caller()
        mapping, _, server = self._placed(server_id, who)
        createimage.check(self.parts, server)
        intent = self._open("createImage", mapping, who, createimage.request(server, name, metadata or {}))
        self.parts.rights.keep(intent.id, who)
        job = Job(self.parts, intent)
        try:
            createimage.begin(job)
        except StorageError as error:
            # The flow undoes it.
            job.turn(str(error))
            raise
        finally:
            self._start(intent, who)
        return str(intent.request["image"]["id"])

    def stop(self, server_id: str, caller: Caller | None = None) -> ServerInfo:
        """Start to switch a server off. Raises Refused, NotFound, CellDown when nothing was started."""
        return self._power("stop", server_id, caller)

    def start(self, server_id: str, caller: Caller | None = None) -> ServerInfo:
        """Start to switch a server on. Raises what ``stop`` raises."""
        return self._power("start", server_id, caller)

    def reboot(self, server_id: str, caller: Caller | None = None, *, hard: bool = False) -> ServerInfo:
        """Start to restart a server, with ``hard`` also one that is off or in ERROR. Raises what ``stop`` raises."""
        return self._power("reboot", server_id, caller, "hard" if hard else "soft")

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
            raise Conflict(f"Server {server_id} is {server.task_state}; its volumes cannot be connected now.")
        if spawn.runs(self.parts, server) and server.host != connector["host"]:
            raise Conflict(f"Server {server_id} runs on another host, which has its volumes.")
        self._run_now("connect", mapping, caller, {"connector": dict(connector)})
        _, server = self._row(mapping)
        return [_connection(device) for device in server.devices if device.connection_info]

    def disconnect(self, server_id: str, caller: Caller | None = None) -> None:
        """Have a server's host let go of its volumes, which stay reserved for the server; repeatable."""
        mapping = self._mapping(server_id)
        self._reachable(mapping)
        if self.parts.driver is not None and spawn.runs(self.parts, self._row(mapping)[1]):
            raise Conflict(f"Server {server_id} runs on its host and uses its volumes; delete or rebuild it.")
        self._run_now("disconnect", mapping, caller, {})

    def attach_volume(self, server_id: str, request: VolumeRequest, caller: Caller | None = None) -> BlockDevice:
        """Give a server one more volume, wait for the end and return its device.

        Raises what ``start_attach`` raises, and Failed when the volume was taken back.
        """
        who = caller or self._caller()
        intent, _ = self.start_attach(server_id, request, who)
        ended = self._end_of(intent)
        if ended.phase != DONE:
            raise Failed(f"Volume {request.volume_id} was not attached: {ended.outcome}")
        _, server = self._row(self._own(server_id, who))
        return next(each for each in server.devices if each.volume_id == request.volume_id)

    def start_attach(
        self, server_id: str, request: VolumeRequest, caller: Caller | None = None
    ) -> tuple[Intent, BlockDevice | None]:
        """Start to give a server one more volume; return the device, None while nobody knows whether it is reserved.

        Raises Refused, NotFound, Failed, CellDown when nothing was started.
        """
        who = caller or self._caller()
        mapping = self._own(server_id, who)
        database, server = self._row(mapping)
        check_lock(server, who)
        disk = attach.check(self.parts, self.parts.rights.image(who), server, database.name, request)
        words = dataclasses.asdict(dataclasses.replace(request, size=disk.size))
        intent = self._open_in_turn("attach", mapping, who, words)
        self.parts.rights.keep(intent.id, who)
        try:
            return intent, attach.begin(self.parts, intent)
        except MaybeRunning:
            return intent, None
        finally:
            # It goes on from there; nothing is left to do where it was taken back.
            self._start(intent, who)

    def detach_volume(self, server_id: str, volume_id: str, caller: Caller | None = None) -> None:
        """Take a volume from a server and wait until it is free. Raises what ``start_detach`` raises, and Failed."""
        intent = self.start_detach(server_id, volume_id, caller)
        ended = self._end_of(intent)
        if ended.phase != DONE:
            raise Failed(f"Volume {volume_id} was not detached: {ended.outcome}")

    def start_detach(self, server_id: str, volume_id: str, caller: Caller | None = None) -> Intent:
        """Start to take a volume from a server. Raises Refused, NotFound, CellDown when nothing was started."""
        who = caller or self._caller()
        mapping = self._own(server_id, who)
        _, server = self._row(mapping)
        check_lock(server, who)
        device = detach.check(self.parts, self.parts.rights.image(who), server, volume_id)
        words = {"device_id": device.uuid, "volume_id": volume_id}
        intent = self._open_in_turn("detach", mapping, who, words)
        self._start(intent, who)
        return intent

    def server(self, server_id: str, caller: Caller | None = None) -> ServerInfo:
        """Return a server. Raises NotFound, CellDown."""
        return self._info(self._own(server_id, caller or self._caller()))

    def servers(
        self, caller: Caller | None = None, *, limit: int = 1000, marker: str | None = None
    ) -> list[ServerInfo]:
        """Return servers of the caller's project, newest first, at most ``limit``, after ``marker``.

        Those in a cell that is down have the status UNKNOWN and stand at their place. Raises NotMapped, CellDown.
        """
        who = caller or self._caller()
        return self.page(Query(who.project_id, limit, marker)).servers

    def page(self, query: Query) -> lists.Listed:
        """Return a page of servers as ``query`` asks for it, of any project; the caller has checked who may ask.

        Raises BadQuery, NotMapped for an unknown marker, CellDown for the API database.
        """
        return lists.servers(self.parts, query)

    def limits(self, caller: Caller | None = None) -> Limits:
        """Return what the caller's project may have and has. Raises CellDown for the API database."""
        return limits.of_project(self.parts, (caller or self._caller()).project_id)

    def used(
        self,
        start: dt.datetime,
        stop: dt.datetime,
        project_id: str | None,
        *,
        limit: int | None = None,
        marker: str | None = None,
    ) -> tenantusage.Used:
        """Return the servers that ran between two times (naive UTC); the caller has checked who may ask.

        Raises NotMapped for an unknown marker, CellDown for the API database.
        """
        return tenantusage.between(self.parts, start, stop, project_id, limit=limit, marker=marker)

    def tell(self, event: ServerEvent, caller: Caller | None = None) -> bool:
        """Act on what another service tells of a server, and hand it on to all ``listeners``.

        Return False where it is only kept, until the server's cell is back. Raises NotFound, BadRequest, Conflict for
        a server that no host has, CellDown for what nobody would act on later.
        """
        who, mapping = caller or self._caller(), self._mapping(event.server_id)
        if event.name == events.REIMAGED and event.tag and self.parts.waits.hurry(event.tag):
            return True
        try:
            _, server = self._row(mapping)
        except (CellDown, BadCell):
            if not events.keep(self.parts, mapping, event, who):
                raise
            return False
        intent = events.take(self.parts, mapping, server, event, who)
        if intent is not None:
            # With our own rights: who told of it is no user of the server's project.
            self.engine.submit(intent.id, f"{intent.verb} {intent.cell}")
        for listener in self.listeners:
            listener(event)
        return True

    def zones(self) -> dict[str, bool]:
        """Return the availability zones, each with whether it may take servers now. Raises CellDown."""
        return zones.available(self.parts)

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

    def strays(self) -> strays.Look:
        """Return the volumes of servers that cinder tells otherwise; nothing is changed. Raises what it meets."""
        return strays.look(self.parts)

    def resume(self) -> int:
        """Have this process go on with what dead workers left open; return how many that are. Repeatable.

        Unlike ``repair`` it waits for none of them: they run beside what this process was asked for. What is for a cell
        that is down stays as it is until the cell is back.
        """
        opened = [each for each in self.parts.journal.opened() if each.verb != CONVERTED]
        down = self._down({each.cell for each in opened if each.cell})
        left = [each for each in opened if each.cell not in down]
        taken = [intent for each in left if (intent := self.parts.journal.take(each.id)) is not None]
        for intent in taken:
            self.engine.submit(intent.id, f"{intent.verb} {intent.cell}")
        return len(taken)

    def asked(self, server_id: str, caller: Caller | None = None, *, deleted: bool = False) -> list[Intent]:
        """Return what was asked of a server, oldest first; with ``deleted`` also of one that is gone. Raises NotFound.

        Nothing is asked of its cell but whether a server is there that must be.
        """
        who = caller or self._caller()
        if not deleted:
            self.server(server_id, who)
        found = self.parts.journal.of_server(server_id)
        if "admin" not in who.roles:
            # An id may have been another project's before.
            found = [intent for intent in found if intent.project_id == who.project_id]
        if not found:
            self._own(server_id, who)
        return found

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

    def _power(self, verb: str, server_id: str, caller: Caller | None, kind: str | None = None) -> ServerInfo:
        who = caller or self._caller()
        mapping, _, server = self._placed(server_id, who)
        check_lock(server, who)
        power.check(self.parts, server, verb, kind)
        self._start(self._open(verb, mapping, who, {"type": kind}), who)
        return self.server(server_id, who)

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

        Raises BadRequest while another worker is on one, Refused where nothing may be written, and what finishing it
        raises.
        """
        self.parts.writable.require([mapping.cell.name] if mapping.cell else [])
        for _ in range(ATTEMPTS):
            try:
                return self.parts.journal.open(
                    verb,
                    mapping.server_id,
                    project_id=mapping.project_id,
                    cell=mapping.cell.name if mapping.cell else None,
                    request=who.asked(request) if who else request,
                    user_id=who.user_id if who else "-",
                    request_id=who.request_id if who else f"req-{mapping.server_id}",
                )
            except Exists:
                self._finish_older(verb, mapping.server_id, who)
        raise Conflict(f"Server {mapping.server_id} is being changed by others; try again.")

    def _open_in_turn(self, verb: str, mapping: ServerMapping, who: Caller, request: Mapping[str, Any]) -> Intent:
        """Open an intent when those on other volumes of the server are done: people attach several at once."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._open(verb, mapping, who, request)
            except Conflict:
                opened = {each.verb for each in self.parts.journal.opened(mapping.server_id)}
                if opened - {"attach", "detach"} or time.monotonic() > deadline:
                    raise
            time.sleep(ASK)

    def _finish_older(self, verb: str, server_id: str, who: Caller | None) -> None:
        """Finish what is open in a verb's slot: run over a half-done one, nobody could tell what is whose."""
        slot = SLOTS.get(verb, verb)
        for older in self.parts.journal.opened(server_id):
            if SLOTS.get(older.verb, older.verb) != slot:
                continue
            taken = self.parts.journal.take(older.id)
            if taken is None:
                raise Conflict(f"A {older.verb} of server {server_id} is still running; try again when it is done.")
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

    def _down(self, names: Iterable[str]) -> set[str]:
        """Return those of the cells whose databases do not answer now."""
        found = []
        for name in names:
            with contextlib.suppress(BadConfig):
                found.append(self.parts.cells.cell(name))
        return {state.cell.name for state in self.parts.pool.look(found) if state.since is not None}

    def _placed(self, server_id: str, who: Caller) -> tuple[ServerMapping, Database, Server]:
        """Return a server of the caller's that has its row. Raises NotFound, Conflict while it is built, CellDown."""
        mapping = self._own(server_id, who)
        return mapping, *self._row(mapping)

    def _reachable(self, mapping: ServerMapping, who: Caller | None = None) -> None:
        """Raise CellDown now and not in the middle: nothing is begun on a server whose cell is down.

        Raises Conflict for one that is locked, if ``who`` must not change it then.
        """
        if mapping.cell is not None:
            server = servers.find(self.parts.cells.of(mapping.cell), mapping.server_id)
            if server is not None and who is not None:
                check_lock(server, who)

    def _row(self, mapping: ServerMapping) -> tuple[Database, Server]:
        if mapping.cell is None:
            raise Conflict(f"Server {mapping.server_id} is still being built.")
        database = self.parts.cells.of(mapping.cell)
        try:
            return database, servers.get(database, mapping.server_id)
        except NotMapped as error:
            building = self.parts.journal.opened(mapping.server_id, "boot")
            if building:
                raise Conflict(f"Server {mapping.server_id} is still being built.") from error
            raise NotFound(f"Server {mapping.server_id} could not be found.") from error

    def _info(self, mapping: ServerMapping) -> ServerInfo:
        intents = self.parts.journal.of_server(mapping.server_id)
        # What a converted server holds until purge is its way back and nothing that is left over.
        unfinished = [each for each in intents if each.is_open and each.verb != CONVERTED]
        left = [thing for each in unfinished for thing in self.parts.journal.objects(each)]
        try:
            server = servers.find(self.parts.cells.of(mapping.cell), mapping.server_id) if mapping.cell else None
        except (CellDown, BadCell) as error:
            return lists.unknown(self.parts, mapping, error)
        if server is not None:
            return view.recorded(server, mapping, intents, left)
        for intent in intents:
            if intent.verb == "boot" and intent.is_open:
                return view.accepted(intent, left)
        raise NotFound(f"Server {mapping.server_id} could not be found.")


def _agent(parts: Parts) -> Agent | None:
    """Return what reports the hosts of the driver, at work; None without a driver."""
    if parts.driver is None:
        return None
    agent = Agent(parts.driver, parts.registry, parts.pool, parts.conf.compute.report_interval)
    agent.start()
    return agent


def _connection(device: Any) -> Attachment:
    info = dict(device.connection_info)
    data = {"driver_volume_type": info.get("driver_volume_type"), **info.get("data", {})}
    return Attachment(str(device.attachment_id), str(device.volume_id), None, "attached", data)
