# SPDX-License-Identifier: Apache-2.0
"""One order of servers that each cell's database and Python agree on to the last tie.

NULL is smaller than any value. Text is compared by its bytes in UTF-8, thus with regard to case: that is also the
order of Python's str, while collations differ from server to server, and nova, which mixes both, skips and repeats
servers. Ties end with the id (``query.Query.order``), so the order is total.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from cells.listing.query import Order
from cells.schema_cell import instances


class _bytes_of(GenericFunction[Any]):
    """A text as its bytes where a collation would compare it otherwise."""

    name = "bytes_of"
    inherit_cache = True


@compiles(_bytes_of)
def _as_it_is(element: Any, compiler: Any, **kw: Any) -> str:
    return f"({compiler.process(element.clauses, **kw)})"


@compiles(_bytes_of, "mysql")
@compiles(_bytes_of, "mariadb")
def _cast(element: Any, compiler: Any, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS BINARY)"


class Key:
    """The place of a row in an order, comparable."""

    __slots__ = ("order", "values")

    def __init__(self, order: Order, values: Sequence[Any]) -> None:
        self.order, self.values = order, values

    def __lt__(self, other: "Key") -> bool:
        for (_, descending), mine, theirs in zip(self.order, self.values, other.values, strict=True):
            if mine != theirs:
                smaller = mine is None or (theirs is not None and mine < theirs)
                return smaller is not descending
        return False


def columns(order: Order) -> list[sa.Column[Any]]:
    """Return the columns whose values make a row's ``Key``."""
    return [instances.c[name] for name, _ in order]


def order_by(order: Order) -> list[sa.ColumnElement[Any]]:
    """Return the SQL of an order; SQLite, MariaDB and MySQL all put NULL first by themselves."""
    compared = [_comparable(instances.c[name]) for name, _ in order]
    return [one.desc() if descending else one.asc() for one, (_, descending) in zip(compared, order, strict=True)]


def after(order: Order, values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a row comes after the one with these values."""
    found: sa.ColumnElement[bool] = sa.false()
    for (name, descending), value in reversed(list(zip(order, values, strict=True))):
        found = _step(name, descending, value, found)
    return found


def _step(name: str, descending: bool, value: Any, rest: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    column = instances.c[name]
    if value is None:
        tied = sa.and_(column.is_(None), rest)
        return tied if descending else sa.or_(column.is_not(None), tied)
    mine, bound = _comparable(column), _comparable(sa.literal(value, column.type))
    beyond = sa.or_(mine < bound, column.is_(None)) if descending else mine > bound
    return sa.or_(beyond, sa.and_(mine == bound, rest))


def _comparable(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return _bytes_of(value) if isinstance(value.type, sa.String) else value
