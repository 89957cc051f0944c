# SPDX-License-Identifier: Apache-2.0
"""The rows that say what a server's root disk is: read whole, made to name a volume, and put back as they were.

Nova has no such move: which rows differ between a server that booted from an image and one that booted from a volume
was read in two rows beside each other (``nova/compute/api.py:_validate_and_build_base_options``,
``nova/virt/block_device.py``). A row is told as JSON has it, times in ISO 8601, so that a journal can keep it.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.encode import dump_connection_info
from cells.errors import Changed, NotMapped
from cells.schema_api import request_specs
from cells.schema_cell import block_device_mapping, instances
from cells.schema_cell import instance_system_metadata as system_metadata

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
IMAGE_KEY = "image_base_image_ref"
# Who stops, starts or rebuilds a server changes these first.
_OFF = ("stopped", "error")
# All that is read of the server itself: no user data and no key.
_SERVER = (instances.c.id, instances.c.uuid, instances.c.project_id, instances.c.image_ref, instances.c.root_gb,
           instances.c.root_device_name, instances.c.host, instances.c.node, instances.c.updated_at)  # fmt: skip
_STATE = (instances.c.vm_state, instances.c.task_state)
_DEVICE = ("destination_type", "volume_id", "volume_size", "volume_type", "attachment_id", "connection_info")
# What a switch changes, and nova since: a move to another host, the libvirt driver's names at a start, and its removal
# of a root device.
_SINCE = {
    "instances": ("image_ref", "host", "node"),
    "instance_system_metadata": ("value",),
    "block_device_mapping": (*_DEVICE, "device_name", "device_type", "disk_bus", "deleted", "deleted_at"),
}


@dataclass(frozen=True)
class RootVolume:
    """The volume that a root disk becomes; ``size`` in GiB, ``connection_info`` as nova keeps it."""

    volume_id: str
    size: int
    volume_type: str | None
    attachment_id: str
    connection_info: Mapping[str, Any] = field(repr=False)

    def columns(self) -> dict[str, Any]:
        """Return what it is in ``block_device_mapping``."""
        return {"destination_type": "volume", "volume_id": self.volume_id, "volume_size": self.size,
                "volume_type": self.volume_type, "attachment_id": self.attachment_id,
                "connection_info": dump_connection_info(self.connection_info)}  # fmt: skip


def read(db: Database, uuid: str) -> Rows:
    """Return the rows that ``switch`` changes, by table. Raises NotMapped, CellDown, Changed (no one root device)."""
    with db.reader() as conn:
        return _read(conn, uuid, None)[0]


def is_volume(db: Database, uuid: str) -> bool | None:
    """Return whether a server's root device is a volume, None if the server is gone.

    Raises Changed for one that lives without a root device: what became of its disk is not in its rows.
    """
    try:
        (device,) = read(db, uuid)["block_device_mapping"]
    except NotMapped:
        return None
    return bool(device["destination_type"] == "volume")


def switch(db: Database, before: Rows, root: RootVolume) -> bool:
    """Make a server's rows name a volume as its root, in one transaction; False if they do so already.

    Writes too over what became of the rows of that volume: nova removes a root device whose attachment it does not
    find, and never fills in a lost connection (``nova/compute/manager.py:_delete_dangling_bdms``).
    Raises NotMapped, CellDown, and Changed if a row is neither as it was nor as it becomes, or the server is not off.
    """

    def write(conn: sa.Connection) -> bool:
        found, state = _read(conn, _uuid(before), before)
        (device,) = found["block_device_mapping"]
        ours = device["destination_type"] == "volume" and device["volume_id"] == root.volume_id
        _check(found, before, since=ours)
        wanted = _wanted(root)
        if all(_same(found, table, values) for table, values in wanted.items()):
            return False
        _check_off(state)
        _write(conn, found, wanted, dict.fromkeys(wanted, utcnow()))
        return True

    return db.run(write)


def restore(db: Database, before: Rows, volume_id: str | None = None) -> bool:
    """Make a server's rows what they were before ``switch``; False if they are so already.

    A row that nobody changed since becomes what it was to the bit; one that nova changed keeps its other columns.
    Raises what ``switch`` raises; Changed also where the root is another volume than ``volume_id``.
    """

    def write(conn: sa.Connection) -> bool:
        found = _to_restore(conn, before, volume_id)
        if found is None:
            return False
        _write(conn, found, _former(before), _times(found, before))
        return True

    return db.run(write)


def check_restore(db: Database, before: Rows, volume_id: str | None = None) -> None:
    """Raise what ``restore`` would raise now, and change nothing."""
    db.run(lambda conn: _to_restore(conn, before, volume_id))


def _to_restore(conn: sa.Connection, before: Rows, volume_id: str | None) -> Rows | None:
    """Return a server's rows as they are, None if they are restored already. Raises what ``restore`` raises."""
    found, state = _read(conn, _uuid(before), before)
    (device,) = found["block_device_mapping"]
    if device["destination_type"] == "volume" and volume_id not in (None, device["volume_id"]):
        raise Changed(f"The root of server {_uuid(before)} is volume {device['volume_id']}, not {volume_id}.")
    _check(found, before, since=True)
    if all(_same(found, table, values) for table, values in _former(before).items()):
        return None
    _check_off(state)
    return found


