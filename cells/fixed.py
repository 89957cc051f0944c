# SPDX-License-Identifier: Apache-2.0
"""Statements that never change, for what every boot runs: compiled once, then run by the driver alone.

SQLAlchemy's own way to run a statement, its compilation in a cache, costs several times what SQLite takes to answer.
The compilation and the types are still SQLAlchemy's, and so are the connection and its errors.
"""

import threading
import weakref
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cells.cursor import Cursor

Values = Mapping[str, Any]
_Convert = Callable[[Any], Any] | None
_NONE: Values = {}


class Fixed:
    """A select, insert, update or delete of which only ``bindparam``s change, and which columns are set.

    Every method raises what ``Connection.execute`` raises, KeyError for a parameter without a value, and TypeError for
    a statement that is not always the same text: one with an expanding IN, or with defaults that Python makes.
    """

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._lock = threading.Lock()
        # By the dialect object, which knows its own server, and by the names of the values.
        self._all: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], _Compiled]] = weakref.WeakKeyDictionary()

    def rows(self, conn: sa.Connection, values: Values = _NONE) -> list[Any]:
        """Return the rows of a select, each a named tuple of its columns."""
        compiled = self._compiled(conn, values)
        with Cursor(conn) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            return compiled.read(cursor)

    def change(self, conn: sa.Connection, values: Values = _NONE) -> int:
        """Run an insert, an update or a delete; return how many rows it matched."""
        compiled = self._compiled(conn, values)
        with Cursor(conn) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            return int(cursor.rowcount)

    def many(self, conn: sa.Connection, rows: Sequence[Values]) -> None:
        """Insert rows, which all have the same names; none is no error."""
        if len(rows) == 1:
            self.change(conn, rows[0])
        elif rows:
            compiled = self._compiled(conn, rows[0])
            with Cursor(conn) as cursor:
                cursor.executemany(compiled.text, [compiled.bound(row) for row in rows])

    def key(self, conn: sa.Connection, values: Values) -> int:
        """Insert a row and return the number that the database gave it."""
        compiled = self._compiled(conn, values)
        with Cursor(conn) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            return int(cursor.fetchone()[0] if compiled.returns_key else cursor.lastrowid)

    def _compiled(self, conn: sa.Connection, values: Values) -> "_Compiled":
        dialect, names = conn.dialect, tuple(values)
        try:
            return self._all[dialect][names]
        except KeyError:
            with self._lock:
                made = _Compiled(self._statement, dialect, names)
                return self._all.setdefault(dialect, {}).setdefault(names, made)


class _Compiled:
    """A statement as one dialect writes it, and how values go to its driver and come back."""

    def __init__(self, statement: Any, dialect: Any, names: Sequence[str]) -> None:
        self._dialect = weakref.proxy(dialect)
        self.returns_key = statement.is_insert and not dialect.postfetch_lastrowid
        if self.returns_key:
            statement = statement.returning(*statement.table.primary_key)
        compiled = statement.compile(dialect=dialect, column_keys=None if statement.is_select else list(names))
        made_here = () if statement.is_select else (*compiled.insert_prefetch, *compiled.update_prefetch)
        if compiled.post_compile_params or compiled.literal_execute_params or made_here:
            raise TypeError(f"this statement is not always the same: {compiled}")
        self.text: str = compiled.string
        self._by_name = not compiled.positional
        order = compiled.positiontup if compiled.positional else compiled.binds
        self._steps = [_step(compiled.binds[name], name, name in names, dialect) for name in order]
        self._types = [column.type for column in statement.selected_columns] if statement.is_select else []
        # Not known before the driver names the columns.
        self._row: Any = None
        self._converts: list[_Convert] = []

    def bound(self, values: Values) -> Any:
        """Return the parameters as the driver takes them."""
        plain = [
            constant if name is None else convert(values[name]) if convert else values[name]
            for _, name, convert, constant in self._steps
        ]
        return {step[0]: value for step, value in zip(self._steps, plain, strict=True)} if self._by_name else plain

    def read(self, cursor: Any) -> list[Any]:
        """Return all rows of a cursor."""
        if self._row is None:
            self._converts = [each.dialect_impl(self._dialect).result_processor(self._dialect, column[1])
                              for each, column in zip(self._types, cursor.description, strict=True)]  # fmt: skip
            self._row = namedtuple("Row", [column[0] for column in cursor.description], rename=True)  # type: ignore[misc]
        return [
            self._row._make(
                [convert(value) if convert else value for convert, value in zip(self._converts, row, strict=True)]
            )
            for row in cursor.fetchall()
        ]


def _step(bind: Any, place: str, asked: bool, dialect: Any) -> tuple[str, str | None, _Convert, Any]:
    """Return a parameter's place, under which name its value is given (None: it is a constant), and how it is bound."""
    convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if asked or bind.required:
        return place, place, convert, None
    constant = bind.effective_value
    return place, None, None, convert(constant) if convert else constant
