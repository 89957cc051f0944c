# SPDX-License-Identifier: Apache-2.0
"""What a live database lacks against the tables that this code reads and writes.

Nova's schema moves on by its own migrations: a column that is renamed must be found before the first boot, not in it.
More tables, columns and indexes than ours are fine; what would make one of our statements fail is not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from cells import schema_api, schema_cell, schema_moves, schema_place, schema_quota
from cells.database import Database

Kind = Literal["api", "cell"]
# Imported for their tables, which are part of the two others.
_PARTS = (schema_moves, schema_place, schema_quota)
_TABLES: Mapping[Kind, sa.MetaData] = {"api": schema_api.metadata, "cell": schema_cell.metadata}
_VERSION, _BEFORE_ALEMBIC = "alembic_version", "migrate_version"
# Revisions oldest first (nova/db/api/migrations, nova/db/main/migrations), with the releases that end at each.
_REVISIONS: Mapping[Kind, Mapping[str, str]] = {
    "api": {"d67eeaabee36": "", "b30f573d3377": "", "cdeec0c85668": "29 to 34"},
    "cell": {"8f2f1571d55b": "", "16f1fbcab42b": "", "ccb0fa1a2252": "", "960aac0e09ea": "", "1b91788ec3a6": "",
             "1acf2c98e646": "", "13863f4e1612": "29 and 30", "d60bddf7a903": "between 30 and 31",
             "2903cd72dc14": "31 to 33", "ab450ba04102": "34"},
}  # fmt: skip
OLDEST, NEWEST = "29 (2024.1)", "34 (2026.2)"


@dataclass(frozen=True)
class Difference:
    """A column, or a whole table if ``column`` is None, that is not as this code needs it."""

    table: str
    column: str | None
    what: str

    def __str__(self) -> str:
        return f"{'table' if self.column is None else 'column'} {self.name} {self.what}"

    @property
    def name(self) -> str:
        """Where it is: ``table`` or ``table.column``."""
        return self.table if self.column is None else f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Comparison:
    """A database beside our tables.

    ``revision`` is nova's, None where its `nova-manage` never was. ``state`` says what we know of it: ``ours`` (made
    without nova), ``known`` (of a release that is tested), ``older`` than those, or ``unknown``, most likely newer.
    """

    revision: str | None
    state: Literal["ours", "known", "older", "unknown"]
    release: str
    differences: tuple[Difference, ...]


def compare(database: Database, kind: Kind) -> Comparison:
    """Compare an API or a cell database with our tables; needs no more than the right to select.

    Raises CellDown, BadCell.
    """
    with database.reader() as conn:
        inspector = sa.inspect(conn)
        present = set(inspector.get_table_names())
        revision = _revision(conn, present)
        ours = _TABLES[kind].tables
        live = inspector.get_multi_columns(filter_names=sorted(present.intersection(ours)))
        columns = {name: {column["name"]: column for column in found} for (_, name), found in live.items()}
        indexes = list(_indexes(inspector, present)) if kind == "cell" and not database.is_file else []
    differences = (*(found for table in ours.values() for found in _table(table, columns.get(table.name))), *indexes)
    state = _state(kind, revision)
    return Comparison(revision or None, state, _REVISIONS[kind].get(revision or "", ""), differences)


def _indexes(inspector: sa.Inspector, present: set[str]) -> Iterator[Difference]:
    for table in present.intersection(schema_cell.NAMED):
        found = {index["name"] for index in inspector.get_indexes(table)}
        for name in schema_cell.NAMED[table]:
            if name not in found:
                yield Difference(table, None, f"has no index {name}, which statements name")


def _revision(conn: sa.Connection, present: set[str]) -> str | None:
    """Return nova's revision, empty if it left the table but no row, None where nova never was."""
    if _VERSION in present:
        version: sa.Select[Any] = sa.select(sa.column("version_num")).select_from(sa.table(_VERSION))
        return str(conn.execute(version).scalar() or "")
    return _BEFORE_ALEMBIC if _BEFORE_ALEMBIC in present else None


def _state(kind: Kind, revision: str | None) -> Literal["ours", "known", "older", "unknown"]:
    if revision is None:
        return "ours"
    if _REVISIONS[kind].get(revision):
        return "known"
    return "older" if revision in _REVISIONS[kind] or revision == _BEFORE_ALEMBIC else "unknown"


def _table(table: sa.Table, live: Mapping[str, Any] | None) -> Iterator[Difference]:
    if live is None:
        yield Difference(table.name, None, "is missing")
        return
    for column in table.columns:
        found = live.get(column.name)
        what = "is missing" if found is None else _column(column, found)
        if what:
            yield Difference(table.name, column.name, what)
    for name, found in live.items():
        if name not in table.columns and _must_be_given(found):
            yield Difference(table.name, name, "is not known here and must have a value: no row can be written")


def _column(ours: sa.Column[Any], live: Mapping[str, Any]) -> str | None:
    family = _family(ours.type)
    if _family(live["type"]) != family:
        return f"is {live['type']}, not {family}"
    longest = getattr(ours.type, "length", None)
    # An enumeration's length is that of its longest word.
    if family == "text" and longest and not isinstance(ours.type, sa.Enum) and _length(live["type"]) < longest:
        return f"is {live['type']}, shorter than {longest} characters"
    # The other way round is harmless: old rows of nova hold NULL nearly everywhere, and are read so.
    if ours.nullable and _must_be_given(live):
        return "must have a value, where NULL is written"
    return None


def _must_be_given(live: Mapping[str, Any]) -> bool:
    return not live["nullable"] and live["default"] is None and live.get("autoincrement") is not True


def _length(kind: sa.types.TypeEngine[Any]) -> float:
    length = getattr(kind, "length", None)
    return float("inf") if length is None else float(length)


def _family(kind: sa.types.TypeEngine[Any]) -> str:
    # MySQL keeps booleans as small integers, and SQLite knows enumerations as text.
    families: list[tuple[str, type[sa.types.TypeEngine[Any]] | tuple[type[sa.types.TypeEngine[Any]], ...]]] = [
        ("integer", (sa.Boolean, sa.Integer)),
        ("number", sa.Numeric),
        ("number", sa.Float),
        ("time", sa.DateTime),
        ("text", sa.String),
    ]
    return next((name for name, types in families if isinstance(kind, types)), str(kind))
