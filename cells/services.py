# SPDX-License-Identifier: Apache-2.0
"""The services of a cell as operators see and change them: nova's rows, those of other binaries than ours too."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import NotMapped
from cells.schema_api import cell_mappings, host_mappings
from cells.schema_place import services

_LIVE = services.c.deleted == 0


@dataclass(frozen=True)
class Service:
    """A row of nova's ``services``; ``seen_at`` is its latest report. Times are naive UTC."""

    id: int
    uuid: str
    host: str
    binary: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    seen_at: dt.datetime | None
    updated_at: dt.datetime | None


def list_services(db: Database) -> list[Service]:
    """Return the services of a cell in the order of their making. Raises CellDown."""
    with db.reader() as conn:
        return [_service(row) for row in conn.execute(sa.select(services).where(_LIVE).order_by(services.c.id))]


def update(db: Database, service_id: int, **values: Any) -> Service:
    """Change ``disabled``, ``disabled_reason`` or ``forced_down`` of a service. Raises NotMapped, CellDown.

    ``nova/compute/api.py:HostAPI.service_update``.
    """
    mine = sa.and_(services.c.id == service_id, _LIVE)

    def write(conn: sa.Connection) -> Service:
        conn.execute(services.update().where(mine).values(**values, updated_at=utcnow()))
        row = conn.execute(sa.select(services).where(mine)).first()
        if row is None:
            raise NotMapped(f"Service {service_id} could not be found.")
        return _service(row)

    return db.run(write)


def mapped_hosts(api: Database) -> list[tuple[str, str]]:
    """Return each host that is mapped, and its cell's uuid, in the order of their mapping. Raises CellDown."""
    query = sa.select(host_mappings.c.host, cell_mappings.c.uuid).join_from(host_mappings, cell_mappings)
    with api.reader() as conn:
        return [(host, uuid) for host, uuid in conn.execute(query.order_by(host_mappings.c.id))]


def _service(row: sa.Row[Any]) -> Service:
    return Service(
        id=row.id, uuid=row.uuid or "", host=row.host or "", binary=row.binary or "", disabled=bool(row.disabled),
        disabled_reason=row.disabled_reason, forced_down=bool(row.forced_down),
        seen_at=row.last_seen_up or row.created_at, updated_at=row.updated_at,
    )  # fmt: skip
