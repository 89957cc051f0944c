# SPDX-License-Identifier: Apache-2.0
"""Aggregates of hosts in the API database, and the availability zones that they make.

A zone is no row of its own: it is the value of an aggregate's metadata ``availability_zone``. A host in no such
aggregate is in the reader's default zone.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import Exists, NotEmpty, NotMapped
from cells.schema_api import cell_mappings, host_mappings
from cells.schema_place import aggregate_hosts, aggregate_metadata, aggregates

ZONE = "availability_zone"
_ZONES = (
    sa.select(aggregate_hosts.c.host, aggregate_metadata.c.value)
    .join(aggregate_metadata, aggregate_metadata.c.aggregate_id == aggregate_hosts.c.aggregate_id)
    .where(aggregate_metadata.c.key == ZONE)
    .order_by(aggregate_hosts.c.aggregate_id.desc())
)
_CELLS = sa.select(host_mappings.c.host, cell_mappings.c.uuid, cell_mappings.c.name).join(
    cell_mappings, cell_mappings.c.id == host_mappings.c.cell_id
)


@dataclass(frozen=True)
class Aggregate:
    """A named set of hosts, with metadata."""

    id: int
    name: str
    uuid: str | None = None
    hosts: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None

    @property
    def availability_zone(self) -> str | None:
        """The zone that it puts its hosts in, if any."""
        return self.metadata.get(ZONE)


def list_aggregates(api: Database) -> list[Aggregate]:
    """Return all aggregates in the order of their making, from one moment. Raises CellDown."""
    with api.reader() as conn:
        return _read(conn)


def zones(api: Database) -> dict[str, str]:
    """Return the availability zone of each host that an aggregate puts in one. Raises CellDown.

    Nova lets no host be in two zones; where rows say so none the less, the older aggregate counts
    (``nova/availability_zones.py:get_host_availability_zone``).
    """
    with api.reader() as conn:
        return {row.host: row.value for row in conn.execute(_ZONES)}


def host_cells(api: Database) -> dict[str, str]:
    """Return the name of the cell that each host is mapped to (nova's ``host_mappings``). Raises CellDown."""
    with api.reader() as conn:
        return {host: name or uuid for host, uuid, name in conn.execute(_CELLS)}


def create(api: Database, name: str, availability_zone: str | None = None) -> Aggregate:
    """Write a new aggregate without hosts (``nova/compute/api.py:AggregateAPI.create_aggregate``). Raises Exists."""
    row = {"name": name, "uuid": str(uuid4()), "created_at": utcnow()}

    def write(conn: sa.Connection) -> Aggregate:
        key = conn.execute(aggregates.insert().values(row)).inserted_primary_key
        assert key is not None
        _write_zone(conn, key[0], availability_zone)
        return _one(conn, name)

    try:
        return api.run(write)
    except sa.exc.IntegrityError as error:
        raise Exists(f"Aggregate {name} exists already.") from error


def delete(api: Database, name: str) -> None:
    """Remove an aggregate that has no hosts (``AggregateAPI.delete_aggregate``). Raises NotMapped, NotEmpty."""

    def write(conn: sa.Connection) -> None:
        found = _one(conn, name, lock=True)
        if found.hosts:
            raise NotEmpty(f"Aggregate {name} still has hosts: {', '.join(found.hosts)}.")
        for table in (aggregate_metadata, aggregate_hosts):
            conn.execute(table.delete().where(table.c.aggregate_id == found.id))
        conn.execute(aggregates.delete().where(aggregates.c.id == found.id))

    api.run(write)


def set_zone(api: Database, name: str, availability_zone: str | None) -> Aggregate:
    """Put all hosts of an aggregate in a zone, or with None in none. Raises NotMapped, and Exists as ``add_host``.

    Nova also refuses while servers are on these hosts (``nova/compute/api.py:AggregateAPI.is_safe_to_update_az``);
    that is known in the cells alone and is the caller's to look at.
    """

    def write(conn: sa.Connection) -> Aggregate:
        found = _one(conn, name, lock=True)
        for host in found.hosts:
            _check_zone(conn, host, found.name, availability_zone)
        _write_zone(conn, found.id, availability_zone)
        return _one(conn, name)

    return api.run(write)


def update(api: Database, name: str, new_name: str | None = None,
           metadata: Mapping[str, str | None] | None = None) -> Aggregate:  # fmt: skip
    """Rename an aggregate, and write metadata over what is there; a key with None is removed.

    ``nova/objects/aggregate.py:Aggregate.save, update_metadata``. Raises NotMapped, BadValue, and Exists for a name
    that another one has, and as ``add_host``.
    """
    table, wanted = aggregate_metadata, dict(metadata or {})

    def write(conn: sa.Connection) -> Aggregate:
        found = _one(conn, name, lock=True)
        for host in found.hosts if ZONE in wanted else ():
            _check_zone(conn, host, found.name, wanted[ZONE])
        mine = table.c.aggregate_id == found.id
        conn.execute(table.delete().where(mine, table.c.key.in_(list(wanted))))
        rows = [{"aggregate_id": found.id, "key": key, "value": value, "created_at": utcnow()}
                for key, value in wanted.items() if value is not None]  # fmt: skip
        if rows:
            conn.execute(table.insert(), rows)
        row = aggregates.update().where(aggregates.c.id == found.id)
        conn.execute(row.values(name=new_name or found.name, updated_at=utcnow()))
        return _one(conn, new_name or found.name)

    try:
        return api.run(write)
    except sa.exc.IntegrityError as error:
        raise Exists(f"Aggregate {new_name} already exists.") from error


def add_host(api: Database, name: str, host: str) -> Aggregate:
    """Put a host in an aggregate; repeatable.

    Raises NotMapped for an aggregate or a host that is not there, and Exists for a host that is in another zone
    already (``nova/compute/api.py:AggregateAPI.add_host_to_aggregate``).
    """

    def write(conn: sa.Connection) -> Aggregate:
        found = _one(conn, name, lock=True)
        if host in found.hosts:
            return found
        if host not in conn.execute(sa.select(host_mappings.c.host).where(host_mappings.c.host == host)).scalars():
            raise NotMapped(f"Host {host} could not be found; it is mapped when it is registered in its cell.")
        _check_zone(conn, host, found.name, found.availability_zone)
        conn.execute(aggregate_hosts.insert().values(host=host, aggregate_id=found.id, created_at=utcnow()))
        return _one(conn, name)

    return api.run(write)


def remove_host(api: Database, name: str, host: str) -> Aggregate:
    """Take a host out of an aggregate. Raises NotMapped for either that is not there."""

    def write(conn: sa.Connection) -> Aggregate:
        found = _one(conn, name, lock=True)
        here = sa.and_(aggregate_hosts.c.aggregate_id == found.id, aggregate_hosts.c.host == host)
        if not conn.execute(aggregate_hosts.delete().where(here)).rowcount:
            raise NotMapped(f"Host {host} is not in aggregate {name}.")
        return _one(conn, name)

    return api.run(write)


def _read(conn: sa.Connection) -> list[Aggregate]:
    hosts: dict[int, list[str]] = {}
    metadata: dict[int, dict[str, str]] = {}
    for row in conn.execute(sa.select(aggregate_hosts).order_by(aggregate_hosts.c.host)):
        hosts.setdefault(row.aggregate_id, []).append(row.host)
    for row in conn.execute(sa.select(aggregate_metadata)):
        metadata.setdefault(row.aggregate_id, {})[row.key] = row.value
    return [_aggregate(row, hosts.get(row.id, []), metadata.get(row.id, {}))
            for row in conn.execute(sa.select(aggregates).order_by(aggregates.c.id))]  # fmt: skip


def _aggregate(row: sa.Row[Any], hosts: list[str], metadata: dict[str, str]) -> Aggregate:
    name = row.name or row.uuid or str(row.id)
    return Aggregate(row.id, name, row.uuid, tuple(hosts), metadata, row.created_at, row.updated_at)


def _one(conn: sa.Connection, name: str, *, lock: bool = False) -> Aggregate:
    if lock:
        # All of them: two writers could else put one host in two zones.
        conn.execute(sa.select(aggregates.c.id).order_by(aggregates.c.id).with_for_update()).all()
    # Compared here and not in SQL: MySQL's collation would take RACK1 for rack1.
    found = [one for one in _read(conn) if one.name == name]
    if not found:
        raise NotMapped(f"Aggregate {name} could not be found.")
    return found[0]


def _check_zone(conn: sa.Connection, host: str, name: str, zone: str | None) -> None:
    others = [one for one in _read(conn) if one.name != name and host in one.hosts and one.availability_zone]
    for other in others:
        if zone is not None and other.availability_zone != zone:
            raise Exists(
                f"Host {host} is in availability zone {other.availability_zone} already, by aggregate {other.name}; "
                "a host is in one zone only."
            )


def _write_zone(conn: sa.Connection, key: int, zone: str | None) -> None:
    table = aggregate_metadata
    conn.execute(table.delete().where(table.c.aggregate_id == key, table.c.key == ZONE))
    if zone is not None:
        conn.execute(table.insert().values(aggregate_id=key, key=ZONE, value=zone, created_at=utcnow()))
