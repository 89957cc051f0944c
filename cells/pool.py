# SPDX-License-Identifier: Apache-2.0
"""The databases of all cells: asked at once, each through its own few threads and connections, and never for long.

A cell that is dead or hangs costs its own threads and connections and no other's; one request learns it, within
``cell_timeout``, and those after it are told at once (`cells.breaker`) until a probe finds the cell again.
"""

import functools
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from cells.breaker import Patience
from cells.database import Database
from cells.lane import Call, Latch
from cells.link import ALIVE, Link
from cells.prebuilt import Prebuilt, Values
from cells.prober import Prober
from cells.timer import Deadline
from cells.types import Cell, CellState, Down, Up
from cells.wire import Flight, Row

T = TypeVar("T")
_Work: TypeAlias = tuple[Cell, Link, Callable[[], T]]
# An error that does not tell of an outage comes out in the end; None is none yet.
_Outcome: TypeAlias = Up[T] | Down | Exception | None
_Answer: TypeAlias = tuple[str, _Outcome[T]]


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

    def known(self, uuid: str) -> Database | None:
        """Return the database of a cell as it was last described here, None if it was not, or is down."""
        link = self._links.get(uuid)
        return link.database_if_up() if link else None

    def gather(self, cells: Iterable[Cell], fn: Callable[[Cell, Database], T]) -> dict[str, Up[T] | Down]:
        """Run ``fn`` on each cell's database, all at once; return each answer, or why there is none, by cell uuid.

        Returns when all have answered, and after ``cell_timeout`` whatever is missing. A cell that is known to be
        down, or whose threads all hang, is Down at once. An error that does not tell of an outage is raised. A cell
        is asked in a thread also when it is the only one: the driver's time-outs are for one statement each and
        longer than ``cell_timeout``, and the way to a waiting thread and back is short beside a statement.
        """
        seconds = self.cell_timeout
        works: list[_Work[T]] = []
        answers: dict[str, _Outcome[T]] = {}
        for cell in cells:
            link = self._link(cell)
            answers[cell.uuid] = link.refusal(cell)
            if answers[cell.uuid] is None:
                works.append((cell, link, _work(fn, cell, link.database)))
        answers.update(self._ended(self._submit(works), Deadline(seconds)))
        return _settled(answers)

    def ask(self, statement: Prebuilt,
            questions: Iterable[tuple[Cell, Values]]) -> dict[str, Up[Sequence[Row]] | Down]:  # fmt: skip
        """Ask each cell one statement that reads, with values of its own; as ``gather`` does, but at a lower price.

        Where a wire is idle (``cells.wire``) the caller's thread alone sends and receives, elsewhere the cell's does. A
        file is read in the caller's thread: it does not hang, and the way to another thread is longer than the read.
        """
        seconds = self.cell_timeout
        flights: dict[int, tuple[Cell, Link, Flight]] = {}
        works: list[_Work[Sequence[Row]]] = []
        answers: dict[str, _Outcome[Sequence[Row]]] = {}
        for cell, values in questions:
            link = self._link(cell)
            answers[cell.uuid] = link.refusal(cell)
            if answers[cell.uuid] is None:
                if link.database.is_file:
                    answers[cell.uuid] = _here(cell, link, statement, values)
                elif flight := link.database.send(statement, values):
                    flights[flight.fileno] = cell, link, flight
                else:
                    works.append((cell, link, functools.partial(link.database.rows, statement, values)))
        calls, deadline = self._submit(works), Deadline(seconds)
        answers.update(self._landed(flights, deadline))
        answers.update(self._ended(calls, deadline))
        return _settled(answers)

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

    def _submit(self, works: Sequence[_Work[T]]) -> list[tuple[Cell, Link, Call[T]]]:
        latch = Latch(len(works))
        calls = [(cell, link, Call(work, latch)) for cell, link, work in works]
        for _, link, call in calls:
            link.lane.submit(call)
        return calls

    def _ended(self, calls: Sequence[tuple[Cell, Link, Call[T]]], deadline: Deadline) -> Iterator[_Answer[T]]:
        """Yield what came of calls by cell uuid, all at the deadline at the latest."""
        if calls:
            calls[0][2].latch.wait(deadline.left())
        for cell, link, call in calls:
            was = link.lane.leave(call)
            if was == "waiting":
                yield cell.uuid, link.down(cell, f"all of its {link.lane.size} threads are busy")
            elif was == "running":
                yield cell.uuid, _late(cell, link, deadline)
            elif call.error is None:
                yield cell.uuid, Up(cell, call.value)  # type: ignore[arg-type]
            else:
                yield cell.uuid, _failed(cell, link, call.error)

    def _landed(self, flights: dict[int, tuple[Cell, Link, Flight]],
                deadline: Deadline) -> Iterator[_Answer[Sequence[Row]]]:  # fmt: skip
        """Yield what came of flights by cell uuid, all at the deadline at the latest."""
        poll = select.poll()
        for number in flights:
            poll.register(number, select.POLLIN)
        try:
            while flights and (ready := poll.poll(deadline.left() * 1000)):
                for number, _ in ready:
                    poll.unregister(number)
                    cell, link, flight = flights.pop(number)
                    try:
                        yield cell.uuid, Up(cell, flight.receive())
                    except Exception as error:
                        yield cell.uuid, _failed(cell, link, error)
            for cell, link, _ in flights.values():
                yield cell.uuid, _late(cell, link, deadline)
        finally:
            for _, _, flight in flights.values():
                flight.give_up()


def _here(cell: Cell, link: Link, statement: Prebuilt, values: Values) -> _Outcome[Sequence[Row]]:
    try:
        return Up(cell, link.database.rows(statement, values))
    except Exception as error:
        return _failed(cell, link, error)


def _late(cell: Cell, link: Link, deadline: Deadline) -> Down:
    reason = f"no answer within {deadline.seconds:g} seconds"
    link.breaker.late(reason)
    return link.down(cell, reason)


def _failed(cell: Cell, link: Link, error: Exception) -> Down | Exception:
    return link.down(cell, getattr(error, "reason", str(error))) if link.means_down(error) else error


def _settled(answers: dict[str, _Outcome[T]]) -> dict[str, Up[T] | Down]:
    """Return the answers; raise the first error that is none."""
    settled: dict[str, Up[T] | Down] = {}
    for uuid, answer in answers.items():
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            settled[uuid] = answer
    return settled


def _work(fn: Callable[[Cell, Database], T], cell: Cell, database: Database) -> Callable[[], T]:
    return lambda: fn(cell, database)


def _alive(_: Cell, database: Database) -> None:
    with database.reader() as conn:
        conn.execute(ALIVE).all()
