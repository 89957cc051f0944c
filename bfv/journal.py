# SPDX-License-Identifier: Apache-2.0
"""What we were about to do: the one truth from which a crash is repaired.

Four tables of our own. An **intent** is one verb on one server: who asked, what was decided, how far it
is, who works on it. Its **objects** are the things that it makes outside, each written down with a random
marker *before* it is asked for. Its **steps** are the history that people read; no secret is in it. Its
**payload** (user data) is wiped at the end. Tokens are never written.

A boot writes, in this order, and a crash between any two lines is harmless:

1. intent (open, forward)      a crash here: nothing exists outside; ``repair`` goes on or gives up.
                               Its claim (`bfv.claims`) is in the same transaction, and ends in that of line 9
1a. the user's own volumes     are reserved as in 6 and 7 before the request is answered: who comes too late is refused.
                               A crash here: as 1, and as 6
2. mapping without a cell      the server is listed as BUILD; mapping again is no error
3. cell in intent, mapping     nothing outside; the same cell is taken again
4. object *volume* with marker then POST /volumes. Crash between: ``find`` by the marker sees nothing, and after
                               ``late_answer`` seconds nothing can come any more: it is asked for anew
5. the volume's id             crash before: ``find`` by the marker adopts it; crash after: it is waited for
6. object *attachment*         then POST /attachments. Crash between: the volume is ours and known by id, so an
                               attachment of it for our server is the one that was asked for
7. the attachment's id         as 5; a boot writes it with the line that says rows are next
8. rows of the server, one     a crash here: the rows are there already, writing them again is no error
   transaction in the cell
8a. where a driver runs it     (`bfv.spawn`) host in the row, connections, guest, ACTIVE: a host does each again
                               without harm, and the row names the host that must be asked to take it down
9. intent closed, payload gone

A boot asks for all its disks at once: lines 4 to 7 are each disk's own. What an attach writes is in `bfv.attach`.

Undoing writes ``unwinding`` and the reason into the intent first; from then on every worker that takes
the intent only removes: the guest, attachments, then volumes, each by the id that the journal holds or that was found
by the journal's marker. Then ERROR with the fault is recorded (or, for a DELETE, nothing), then it is closed.
A DELETE writes what it removes in the same way: the ids are in the server's rows until all are gone.

What cinder tells of a volume is an intent before cinder has its answer (`bfv.extend`): killed before that, cinder heard
nothing and tells its user; killed after, the next worker looks at the volume itself, whatever the last one saw.

**Leases.** A worker holds an intent for some seconds at a time and beats; each write of a worker is bound to
its ``fence``, a number that grows when another takes over, so one that slept too long can write nothing more.
"""

import datetime as dt
import functools
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from bfv import claims
from bfv.errors import Cancelled, LeaseLost
from bfv.intent import (
    CANCELLED,
    DONE,
    FAILED,
    FORWARD,
    SLOTS,
    UNWINDING,
    Intent,
    Object,
    Step,
    from_columns,
    to_intent,
    to_object,
)
from bfv.owner import is_dead
from bfv.tables import intents, objects, payloads, steps
from bfv.types import utcnow
from cells.database import Database
from cells.errors import Exists
from cells.fixed import Fixed
from cells.prebuilt import Prebuilt
from cells.wire import Row

__all__ = ["CANCELLED", "DONE", "FAILED", "FORWARD", "SLOTS", "UNWINDING", "Intent", "Journal", "Object", "Step"]

