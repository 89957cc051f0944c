# SPDX-License-Identifier: Apache-2.0
"""A statement that is put together once: to do so takes longer than a database needs for many of them."""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.mysql import mysqldb

# Values by the names of a statement's bound parameters; a list for an expanding one, never an empty one.
Values: TypeAlias = Mapping[str, Any]
_LIST = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")


class Prebuilt:
    """A SELECT that ``build`` makes for a dialect, by its name; it is called once for each."""

    def __init__(self, build: Callable[[str], sa.Select[Any]]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._selects: dict[str, sa.Select[Any]] = {}
        self._texts: dict[str, tuple[bytes, Values]] = {}

    def select(self, dialect: str) -> sa.Select[Any]:
        """Return the statement for a connection of SQLAlchemy's."""
        found = self._selects.get(dialect)
        if found is None:
            with self._lock:
                found = self._selects.setdefault(dialect, self._build(dialect))
        return found

    def text(self, dialect: str) -> tuple[bytes, Values]:
        """Return the statement for mysqlclient, with ``%(name)s`` for each parameter, and the values that it has."""
        found = self._texts.get(dialect)
        if found is None:
            compiled = self.select(dialect).compile(dialect=mysqldb.dialect(paramstyle="pyformat"))
            constants = {name: value for name, value in compiled.params.items() if value is not None}
            found = self._texts[dialect] = _LIST.sub(r"%(\1)s", str(compiled)).encode(), constants
        return found
