# SPDX-License-Identifier: Apache-2.0
"""What a project and each of its users may have: nova's limits, read and written in the API database.

A limit is the first that is written down of: the user's in the project (``project_user_quotas``), the project's
(``quotas``), that of class ``default`` (``quota_classes``); else it is the configured one. A negative one, or NULL
in a row, is no limit (``nova/quota.py:DbQuotaDriver``, ``nova/db/api/models.py:Quota``).

Nova reads each of these tables in the main database of its API hosts, cell0's, too, for deployments whose limits
were never moved (``nova/objects/quotas.py:Quotas.get_all_by_project``); the API database wins, row by row. ``legacy``
reads those rows; they are never written here, and while cell0 is down they are unknown, which stops nobody.
"""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.prebuilt import Prebuilt
from cells.schema_quota import project_user_quotas, quota_classes, quotas
from cells.wire import Read

UNLIMITED = -1
# Shown and set in this order; what is counted in the cells comes first.
DEFAULTS: Mapping[str, int] = {
    "instances": 10, "cores": 20, "ram": 50 * 1024, "metadata_items": 128, "injected_files": 5,
    "injected_file_content_bytes": 10 * 1024, "injected_file_path_bytes": 255, "key_pairs": 100,
    "server_groups": 10, "server_group_members": 10,
}  # fmt: skip
DEFAULT_CLASS = "default"
# The largest that nova's API takes (nova/db/constants.py:MAX_INT).
LARGEST = 0x7FFFFFFF

_OLD = ("quotas", "project_user_quotas", "quota_classes")


@dataclass(frozen=True)
class Stored:
    """The limits that are written down for a project, for its users by id, and for class ``default``."""

    project: Mapping[str, int] = field(default_factory=dict)
    users: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    default: Mapping[str, int] = field(default_factory=dict)

    def of_class(self, configured: Mapping[str, int]) -> dict[str, int]:
        """Return the limits of a project without rows."""
        return {name: self.default.get(name, value) for name, value in configured.items()}

    def of_project(self, configured: Mapping[str, int]) -> dict[str, int]:
        """Return the project's limits, all that are configured."""
        return {name: self.project.get(name, value) for name, value in self.of_class(configured).items()}

    def of_user(self, user_id: str, configured: Mapping[str, int]) -> dict[str, int]:
        """Return a user's limits inside the project; without rows of their own they are the project's."""
        own = self.users.get(user_id, {})
        return {name: own.get(name, value) for name, value in self.of_project(configured).items()}

    def beneath(self, older: "Stored") -> "Stored":
        """Return these limits with those of ``older`` where there is none."""
        users = {user: {**older.users.get(user, {}), **self.users.get(user, {})}
                 for user in (*older.users, *self.users)}  # fmt: skip
        return Stored({**older.project, **self.project}, users, {**older.default, **self.default})


def is_unlimited(limit: int) -> bool:
    """Return whether a limit is none."""
    return limit < 0


def stored(api: Database, project_id: str) -> Stored:
    """Return the limits that the API database holds for a project. Raises CellDown."""
    with api.snapshot() as ask:
        return stored_by(ask, project_id)


def stored_by(ask: Read, project_id: str) -> Stored:
    """Return the limits that the API database holds for a project; ``ask`` reads there."""
    return _stored(ask, project_id, _HERE)


# Nova adds these tables to no database later on; looking for them costs as much as reading them.
_WITHOUT: "weakref.WeakSet[Database]" = weakref.WeakSet()


def may_have_legacy(cell0: Database) -> bool:
    """Return whether it is worth while to ask for ``legacy``: False where there once was nothing to ask."""
    return cell0 not in _WITHOUT


def legacy(cell0: Database, project_id: str) -> Stored:
    """Return the limits that nova left in its main database, none where it has no such tables. Raises CellDown."""
    with cell0.reader() as conn:
        if not sa.inspect(conn).has_table("quotas"):
            _WITHOUT.add(cell0)
            return Stored()
        return _stored(lambda statement, values: statement.rows(conn, values), project_id, _LEGACY)


def set_limits(api: Database, project_id: str, limits: Mapping[str, int], user_id: str | None = None) -> None:
    """Write limits of a project, or of one of its users; what they are bound by is ``settable``.

    ``nova/objects/quotas.py:Quotas.update_limit``.
    """
    table, owner = (quotas, {"project_id": project_id})
    if user_id is not None:
        table, owner = (project_user_quotas, {"project_id": project_id, "user_id": user_id})
    _write(api, table, owner, limits)


