# SPDX-License-Identifier: Apache-2.0
"""Refuse what would write where an account may only read, before anything is made; proven once is proven."""

from collections.abc import Callable, Iterable

from bfv.errors import Refused
from cells import writes
from cells.database import Database
from cells.errors import NoRight
from cells.pool import Cells
from cells.types import Cell, Up

_API = "the API database"


class Writable:
    """Knows which of the databases this process may write; ``cell`` finds a cell by its name."""

    def __init__(self, api: Database, cell: Callable[[str], Cell], pool: Cells) -> None:
        self._api, self._cell, self._pool = api, cell, pool
        self._proven: set[str] = set()

    def require(self, cells: Iterable[str]) -> None:
        """Raise Refused unless servers may be written into the API database and these cells.

        A cell that does not answer is passed over: nobody knows. Raises CellDown for the API database.
        """
        if _API not in self._proven:
            self._judge(_API, _missing(self._api, "api"))
        asked = [self._cell(name) for name in cells if name not in self._proven]
        for answer in self._pool.gather(asked, lambda _cell, database: _missing(database, "cell")).values():
            if isinstance(answer, Up):
                self._judge(answer.cell.name, answer.value)

    def _judge(self, name: str, missing: str | None) -> None:
        if missing:
            raise Refused(
                f"The database account may only read: {missing}. Give it INSERT, UPDATE and DELETE there, or have nova "
                "do this."
            )
        self._proven.add(name)


def _missing(database: Database, kind: str) -> str | None:
    """Return which right is missing, None if none is. Raises CellDown."""
    try:
        writes.check(database, kind)
    except NoRight as error:
        return str(error)
    return None
