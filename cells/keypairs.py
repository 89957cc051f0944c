# SPDX-License-Identifier: Apache-2.0
"""The key pairs of users in the API database: nova's table, so that a nova beside us has the same ones."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import Exists, NotMapped
from cells.schema_api import key_pairs


@dataclass(frozen=True)
class KeyPair:
    """A row of nova's ``key_pairs``; ``type`` is ssh or x509. What is private in a pair is never stored."""

    id: int
    user_id: str
    name: str
    type: str
    fingerprint: str
    public_key: str
    created_at: dt.datetime | None = None


def list_of(api: Database, user_id: str) -> list[KeyPair]:
    """Return the key pairs of a user by name (``nova/objects/keypair.py:_get_from_db``). Raises CellDown."""
    query = sa.select(key_pairs).where(key_pairs.c.user_id == user_id)
    with api.reader() as conn:
        # Compared here and not in SQL: MySQL's collation would take ALICE for alice.
        found = [_key_pair(row) for row in conn.execute(query) if row.user_id == user_id]
    return sorted(found, key=lambda each: each.name)


def find(api: Database, user_id: str, name: str) -> KeyPair | None:
    """Return a key pair, None if there is no such one. Raises CellDown."""
    return next((each for each in list_of(api, user_id) if each.name == name), None)


def create(api: Database, user_id: str, name: str, kind: str, fingerprint: str, public_key: str,
           check: Callable[[int], None]) -> KeyPair:  # fmt: skip
    """Write a new key pair. Raises Exists, BadValue, CellDown.

    ``check`` gets the number of key pairs that the user has by then, all others kept from writing, and may raise.
    """
    now = utcnow()
    row = {"user_id": user_id, "name": name, "type": kind, "fingerprint": fingerprint, "public_key": public_key,
           "created_at": now}  # fmt: skip

    def write(conn: sa.Connection) -> int:
        new = conn.execute(key_pairs.insert().values(row)).inserted_primary_key
        assert new is not None
        # Counted after the row is in: of two that race for the last place none passes by the other's uncommitted row.
        mine = sa.select(key_pairs.c.id).where(key_pairs.c.user_id == user_id).with_for_update()
        check(len(conn.execute(mine).all()) - 1)
        return int(new[0])

    try:
        return KeyPair(api.run(write), user_id, name, kind, fingerprint, public_key, now)
    except sa.exc.IntegrityError as error:
        raise Exists(f"Key pair '{name}' already exists.") from error


def delete(api: Database, user_id: str, name: str) -> None:
    """Remove a key pair; servers keep their copy of it. Raises NotMapped, CellDown."""
    found = find(api, user_id, name)
    gone = found and api.run(lambda conn: conn.execute(key_pairs.delete().where(key_pairs.c.id == found.id)).rowcount)
    if not gone:
        raise NotMapped(f"Keypair {name} not found for user {user_id}")


def _key_pair(row: sa.Row[Any]) -> KeyPair:
    return KeyPair(row.id, row.user_id, row.name, row.type, row.fingerprint or "", row.public_key or "", row.created_at)