def set_default(api: Database, limits: Mapping[str, int]) -> None:
    """Write limits of class ``default``, which are those of every project without rows of its own."""
    _write(api, quota_classes, {"class_name": DEFAULT_CLASS}, limits)


def delete_limits(api: Database, project_id: str, user_id: str | None = None) -> None:
    """Remove the limits of a user, or of a project with those of its users; repeatable.

    ``nova/db/main/api.py:quota_destroy_all_by_project``.
    """
    theirs = project_user_quotas.c.project_id == project_id

    def write(conn: sa.Connection) -> None:
        if user_id is not None:
            conn.execute(project_user_quotas.delete().where(theirs, project_user_quotas.c.user_id == user_id))
            return
        conn.execute(project_user_quotas.delete().where(theirs))
        conn.execute(quotas.delete().where(quotas.c.project_id == project_id))

    api.run(write)


def settable(found: Stored, configured: Mapping[str, int], used: Mapping[str, int],
             user_id: str | None = None) -> dict[str, tuple[int, int]]:  # fmt: skip
    """Return the smallest and the largest limit that may be set for each resource.

    A project's: what it uses, and what its users' limits sum up to. A user's: what the user uses, and what the limits
    of the others leave of the project's (``nova/quota.py:DbQuotaDriver.get_settable_quotas``). ``used`` is that of
    the project or of the user; -1 as the largest is no bound.
    """
    bounds = {}
    for name, limit in found.of_project(configured).items():
        given = sum(own[name] for user, own in found.users.items() if name in own and user != user_id and own[name] > 0)
        in_use = used.get(name, 0)
        if user_id is None:
            bounds[name] = (in_use if is_unlimited(limit) else max(in_use, given), UNLIMITED)
        else:
            bounds[name] = (in_use, UNLIMITED if is_unlimited(limit) else max(0, limit - given))
    return bounds


def _write(api: Database, table: sa.Table, owner: Mapping[str, Any], limits: Mapping[str, int]) -> None:
    now = utcnow()
    mine = sa.and_(*(table.c[name] == value for name, value in owner.items()))

    def write(conn: sa.Connection) -> None:
        # nova's classes have no unique key: read under a lock, two writers would else make two rows.
        there = set(conn.execute(sa.select(table.c.resource).where(mine).with_for_update()).scalars())
        for name, value in limits.items():
            if name in there:
                row = table.update().where(mine, table.c.resource == name)
                conn.execute(row.values(hard_limit=value, updated_at=now))
            else:
                conn.execute(table.insert().values(**owner, resource=name, hard_limit=value, created_at=now))

    try:
        api.run(write)
    except sa.exc.IntegrityError:
        # Another wrote the same row first: now it is there.
        api.run(write)


def _stored(ask: Read, project_id: str, statements: Iterable[Prebuilt]) -> Stored:
    of_project, of_users, of_class = (ask(each, {"project": project_id}) for each in statements)
    by_user: dict[str, dict[str, int]] = {}
    for user, name, value in of_users:
        by_user.setdefault(user, {})[name] = _limit(value)
    project, default = ({name: _limit(value) for name, value in rows} for rows in (of_project, of_class))
    return Stored(project, by_user, default)


def _limit(value: int | None) -> int:
    return UNLIMITED if value is None or value < 0 else value


def _old(name: str) -> sa.TableClause:
    return sa.table(
        name, *(sa.column(each) for each in ("project_id", "user_id", "class_name", "resource", "hard_limit"))
    )


def _statements(tables: Iterable[Any], live: Any) -> tuple[Prebuilt, Prebuilt, Prebuilt]:
    """Return how the limits of a project are read, those of its users, and those of the class of all."""
    projects, users, classes = tables
    asked: sa.BindParameter[str] = sa.bindparam("project")
    limit = sa.select(projects.c.resource, projects.c.hard_limit).where(projects.c.project_id == asked, live)
    own = sa.select(users.c.user_id, users.c.resource, users.c.hard_limit).where(users.c.project_id == asked, live)
    default = sa.select(classes.c.resource, classes.c.hard_limit).where(classes.c.class_name == DEFAULT_CLASS, live)
    return Prebuilt(limit), Prebuilt(own), Prebuilt(default)


_HERE = _statements((quotas, project_user_quotas, quota_classes), sa.true())
_LEGACY = _statements(map(_old, _OLD), sa.text("deleted = 0"))
