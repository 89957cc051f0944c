# SPDX-License-Identifier: Apache-2.0
"""Servers as rows of one cell's database, written so that nova reads them and read as nova wrote them.

A server is spread over seven tables; each function here is one transaction over all of them that it touches.
All raise CellDown, and BadValue for a value that does not fit nova's column.
"""

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import Exists, NotMapped
from cells.fixed import Fixed
from cells.read import by_ids
from cells.rows import SATELLITES, device_row, device_values, fault_row, pairs, server_rows
from cells.schema_cell import block_device_mapping, instance_faults, instances, tags
from cells.schema_cell import instance_system_metadata as system_metadata_rows
from cells.types import BlockDevice, Fault, Server

__all__ = ["add_device", "by_ids", "destroy", "find", "get", "insert", "remove_device", "replace_image", "set_fault",
           "update", "update_device", "withdraw"]  # fmt: skip

_INSERTS = {table: Fixed(table.insert()) for table in (instances, *SATELLITES, tags)}
_SETTABLE = set(instances.c.keys()).difference({"id", "uuid", "deleted", "deleted_at", "created_at", "updated_at"})


def insert(db: Database, server: Server) -> bool:
    """Write a server with all that hangs on it in one transaction; False if it is there already, nothing is changed.

    ``nova/db/main/api.py:instance_create`` and ``block_device_mapping_create``. Raises Exists when the id was
    used by another project or by a server that is deleted, or when a device's id is taken.
    """

    def write(conn: sa.Connection) -> None:
        for table, rows in server_rows(server, utcnow()):
            _INSERTS[table].many(conn, rows)

    try:
        db.run(write)
    except sa.exc.IntegrityError as error:
        with db.reader() as conn:
            if _is_there(conn, server):
                return False
        raise Exists(f"A block device of server {server.uuid} exists already.") from error
    return True


def find(db: Database, uuid: str) -> Server | None:
    """Return a server with its devices, metadata and latest fault, None if it is not there or deleted."""
    return next(iter(by_ids(db, [uuid])), None)


def get(db: Database, uuid: str) -> Server:
    """Return what ``find`` returns. Raises NotMapped if there is none."""
    server = find(db, uuid)
    if server is None:
        raise _not_there(db, uuid)
    return server


def update(db: Database, uuid: str, *, expect: Mapping[str, Any] | None = None, **columns: Any) -> bool:
    """Set columns of ``instances`` if all columns in ``expect`` have the values there; say whether it was done.

    An expected value may be None, a value, or a collection of either. False also when there is no such server.
    ``nova/db/main/api.py:instance_update_and_get_original`` with expected_task_state and expected_vm_state.
    Raises TypeError for a column that is not there or that makes a server what it is.
    """
    if other := set(columns).difference(_SETTABLE):
        raise TypeError(f"{min(other)} of a server cannot be set")
    changed = instances.update().where(*conditions(uuid, expect or {})).values(**columns, updated_at=utcnow())
    return bool(db.run(lambda conn: conn.execute(changed).rowcount))


