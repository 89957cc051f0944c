# SPDX-License-Identifier: Apache-2.0
"""What people write on a server: metadata, tags, a lock. Each function is one transaction in the server's cell.

Who changes what is there gives a function from what is there to what is to be: nobody else writes in between. It must
be pure, as the transaction is repeated where a lock is not to be had. All raise CellDown and BadValue.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import BadValue
from cells.rows import pairs
from cells.schema_cell import instance_metadata, instance_system_metadata, instances, tags
from cells.servers import conditions

LOCKED_REASON = "locked_reason"


def change_metadata(db: Database, uuid: str, change: Callable[[dict[str, str]], Mapping[str, str]],
                    expect: Mapping[str, Any]) -> Mapping[str, str] | None:  # fmt: skip
    """Write the metadata that ``change`` makes of a server's, and return it.

    None, and nothing is written, unless the server's columns are as ``expect`` says, see ``servers.update``.
    ``nova/db/main/api.py:_instance_metadata_update_in_place``.
    """
    table = instance_metadata
    theirs = sa.and_(table.c.instance_uuid == uuid, table.c.deleted == 0)

    def write(conn: sa.Connection) -> Mapping[str, str] | None:
        if not _touch(conn, uuid, expect):
            return None
        # No unique key stops two rows of one key; the younger one counts, as in nova's own dict of them.
        rows = conn.execute(sa.select(table.c.id, table.c.key, table.c.value).where(theirs).order_by(table.c.id)).all()
        before = {row.key: row.value for row in rows}
        after = change(dict(before))
        # By their ids: MySQL's collation would take another key for one that differs by its case.
        gone = [row.id for row in rows if after.get(row.key) != before[row.key]]
        if gone:
            conn.execute(table.update().where(table.c.id.in_(gone)).values(_deleted(table)))
        new = {key: value for key, value in after.items() if before.get(key) != value}
        if new:
            conn.execute(table.insert(), pairs(uuid, new, utcnow()))
        return after

    return db.run(write)


def change_tags(db: Database, uuid: str, change: Callable[[frozenset[str]], Collection[str]],
                expect: Mapping[str, Any]) -> list[str] | None:  # fmt: skip
    """Write the tags that ``change`` makes of a server's, and return them in order; None as ``change_metadata``.

    ``nova/db/main/api.py:instance_tag_set``.
    """

    def write(conn: sa.Connection) -> list[str] | None:
        if not _touch(conn, uuid, expect):
            return None
        before = frozenset(conn.execute(sa.select(tags.c.tag).where(tags.c.resource_id == uuid)).scalars())
        after = frozenset(change(before))
        if before - after:
            conn.execute(tags.delete().where(tags.c.resource_id == uuid, tags.c.tag.in_(before - after)))
        if after - before:
            conn.execute(tags.insert(), [{"resource_id": uuid, "tag": tag} for tag in sorted(after - before)])
        return sorted(after)

    try:
        return db.run(write)
    except sa.exc.IntegrityError as error:
        # MySQL's collation.
        raise BadValue(f"Tags of server {uuid} differ by their case alone; the database keeps one of them.") from error


def set_lock(db: Database, uuid: str, by: str | None, reason: str | None = None) -> bool:
    """Lock a server as its ``owner`` or an ``admin``, or unlock it with ``by`` None; False if it is not there.

    ``nova/compute/api.py:lock, unlock``: the reason is in the system metadata.
    """
    table = instance_system_metadata
    old = sa.and_(table.c.instance_uuid == uuid, table.c.deleted == 0, table.c.key == LOCKED_REASON)

    def write(conn: sa.Connection) -> bool:
        if not _touch(conn, uuid, {}, locked=by is not None, locked_by=by):
            return False
        if reason or by is None:
            conn.execute(table.update().where(old).values(_deleted(table)))
        if reason and by is not None:
            conn.execute(table.insert(), pairs(uuid, {LOCKED_REASON: reason}, utcnow()))
        return True

    return db.run(write)


def _touch(conn: sa.Connection, uuid: str, expect: Mapping[str, Any], **columns: Any) -> bool:
    """Set columns of a server and hold its row to the end of the transaction; False unless it is as expected."""
    changed = instances.update().where(*conditions(uuid, expect)).values(**columns, updated_at=utcnow())
    return bool(conn.execute(changed).rowcount)


def _deleted(table: sa.Table) -> dict[str, Any]:
    return {"deleted": table.c.id, "deleted_at": utcnow()}
