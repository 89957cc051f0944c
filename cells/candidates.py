# SPDX-License-Identifier: Apache-2.0
"""What a cell's rows tell of many servers at once, as far as it bears on whether their root disk can change its kind.

Four statements for each 500 servers. Facts only: what they mean is for the caller to say.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cells.database import Database
from cells.encode import load_instance_flavor
from cells.schema_cell import block_device_mapping, instance_extra, instances
from cells.schema_cell import instance_system_metadata as system_metadata
from cells.schema_moves import migrations
from cells.schema_place import compute_nodes
from cells.types import Flavor

_AT_ONCE = 500
# nova/db/main/api.py:migration_get_in_progress_by_host_and_node: all others are on their way.
_ENDED = ("confirmed", "reverted", "error", "failed", "completed", "cancelled", "done")
_SERVER = ("uuid", "project_id", "user_id", "display_name", "host", "node", "vm_state", "task_state", "power_state",
           "image_ref", "kernel_id", "ramdisk_id", "availability_zone", "root_device_name", "config_drive", "locked",
           "hidden", "ephemeral_key_uuid")  # fmt: skip
_DEVICE = ("instance_uuid", "source_type", "destination_type", "boot_index", "guest_format", "device_type",
           "disk_bus", "device_name", "volume_id", "volume_size", "encrypted")  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """A live server; ``server`` and each of ``devices`` are columns of nova's by name.

    ``move`` is the kind of a migration that is on its way (resize, live-migration, ...), None without one;
    ``resizing`` says that a migration context is written. ``image`` are the ``image_*`` keys, without that.
    """

    server: Mapping[str, Any]
    flavor: Flavor
    devices: tuple[Mapping[str, Any], ...]
    image: Mapping[str, str]
    move: str | None
    resizing: bool


def read(db: Database, *, server_ids: Sequence[str] | None = None, project_id: str | None = None,
         host: str | None = None) -> list[Candidate]:  # fmt: skip
    """Return the live servers that fit all that is not None, by id. Raises CellDown."""
    where = [instances.c.deleted == 0]
    if project_id is not None:
        where.append(instances.c.project_id == project_id)
    if host is not None:
        where.append(instances.c.host == host)
    with db.reader() as conn:
        return [found for rows in _pages(conn, where, server_ids) for found in _candidates(conn, rows)]


def host_address(db: Database, host: str, node: str | None) -> str | None:
    """Return the address of a compute host, as its nova-compute reported it."""
    query = sa.select(compute_nodes.c.host_ip).where(compute_nodes.c.host == host, compute_nodes.c.deleted == 0)
    if node is not None:
        query = query.where(compute_nodes.c.hypervisor_hostname == node)
    with db.reader() as conn:
        return conn.execute(query).scalar()


def _pages(conn: sa.Connection, where: Sequence[sa.ColumnElement[bool]],
           ids: Sequence[str] | None) -> Iterator[Sequence[Any]]:  # fmt: skip
    extra = sa.and_(instance_extra.c.instance_uuid == instances.c.uuid, instance_extra.c.deleted == 0)
    columns = [instances.c[name] for name in (*_SERVER, "instance_type_id", "memory_mb", "vcpus", "root_gb",
                                              "ephemeral_gb")]  # fmt: skip
    query = sa.select(*columns, instance_extra.c.flavor.label("extra_flavor"), instance_extra.c.migration_context)
    query = query.outerjoin_from(instances, instance_extra, extra).where(*where).order_by(instances.c.uuid)
    if ids is not None:
        wanted = sorted(set(ids))
        for start in range(0, len(wanted), _AT_ONCE):
            yield conn.execute(query.where(instances.c.uuid.in_(wanted[start : start + _AT_ONCE]))).all()
        return
    last = ""
    while rows := conn.execute(query.where(instances.c.uuid > last).limit(_AT_ONCE)).all():
        yield rows
        last = rows[-1].uuid


def _candidates(conn: sa.Connection, rows: Sequence[Any]) -> Iterator[Candidate]:
    uuids = [row.uuid for row in rows]
    devices: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    table = block_device_mapping
    query = sa.select(*(table.c[name] for name in _DEVICE)).where(table.c.instance_uuid.in_(uuids))
    for row in conn.execute(query.where(table.c.deleted == 0).order_by(table.c.id)):
        devices[row.instance_uuid].append(dict(row._mapping))
    images: defaultdict[str, dict[str, str]] = defaultdict(dict)
    keys = system_metadata
    pairs = sa.select(keys.c.instance_uuid, keys.c.key, keys.c.value).where(keys.c.instance_uuid.in_(uuids))
    pairs = pairs.where(keys.c.deleted == 0, keys.c.key.startswith("image_", autoescape=True)).order_by(keys.c.id)
    for uuid, key, value in conn.execute(pairs):
        images[uuid][key.removeprefix("image_")] = value
    under_way = sa.select(migrations.c.instance_uuid, migrations.c.migration_type)
    under_way = under_way.where(migrations.c.instance_uuid.in_(uuids), migrations.c.deleted == 0,
                                migrations.c.status.not_in(_ENDED))  # fmt: skip
    moves = {uuid: kind or "migration" for uuid, kind in conn.execute(under_way)}
    for row in rows:
        yield Candidate(
            server={name: row._mapping[name] for name in _SERVER},
            flavor=load_instance_flavor(row.extra_flavor) or _flavor(row),
            devices=tuple(devices[row.uuid]),
            image=images[row.uuid],
            move=moves.get(row.uuid),
            resizing=bool(row.migration_context and json.loads(row.migration_context)),
        )


def _flavor(row: Any) -> Flavor:
    return Flavor(row.instance_type_id or 0, "", "", row.vcpus or 0, row.memory_mb or 0, row.root_gb or 0,
                  row.ephemeral_gb or 0)  # fmt: skip
