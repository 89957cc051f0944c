# SPDX-License-Identifier: Apache-2.0
"""Ask many cells at once, each through its own few threads, and never let one of them hold up the others."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import TypeVar

from cells.database import Database, utcnow
from cells.errors import BadCell, CellDown
from cells.types import Cell, Down, Up

T = TypeVar("T")


class Cells:
    """The databases of the cells, each opened by ``opener`` when it is first needed.

    ``cell_timeout`` is how long in seconds one ``gather`` waits for a cell.
    """

    def __init__(self, opener: Callable[[Cell], Database], cell_timeout: float = 5.0, threads: int = 4) -> None:
        self._opener, self.cell_timeout, self._threads = opener, cell_timeout, threads
        self._lock = threading.Lock()
        self._databases: dict[tuple[str, str], Database] = {}
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def of(self, cell: Cell) -> Database:
        """Return the database of a cell."""
        with self._lock:
            return self._databases.setdefault((cell.uuid, cell.database_connection), self._opener(cell))

    def gather(self, cells: Iterable[Cell], fn: Callable[[Cell, Database], T]) -> dict[str, Up[T] | Down]:
        """Run ``fn`` on each cell's database, all at once; return each answer, or why there is none, by cell uuid.

        An error that does not tell of an outage is raised.
        """
        running = {cell.uuid: (cell, self._submit(cell, fn)) for cell in cells}
        wait_for([future for _, future in running.values()], timeout=self.cell_timeout)
        return {uuid: self._answer(cell, future) for uuid, (cell, future) in running.items()}

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            for database in self._databases.values():
                database.close()
            self._databases.clear()
            self._pools.clear()

    def _submit(self, cell: Cell, fn: Callable[[Cell, Database], T]) -> "Future[T]":
        with self._lock:
            pool = self._pools.setdefault(cell.uuid, ThreadPoolExecutor(self._threads, f"cell-{cell.name}"))
        return pool.submit(lambda: fn(cell, self.of(cell)))

    def _answer(self, cell: Cell, future: "Future[T]") -> Up[T] | Down:
        if not future.done():
            future.cancel()
            return Down(cell, f"no answer within {self.cell_timeout:g} seconds", utcnow())
        try:
            return Up(cell, future.result())
        except (CellDown, BadCell) as error:
            return Down(cell, str(error), utcnow())