def read_spec(api: Database, uuid: str) -> Mapping[str, Any] | None:
    """Return the row of a server's request spec, None where there is none."""
    with api.reader() as conn:
        return _spec(conn, uuid)


def switch_spec(api: Database, uuid: str) -> bool:
    """Write into a server's request spec that it boots from a volume; False if nothing had to be changed.

    Nova itself writes it only where the field is missing (``nova/compute/utils.py:heal_reqspec_is_bfv``).
    """

    def write(conn: sa.Connection) -> bool:
        row = _spec(conn, uuid, lock=True)
        text = None if row is None else flagged(row["spec"], True)
        if row is None or text == row["spec"]:
            return False
        _write_spec(conn, uuid, text, utcnow())
        return True

    return api.run(write)


def restore_spec(api: Database, before: Mapping[str, Any]) -> bool:
    """Make a server's request spec what it was, if nobody else changed it to the bit, else in that field alone."""
    uuid, old = before["instance_uuid"], before["spec"]

    def write(conn: sa.Connection) -> bool:
        row = _spec(conn, uuid, lock=True)
        if row is None or row["spec"] == old:
            return False
        if row["spec"] == flagged(old, True):
            _write_spec(conn, uuid, old, _time(before["updated_at"]))
        else:
            _write_spec(conn, uuid, flagged(row["spec"], False), utcnow())
        return True

    return api.run(write)


def flagged(spec: str, is_bfv: bool) -> str:
    """Return the text of a request spec with ``is_bfv`` as told; the same text where it says so already."""
    primitive = json.loads(spec)
    data = primitive["nova_object.data"]
    if data.get("is_bfv") is is_bfv:
        return spec
    changes = primitive.get("nova_object.changes")
    if "is_bfv" not in data and changes is not None:
        changes.append("is_bfv")
    data["is_bfv"] = is_bfv
    return json.dumps(primitive)


def _read(conn: sa.Connection, uuid: str, before: Rows | None) -> tuple[Rows, Any]:
    """Return the rows and the server's states; with ``before`` these are locked and found by their ids, live or not."""
    of_server = sa.select(*_SERVER, *_STATE).where(instances.c.uuid == uuid, instances.c.deleted == 0)
    server = conn.execute(of_server.with_for_update() if before else of_server).first()
    if server is None:
        raise NotMapped(f"Server {uuid} could not be found.")
    keys, devices = system_metadata, block_device_mapping
    of_key = sa.select(keys).where(keys.c.instance_uuid == uuid, keys.c.key == IMAGE_KEY, keys.c.deleted == 0)
    root = sa.and_(devices.c.boot_index == 0, devices.c.deleted == 0)
    if before:
        root = sa.or_(root, devices.c.id == before["block_device_mapping"][0]["id"])
    of_device = sa.select(devices).where(devices.c.instance_uuid == uuid, root)
    pairs = conn.execute((of_key.with_for_update() if before else of_key).order_by(keys.c.id)).all()
    roots = conn.execute((of_device.with_for_update() if before else of_device).order_by(devices.c.id)).all()
    if len(roots) != 1:
        raise Changed(f"Server {uuid} has {len(roots)} root devices.")
    names = [column.name for column in _SERVER]
    rows = {
        "instances": [{name: _plain(server._mapping[name]) for name in names}],
        "instance_system_metadata": [_row(pair) for pair in pairs],
        "block_device_mapping": [_row(roots[0])],
    }
    return rows, server


