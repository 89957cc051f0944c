# SPDX-License-Identifier: Apache-2.0
"""When servers ran and how large they were: what a usage report is made of; one statement for each cell.

``nova/db/main/api.py:instance_get_active_by_window_joined``: rows of deleted servers count until they are archived.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from cells import encode
from cells.database import Database
from cells.schema_cell import instance_extra, instances


@dataclass(frozen=True)
class Span:
    """The time that a server ran, and its size then; ``memory_mb`` in MiB, ``local_gb`` in GiB, times naive UTC."""

    uuid: str
    project_id: str
    name: str
    flavor: str
    vcpus: int
    memory_mb: int
    local_gb: int
    vm_state: str
    launched_at: dt.datetime
    terminated_at: dt.datetime | None

    @property
    def key(self) -> tuple[str, str]:
        """What reports are sorted by: (project id, server id)."""
        return self.project_id, self.uuid


def between(db: Database, start: dt.datetime, stop: dt.datetime, project_id: str | None = None, *,
            after: tuple[str, str] | None = None, limit: int | None = None) -> list[Span]:  # fmt: skip
    """Return the servers that ran at some time between, of a project or of all, sorted by ``key``; one statement.

    At most ``limit`` of those ``after`` a key. Raises CellDown.
    """
    row = instances.c
    query = (
        sa.select(
            *(row.uuid, row.project_id, row.display_name, row.vm_state, row.launched_at, row.terminated_at),
            *(row.vcpus, row.memory_mb, row.root_gb, row.ephemeral_gb),
            instance_extra.c.flavor,
        )
        .outerjoin_from(instances, instance_extra, instance_extra.c.instance_uuid == row.uuid)
        .where(
            sa.or_(row.terminated_at.is_(None), row.terminated_at > start),
            row.launched_at < stop,
            sa.or_(row.hidden.is_(None), row.hidden.is_(sa.false())),
        )
        .order_by(row.project_id, row.uuid)
    )
    if project_id is not None:
        query = query.where(row.project_id == project_id)
    if after is not None:
        query = query.where(sa.or_(row.project_id > after[0], sa.and_(row.project_id == after[0], row.uuid > after[1])))
    if limit is not None:
        query = query.limit(limit)
    with db.reader() as conn:
        return list(_spans(conn.execute(query)))


def _spans(rows: sa.CursorResult[tuple[object, ...]]) -> Iterator[Span]:
    for row in rows:
        flavor = encode.load_instance_flavor(row.flavor)
        yield Span(
            uuid=row.uuid,
            project_id=row.project_id or "",
            name=row.display_name or "",
            flavor=flavor.name if flavor else "",
            vcpus=row.vcpus or 0,
            memory_mb=row.memory_mb or 0,
            local_gb=(row.root_gb or 0) + (row.ephemeral_gb or 0),
            vm_state=row.vm_state or "",
            launched_at=row.launched_at,
            terminated_at=row.terminated_at,
        )