_OPEN = intents.c.closed_at.is_(None)
_HELD_BY = sa.and_(intents.c.id == sa.bindparam("held"), intents.c.fence == sa.bindparam("by"), _OPEN)
_BY_AGE = (intents.c.created_at, intents.c.id)
_GET = Prebuilt(sa.select(intents).where(intents.c.id == sa.bindparam("intent_id")))
_HELD = Fixed(intents.update().where(_HELD_BY))
_UNLESS_CANCELLED = Fixed(intents.update().where(_HELD_BY, intents.c.cancel.is_(sa.false())))
_SERVERS = sa.select(intents).where(intents.c.server_id == sa.bindparam("server")).order_by(*_BY_AGE)
_OF_SERVER, _OPENED_OF_SERVER = Prebuilt(_SERVERS), Fixed(_SERVERS.where(_OPEN))
_ENTERING = Fixed(sa.select(intents.c.decision).where(
    intents.c.slot == "boot", intents.c.project_id == sa.bindparam("project"), intents.c.cell.is_(None)
))  # fmt: skip
_BUILDING = sa.select(intents).where(intents.c.slot == sa.literal_column("'boot'"))
_BUILDING_ALL = Prebuilt(_BUILDING)
_BUILDING_OF = Prebuilt(_BUILDING.where(intents.c.project_id == sa.bindparam("project")))
_NEW_INTENT, _NEW_OBJECT, _NEW_STEP, _NEW_PAYLOAD = (
    Fixed(table.insert()) for table in (intents, objects, steps, payloads)
)
_SET_OBJECT = Fixed(objects.update().where(objects.c.id == sa.bindparam("object_id")))
_OF_INTENT = objects.c.intent_id == sa.bindparam("intent")
_GIVE = Fixed(objects.update().where(_OF_INTENT).values(intent_id=sa.bindparam("to")))
_OBJECTS = Fixed(sa.select(objects).where(_OF_INTENT, objects.c.gone.is_(sa.false())).order_by(objects.c.id))
_PAYLOAD = Fixed(sa.select(payloads.c.body).where(payloads.c.intent_id == sa.bindparam("intent")))
_WIPE = Fixed(payloads.delete().where(payloads.c.intent_id == sa.bindparam("intent")))


