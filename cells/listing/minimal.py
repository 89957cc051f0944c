# SPDX-License-Identifier: Apache-2.0
"""What the API database alone knows of servers: those whose cell is down, and those that have no cell yet."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from cells.encode import read_request_spec
from cells.errors import NotMapped
from cells.listing.values import Minimal, Unplaced
from cells.registry import Registry
from cells.schema_api import build_requests, instance_mappings
from cells.types import ServerMapping


def of_mapping(mapping: ServerMapping, reason: str) -> Minimal:
    """Return a server of a list whose cell gives no answer, for this reason."""
    cell = mapping.cell.name if mapping.cell else ""
    return Minimal(mapping.server_id, mapping.project_id, mapping.user_id, mapping.created_at, cell, reason)


def minimal(registry: Registry, mapping: ServerMapping, reason: str) -> Minimal:
    """Return one server whose cell gives no answer, with what was asked for when it was booted.

    ``nova/compute/api.py:_get_instance_from_cell``. Raises NotMapped for one that a delete was accepted for and for one
    without a request spec, as nova does, and CellDown.
    """
    if mapping.queued_for_delete:
        raise NotMapped(f"Server {mapping.server_id} could not be found.")
    spec = read_request_spec(registry.request_spec(mapping.server_id))
    # Nova shows the image of the spec also for a server that boots from a volume; while its cell is up it shows none.
    image = "" if spec.is_bfv or not spec.image else str(spec.image.get("id") or "")
    shown = of_mapping(mapping, reason)
    return replace(shown, user_id=shown.user_id or spec.user_id, flavor=spec.flavor,
                   availability_zone=spec.availability_zone, image_ref=image)  # fmt: skip


def unplaced(registry: Registry, project_id: str | None) -> list[Unplaced]:
    """Return all servers of a project, or of all, that have no cell yet, youngest first. Raises CellDown.

    Lists with a filter or an order of their own do not have them: no cell can compare them.
    """
    mappings = instance_mappings
    query = sa.select(mappings).where(mappings.c.cell_id.is_(None), mappings.c.queued_for_delete.is_not(sa.true()))
    if project_id is not None:
        query = query.where(mappings.c.project_id == project_id)
    with registry.database.reader() as conn:
        rows = conn.execute(query.order_by(mappings.c.id.desc())).all()
    return with_build_requests(registry, [
        ServerMapping(row.instance_uuid, row.project_id, row.user_id, None, row.queued_for_delete, row.created_at)
        for row in rows
    ])  # fmt: skip


def with_build_requests(registry: Registry, mappings: Sequence[ServerMapping]) -> list[Unplaced]:
    """Return servers without a cell with what nova wrote of them. Raises CellDown."""
    uuids = [mapping.server_id for mapping in mappings]
    found: dict[str, Any] = {}
    if uuids:
        table = build_requests
        query = sa.select(table.c.instance_uuid, table.c.instance).where(table.c.instance_uuid.in_(uuids))
        with registry.database.reader() as conn:
            found = {uuid: _fields(text) for uuid, text in conn.execute(query)}
    return [Unplaced(mapping, found.get(mapping.server_id)) for mapping in mappings]


def _fields(text: str | None) -> dict[str, Any] | None:
    # nova/objects/build_request.py:_load_instance
    fields: dict[str, Any] | None = (json.loads(text) or {}).get("nova_object.data") if text else None
    return fields
