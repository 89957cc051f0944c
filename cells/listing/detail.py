# SPDX-License-Identifier: Apache-2.0
"""The one statement that reads all that a list shows of many servers of a cell.

A statement for each table costs its round trip in every cell; joins, and sub-selects of what a server has several of,
cost an index look-up in the one that is under way. But each is planned whenever the statement is run, needed or not,
and for a few servers that is most of their cost: what few servers show at all is ``FURTHER``, asked for those alone.
Its columns are a ``Detail``'s fields in their order, so that a row is one as it comes.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from cells.database import Database
from cells.listing.texts import constant, joined
from cells.listing.values import Brief, Detail
from cells.prebuilt import MYSQL, Prebuilt, by_index
from cells.schema_cell import (
    BY_UUID,
    DEVICES_BY_SERVER,
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
# Whether the rows are deleted does not count: with its server a row is deleted too, and still tells what it was. Each
# server has one of each; of several in `instance_extra` the last row of a server counts, which an index tells last.
_WITH_EXTRA = instances.outerjoin(instance_extra, instance_extra.c.instance_uuid == instances.c.uuid).outerjoin(
    instance_info_caches, instance_info_caches.c.instance_uuid == instances.c.uuid
)
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
    return completed(entries(cell, database.rows(what, {"uuids": uuids})), database)


def completed(found: dict[str, Detail], database: Database) -> dict[str, Detail]:
    """Return the servers with what is ``FURTHER``. Raises CellDown."""
    for further in FURTHER:
        if some := [uuid for uuid, entry in found.items() if further.needed(entry)]:
            further.fill(found, database.rows(further.statement, {"uuids": some}))
    return found


@functools.cache
def _select(dialect: str, detail: bool, system_metadata: bool) -> sa.Select[Any]:
    if detail:
        columns = [*_COLUMNS, *_satellites(dialect, system_metadata)]
        query = sa.select(*columns).select_from(_WITH_EXTRA)
    else:
        query = sa.select(*BRIEF)
    # No other order can be better, and to think of them takes MySQL a while.
    for name in MYSQL:
        query = query.prefix_with("STRAIGHT_JOIN", dialect=name)
    query = query.where(instances.c.uuid.in_(sa.bindparam("uuids", expanding=True)))
    return by_index(query, instances, BY_UUID)


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
        sa.func.coalesce(_extra(), constant("")),
        sa.func.coalesce(instance_info_caches.c.network_info, constant("[]")),
        sa.func.coalesce(metadata, constant("{}")),
        sa.func.coalesce(of_tags, constant("[]")),
        _volumes(sqlite),
        sa.null(),
        sa.null(),
        _system_metadata(pairs) if system_metadata else sa.null(),
    ]  # fmt: skip


def _of(table: Any, what: ColumnElement[Any], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:
    return sa.select(what).where(table.c.instance_uuid == instances.c.uuid, *conditions).scalar_subquery()


def _extra() -> ColumnElement[Any]:
    # Neither text has a line's end in it: nova writes JSON.
    c = instance_extra.c
    return joined(c.flavor, constant("\n"), sa.func.coalesce(c.trusted_certs, constant("")))


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
    return sa.case((instances.c.image_ref > constant(""), _of(instance_system_metadata, pairs(c.key, c.value), kept)))


def _volumes(sqlite: bool) -> ColumnElement[Any]:
    devices = block_device_mapping
    flag = sa.case((devices.c.delete_on_termination, constant("true")), else_=constant("false"))
    one = joined(constant('{"id": '), sa.func.json_quote(devices.c.volume_id),
                 constant(', "delete_on_termination": '), flag, constant("}"))  # fmt: skip
    query = sa.select(one.label("one")).where(
        devices.c.instance_uuid == instances.c.uuid, devices.c.deleted == _ZERO, devices.c.volume_id.is_not(None)
    )
    if sqlite:
        # Before 3.44 it cannot order an aggregate but keeps the order of what it aggregates.
        ordered = query.order_by(devices.c.id).correlate(instances).subquery()
        query = sa.select(sa.func.group_concat(ordered.c.one))
    else:
        # Nova has no order at all (nova/db/main/api.py:block_device_mapping_get_all_by_instance_uuids); this index has
        # that of the ids, and to sort costs as much as to look the devices up.
        query = query.with_only_columns(sa.func.group_concat(one))
        query = by_index(query, devices, DEVICES_BY_SERVER)
    return joined(constant("["), sa.func.coalesce(query.scalar_subquery(), constant("")), constant("]"))


def _flavor_of_columns() -> ColumnElement[Any]:
    c, make = instances.c, sa.func.json_object
    columns = {"id": c.instance_type_id, "vcpus": c.vcpus, "memory_mb": c.memory_mb, "root_gb": c.root_gb,
               "ephemeral_gb": c.ephemeral_gb}  # fmt: skip
    data = make(*(each for name, column in columns.items() for each in (constant(name), column)))
    return make(constant("cur"), make(constant("nova_object.data"), data))


_C = instance_faults.c
# Of a row whose `instance_extra` is lost its columns still tell the sizes.
# The highest id is the latest (nova/db/main/api.py:instance_fault_get_by_instance_uuids); which servers show one:
# nova/api/openstack/compute/views/servers.py:_fault_statuses.
FURTHER = (
    Further("extra", lambda entry: not entry.extra,
            Prebuilt(sa.select(instances.c.uuid, _flavor_of_columns())
                     .where(instances.c.uuid.in_(sa.bindparam("uuids", expanding=True))))),
    Further("fault_json", lambda entry: entry.vm_state in ("error", "deleted"),
            _of_many(instance_faults, sa.func.json_array(_C.code, _C.message, _C.details, _C.created_at),
                     _C.deleted == _ZERO)),
    Further("locked_reason", lambda entry: bool(entry.locked),
            _of_many(instance_system_metadata, instance_system_metadata.c.value,
                     instance_system_metadata.c.key == constant("locked_reason"))),
)  # fmt: skip
