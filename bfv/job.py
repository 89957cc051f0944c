# SPDX-License-Identifier: Apache-2.0
"""An intent in the hands of a worker: the few things that every flow does with it."""

import logging
from typing import Any

from bfv.errors import Cancelled
from bfv.journal import UNWINDING, Intent, Object
from bfv.parts import Parts
from bfv.types import Decision
from cells.database import Database
from imagebackends.types import Access

LOG = logging.getLogger(__name__)


class Job:
    """A held intent. Each method that writes raises LeaseLost when another worker has taken it."""

    def __init__(self, parts: Parts, intent: Intent, *, stoppable: bool = False) -> None:
        self.parts, self.intent, self._stoppable = parts, intent, stoppable

    @property
    def access(self) -> Access:
        """Rights to make, bind and remove things in the intent's project. Raises NotAllowed."""
        return self.parts.rights.storage(self.intent)

    @property
    def watch_access(self) -> Access:
        """Rights to look: at all projects at once where the service user may, else at this project."""
        return self.parts.rights.everywhere(self.intent.request_id) or self.access

    @property
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
        self.check()
        self.intent = self.parts.journal.update(self.intent, name, detail, **columns)
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

    def check(self) -> None:
        """Raise LeaseLost if it is another's, Cancelled if this flow may be stopped and was asked to."""
        now = self.parts.journal.check(self.intent)
        if self._stoppable and now.cancel and now.phase != UNWINDING:
            raise Cancelled
        self.intent = now

    def stop(self) -> None:
        """Raise Cancelled if a DELETE asked to stop, also where the flow as a whole may not be stopped."""
        if self.parts.journal.check(self.intent).cancel:
            raise Cancelled

    def still_ours(self) -> None:
        """Raise LeaseLost if another worker has it."""
        self.parts.journal.check(self.intent)

    def turn(self, reason: str) -> None:
        """Go back from here: from now on every worker of this intent only removes."""
        self.intent = self.parts.journal.update(self.intent, "undo", reason, phase=UNWINDING, outcome=reason)
        LOG.warning("server %s: %s is undone: %s", self.intent.server_id, self.intent.verb, reason)

    def close(self, phase: str, outcome: str | None = None) -> None:
        """End the intent."""
        self.parts.journal.close(self.intent, phase, outcome)
        LOG.info("server %s: %s %s", self.intent.server_id, self.intent.verb, phase)

    def object(self, kind: str, role: str) -> Object | None:
        """Return the object of that kind and role that the journal knows, if any."""
        for thing in self.parts.journal.objects(self.intent):
            if (thing.kind, thing.role) == (kind, role):
                return thing
        return None

    def objects(self) -> list[Object]:
        """Return all that the intent has outside, oldest first."""
        return self.parts.journal.objects(self.intent)

    def know(self, thing: Object, external_id: str) -> None:
        """Write down the id of an object."""
        self.parts.journal.know(self.intent, thing, external_id)

    def gone(self, thing: Object) -> None:
        """Write down that an object is no more."""
        self.parts.journal.gone(self.intent, thing)
