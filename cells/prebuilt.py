# SPDX-License-Identifier: Apache-2.0
"""A statement that is put together once: to do so takes longer than a database needs for many of them."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import mysqldb
from sqlalchemy.sql import visitors

from cells.fixed import Fixed

# Values by the names of a statement's bound parameters; a list for an expanding one, never an empty one.
Values: TypeAlias = Mapping[str, Any]
# SQLAlchemy's names of one dialect.
MYSQL = ("mysql", "mariadb")
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")


def by_index(query: sa.Select[Any], table: sa.Table, index: str) -> sa.Select[Any]:
    """Return a SELECT that MySQL answers by an index of a table's, one of ``cells.schema_cell.NAMED``.

    Where several would do, its planner looks into each for how many rows it has, which takes as long as to read some.
    """
    for name in MYSQL:
        query = query.with_hint(table, f"USE INDEX ({index})", name)
    return query


class Prebuilt:
    """A SELECT, or what makes one for a dialect of a name, called once for each."""

    def __init__(self, select: sa.Select[Any] | Callable[[str], sa.Select[Any]]) -> None:
        self._made_of = select
        self._lock = threading.Lock()
        self._selects: dict[str, sa.Select[Any]] = {}
        self._fixed: dict[str, Fixed | None] = {}
        self._texts: dict[str, tuple[bytes, Values]] = {}

    def select(self, dialect: str) -> sa.Select[Any]:
        """Return the statement for a connection of SQLAlchemy's."""
        found = self._selects.get(dialect)
        if found is None:
            with self._lock:
                select = self._made_of if isinstance(self._made_of, sa.Select) else self._made_of(dialect)
                self._fixed.setdefault(dialect, None if _has_lists(select) else Fixed(select))
                found = self._selects.setdefault(dialect, select)
        return found

    def fixed(self, dialect: str) -> Fixed | None:
        """Return the statement for the driver alone, None where it is not always the same text."""
        self.select(dialect)
        return self._fixed[dialect]

    def rows(self, conn: sa.Connection, values: Values) -> Sequence[tuple[Any, ...]]:
        """Return the rows on a connection of SQLAlchemy's; without it where the statement is always the same text."""
        dialect = conn.dialect.name
        if fixed := self.fixed(dialect):
            return fixed.rows(conn, values)
        return list(map(tuple, conn.execute(self.select(dialect), values)))

    def text(self, dialect: str) -> tuple[bytes, Values]:
        """Return the statement for mysqlclient, with ``%(name)s`` for each parameter, and the values that it has."""
        found = self._texts.get(dialect)
        if found is None:
            compiled = self.select(dialect).compile(dialect=mysqldb.dialect(paramstyle="pyformat"))
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            found = self._texts[dialect] = _LIST.sub(r"%(\1)s", str(compiled)).encode(), constants
        return found


def _has_lists(select: sa.Select[Any]) -> bool:
    return any(isinstance(part, sa.BindParameter) and part.expanding for part in visitors.iterate(select))
