# SPDX-License-Identifier: Apache-2.0
"""What was asked for when servers were booted, of many of them at once: two fields of their request specs.

A spec has the whole flavor and image; the database takes the fields out, so that a page of a thousand servers does not
read megabytes of them.
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from cells.database import Database
from cells.prebuilt import Prebuilt
from cells.schema_api import request_specs


class Asked(NamedTuple):
    """What was asked for: the zone, and the scheduler hints, each a list; None where the spec does not say."""

    availability_zone: str | None
    scheduler_hints: dict[str, list[str]] | None


def asked(api: Database, server_ids: Iterable[str]) -> dict[str, Asked]:
    """Return what was asked for by server, without those that have no request spec, in one statement.

    ``nova/objects/request_spec.py:RequestSpec.get_by_instance_uuids``. Raises CellDown.
    """
    uuids = list(server_ids)
    rows = api.rows(_ASKED, {"uuids": uuids}) if uuids else ()
    return {uuid: Asked(*(json.loads(each) if each else None for each in fields)) for uuid, *fields in rows}


def _select(dialect: str) -> sa.Select[Any]:
    fields = [_field(dialect, name) for name in Asked._fields]
    query = sa.select(request_specs.c.instance_uuid, *fields)
    return query.where(request_specs.c.instance_uuid.in_(sa.bindparam("uuids", expanding=True)))


def _field(dialect: str, name: str) -> ColumnElement[Any]:
    path: ColumnElement[str] = sa.literal_column(f"'$.\"nova_object.data\".{name}'", sa.String)
    field = sa.func.json_extract(request_specs.c.spec, path)
    # SQLite takes the quotes off a string; both are to give JSON.
    return sa.func.json_quote(field) if dialect == "sqlite" else field


_ASKED = Prebuilt(_select)
