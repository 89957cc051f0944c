# SPDX-License-Identifier: Apache-2.0
"""Which volumes the servers of a cell have by their rows: what cinder's word on each is compared with."""

from dataclasses import dataclass

import sqlalchemy as sa

from cells.database import Database
from cells.schema_cell import block_device_mapping, instances


@dataclass(frozen=True)
class Attached:
    """A volume that a server has; ``attachment_id`` is cinder's."""

    server_id: str
    volume_id: str
    attachment_id: str


def attached(db: Database) -> list[Attached]:
    """Return the volumes of all servers of a cell that are not deleted; one statement. Raises CellDown."""
    row = block_device_mapping.c
    query = (
        sa.select(row.instance_uuid, row.volume_id, row.attachment_id)
        .join_from(block_device_mapping, instances, instances.c.uuid == row.instance_uuid)
        .where(row.deleted == 0, instances.c.deleted == 0)
        .where(row.volume_id.is_not(None), row.attachment_id.is_not(None))
        .order_by(row.instance_uuid, row.id)
    )
    with db.reader() as conn:
        return [Attached(*found) for found in conn.execute(query)]