def _wanted(root: RootVolume) -> dict[sa.Table, dict[str, Any]]:
    return {
        instances: {"image_ref": ""},
        system_metadata: {"value": ""},
        # Alive again, if nova removed it meanwhile.
        block_device_mapping: {**root.columns(), "deleted": 0, "deleted_at": None},
    }


def _former(before: Rows) -> dict[sa.Table, dict[str, Any]]:
    (server,), (device,) = before["instances"], before["block_device_mapping"]
    pairs = before["instance_system_metadata"]
    return {
        instances: {"image_ref": server["image_ref"]},
        system_metadata: {"value": pairs[0]["value"]} if pairs else {},
        block_device_mapping: {name: device[name] for name in (*_DEVICE, "deleted", "deleted_at")},
    }


def _check(found: Rows, before: Rows, *, since: bool) -> None:
    """Raise Changed if a row is not what it was; with ``since``, but for what a switch and nova after it may change."""
    for table, rows in before.items():
        now = found[table]
        if [row["id"] for row in now] != [row["id"] for row in rows]:
            raise Changed(f"The rows of server {_uuid(before)} in {table} are others than before.")
        free = {"updated_at", *(_SINCE[table] if since else ())}
        for old, new in zip(rows, now, strict=True):
            other = sorted(name for name in old if name not in free and old[name] != new[name])
            if other:
                raise Changed(f"Row {old['id']} of {table} of server {_uuid(before)} changed: {', '.join(other)}.")
    (server,) = found["instances"]
    if server["image_ref"] not in ("", before["instances"][0]["image_ref"]):
        raise Changed(f"Server {_uuid(before)} has another image than before: {server['image_ref']}.")


def _check_off(state: Any) -> None:
    if state.vm_state not in _OFF or state.task_state is not None:
        what = f"{state.vm_state}, {state.task_state}" if state.task_state else str(state.vm_state)
        raise Changed(f"Server {state.uuid} is not stopped but {what}.")


def _same(found: Rows, table: sa.Table, values: Mapping[str, Any]) -> bool:
    return all(row[name] == _plain(value) for row in found[table.name] for name, value in values.items())


def _write(conn: sa.Connection, found: Rows, wanted: Mapping[sa.Table, Mapping[str, Any]],
           times: Mapping[sa.Table, dt.datetime | None]) -> None:  # fmt: skip
    for table, values in wanted.items():
        ids = [row["id"] for row in found[table.name]]
        if values and ids:
            conn.execute(table.update().where(table.c.id.in_(ids)).values(**values, updated_at=times[table]))


def _times(found: Rows, before: Rows) -> dict[sa.Table, dt.datetime | None]:
    """Return the ``updated_at`` of rows that go back: the old one where ours was the last change.

    The switch wrote all rows at one time. Of these nova does not write the key by itself, so it tells that time.
    """
    (anchor,) = (found[system_metadata.name] or found[block_device_mapping.name])[:1]
    times: dict[sa.Table, dt.datetime | None] = {}
    for table in (instances, system_metadata, block_device_mapping):
        ours = all(row["updated_at"] == anchor["updated_at"] for row in found[table.name])
        old = before[table.name][:1]
        times[table] = _time(old[0]["updated_at"]) if ours and old else utcnow()
    return times


def _spec(conn: sa.Connection, uuid: str, *, lock: bool = False) -> Mapping[str, Any] | None:
    query = sa.select(request_specs).where(request_specs.c.instance_uuid == uuid)
    row = conn.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _row(row)


def _write_spec(conn: sa.Connection, uuid: str, text: str | None, updated_at: dt.datetime | None) -> None:
    changed = request_specs.update().where(request_specs.c.instance_uuid == uuid)
    conn.execute(changed.values(spec=text, updated_at=updated_at))


def _uuid(before: Rows) -> str:
    return str(before["instances"][0]["uuid"])


def _row(row: sa.Row[Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in row._mapping.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