class Journal:
    """Reads and writes the journal; ``owner`` names this process in leases of ``lease`` seconds.

    What writes raises LeaseLost for an intent that another worker has. With ``stop`` it raises Cancelled, and
    writes nothing, once a DELETE has asked the intent to stop, or somebody to begin anew.
    """

    def __init__(self, database: Database, owner: str, lease: float) -> None:
        self.database = database
        self.owner = owner
        self._lease = dt.timedelta(seconds=lease)

    def open(self, verb: str, server_id: str, **words: Any) -> Intent:
        """Write a new intent, held by this process, in a transaction of its own: ``words`` are those of ``insert``.

        Raises Exists when one of its slot is open.
        """
        try:
            return self.database.run(lambda conn: self.insert(conn, verb, server_id, **words))
        except sa.exc.IntegrityError as error:
            raise Exists(f"A {verb} of server {server_id} is already running.") from error

    def insert(
        self,
        conn: sa.Connection,
        verb: str,
        server_id: str,
        *,
        project_id: str,
        user_id: str,
        request_id: str,
        request: Mapping[str, Any],
        decision: Mapping[str, Any] | None = None,
        cell: str | None = None,
        payload: Mapping[str, Any] | None = None,
        slot: str | None = None,
        asks: tuple[str, str, Mapping[str, Any]] | None = None,
        step: tuple[str, str] | None = None,
        also: Callable[[sa.Connection, str], Mapping[str, Any]] | None = None,
    ) -> Intent:
        """Write a new intent, held by this process, in a transaction of the caller's; IntegrityError goes through.

        ``slot`` is by default its verb's. ``asks`` is the object that is asked for next, by kind, role and spec, and
        ``step`` what is done next: a transaction less than to write them afterwards.

        ``also`` runs first, with the intent's id, and returns the decision; what it raises leaves no trace of either.
        It is repeated with all of the transaction while a lock is not to be had.
        """
        now = utcnow()
        row: dict[str, Any] = {
            "id": str(uuid.uuid4()), "verb": verb, "server_id": server_id, "project_id": project_id,
            "user_id": user_id, "request_id": request_id, "cell": cell, "phase": FORWARD, "cancel": False,
            "request": json.dumps(request), "decision": json.dumps(decision) if decision else None, "outcome": None,
            "owner": self.owner, "fence": 1, "lease_until": now + self._lease, "created_at": now, "closed_at": None,
        }  # fmt: skip

        if also is not None:
            row["decision"] = json.dumps(also(conn, row["id"]))
        _NEW_INTENT.change(conn, {**row, "slot": slot or SLOTS.get(verb, verb)})
        if payload:
            _NEW_PAYLOAD.change(conn, {"intent_id": row["id"], "body": json.dumps(payload)})
        if asks:
            _write_object(conn, row["id"], *asks)
        if step:
            _write_step(conn, row["id"], *step)
        # What was written is what is read: JSON makes lists of tuples and texts of numbers that are keys.
        return Intent(
            **{**row, "request": json.loads(row["request"]), "decision": json.loads(row["decision"] or "null")}
        )

    def get(self, intent_id: str) -> Intent:
        """Return an intent by id."""
        [found] = self._read(_GET, intent_id=intent_id)
        return found

    def opened(self, server_id: str | None = None, verb: str | None = None) -> list[Intent]:
        """Return the open intents, oldest first."""
        with self.database.reader() as conn:
            if server_id:
                found = _OPENED_OF_SERVER.rows(conn, {"server": server_id})
            else:
                found = list(conn.execute(sa.select(intents).where(_OPEN).order_by(*_BY_AGE)))
        return [to_intent(row) for row in found if verb in (None, row.verb)]

    @staticmethod
    def entering(conn: sa.Connection, project_id: str) -> list[str]:
        """Return the cell that each accepted server of a project will try first, of those that are in none yet."""
        return [json.loads(row.decision)["cells"][0] for row in _ENTERING.rows(conn, {"project": project_id})]

    @contextmanager
    def building_ahead(self, project_id: str | None) -> Iterator[Callable[[], dict[str, Intent]]]:
        """Give what returns the boots of a project, or of all, that have not ended, by server, each time the same.

        They are read beside what is asked meanwhile.
        """
        statement = _BUILDING_ALL if project_id is None else _BUILDING_OF
        with self.database.ahead(statement, {"project": project_id} if project_id else {}) as rows:
            yield functools.cache(lambda: {intent.server_id: intent for intent in _intents(rows())})

    def of_server(self, server_id: str) -> list[Intent]:
        """Return all intents of a server, oldest first."""
        return self._read(_OF_SERVER, server=server_id)

    @contextmanager
    def of_server_ahead(self, server_id: str) -> Iterator[Callable[[], list[Intent]]]:
        """Give what returns ``of_server``; it is read beside what is asked meanwhile."""
        with self.database.ahead(_OF_SERVER, {"server": server_id}) as rows:
            yield lambda: _intents(rows())

    def _read(self, statement: Prebuilt, **values: str) -> list[Intent]:
        return _intents(self.database.rows(statement, values))

    def of_verbs(self, verbs: Sequence[str]) -> list[Intent]:
        """Return all intents of these verbs, oldest first."""
        query = sa.select(intents).where(intents.c.verb.in_(verbs)).order_by(*_BY_AGE)
        with self.database.reader() as conn:
            return [to_intent(row) for row in conn.execute(query)]

    def take(self, intent_id: str) -> Intent | None:
        """Take an open intent over if its worker is gone, None while somebody works on it."""
        held = self.get(intent_id)
        if not held.is_open:
            return None
        now = utcnow()
        if held.lease_until and held.lease_until > now and not is_dead(held.owner):
            return None
        values = {"owner": self.owner, "fence": held.fence + 1, "lease_until": now + self._lease}
        with self.database.writer() as conn:
            taken = _HELD.change(conn, {"held": intent_id, "by": held.fence, **values})
        return self.get(intent_id) if taken else None

    def beat(self) -> None:
        """Prolong the leases of all intents that this process works on."""
        with self.database.writer() as conn:
            conn.execute(
                intents.update().where(intents.c.owner == self.owner, _OPEN).values(lease_until=utcnow() + self._lease)
            )

    def release(self, intent: Intent) -> None:
        """Let go of an intent that stays open, so that the next ``repair`` may take it."""
        with self.database.writer() as conn:
            _HELD.change(conn, {"held": intent.id, "by": intent.fence, "lease_until": None, "owner": None})

    def update(self, intent: Intent, step: str, detail: str | None = None, *, stop: bool = False,
               known: Sequence[Object] = (), **columns: Any) -> Intent:  # fmt: skip
        """Write a line of history, and columns with it; return the intent with them.

        ``known`` are objects whose ids were not written yet.
        """
        with self.database.writer() as conn:
            self._fenced(conn, intent, columns, stop)
            _write_ids(conn, intent.id, known)
            _write_step(conn, intent.id, step, detail)
        return replace(intent, **columns) if columns else intent

    def ask(self, intent: Intent, kind: str, role: str, spec: Mapping[str, Any], *, stop: bool = False) -> Object:
        """Write down an object before it is asked for."""
        with self.database.writer() as conn:
            self._fenced(conn, intent, {}, stop)
            return _write_object(conn, intent.id, kind, role, spec)

    def know(self, intent: Intent, thing: Object, external_id: str) -> None:
        """Write down the id of an object."""
        self._set_object(intent, thing, f"have {thing.kind}", external_id, external_id=external_id)

    def gone(self, intent: Intent, thing: Object) -> None:
        """Write down that an object is no more, or never was."""
        self._set_object(intent, thing, f"gone {thing.kind}", thing.external_id, gone=True)

    def leave(
        self,
        intent: Intent,
        verb: str,
        why: str,
        request: Mapping[str, Any] | None = None,
        ended: str | None = None,
        **columns: Any,
    ) -> tuple[Intent, Intent]:
        """Give all objects of an intent to a new one of another verb; return the first with its columns, and the new.

        One transaction, in which the first ends as ``ended``: at each moment every object is some open intent's.
        Raises Exists when another intent of the new one's slot is open.
        """
        now, key = utcnow(), str(uuid.uuid4())
        row = {"id": key, "verb": verb, "slot": SLOTS.get(verb, key), "server_id": intent.server_id,
               "project_id": intent.project_id, "user_id": intent.user_id, "request_id": intent.request_id,
               "cell": intent.cell, "phase": FORWARD, "cancel": False, "request": json.dumps(request or {}),
               "owner": self.owner, "fence": 1, "lease_until": now + self._lease, "created_at": now}  # fmt: skip
        if ended is not None:
            columns |= {"phase": ended, "slot": intent.id, "closed_at": now}
        try:
            with self.database.writer() as conn:
                self._fenced(conn, intent, columns)
                _NEW_INTENT.change(conn, row)
                _GIVE.change(conn, {"intent": intent.id, "to": key})
                _write_step(conn, intent.id, f"leave to {verb}", why)
                _write_step(conn, key, verb, why)
        except sa.exc.IntegrityError as error:
            raise Exists(f"Server {intent.server_id} is being changed by others.") from error
        return self.get(intent.id), self.get(key)

    def objects(self, intent: Intent) -> list[Object]:
        """Return the objects of an intent that are not gone, oldest first."""
        with self.database.reader() as conn:
            return [to_object(row) for row in _OBJECTS.rows(conn, {"intent": intent.id})]

    def history(self, intent: Intent) -> list[Step]:
        """Return what happened to an intent, oldest first."""
        query = sa.select(steps).where(steps.c.intent_id == intent.id).order_by(steps.c.id)
        with self.database.reader() as conn:
            return [Step(row.name, row.detail, row.at) for row in conn.execute(query)]

    def payload(self, intent: Intent) -> dict[str, Any]:
        """Return the short-lived secret part of the request, empty once the intent is closed."""
        with self.database.reader() as conn:
            found = _PAYLOAD.rows(conn, {"intent": intent.id})
        return json.loads(found[0].body) if found else {}

    def cancel(self, server_id: str, verb: str) -> None:
        """Ask the open intent of that verb to stop."""
        asked = intents.update().where(intents.c.server_id == server_id, intents.c.verb == verb, _OPEN)
        with self.database.writer() as conn:
            conn.execute(asked.values(cancel=True))

    def again(self, server_id: str, slot: str) -> bool:
        """Ask the open intent of that slot to begin anew before it closes; return False if none is open."""
        asked = intents.update().where(intents.c.server_id == server_id, intents.c.slot == slot).values(cancel=True)
        with self.database.writer() as conn:
            return bool(conn.execute(asked).rowcount)

    def check(self, intent: Intent) -> Intent:
        """Return the intent as it is now."""
        now = self.get(intent.id)
        if now.fence != intent.fence or not now.is_open:
            raise LeaseLost(intent.id)
        return now

    def close(self, intent: Intent, phase: str, outcome: str | None = None, *, stop: bool = False,
              known: Sequence[Object] = ()) -> None:  # fmt: skip
        """End an intent and wipe its payload; ``known`` are objects whose ids were not written yet."""
        ended = {"phase": phase, "slot": intent.id, "closed_at": utcnow(), "lease_until": None,
                 "outcome": outcome or intent.outcome}  # fmt: skip
        with self.database.writer() as conn:
            self._fenced(conn, intent, ended, stop)
            _write_ids(conn, intent.id, known)
            _WIPE.change(conn, {"intent": intent.id})
            if intent.verb == "boot":
                claims.end_boot(conn, intent.id, booted=phase == DONE)
            elif intent.verb == "delete" and phase == DONE:
                claims.end_server(conn, intent.server_id)
            _write_step(conn, intent.id, phase, outcome)

    def _set_object(self, intent: Intent, thing: Object, step: str, detail: str | None, **columns: Any) -> None:
        with self.database.writer() as conn:
            self._fenced(conn, intent, {})
            _SET_OBJECT.change(conn, {"object_id": thing.id, **columns})
            _write_step(conn, intent.id, step, detail)

    def _fenced(self, conn: sa.Connection, intent: Intent, columns: Mapping[str, Any], stop: bool = False) -> None:
        values = {"held": intent.id, "by": intent.fence, "lease_until": utcnow() + self._lease, **columns}
        if (_UNLESS_CANCELLED if stop else _HELD).change(conn, values):
            return
        if stop and _HELD.change(conn, values):
            raise Cancelled
        raise LeaseLost(intent.id)


