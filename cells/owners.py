# SPDX-License-Identifier: Apache-2.0
"""Whose a server id is, living or deleted, for who has found it outside: the rows alone, read only."""

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cells.database import Database
from cells.schema_api import cell_mappings, instance_mappings
from cells.schema_cell import block_device_mapping, instances

_AT_ONCE = 500
_COLUMNS = tuple(
    instances.c[name]
    for name in ("uuid", "display_name", "project_id", "host", "vm_state", "task_state", "deleted", "deleted_at")
)


@dataclass(frozen=True)
class Owner:
    """A server as its cell has it; ``deleted_at`` (naive UTC) is None while it lives.

    ``root_is_volume`` is None where no row says what its root disk is.
    """

    server_id: str
    name: str
    project_id: str
    host: str | None
    vm_state: str | None
    task_state: str | None
    deleted_at: dt.datetime | None
    root_is_volume: bool | None = None


def owners(db: Database, server_ids: Collection[str]) -> dict[str, Owner]:
    """Return those servers of a cell that have a row, deleted ones too. Raises CellDown."""
    found: dict[str, Owner] = {}
    with db.reader() as conn:
        for some in _batches(sorted(server_ids)):
            devices = sa.select(block_device_mapping.c.instance_uuid, block_device_mapping.c.destination_type)
            root = (block_device_mapping.c.boot_index == 0, block_device_mapping.c.deleted == 0)
            of_some = devices.where(block_device_mapping.c.instance_uuid.in_(some), *root)
            roots = {row.instance_uuid: row.destination_type == "volume" for row in conn.execute(of_some)}
            for row in conn.execute(sa.select(*_COLUMNS).where(instances.c.uuid.in_(some))):
                gone = row.deleted_at or dt.datetime.min if row.deleted else None
                found[row.uuid] = Owner(row.uuid, row.display_name or "", row.project_id or "", row.host, row.vm_state,
                                        row.task_state, gone, roots.get(row.uuid))  # fmt: skip
    return found


def places(api: Database, server_ids: Collection[str]) -> dict[str, str | None]:
    """Return the name of the cell that each mapped server is in, None for one that is in none yet. Raises CellDown."""
    found: dict[str, str | None] = {}
    tables = instance_mappings.outerjoin(cell_mappings, instance_mappings.c.cell_id == cell_mappings.c.id)
    query = sa.select(instance_mappings.c.instance_uuid, cell_mappings.c.name, cell_mappings.c.uuid).select_from(tables)
    with api.reader() as conn:
        for some in _batches(sorted(server_ids)):
            for row in conn.execute(query.where(instance_mappings.c.instance_uuid.in_(some))):
                found[row.instance_uuid] = row.name or row.uuid
    return found


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
