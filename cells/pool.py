# SPDX-License-Identifier: Apache-2.0
"""The databases of all cells: asked at once, each through its own few threads and connections, and never for long.

A cell that is dead or hangs costs its own threads and connections and no other's; one request learns it, within
``cell_timeout``, and those after it are told at once (`cells.breaker`) until a probe finds the cell again.
"""

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from cells.breaker import Patience
from cells.database import Database
from cells.lane import Call, Latch
from cells.link import ALIVE, Link
from cells.prober import Prober
from cells.types import Cell, CellState, Down, Up

T = TypeVar("T")


class Cells:
    """The databases of the cells, each opened by ``opener`` when it is first needed; safe for many threads.

    ``cell_timeout`` is how long in seconds one ``gather`` waits, for all its cells together. ``threads`` are those of
    each cell; ``patience`` says when a cell counts as down, slow and up again.
    """

    def __init__(self, opener: Callable[[Cell], Database], cell_timeout: float = 5.0, threads: int = 4,
                 patience: Patience | None = None) -> None:  # fmt: skip
        self.cell_timeout = cell_timeout
        self._opener, self._threads, self._patience = opener, threads, patience or Patience()
        self._lock = threading.Lock()
        self._links: dict[str, Link] = {}
        self._prober = Prober()

    def of(self, cell: Cell) -> Database:
        """Return the database of a cell; what it comes to is counted, and while it is down it raises CellDown at once.

        Raises BadCell for a cell whose URL cannot work.
        """
        return self._link(cell).database

    def gather(self, cells: Iterable[Cell], fn: Callable[[Cell, Database], T]) -> dict[str, Up[T] | Down]:
        """Run ``fn`` on each cell's database, all at once; return each answer, or why there is none, by cell uuid.

        Returns when all have answered, and after ``cell_timeout`` whatever is missing. A cell that is known to be
        down, or whose threads all hang, is Down at once. An error that does not tell of an outage is raised. A cell
        is asked in a thread also when it is the only one: the driver's time-outs are for one statement each and
        longer than ``cell_timeout``, and the way to a waiting thread and back is short beside a statement.
        """
        seconds = self.cell_timeout
        links = [(cell, self._link(cell)) for cell in cells]
        answers: dict[str, Up[T] | Down | None] = {cell.uuid: link.refusal(cell) for cell, link in links}
        asked = [(cell, link) for cell, link in links if answers[cell.uuid] is None]
        latch = Latch(len(asked))
        calls = [Call(_work(fn, cell, link.database), latch) for cell, link in asked]
        for (_, link), call in zip(asked, calls, strict=True):
            link.lane.submit(call)
        if calls:
            latch.wait(seconds)
        for (cell, link), call in zip(asked, calls, strict=True):
            answers[cell.uuid] = self._answer(cell, link, call, seconds)
        return {uuid: answer for uuid, answer in answers.items() if answer is not None}

    def states(self, cells: Iterable[Cell]) -> list[CellState]:
        """Return what this process knows of these cells; asks none of them, see ``look``."""
        return [self._link(cell).state(cell) for cell in cells]

    def look(self, cells: Iterable[Cell]) -> list[CellState]:
        """Ask each of these cells whether it answers, for at most ``cell_timeout``, and return what is known then."""
        asked = list(cells)
        self.gather(asked, _alive)
        return self.states(asked)

    def close(self) -> None:
        """Close all connections; what still runs ends by itself."""
        with self._lock:
            links, prober = list(self._links.values()), self._prober
            self._links, self._prober = {}, Prober()
        prober.close()
        for link in links:
            link.close()

    def _link(self, cell: Cell) -> Link:
        with self._lock:
            link = self._links.get(cell.uuid)
            if link is not None and link.is_for(cell):
                return link
            new = self._links[cell.uuid] = Link(cell, self._opener, self._threads, self._patience, self._look_after)
        if link is not None:
            link.close()
        return new

    def _look_after(self, link: Link) -> None:
        self._prober.add(lambda: link.probe(self.cell_timeout))

    def _answer(self, cell: Cell, link: Link, call: Call[T], seconds: float) -> Up[T] | Down:
        was = link.lane.leave(call)
        if was == "waiting":
            return link.down(cell, f"all of its {link.lane.size} threads are busy")
        if was == "running":
            reason = f"no answer within {seconds:g} seconds"
            link.breaker.late(reason)
            return link.down(cell, reason)
        if call.error is None:
            return Up(cell, call.value)  # type: ignore[arg-type]
        if link.means_down(call.error):
            return link.down(cell, getattr(call.error, "reason", str(call.error)))
        raise call.error


def _work(fn: Callable[[Cell, Database], T], cell: Cell, database: Database) -> Callable[[], T]:
    return lambda: fn(cell, database)


def _alive(_: Cell, database: Database) -> None:
    with database.reader() as conn:
        conn.execute(ALIVE).all()
