# SPDX-License-Identifier: Apache-2.0
"""The one statement that reads all that a list shows of many servers of a cell.

A statement for each table costs its round trip in every cell; sub-selects cost an index look-up in the one that is
under way. But each is planned whenever the statement is run, needed or not, and for a few servers that is most of
their cost: what few servers show at all is ``FURTHER``, asked for those alone.
Its columns are a ``Detail``'s fields in their order, so that a row is one as it comes.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from cells.database import Database
from cells.listing.values import Brief, Detail
from cells.prebuilt import Prebuilt
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

_COLUMNS = [instances.c[name] for name in Detail._fields if name in instances.c]
BRIEF = [instances.c[name] for name in Brief._fields if name in instances.c]
# NULL in an old row means False (nova/db/main/api.py:instance_get_all_by_filters_sort).
NOT_HIDDEN = sa.or_(instances.c.hidden.is_(None), instances.c.hidden.is_(sa.false()))
NOT_SOFT_DELETED = sa.or_(instances.c.vm_state.is_(None), instances.c.vm_state != sa.literal_column("'soft-delete'"))
_ZERO: ColumnElement[int] = sa.literal_column("0", sa.Integer)
# As a sum no index has it. Where most rows are deleted, MariaDB else first makes a filter of all that are not, for the
# few that are asked for by their ids (`optimizer_switch` has rowid_filter on).
LIVE = (instances.c.deleted + _ZERO == _ZERO, NOT_SOFT_DELETED, NOT_HIDDEN)


def statement(
    where: Sequence[ColumnElement[bool]] = LIVE, *, detail: bool = True, system_metadata: bool = False
) -> Prebuilt:
    """Return what reads the servers of ``uuids`` that fulfil ``where``; its rows are for ``entries`` or ``read``.

    By default that is what nova lists: no deleted ones, no soft-deleted ones, no hidden twins of a move between cells.
    To read the ``system_metadata`` of servers of images takes nearly as long as all the rest.
    """
    return Prebuilt(lambda dialect: _select(dialect, detail, system_metadata).where(*where))


# By whether system metadata is asked for.
ALL, ALL_BRIEF = {asked: statement(system_metadata=asked) for asked in (False, True)}, statement(detail=False)


@dataclass(frozen=True)
class Further:
    """A field that only some servers have: which ones, and what reads it of ``uuids``, the latest value last."""

    field: str
    needed: Callable[[Detail], bool]
    statement: Prebuilt

    def fill(self, found: dict[str, Detail], rows: Iterable[tuple[Any, ...]]) -> None:
        """Put what was read into the servers."""
        for uuid, value in rows:
            found[uuid] = found[uuid]._replace(**{self.field: value})


def entries(cell: str, rows: Iterable[tuple[Any, ...]]) -> dict[str, Detail]:
    """Return the servers of a cell by id, without what is ``FURTHER``."""
    make = Detail._make
    return {entry.uuid: entry for entry in (make((cell, *row)) for row in rows)}


def briefs(cell: str, rows: Iterable[tuple[Any, ...]]) -> dict[str, Brief]:
    """Return the servers of a cell by id, read without details."""
    return {entry.uuid: entry for entry in (Brief(cell, *row) for row in rows)}


def read(cell: str, database: Database, what: Prebuilt, uuids: Sequence[str]) -> dict[str, Detail]:
    """Return servers of a cell by id, with all their details. Raises CellDown."""
    found = entries(cell, database.rows(what, {"uuids": uuids}))
    for further in FURTHER:
        if some := [uuid for uuid, entry in found.items() if further.needed(entry)]:
            further.fill(found, database.rows(further.statement, {"uuids": some}))
    return found


@functools.cache
def _select(dialect: str, detail: bool, system_metadata: bool) -> sa.Select[Any]:
    columns = [*_COLUMNS, *_satellites(dialect, system_metadata)] if detail else BRIEF
    return sa.select(*columns).where(instances.c.uuid.in_(sa.bindparam("uuids", expanding=True)))


def _satellites(dialect: str, system_metadata: bool) -> list[ColumnElement[Any]]:
    sqlite = dialect == "sqlite"
    pairs, strings = (
        (sa.func.json_group_object, sa.func.json_group_array)
        if sqlite
        else (sa.func.json_objectagg, sa.func.json_arrayagg)
    )
    metadata = _of(instance_metadata, pairs(instance_metadata.c.key, instance_metadata.c.value),
                   instance_metadata.c.deleted == _ZERO, instance_metadata.c.key.is_not(None))  # fmt: skip
    of_tags = sa.select(strings(tags.c.tag)).where(tags.c.resource_id == instances.c.uuid).scalar_subquery()
    return [
        sa.func.coalesce(_newest(instance_extra, _extra()), _flavor_of_columns()),
        sa.func.coalesce(_newest(instance_info_caches, instance_info_caches.c.network_info), _sql("[]")),
        sa.func.coalesce(metadata, _sql("{}")),
        sa.func.coalesce(of_tags, _sql("[]")),
        _volumes(sqlite),
        sa.null(),
        sa.null(),
        _system_metadata(pairs) if system_metadata else sa.null(),
    ]  # fmt: skip


def _of(table: Any, what: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    return sa.select(what).where(table.c.instance_uuid == instances.c.uuid, *conditions).scalar_subquery()


def _newest(table: sa.Table, column: ColumnElement[Any]) -> ColumnElement[Any]:
    # Whether it is deleted does not count: with its server the row is deleted too, and still tells what it was.
    query = sa.select(column).where(table.c.instance_uuid == instances.c.uuid)
    return query.order_by(table.c.id.desc()).limit(sa.literal_column("1")).scalar_subquery()


def _extra() -> ColumnElement[Any]:
    # Two sub-selects of one table would be planned twice. Neither text has a line's end in it: nova writes JSON.
    c = instance_extra.c
    return _text(c.flavor, _sql("\n"), sa.func.coalesce(c.trusted_certs, _sql("")))


def _of_many(table: sa.Table, value: ColumnElement[Any], *conditions: ColumnElement[bool]) -> Prebuilt:
    """Return what reads a value of servers, the latest last."""
    query = sa.select(table.c.instance_uuid, value).where(
        table.c.instance_uuid.in_(sa.bindparam("uuids", expanding=True))
    )
    return Prebuilt(query.where(*conditions).order_by(table.c.id))


def _system_metadata(pairs: Callable[..., ColumnElement[Any]]) -> ColumnElement[Any]:
    c = instance_system_metadata.c
    # With its server a key is deleted too, and still tells what it was.
    kept = sa.or_(c.deleted == _ZERO, instances.c.deleted != _ZERO)
    return sa.case((instances.c.image_ref > _sql(""), _of(instance_system_metadata, pairs(c.key, c.value), kept)))


def _volumes(sqlite: bool) -> ColumnElement[Any]:
    devices = block_device_mapping
    flag = sa.case((devices.c.delete_on_termination, _sql("true")), else_=_sql("false"))
    one = _text(_sql('{"id": '), sa.func.json_quote(devices.c.volume_id), _sql(', "delete_on_termination": '), flag,
                _sql("}"))  # fmt: skip
    query = sa.select(one.label("one")).where(
        devices.c.instance_uuid == instances.c.uuid, devices.c.deleted == _ZERO, devices.c.volume_id.is_not(None)
    )
    if sqlite:
        # Before 3.44 it cannot order an aggregate but keeps the order of what it aggregates; MySQL is the other way.
        ordered = query.order_by(devices.c.id).correlate(instances).subquery()
        query = sa.select(sa.func.group_concat(ordered.c.one))
    else:
        query = query.with_only_columns(sa.func.group_concat(one.op("ORDER BY")(devices.c.id)))
    return _text(_sql("["), sa.func.coalesce(query.scalar_subquery(), _sql("")), _sql("]"))


def _text(*parts: Any) -> ColumnElement[Any]:
    return functools.reduce(lambda left, right: left.concat(right), (sa.type_coerce(part, sa.String) for part in parts))


def _sql(text: str) -> ColumnElement[str]:
    # A bound parameter is escaped each time that the statement is run; these are constants.
    return sa.literal_column(f"'{text}'", sa.String)


def _flavor_of_columns() -> ColumnElement[Any]:
    # A row whose instance_extra is lost still has its sizes.
    c, make = instances.c, sa.func.json_object
    columns = {"id": c.instance_type_id, "vcpus": c.vcpus, "memory_mb": c.memory_mb, "root_gb": c.root_gb,
               "ephemeral_gb": c.ephemeral_gb}  # fmt: skip
    data = make(*(each for name, column in columns.items() for each in (_sql(name), column)))
    return make(_sql("cur"), make(_sql("nova_object.data"), data))


_C = instance_faults.c
# The highest id is the latest (nova/db/main/api.py:instance_fault_get_by_instance_uuids); which servers show one:
# nova/api/openstack/compute/views/servers.py:_fault_statuses.
FURTHER = (
    Further("fault_json", lambda entry: entry.vm_state in ("error", "deleted"),
            _of_many(instance_faults, sa.func.json_array(_C.code, _C.message, _C.details, _C.created_at),
                     _C.deleted == _ZERO)),
    Further("locked_reason", lambda entry: bool(entry.locked),
            _of_many(instance_system_metadata, instance_system_metadata.c.value,
                     instance_system_metadata.c.key == _sql("locked_reason"))),
)  # fmt: skip
