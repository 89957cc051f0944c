# SPDX-License-Identifier: Apache-2.0
"""The one object that doors and libraries use: a short method for each verb."""

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from oslo_config import cfg

from bfv import (
    accept,
    attach,
    boot,
    createimage,
    detach,
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
from bfv.drivers.agent import Agent
from bfv.edits import Edits, check_lock
from bfv.engine import Engine, Heartbeat, InProcess
from bfv.errors import (
    BadRequest,
    CellDown,
    Conflict,
    Failed,
    LeaseLost,
    MaybeRunning,
    NotFound,
    StorageError,
)
from bfv.find import Finder, Shown
from bfv.images.fleet import Warmed
from bfv.images.verbs import Images
from bfv.job import Job
from bfv.journal import DONE, Intent
from bfv.limits import Limits
from bfv.migrate.run import CONVERTED
from bfv.migrate.verbs import Migrations
from bfv.parts import Parts, assemble
from bfv.turns import Turns
from bfv.types import BootRequest, Caller, Decision, Deleted, ServerEvent, ServerInfo, VolumeRequest
from cells.errors import BadCell, Exists
from cells.listing import Brief, Detail, Query
from cells.types import BlockDevice
from imagebackends.rbd.bindings import Bindings
from imagebackends.types import Attachment

Progress = Callable[[ServerInfo], None]


def each_call_says() -> Caller:
    """Be the caller of a cloud that is told with each call who asks."""
    raise AssertionError("each call says who asks")


class Cloud:
    """All verbs, over one configuration. Close it, or use it with ``with``."""

    def __init__(self, conf: cfg.ConfigOpts, caller: Callable[[], Caller] = each_call_says,
                 engine: Engine | None = None, bindings: Bindings | None = None) -> None:  # fmt: skip
        self._caller = caller
        # Called with each event of a server that other services tell of.
        self.listeners: list[Callable[[ServerEvent], None]] = []
        self.engine = engine or InProcess(conf.engine.workers_per_cell)
        self.use(assemble(conf, bindings))
        self.engine.start(lambda intent_id: self._turns.handle(intent_id))
        self._heart = Heartbeat(self.parts.journal.beat, conf.engine.lease / 3)
        self._heart.start()
        # A Ceph that hangs is seen as soon as a database that does, and not by boots that wait for it.
        look = lambda: self.parts.clusters.look(self.parts.cells.cell_timeout)  # noqa: E731
        self._watch = Heartbeat(look, conf.database.probe_interval_max)
        if self.parts.clusters.settings.ceph:
            self._watch.start()
        self._agent = _agent(self.parts)

    def use(self, parts: Parts) -> None:
        """Work with these parts from now on, for example with another driver or another image backend."""
        self.parts = parts
        self._find, self._turns = Finder(parts), Turns(parts, self.engine)
        # What is written about a server, and nothing outside.
        self.edits = Edits(parts, self._find.placed, self._turns.run_now)
        self.images = Images(parts, self.engine, self._caller)
        self.migrations = Migrations(parts, self.engine)

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
        try:
            for intent in intents:
                self.parts.rights.keep(intent.id, who)
                boot.begin(self.parts, intent)
        finally:
            for intent in intents:
                self._turns.start(intent, who)
        return told

    def delete(self, server_id: str, caller: Caller | None = None) -> Deleted:
        """Delete a server in whatever state it is, wait for the end and tell what was kept.

        Raises NotFound, Failed, MaybeRunning, NotAllowed, CellDown.
        """
        intent = self.start_delete(server_id, caller)
        ended = self._turns.end_of(intent)
        if ended.phase == "failed":
            raise Failed(f"Server {server_id} was not deleted: {ended.outcome}")
        kept = [step.detail or "" for step in self.parts.journal.history(ended) if step.name == "kept"]
        return Deleted(server_id, tuple(kept))

    def start_delete(self, server_id: str, caller: Caller | None = None) -> Intent:
        """Start to delete a server in whatever state it is, and return at once; repeatable.

        Raises NotFound, NotAllowed, CellDown, and Conflict while another verb is finished first.
        """
        who = caller or self._caller()
        mapping = self._find.own(server_id, who)
        self._find.reachable(mapping, who)
        try:
            intent = self._turns.open("delete", mapping, who, {})
        except Conflict:
            deleting = self.parts.journal.opened(server_id, "delete")
            if not deleting:
                raise
            return deleting[0]
        self._turns.start(intent, who)
        return intent

    def rebuild(self, server_id: str, image: str, caller: Caller | None = None) -> ServerInfo:
        """Start to write another image onto a server's root volume; all its data is lost.

        Raises Refused, NotFound, MaybeRunning, CellDown when nothing was started.
        """
        who = caller or self._caller()
        mapping, _, server = self._find.placed(server_id, who)
        check_lock(server, who)
        found = self.parts.images.find(self.parts.rights.image(who), image)
        rebuild.check(self.parts, server, found)
        intent = self._turns.open("rebuild", mapping, who, {"image": dataclasses.asdict(found)})
        self._turns.start(intent, who)
        return self.server(server_id, who)

    def create_image(self, server_id: str, name: str, metadata: Mapping[str, str] | None = None,
                     caller: Caller | None = None) -> str:  # fmt: skip
        """Start to make an image of a server's volumes; return its id: it is queued until it can be booted from.

        Raises Refused, NotFound, Failed, MaybeRunning, CellDown when nothing is left of it, or will be.
        """
        who = caller or self._caller()
        mapping, _, server = self._find.placed(server_id, who)
        createimage.check(self.parts, server)
        intent = self._turns.open("createImage", mapping, who, createimage.request(server, name, metadata or {}))
        self.parts.rights.keep(intent.id, who)
        job = Job(self.parts, intent)
        try:
            createimage.begin(job)
        except StorageError as error:
            # The flow undoes it.
            job.turn(str(error))
            raise
        finally:
            self._turns.start(intent, who)
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
        mapping = self._find.mapping(server_id)
        _, server = self._find.row(mapping)
        if server.task_state in ("rebuilding", "deleting"):
            raise Conflict(f"Server {server_id} is {server.task_state}; its volumes cannot be connected now.")
        if spawn.runs(self.parts, server) and server.host != connector["host"]:
            raise Conflict(f"Server {server_id} runs on another host, which has its volumes.")
        self._turns.run_now("connect", mapping, caller, {"connector": dict(connector)})
        _, server = self._find.row(mapping)
        return [_connection(device) for device in server.devices if device.connection_info]

    def disconnect(self, server_id: str, caller: Caller | None = None) -> None:
        """Have a server's host let go of its volumes, which stay reserved for the server; repeatable."""
        mapping = self._find.mapping(server_id)
        self._find.reachable(mapping)
        if self.parts.driver is not None and spawn.runs(self.parts, self._find.row(mapping)[1]):
            raise Conflict(f"Server {server_id} runs on its host and uses its volumes; delete or rebuild it.")
        self._turns.run_now("disconnect", mapping, caller, {})

    def attach_volume(self, server_id: str, request: VolumeRequest, caller: Caller | None = None) -> BlockDevice:
        """Give a server one more volume, wait for the end and return its device.

        Raises what ``start_attach`` raises, and Failed when the volume was taken back.
        """
        who = caller or self._caller()
        intent, device, goes_on = self._start_attach(server_id, request, who)
        if device is not None and not goes_on:
            return device
        ended = self._turns.end_of(intent)
        if ended.phase != DONE:
            raise Failed(f"Volume {request.volume_id} was not attached: {ended.outcome}")
        _, server = self._find.row(self._find.own(server_id, who))
        return next(each for each in server.devices if each.volume_id == request.volume_id)

    def start_attach(
        self, server_id: str, request: VolumeRequest, caller: Caller | None = None
    ) -> tuple[Intent, BlockDevice | None]:
        """Start to give a server one more volume; return the device, None while nobody knows whether it is reserved.

        Raises Refused, NotFound, Failed, CellDown when nothing was started.
        """
        intent, device, _ = self._start_attach(server_id, request, caller or self._caller())
        return intent, device

    def _start_attach(self, server_id: str, request: VolumeRequest,
                      who: Caller) -> tuple[Intent, BlockDevice | None, bool]:  # fmt: skip
        """Start an attach; return, beside what ``start_attach`` does, whether anything of it is still to be done."""
        mapping = self._find.own(server_id, who)
        database, server = self._find.row(mapping)
        check_lock(server, who)
        disk = attach.check(self.parts, self.parts.rights.image(who), server, database.name, request)
        words = dataclasses.asdict(dataclasses.replace(request, size=disk.size))
        intent = self._turns.open_in_turn("attach", mapping, who, words, asks=attach.asks(disk.id))
        self.parts.rights.keep(intent.id, who)
        goes_on = True
        try:
            device, goes_on = attach.begin(self.parts, intent)
            return intent, device, goes_on
        except (MaybeRunning, LeaseLost):
            return intent, None, True
        finally:
            # It goes on from there; nothing is left to do where it was taken back.
            if goes_on:
                self._turns.start(intent, who)
            else:
                self.parts.rights.forget(intent.id)

    def detach_volume(self, server_id: str, volume_id: str, caller: Caller | None = None) -> None:
        """Take a volume from a server and wait until it is free. Raises what ``start_detach`` raises, and Failed."""
        intent = self.start_detach(server_id, volume_id, caller)
        ended = self._turns.end_of(intent)
        if ended.phase != DONE:
            raise Failed(f"Volume {volume_id} was not detached: {ended.outcome}")

    def start_detach(self, server_id: str, volume_id: str, caller: Caller | None = None) -> Intent:
        """Start to take a volume from a server. Raises Refused, NotFound, CellDown when nothing was started."""
        who = caller or self._caller()
        mapping = self._find.own(server_id, who)
        _, server = self._find.row(mapping)
        check_lock(server, who)
        device = detach.check(self.parts, self.parts.rights.image(who), server, volume_id)
        words = {"device_id": device.uuid, "volume_id": volume_id}
        hosted = spawn.runs(self.parts, server)
        first = None if hosted else detach.frees(device)
        intent = self._turns.open_in_turn("detach", mapping, who, words, step=first)
        # Without a host it is one call to cinder, and who asks hears at once what came of it.
        (self._turns.start if hosted else self._turns.start_here)(intent, who)
        return intent

    def server(self, server_id: str, caller: Caller | None = None) -> ServerInfo:
        """Return a server. Raises NotFound, CellDown."""
        return self._find.info(self._find.own(server_id, caller or self._caller()))

    def shown(self, server_id: str, caller: Caller | None = None) -> ServerInfo | Shown:
        """Return what a single server is shown by, its row in its cell if it has one. Raises what ``server`` raises."""
        return self._find.shown(server_id, caller or self._caller())

    def servers(
        self, caller: Caller | None = None, *, limit: int = 1000, marker: str | None = None
    ) -> list[ServerInfo]:
        """Return servers of the caller's project, newest first, at most ``limit``, after ``marker``.

        Those in a cell that is down have the status UNKNOWN and stand at their place. Raises NotMapped, CellDown.
        """
        who = caller or self._caller()
        return self.page(Query(who.project_id, limit, marker)).servers

    def page(self, query: Query) -> lists.Listed[ServerInfo]:
        """Return a page of servers as ``query`` asks for it, of any project; the caller has checked who may ask.

        Raises BadQuery, NotMapped for an unknown marker, CellDown for the API database.
        """
        return lists.servers(self.parts, query)

    def rows(self, query: Query) -> lists.Listed[ServerInfo | Detail | Brief]:
        """Return what ``page`` returns, with servers that have their row in a cell as that has it. Raises the same."""
        return lists.rows(self.parts, query)

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
        who, mapping = caller or self._caller(), self._find.mapping(event.server_id)
        if event.name == events.REIMAGED and event.tag and self.parts.waits.hurry(event.tag):
            return True
        try:
            _, server = self._find.row(mapping)
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
        self._turns.sweep()
        return repaired

    def warm(self, image: str, cells: Sequence[str] | None = None, caller: Caller | None = None) -> list[Warmed]:
        """Make the cheapest source of an image exist in these cells, None: all, and wait; see ``images.warm``."""
        return self.images.warm(image, cells, caller)

    def strays(self) -> strays.Look:
        """Return the volumes of servers that cinder tells otherwise; nothing is changed. Raises what it meets."""
        return strays.look(self.parts)

    def resume(self) -> int:
        """Have this process go on with what dead workers left open; return how many that are. Repeatable.

        Unlike ``repair`` it waits for none of them: they run beside what this process was asked for. What is for a cell
        that is down stays as it is until the cell is back.
        """
        opened = [each for each in self.parts.journal.opened() if each.verb != CONVERTED]
        down = self._find.down({each.cell for each in opened if each.cell})
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
            self._find.own(server_id, who)
        return found

    def history(self, server_id: str, caller: Caller | None = None) -> Sequence[tuple[Intent, list[Any]]]:
        """Return what was asked of a server, with the steps of each, oldest first."""
        self._find.own(server_id, caller or self._caller())
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

    def _power(self, verb: str, server_id: str, caller: Caller | None, kind: str | None = None) -> ServerInfo:
        who = caller or self._caller()
        mapping, _, server = self._find.placed(server_id, who)
        check_lock(server, who)
        power.check(self.parts, server, verb, kind)
        self._turns.start(self._turns.open(verb, mapping, who, {"type": kind}), who)
        return self.server(server_id, who)


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
