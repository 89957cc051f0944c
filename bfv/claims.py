# SPDX-License-Identifier: Apache-2.0
"""Claims: what accepted servers take until their rows in their cells tell it. Rows of our own database.

A claim is written in the transaction that opens its boot, under the lock of its project, and leaves its count in the
transaction that closes it; so it counts exactly while the boot is open, whatever dies in between, and ``repair``,
which closes what is open, ends it. The row of the server is in its cell before the boot is closed: at each moment a
server is counted by its claim, or by its row, and a reader that reads claims first and leaves these servers out of
the cells counts none twice and misses none.

One who claims reads claims and cells under the lock, so that no claim comes in between; a claim that ends in between
is one that was counted.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from bfv.fit import Size
from bfv.tables import claims, locks
from bfv.types import plain, utcnow
from cells.errors import Busy
from cells.fixed import Fixed

_OF_PROJECT = claims.c.project_id == sa.bindparam("project")
_PENDING = Fixed(sa.select(claims).where(_OF_PROJECT, claims.c.counts.is_(sa.true())))
_OF_GROUP = Fixed(sa.select(claims).where(claims.c.group_uuid == sa.bindparam("group")))
_OF_INTENT = claims.c.intent_id == sa.bindparam("intent")
_NEW = Fixed(claims.insert())
_DROP = Fixed(claims.delete().where(_OF_INTENT))
_DROP_UNGROUPED = Fixed(claims.delete().where(_OF_INTENT, claims.c.group_uuid.is_(None)))
_COUNT_NO_MORE = Fixed(claims.update().where(_OF_INTENT).values(counts=False))
_DROP_SERVER = Fixed(claims.delete().where(claims.c.server_id == sa.bindparam("server")))
_MOVE = Fixed(claims.update().where(_OF_INTENT))
_ROW: dict[str, Any] = {"name": sa.bindparam("held"), "taken_at": sa.bindparam("now")}
_AGAIN: dict[str, Any] = {"taken_at": sa.bindparam("now")}
_HOLD_MYSQL = Fixed(mysql.insert(locks).values(_ROW).on_duplicate_key_update(_AGAIN))
_HOLD = {"mysql": _HOLD_MYSQL, "mariadb": _HOLD_MYSQL} | {
    name: Fixed(kind.insert(locks).values(_ROW).on_conflict_do_update(index_elements=["name"], set_=_AGAIN))
    for name, kind in (("sqlite", sqlite), ("postgresql", postgresql))
}

_turns: "WeakValueDictionary[str, _Turn]" = WeakValueDictionary()
_turns_lock = Lock()


@dataclass(frozen=True)
class Claim:
    """What a server takes, where, and whether it counts; ``size.disk_gb`` is of its host's own disks."""

    intent_id: str
    server_id: str
    project_id: str
    user_id: str
    size: Size
    cell: str | None = None
    host: str | None = None
    group_uuid: str | None = None
    counts: bool = True


class _Turn:
    def __init__(self) -> None:
        self.lock = Lock()


@contextmanager
def turn(project_id: str, seconds: float) -> Iterator[None]:
    """Wait for those of this process that claim for the same project: in the database each would hold a connection.

    Raises Busy after so many ``seconds``.
    """
    with _turns_lock:
        mine = _turns.setdefault(project_id, _Turn())
    if not mine.lock.acquire(timeout=seconds):
        raise Busy("journal", "too many servers of this project are accepted at once")
    try:
        yield
    finally:
        mine.lock.release()


def lock(conn: sa.Connection, project_id: str) -> None:
    """Keep all others from claiming for a project until this transaction ends; the first statement of it.

    What is read after it is what was committed last.
    """
    hold(conn, f"project:{project_id}")


def hold(conn: sa.Connection, name: str) -> None:
    """Keep all others from holding a name until this transaction ends. Raises Busy.

    One statement that makes the row or changes it: on MySQL two that read before they write would hold each other up.
    """
    _HOLD[conn.dialect.name].change(conn, {"held": name, "now": utcnow()})


def insert(conn: sa.Connection, made: Iterable[Claim]) -> None:
    """Write claims."""
    now = utcnow()
    _NEW.many(conn, [{**_row(claim), "created_at": now} for claim in made])


def pending(conn: sa.Connection, project_id: str) -> list[Claim]:
    """Return the claims of a project that count."""
    return [_claim(row) for row in _PENDING.rows(conn, {"project": project_id})]


def of_group(conn: sa.Connection, group_uuid: str) -> dict[str, Claim]:
    """Return what is known of the places of a group's servers, by server: until they are deleted."""
    return {row.server_id: _claim(row) for row in _OF_GROUP.rows(conn, {"group": group_uuid})}


def all_of(conn: sa.Connection, project_id: str | None) -> list[Claim]:
    """Return all claims of a project, or with None of all."""
    theirs = sa.true() if project_id is None else claims.c.project_id == project_id
    return [_claim(row) for row in conn.execute(sa.select(claims).where(theirs))]


def move(conn: sa.Connection, intent_id: str, cell: str, host: str | None) -> None:
    """Write where a claimed server goes instead."""
    _MOVE.change(conn, {"intent": intent_id, "cell": cell, "host": host})


def end_boot(conn: sa.Connection, intent_id: str, *, booted: bool) -> None:
    """End the claim of a boot that is being closed in this transaction; the place of a group's server stays known."""
    if not booted:
        _DROP.change(conn, {"intent": intent_id})
    elif not _DROP_UNGROUPED.change(conn, {"intent": intent_id}):
        _COUNT_NO_MORE.change(conn, {"intent": intent_id})


def end_server(conn: sa.Connection, server_id: str) -> None:
    """Forget the place of a server that is deleted."""
    _DROP_SERVER.change(conn, {"server": server_id})


def _row(claim: Claim) -> dict[str, Any]:
    values = plain(claim)
    return {**values.pop("size"), **values}


def _claim(row: Any) -> Claim:
    rest = {name: getattr(row, name) for name in Claim.__dataclass_fields__ if name != "size"}
    return Claim(size=Size(row.vcpus, row.memory_mb, row.disk_gb), **rest)
