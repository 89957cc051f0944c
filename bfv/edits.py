# SPDX-License-Identifier: Apache-2.0
"""Changes of what is written about a server, done at once and nothing outside: names, metadata, tags, locks, states.

What nova tells of as an action (a lock, a state that is written over) is in the journal as one; the other changes are
one transaction in the server's cell, and no action there either.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

from bfv import connect, words
from bfv.errors import BadRequest, Conflict, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from bfv.types import Caller
from cells import edits, servers
from cells.database import Database
from cells.types import BlockDevice, Server, ServerMapping

T = TypeVar("T")
OWNER, ADMIN = "owner", "admin"
MAX_TAGS = 50
# nova/compute/api.py: check_instance_state of update_instance_metadata; nova/api/openstack/compute/server_tags.py.
CALM = ("active", "paused", "suspended", "stopped")
TAGGABLE: Mapping[str, Any] = {"vm_state": CALM}
DESCRIBABLE: Mapping[str, Any] = {"vm_state": CALM, "task_state": None}
# Columns by the names that people use.
COLUMNS = {"name": "display_name", "description": "display_description", "hostname": "hostname"}

Find = Callable[[str, Caller], tuple[ServerMapping, Database, Server]]


class Run(Protocol):
    """Runs a short flow to its end."""

    def __call__(self, verb: str, mapping: ServerMapping, who: Caller | None, request: Mapping[str, Any]) -> None:
        """Open an intent of a verb and run it in this thread."""


class Edits:
    """The verbs. ``find`` returns the row of a server of the caller's, which has been placed.

    All raise NotFound, Conflict where the server's state does not allow it, and CellDown.
    """

    def __init__(self, parts: Parts, find: Find, run_now: Run) -> None:
        self._parts, self._find, self._run = parts, find, run_now

    def update(self, server_id: str, who: Caller, changes: Mapping[str, str | None]) -> None:
        """Set a server's ``name``, ``description`` or ``hostname``. Raises BadRequest."""
        _, database, server = self._find(server_id, who)
        if changes.get("name") is not None:
            words.check_name(str(changes["name"]))
        words.check(value for value in changes.values() if value is not None)
        columns: dict[str, Any] = {COLUMNS[name]: value for name, value in changes.items()}
        if columns and not servers.update(database, server.uuid, **columns):
            raise NotFound(f"Server {server.uuid} could not be found.")

    def metadata(self, server_id: str, who: Caller, what: str,
                 change: Callable[[dict[str, str]], Mapping[str, str]]) -> Mapping[str, str]:  # fmt: skip
        """Write the metadata that ``change`` makes of a server's, and return it; ``what`` names that for a refusal.

        Raises BadRequest, OverQuota, and what ``change`` raises.
        """
        _, database, server = self._find(server_id, who)
        check_lock(server, who)
        most = words.most_items(self._parts, server.project_id)

        def checked(before: dict[str, str]) -> Mapping[str, str]:
            after = change(before)
            words.check((*after, *after.values()))
            words.check_number(most, len(after))
            return after

        made = edits.change_metadata(database, server.uuid, checked, DESCRIBABLE)
        return _in_state(database, server, what, DESCRIBABLE, made)

    def tags(self, server_id: str, who: Caller, what: str,
             change: Callable[[frozenset[str]], Collection[str]]) -> list[str]:  # fmt: skip
        """Write the tags that ``change`` makes of a server's, and return them. Raises what ``metadata`` raises."""
        _, database, server = self._find(server_id, who)

        def checked(before: frozenset[str]) -> Collection[str]:
            after = change(before)
            words.check(after)
            if len(after) > MAX_TAGS:
                raise BadRequest(f"The number of tags exceeded the per-server limit {MAX_TAGS}")
            return after

        return _in_state(database, server, what, TAGGABLE,
                         edits.change_tags(database, server.uuid, checked, TAGGABLE))  # fmt: skip

    def volume(self, server_id: str, who: Caller, device: BlockDevice, *, delete_on_termination: bool) -> None:
        """Say whether a volume goes with its server."""
        _, database, _ = self._find(server_id, who)
        servers.update_device(database, device.uuid, delete_on_termination=delete_on_termination)

    def lock(self, server_id: str, who: Caller, reason: str | None = None) -> None:
        """Lock a server: only admins may change it until it is unlocked. Its owner locks it once."""
        mapping, _, server = self._find(server_id, who)
        by = OWNER if server.project_id == who.project_id else ADMIN
        if not (server.locked and by == OWNER):
            self._run("lock", mapping, who, {"by": by, "reason": reason})

    def unlock(self, server_id: str, who: Caller) -> None:
        """Unlock a server."""
        self._run("unlock", self._find(server_id, who)[0], who, {})

    def reset_state(self, server_id: str, who: Caller, state: str) -> None:
        """Write a state of a server, ``active`` or ``error``, over the one it has; the guest is what it is."""
        self._run("resetState", self._find(server_id, who)[0], who, {"state": state})


def check_lock(server: Server, who: Caller) -> None:
    """Raise Conflict for a locked server unless an admin asks (``nova/compute/api.py:check_instance_lock``)."""
    if server.locked and "admin" not in who.roles:
        raise Conflict(f"Instance {server.uuid} is locked")


def run(parts: Parts, intent: Intent) -> None:
    """Lock or unlock a server, or write another state of it. Raises NotFound, Refused, Failed, CellDown."""
    job = Job(parts, intent)
    try:
        database, server = connect.placed(job)
        _write(job, database, server)
    except (Refused, NotFound, Failed) as error:
        job.close(FAILED, str(error))
        raise
    job.close(DONE)


def _write(job: Job, database: Database, server: Server) -> None:
    asked = job.intent.request
    if job.intent.verb == "resetState":
        job.step("resetState", f"{server.vm_state} to {asked['state']}")
        # nova/api/openstack/compute/admin_actions.py:_reset_state
        servers.update(database, server.uuid, vm_state=asked["state"], task_state=None)
    else:
        job.step(job.intent.verb, asked.get("reason"))
        edits.set_lock(database, server.uuid, asked.get("by"), asked.get("reason"))


def _in_state(database: Database, server: Server, what: str, expect: Mapping[str, Any], made: T | None) -> T:
    """Return what was made; None is a server whose state did not allow it. Raises Conflict, NotFound."""
    if made is not None:
        return made
    now = servers.find(database, server.uuid)
    if now is None:
        raise NotFound(f"Server {server.uuid} could not be found.")
    name = "vm_state" if now.vm_state not in expect["vm_state"] else "task_state"
    raise Conflict(f"Cannot '{what}' instance {server.uuid} while it is in {name} {getattr(now, name)}")
