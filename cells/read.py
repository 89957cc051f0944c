# SPDX-License-Identifier: Apache-2.0
"""Read many servers of a cell at the price of a few: six statements for each 500, none for each server."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from cells.database import Database
from cells.fixed import Fixed
from cells.rows import to_device, to_fault, to_server
from cells.schema_cell import (
    block_device_mapping,
    instance_extra,
    instance_faults,
    instance_info_caches,
    instance_metadata,
    instance_system_metadata,
    instances,
    tags,
)
from cells.types import BlockDevice, Server

# Well below what SQLite and a MySQL packet take for one IN.
_AT_ONCE = 500


def by_ids(db: Database, uuids: Sequence[str]) -> list[Server]:
    """Return the servers of these ids that are there and not deleted, in the order of ``uuids``, from one moment.

    Raises CellDown.
    """
    found: dict[str, Server] = {}
    with db.reader() as conn:
        for start in range(0, len(uuids), _AT_ONCE):
            found.update(_some(conn, uuids[start : start + _AT_ONCE]))
    return [found[uuid] for uuid in dict.fromkeys(uuids) if uuid in found]


class _Statements:
    """How everything of some servers is read; ``are`` says by a column of ids which servers these are."""

    def __init__(self, are: Callable[[Any], Any]) -> None:
        caches, faults = instance_info_caches, instance_faults
        extra = sa.and_(instance_extra.c.instance_uuid == instances.c.uuid, instance_extra.c.deleted == 0)
        cached = sa.and_(caches.c.instance_uuid == instances.c.uuid, caches.c.deleted == 0)
        columns = (instances, instance_extra.c.flavor.label("extra_flavor"), caches.c.network_info)
        query = sa.select(*columns).select_from(instances.outerjoin(instance_extra, extra).outerjoin(caches, cached))
        self.servers = query.where(are(instances.c.uuid), instances.c.deleted == 0)
        self.system_metadata, self.metadata, self.devices = (
            sa.select(table).where(are(table.c.instance_uuid), table.c.deleted == 0).order_by(table.c.id)
            for table in (instance_system_metadata, instance_metadata, block_device_mapping)
        )
        # nova/db/main/api.py:instance_fault_get_by_instance_uuids(latest=True): the highest id is the latest.
        latest = sa.select(sa.func.max(faults.c.id)).where(are(faults.c.instance_uuid), faults.c.deleted == 0)
        self.faults = sa.select(faults).where(faults.c.id.in_(latest.group_by(faults.c.instance_uuid)))
        self.tags = sa.select(tags).where(are(tags.c.resource_id)).order_by(tags.c.tag)


_SOME = _Statements(lambda column: column.in_(sa.bindparam("uuids", expanding=True)))
_ONE = {name: Fixed(each) for name, each in vars(_Statements(lambda column: column == sa.bindparam("uuid"))).items()}


def _some(conn: sa.Connection, uuids: Sequence[str]) -> dict[str, Server]:
    def read(name: str) -> Sequence[Any]:
        if len(uuids) == 1:
            return _ONE[name].rows(conn, {"uuid": uuids[0]})
        return conn.execute(getattr(_SOME, name), {"uuids": list(uuids)}).all()

    rows = read("servers")
    if not rows:
        return {}
    system_metadata, metadata = _pairs(read("system_metadata")), _pairs(read("metadata"))
    devices: defaultdict[str, list[BlockDevice]] = defaultdict(list)
    for row in read("devices"):
        devices[row.instance_uuid].append(to_device(row))
    faults = {row.instance_uuid: to_fault(row) for row in read("faults")}
    tagged: defaultdict[str, list[str]] = defaultdict(list)
    for row in read("tags"):
        tagged[row.resource_id].append(row.tag)
    return {
        row.uuid: to_server(row, row.extra_flavor, system_metadata=system_metadata[row.uuid],
                            metadata=metadata[row.uuid], devices=tuple(devices[row.uuid]),
                            fault=faults.get(row.uuid), tags=tuple(tagged[row.uuid]),
                            network_info=row.network_info)
        for row in rows
    }  # fmt: skip


def _pairs(rows: Sequence[Any]) -> defaultdict[str, dict[str, str]]:
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    # No unique key stops two rows of one key; the younger one counts, as in nova's own dict of them.
    for row in rows:
        found[row.instance_uuid][row.key] = row.value
    return found
