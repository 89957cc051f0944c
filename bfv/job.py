# SPDX-License-Identifier: Apache-2.0
"""An intent in the hands of a worker: the few things that every flow does with it."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from bfv.errors import Cancelled, MaybeRunning, StorageError
from bfv.journal import UNWINDING, Intent, Object
from bfv.parts import Parts
from bfv.types import Decision
from cells.database import Database
from imagebackends.types import Access, Attachment, Disk, Snapshot

Made = TypeVar("Made", Attachment, Disk, Snapshot)
LOG = logging.getLogger(__name__)


class Job:
    """A held intent. Each method that writes raises LeaseLost when another worker has taken it.

    One that runs ``within`` another flow stops when that must.
    """

    def __init__(self, parts: Parts, intent: Intent, *, stoppable: bool = False, within: "Job | None" = None) -> None:
        self.parts, self.intent, self._stoppable, self._within = parts, intent, stoppable, within
        # Read once: while the lease is ours nobody else writes them, and without it each write of ours fails.
        # A boot that has no cell yet, and never had another worker, has asked for nothing but volumes that were there.
        untouched = intent.verb == "boot" and intent.cell is None and intent.fence == 1 and not _brings(intent)
        self._objects: dict[int, Object] | None = {} if untouched else None
        self._unwritten: list[Object] = []
        # The roles whose volumes were made where no source of the image was: none is noted as used.
        self.unsourced: set[str] = set()

    @property
    def access(self) -> Access:
        """Rights to make, bind and remove things in the intent's project. Raises NotAllowed."""
        return self.parts.rights.storage(self.intent)

    @property
    def shared_access(self) -> Access:
        """Rights to make something in the intent's project of what is the service's own. Raises NotAllowed."""
        return self.parts.rights.sharing(self.intent)

    @property
    def watch_access(self) -> Access:
        """Rights to look: at all projects at once where the service user may, else at this project."""
        return self.parts.rights.everywhere(self.intent.request_id) or self.access

    @functools.cached_property
    def decision(self) -> Decision:
        """What was decided when the request was accepted."""
        assert self.intent.decision is not None, "only boots and rebuilds have a decision"
        return Decision.from_dict(self.intent.decision)

    @property
    def cell_database(self) -> Database:
        """The database of the intent's cell."""
        assert self.intent.cell is not None, "the cell is chosen first"
        return self.parts.cells.named(self.intent.cell)

    def step(self, name: str, detail: str | None = None, **columns: Any) -> None:
        """Write what is about to be done, before it is done; stop here if a DELETE asked to."""
        with self._known() as known:
            self.intent = self.parts.journal.update(self.intent, name, detail, stop=self._stops, known=known, **columns)
        LOG.info(
            "server %s: %s %s%s",
            self.intent.server_id,
            self.intent.verb,
            name,
            f" {detail}" if detail else "",
            extra={"request_id": self.intent.request_id},
        )

    def tell(self, name: str, detail: str) -> None:
        """Write a line of history that changes nothing."""
        self.intent = self.parts.journal.update(self.intent, name, detail)
        LOG.warning("server %s: %s: %s", self.intent.server_id, name, detail)

    @property
    def _stops(self) -> bool:
        """Whether a DELETE may stop it here: not once it goes back, and not where stopping halfway harms."""
        return self._stoppable and self.intent.phase != UNWINDING

    def check(self) -> None:
        """Raise LeaseLost if it is another's, Cancelled if this flow may be stopped and was asked to.

        Raises MaybeRunning when the process ends.
        """
        self._not_at_the_end()
        if self._within is not None:
            self._within.check()
        now = self.parts.journal.check(self.intent)
        if self._stops and now.cancel:
            raise Cancelled
        self.intent = now

    def stop(self) -> None:
        """Raise Cancelled if a DELETE asked to stop, also where the flow as a whole may not be stopped."""
        if self.parts.journal.check(self.intent).cancel:
            raise Cancelled

    def still_ours(self) -> None:
        """Raise LeaseLost if another worker has it, MaybeRunning when the process ends."""
        self._not_at_the_end()
        self.parts.journal.check(self.intent)

    def _not_at_the_end(self) -> None:
        # Nobody waits for a sweep: it may take as long as a storage is silent.
        if self.parts.closed.is_set() or (self.intent.verb == "sweep" and self.parts.closing.is_set()):
            raise MaybeRunning("This process ends; the next `bfv repair` goes on.")

    def turn(self, reason: str, **columns: Any) -> None:
        """Go back from here: from now on every worker of this intent only removes."""
        columns |= {"phase": UNWINDING, "outcome": reason}
        with self._known() as known:
            turned = self.parts.journal.update(self.intent, "undo", reason, known=known, **columns)
        # Read again: whether a DELETE asked for it decides how it ends.
        self.intent = self.parts.journal.check(turned)
        LOG.warning("server %s: %s is undone: %s", self.intent.server_id, self.intent.verb, reason)

    def passed(self, name: str) -> bool:
        """Return whether this worker or one before it came to a step."""
        return any(step.name == name for step in self.parts.journal.history(self.intent))

    def make(self, kind: str, role: str, spec: Mapping[str, Any], act: Callable[[str], Made], *,
             later: bool = False) -> Made:  # fmt: skip
        """Write down what is asked for, ask by ``act(marker)``, write down the id of what came, and return that.

        A refusal leaves nothing; after MaybeRunning the object stays, to be looked for. The id is written at once,
        or ``later``: with the next line.
        """
        thing = self.ask(kind, role, spec)
        made = self.act(thing, act)
        (self.know_later if later else self.know)(thing, made.id)
        return made

    def act(self, thing: Object, act: Callable[[str], Made]) -> Made:
        """Ask for an object that is written down already, and leave writing its id to who calls."""
        try:
            return act(thing.marker)
        except MaybeRunning:
            raise
        except StorageError:
            self.gone(thing)
            raise

    def said(self, name: str) -> str | None:
        """Return the detail of the last step of a name, None without one."""
        found = [step.detail for step in self.parts.journal.history(self.intent) if step.name == name]
        return found[-1] if found else None

    def close(self, phase: str, outcome: str | None = None, *, stop: bool = False) -> None:
        """End the intent; with ``stop`` raise Cancelled if it is asked to begin anew."""
        with self._known() as known:
            self.parts.journal.close(self.intent, phase, outcome, stop=stop, known=known)
        LOG.info("server %s: %s %s", self.intent.server_id, self.intent.verb, phase)

    def object(self, kind: str, role: str) -> Object | None:
        """Return the object of that kind and role that the journal knows, if any."""
        for thing in self.objects():
            if (thing.kind, thing.role) == (kind, role):
                return thing
        return None

    def objects(self) -> list[Object]:
        """Return all that the intent has outside, oldest first."""
        if self._objects is None:
            self._objects = {thing.id: thing for thing in self.parts.journal.objects(self.intent)}
        return list(self._objects.values())

    def ask(self, kind: str, role: str, spec: Mapping[str, Any]) -> Object:
        """Write down an object before it is asked for; stop here if a DELETE asked to."""
        self.objects()
        return self._keep(self.parts.journal.ask(self.intent, kind, role, spec, stop=self._stops))

    def know(self, thing: Object, external_id: str) -> None:
        """Write down the id of an object."""
        self.parts.journal.know(self.intent, thing, external_id)
        self._keep(dataclasses.replace(thing, external_id=external_id))

    def know_later(self, thing: Object, external_id: str) -> None:
        """Keep the id of an object, to be written with the next line: until then it is found as after a lost answer."""
        self._unwritten.append(self._keep(dataclasses.replace(thing, external_id=external_id)))

    @contextlib.contextmanager
    def _known(self) -> Iterator[list[Object]]:
        """Give the objects whose ids are not written yet, which the block writes."""
        known, self._unwritten = self._unwritten, []
        try:
            yield known
        except BaseException:
            self._unwritten += known
            raise

    def gone(self, thing: Object) -> None:
        """Write down that an object is no more."""
        self.parts.journal.gone(self.intent, thing)
        if self._objects is not None:
            self._objects.pop(thing.id, None)

    def leave(self, why: str, **columns: Any) -> None:
        """Leave all that the intent has outside to a sweep, which is run when this flow is done."""
        self.intent, swept = self.parts.journal.leave(self.intent, "sweep", why, **columns)
        self._objects = {}
        self.parts.rights.lend(self.intent.id, swept.id)
        self.parts.left.put(swept)
        LOG.warning("server %s: what it has in cell %s is removed later: %s", swept.server_id, swept.cell, why)

    def _keep(self, thing: Object) -> Object:
        if self._objects is not None:
            self._objects[thing.id] = thing
        return thing


def _brings(intent: Intent) -> bool:
    """Return whether a boot is to have volumes that the user made before."""
    return any(disk["source_type"] == "volume" for disk in (intent.decision or {}).get("disks", ()))
