# SPDX-License-Identifier: Apache-2.0
"""One cell as this process reaches it: its database, its breaker and its own few threads, a bulkhead."""

from collections.abc import Callable

import sqlalchemy as sa

from cells.breaker import Breaker, Patience
from cells.database import Database, utcnow
from cells.dbapi import refuse_for_nova
from cells.errors import BadCell, CellDown, CellsError
from cells.lane import Lane
from cells.schema_cell import instances
from cells.types import Cell, CellState, Down

# Proves the password, the database, nova's schema and the right to read it.
ALIVE = sa.select(instances.c.id).limit(1)


class Link:
    """What there is for one cell; ``found_down`` is called with it each time that its breaker opens.

    A description that cannot work (BadCell) is kept as why there is no database: it will not get better.
    """

    def __init__(self, cell: Cell, opener: Callable[[Cell], Database], threads: int, patience: Patience,
                 found_down: Callable[["Link"], None]) -> None:  # fmt: skip
        self._described = cell.name, cell.database_connection
        self._name, self._found_down = cell.name, found_down
        self.breaker = Breaker(cell.name, patience, self._opened)
        self.lane = Lane(f"cell-{cell.name}", threads)
        self._unusable: BadCell | None = None
        try:
            self._database: Database | None = opener(cell)
            refuse_for_nova(cell.name, self._database.dialect)
            self._database.watch(self.breaker)
        except BadCell as error:
            self._database, self._unusable = None, error
            self.breaker.failed(error, 0.0)

    def is_for(self, cell: Cell) -> bool:
        """Whether the cell is still described as it was."""
        return self._described == (cell.name, cell.database_connection)

    @property
    def database(self) -> Database:
        """The cell's database. Raises BadCell for a description that cannot work."""
        if self._database is None:
            raise BadCell(str(self._unusable))
        return self._database

    def database_if_up(self) -> Database | None:
        """Return the cell's database, None while it is known to be down."""
        return None if self.breaker.outage else self._database

    def refusal(self, cell: Cell) -> Down | None:
        """Return why the cell need not be asked, None if it is to be."""
        if self._database is None or self.breaker.outage:
            return self.down(cell, "it was down a moment ago")
        if self.lane.is_hung:
            return Down(cell, f"each of its {self.lane.size} threads hangs", utcnow())
        return None

    def down(self, cell: Cell, reason: str) -> Down:
        """Return the cell as down: for the reason that is known of it, else for this one and from now on."""
        trouble = self.breaker.trouble
        return Down(cell, trouble.reason, trouble.since) if trouble else Down(cell, reason, utcnow())

    def means_down(self, error: Exception) -> bool:
        """Whether an error tells that this cell is of no use now; that of another database does not."""
        return isinstance(error, BadCell) or (isinstance(error, CellDown) and error.cell == self._name)

    def state(self, cell: Cell) -> CellState:
        """Return what is known of the cell, without asking it."""
        trouble, database = self.breaker.trouble, self._database
        return CellState(
            cell,
            "disabled" if cell.disabled else "down" if trouble else "slow" if self.breaker.is_slow() else "up",
            since=trouble.since if trouble else None,
            reason=trouble.reason if trouble else "",
            answers=self.breaker.answers(),
            in_use=database.in_use if database else 0,
            size=database.size if database else 0,
            probes=self.breaker.probes,
        )

    def probe(self, longest: float) -> float | None:
        """Ask on a connection of its own whether the cell is back; return the seconds to the next probe, if any.

        An answer that takes longer than ``longest`` seconds is one that no request would have waited for.
        """
        try:
            seconds = self.database.probe(ALIVE)
        except CellsError as error:
            return self.breaker.probed(error.reason if isinstance(error, CellDown) else str(error))
        except Exception as error:
            return self.breaker.probed(f"its probe failed: {type(error).__name__}")
        if seconds > longest:
            return self.breaker.probed(f"it answers, but only after {seconds:.1f} seconds")
        return self.breaker.probed(None)

    def close(self) -> None:
        """Close the connections that are not in use, and end the threads as their calls end."""
        self.lane.close()
        if self._database:
            self._database.close()

    def _opened(self) -> None:
        outage = self.breaker.outage
        self.lane.drop(CellDown(self._name, outage.reason if outage else "it was down a moment ago"))
        self._found_down(self)