def conditions(uuid: str, expect: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that a live server's row has the values that are expected, see ``update``."""
    return [_live(uuid), *(_expected(instances.c[name], value) for name, value in expect.items())]


def set_fault(db: Database, uuid: str, fault: Fault) -> None:
    """Write why a server is in ERROR beside the faults it had before. Raises NotMapped.

    ``nova/db/main/api.py:instance_fault_create``.
    """

    def write(conn: sa.Connection) -> None:
        row = conn.execute(sa.select(instances.c.host).where(_live(uuid))).first()
        if row is None:
            raise _not_there(db, uuid)
        conn.execute(instance_faults.insert().values(fault_row(uuid, fault, row.host, utcnow())))

    db.run(write)


def update_device(db: Database, device_uuid: str, **columns: Any) -> None:
    """Set columns of a block device by its id, named as in ``BlockDevice``. Raises NotMapped, TypeError."""
    table = block_device_mapping
    changed = table.update().where(table.c.uuid == device_uuid, table.c.deleted == 0)
    changed = changed.values(**device_values(columns), updated_at=utcnow())
    if not db.run(lambda conn: conn.execute(changed).rowcount):
        raise NotMapped(f"Block device {device_uuid} could not be found in cell {db.name}.")


def add_device(db: Database, uuid: str, device: BlockDevice) -> bool:
    """Write one more block device of a server; False if it is there already, nothing is changed. Raises NotMapped.

    ``nova/db/main/api.py:block_device_mapping_create``. Raises Exists for a device that was removed.
    """
    table = block_device_mapping
    row = {"instance_uuid": uuid, "created_at": utcnow(), "deleted": 0, **device_row(device)}

    def write(conn: sa.Connection) -> bool:
        # Locked, so that a server which is being deleted gets no device that outlives it.
        if conn.execute(sa.select(instances.c.id).where(_live(uuid)).with_for_update()).first() is None:
            raise _not_there(db, uuid)
        there = conn.execute(sa.select(table.c.deleted).where(table.c.uuid == device.uuid)).first()
        if there is not None and there.deleted:
            raise Exists(f"Block device {device.uuid} was removed.")
        if there is None:
            _INSERTS[table].change(conn, row)
        return there is None

    return db.run(write)


def remove_device(db: Database, device_uuid: str) -> bool:
    """Delete a block device softly; False if there is none or it was deleted before.

    ``nova/db/main/api.py:block_device_mapping_destroy``.
    """
    table = block_device_mapping
    gone = table.update().where(table.c.uuid == device_uuid, table.c.deleted == 0)
    return bool(db.run(lambda conn: conn.execute(gone.values(deleted=table.c.id, deleted_at=utcnow())).rowcount))


def replace_image(db: Database, uuid: str, image_id: str, system_metadata: Mapping[str, str]) -> None:
    """Write the image that a rebuild put on a server's root disk. Raises NotMapped.

    All ``image_*`` keys are replaced by those in ``system_metadata``, the other keys stay
    (``nova/compute/api.py:rebuild``, ``_reset_image_metadata``). ``image_ref`` is the image of a server that boots
    from it and stays empty for one that boots from a volume.
    """
    now = utcnow()
    keys, table = system_metadata_rows, block_device_mapping
    image_keys = {key: value for key, value in system_metadata.items() if key.startswith("image_")}

    def write(conn: sa.Connection) -> None:
        row = conn.execute(sa.select(instances.c.image_ref).where(_live(uuid)).with_for_update()).first()
        if row is None:
            raise _not_there(db, uuid)
        values = {"image_ref": image_id} if row.image_ref else {}
        conn.execute(instances.update().where(_live(uuid)).values(**values, updated_at=now))
        old = sa.and_(
            keys.c.instance_uuid == uuid, keys.c.deleted == 0, keys.c.key.startswith("image_", autoescape=True)
        )
        conn.execute(keys.update().where(old).values(deleted=keys.c.id, deleted_at=now))
        if image_keys:
            conn.execute(keys.insert(), pairs(uuid, image_keys, now))
        root = sa.and_(table.c.instance_uuid == uuid, table.c.deleted == 0, table.c.boot_index == 0,
                       table.c.source_type == "image")  # fmt: skip
        conn.execute(table.update().where(root).values(image_id=image_id, updated_at=now))

    db.run(write)


def destroy(db: Database, uuid: str) -> bool:
    """Delete a server and its rows softly, as nova does; False if there was none or it was deleted before.

    ``deleted`` becomes the row's own id (``nova/db/main/api.py:instance_destroy``), states and times as
    ``nova/compute/manager.py:_delete_instance`` and ``_complete_partial_deletion`` leave them.
    """
    now = utcnow()

    def write(conn: sa.Connection) -> bool:
        gone = instances.update().where(_live(uuid)).values(
            deleted=instances.c.id, deleted_at=now, terminated_at=now, updated_at=now, vm_state="deleted",
            task_state=None, power_state=0)  # fmt: skip
        done = conn.execute(gone).rowcount
        for table in SATELLITES:
            theirs = table.update().where(table.c.instance_uuid == uuid, table.c.deleted == 0)
            conn.execute(theirs.values(deleted=table.c.id, deleted_at=now))
        conn.execute(tags.delete().where(tags.c.resource_id == uuid))
        return bool(done)

    return db.run(write)


def withdraw(db: Database, uuid: str) -> bool:
    """Remove all rows of a server that never ran in this cell and is to be written into another; False if none were.

    ``nova/db/main/api.py:instance_destroy`` with hard_delete, as a move to another cell does there.
    """

    def write(conn: sa.Connection) -> bool:
        for table in SATELLITES:
            conn.execute(table.delete().where(table.c.instance_uuid == uuid))
        conn.execute(tags.delete().where(tags.c.resource_id == uuid))
        return bool(conn.execute(instances.delete().where(instances.c.uuid == uuid)).rowcount)

    return db.run(write)


def _is_there(conn: sa.Connection, server: Server) -> bool:
    query = sa.select(instances.c.deleted, instances.c.project_id).where(instances.c.uuid == server.uuid)
    row = conn.execute(query).first()
    if row is not None and (row.deleted or row.project_id != server.project_id):
        raise Exists(f"The id {server.uuid} was used by another server.")
    return row is not None


def _live(uuid: str) -> sa.ColumnElement[bool]:
    return sa.and_(instances.c.uuid == uuid, instances.c.deleted == 0)


def _expected(column: sa.Column[Any], value: Any) -> sa.ColumnElement[bool]:
    if not isinstance(value, Collection) or isinstance(value, str):
        return column.is_(None) if value is None else column == value
    among = column.in_([one for one in value if one is not None])
    return sa.or_(among, column.is_(None)) if None in value else among


def _not_there(db: Database, uuid: str) -> NotMapped:
    return NotMapped(f"Server {uuid} could not be found in cell {db.name}.")
