# SPDX-License-Identifier: Apache-2.0
"""Server groups in the API database: which servers are to be kept together or apart. Nova's tables.

Nova leaves a deleted server in its group until its row is archived, and no key stops a server from being in a group
twice, or in two; what is read here are sets.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import NotMapped
from cells.schema_api import instance_mappings
from cells.schema_cell import instances
from cells.schema_quota import instance_group_member, instance_group_policy, instance_groups

POLICIES = ("affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity")
MAX_PER_HOST = "max_server_per_host"

_GROUPS = sa.select(instance_groups, instance_group_policy.c.policy, instance_group_policy.c.rules).outerjoin_from(
    instance_groups, instance_group_policy, instance_group_policy.c.group_id == instance_groups.c.id
)
_OF_SERVER = sa.select(instance_groups.c.uuid).join(
    instance_group_member, instance_group_member.c.group_id == instance_groups.c.id
)
_OF_SERVER = _OF_SERVER.where(instance_group_member.c.instance_uuid == sa.bindparam("server"))


@dataclass(frozen=True)
class Group:
    """A server group (nova's ``InstanceGroup``). ``max_per_host`` is the rule of anti-affinity, 1 by default.

    ``members`` are all that are written down, deleted servers too; the function of this name tells where they are.
    """

    id: int
    uuid: str
    name: str
    project_id: str
    user_id: str
    policy: str
    max_per_host: int = 1
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Member:
    """A server of a group: its cell's id, None while it has none, and whether a delete was accepted for it."""

    server_id: str
    user_id: str | None
    cell_id: int | None
    deleted: bool


def create(api: Database, project_id: str, user_id: str, name: str, policy: str, max_per_host: int = 1) -> Group:
    """Write a new group, without members (``nova/objects/instance_group.py:InstanceGroup.create``). Raises CellDown."""
    uuid, now = str(uuid4()), utcnow()
    rules = {MAX_PER_HOST: str(max_per_host)} if max_per_host != 1 else {}

    def write(conn: sa.Connection) -> None:
        row = instance_groups.insert().values(
            uuid=uuid, name=name, project_id=project_id, user_id=user_id, created_at=now
        )
        key = conn.execute(row).inserted_primary_key
        assert key is not None
        conn.execute(instance_group_policy.insert().values(
            group_id=key[0], policy=policy, rules=json.dumps(rules), created_at=now))  # fmt: skip

    api.run(write)
    return get(api, uuid)


def list_groups(api: Database, project_id: str | None) -> list[Group]:
    """Return the groups of a project, or with None of all, in the order of their making. Raises CellDown."""
    theirs = sa.true() if project_id is None else instance_groups.c.project_id == project_id
    with api.reader() as conn:
        return _read(conn, theirs)


def get(api: Database, uuid: str) -> Group:
    """Return a group. Raises NotMapped, CellDown."""
    with api.reader() as conn:
        found = [group for group in _read(conn, instance_groups.c.uuid == uuid) if group.uuid == uuid]
    if not found:
        raise NotMapped(f"Server group {uuid} could not be found.")
    return found[0]


def delete(api: Database, uuid: str) -> None:
    """Remove a group; its servers stay and are bound no more. Raises NotMapped, CellDown.

    ``nova/objects/instance_group.py:_destroy_in_db``.
    """

    def write(conn: sa.Connection) -> None:
        key = conn.execute(sa.select(instance_groups.c.id).where(instance_groups.c.uuid == uuid)).scalar()
        if key is None:
            raise NotMapped(f"Server group {uuid} could not be found.")
        for table in (instance_group_policy, instance_group_member):
            conn.execute(table.delete().where(table.c.group_id == key))
        conn.execute(instance_groups.delete().where(instance_groups.c.id == key))

    api.run(write)


def add_member(api: Database, uuid: str, server_id: str) -> None:
    """Put a server in a group; repeatable. Raises NotMapped, CellDown."""

    def write(conn: sa.Connection) -> None:
        key = conn.execute(sa.select(instance_groups.c.id).where(instance_groups.c.uuid == uuid)).scalar()
        if key is None:
            raise NotMapped(f"Server group {uuid} could not be found.")
        table = instance_group_member
        there = sa.select(table.c.id).where(table.c.group_id == key, table.c.instance_uuid == server_id)
        if conn.execute(there).first() is None:
            conn.execute(table.insert().values(group_id=key, instance_uuid=server_id, created_at=utcnow()))

    api.run(write)


def remove_member(api: Database, server_id: str) -> None:
    """Take a server out of its groups; repeatable. Raises CellDown."""
    table = instance_group_member
    api.run(lambda conn: conn.execute(table.delete().where(table.c.instance_uuid == server_id)))


def of_server(api: Database, server_id: str) -> list[str]:
    """Return the UUIDs of the groups that a server is in: nova lets it be in one. Raises CellDown."""
    with api.reader() as conn:
        return list(conn.execute(_OF_SERVER, {"server": server_id}).scalars())


def members(api: Database, group_id: int) -> list[Member]:
    """Return the servers that are in a group now and have a mapping, whether their cells answer or not.

    Of one that a delete was accepted for only its cell knows whether it is gone. Raises CellDown.
    """
    maps, table = instance_mappings, instance_group_member
    theirs = sa.select(table.c.instance_uuid).where(table.c.group_id == group_id)
    query = sa.select(maps.c.instance_uuid, maps.c.user_id, maps.c.cell_id, maps.c.queued_for_delete)
    query = query.where(maps.c.instance_uuid.in_(theirs)).order_by(maps.c.id)
    with api.reader() as conn:
        return [Member(uuid, user, cell, bool(deleted)) for uuid, user, cell, deleted in conn.execute(query)]


def hosts_of(cell: Database, server_ids: Collection[str]) -> dict[str, str | None]:
    """Return the host of each of these servers that is in a cell, None for one that has none yet. Raises CellDown.

    ``nova/objects/instance_group.py:InstanceGroup.get_hosts``.
    """
    query = sa.select(instances.c.uuid, instances.c.host)
    query = query.where(instances.c.uuid.in_(server_ids), instances.c.deleted == 0)
    with cell.reader() as conn:
        return {row.uuid: row.host for row in conn.execute(query)}


def count(api: Database, project_id: str) -> tuple[int, Mapping[str, int]]:
    """Return how many groups a project has, and each of its users (``nova/quota.py:_server_group_count``)."""
    query = sa.select(instance_groups.c.user_id, sa.func.count()).where(instance_groups.c.project_id == project_id)
    with api.reader() as conn:
        by_user = {user or "": number for user, number in conn.execute(query.group_by(instance_groups.c.user_id))}
    return sum(by_user.values()), by_user


def _read(conn: sa.Connection, which: sa.ColumnElement[bool]) -> list[Group]:
    rows = conn.execute(_GROUPS.where(which).order_by(instance_groups.c.id)).all()
    members: dict[int, dict[str, None]] = {}
    table = instance_group_member
    query = sa.select(table.c.group_id, table.c.instance_uuid).order_by(table.c.id)
    query = query.join(instance_groups, instance_groups.c.id == table.c.group_id).where(which)
    for key, server_id in conn.execute(query):
        members.setdefault(key, {})[server_id] = None
    return [_group(row, tuple(members.get(row.id, ()))) for row in rows]


def _group(row: sa.Row[Any], members: Sequence[str]) -> Group:
    # Rows of a nova before 2.64 have no rules, their values are texts since.
    rules = json.loads(row.rules) if row.rules else {}
    most = max(1, int(rules.get(MAX_PER_HOST, 1)))
    return Group(row.id, row.uuid, row.name or "", row.project_id or "", row.user_id or "", row.policy or "", most,
                 tuple(members))  # fmt: skip