def _write_object(conn: sa.Connection, intent_id: str, kind: str, role: str, spec: Mapping[str, Any]) -> Object:
    row: dict[str, Any] = {
        "intent_id": intent_id, "kind": kind, "role": role, "marker": uuid.uuid4().hex + uuid.uuid4().hex[:8],
        "asked_at": utcnow(), "gone": False, "spec": json.dumps(spec),
    }  # fmt: skip
    key = _NEW_OBJECT.key(conn, row)
    _write_step(conn, intent_id, f"ask {kind}", role)
    return Object(key, kind, role, row["marker"], row["asked_at"], None, False, spec)


def _write_ids(conn: sa.Connection, intent_id: str, known: Sequence[Object]) -> None:
    for thing in known:
        _SET_OBJECT.change(conn, {"object_id": thing.id, "external_id": thing.external_id})
        _write_step(conn, intent_id, f"have {thing.kind}", thing.external_id)


def _write_step(conn: sa.Connection, intent_id: str, name: str, detail: str | None) -> None:
    _NEW_STEP.change(conn, {"intent_id": intent_id, "name": name, "detail": detail, "at": utcnow()})


def _intents(rows: Sequence[Row]) -> list[Intent]:
    return [from_columns(zip(intents.c.keys(), row, strict=True)) for row in rows]
