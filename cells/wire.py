# SPDX-License-Identifier: Apache-2.0
"""Connections of mysqlclient for reads, which are sent a statement now and read later.

So one thread has all cells at work at once. A thread for each cell costs as much as a cell's answer, since threads take
turns at the interpreter's lock; and SQLAlchemy, a ping before each read and a rollback after it cost as much again. A
read needs none of it: it is one statement on a connection that commits by itself and that nobody has hung up.
"""

import contextlib
import datetime as dt
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import sqlalchemy as sa

from cells.prebuilt import Prebuilt, Values
from cells.timer import Timer

Row: TypeAlias = tuple[Any, ...]
Read: TypeAlias = Callable[[Prebuilt, Values], Sequence[Row]]
# Within it errors of SQLAlchemy's are told and turned into ours.
Guard: TypeAlias = Callable[[Timer], AbstractContextManager[None]]
# CR_SERVER_LOST
_LOST = 2013


class Wire:
    """One connection, used by one thread at a time. What the driver raises comes out as SQLAlchemy would raise it."""

    def __init__(self, connection: Any, dialect: str) -> None:
        self._connection, self._dialect = connection, dialect
        self.fileno: int = connection.fileno()
        self._poll = select.poll()
        self._poll.register(self.fileno, select.POLLIN)

    def send(self, text: bytes) -> None:
        """Send a statement; its answer is then to be received."""
        with _told():
            self._connection.send_query(text)

    def ask(self, statement: Prebuilt, values: Values) -> None:
        """Send a statement with its values."""
        text, constants = statement.text(self._dialect)
        literal = self._connection.literal
        self.send(text % {name.encode(): literal(value) for name, value in {**constants, **values}.items()})

    def receive(self, seconds: float) -> Sequence[Row]:
        """Return the rows of the answer, which begins within so many seconds."""
        with _told():
            if not self.has_answer(seconds):
                raise _mysqldb().OperationalError(_LOST, f"no answer within {seconds:g} seconds")
            self._connection.read_query_result()
            result = self._connection.store_result()
            return result.fetch_row(0) if result else ()

    def has_answer(self, seconds: float = 0.0) -> bool:
        """Return whether there is something to be received within so many seconds."""
        return bool(self._poll.poll(seconds * 1000))

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Wires:
    """The ``size`` wires of one database; who wants one more waits ``wait`` seconds for one of them.

    An answer begins within ``patience`` seconds.
    """

    def __init__(self, opener: Callable[[], Wire], size: int, wait: float, patience: float, guard: Guard) -> None:
        self._opener, self._wait, self._patience, self._guard = opener, wait, patience, guard
        self._size, self._free = size, threading.Semaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Wire] = []
        self.in_use = 0

    def rows(self, statement: Prebuilt, values: Values) -> Sequence[Row]:
        """Return the rows of a statement, its own transaction."""
        with self._guard(Timer()), self._taken() as wire:
            wire.ask(statement, values)
            return wire.receive(self._patience)

    @contextmanager
    def snapshot(self) -> Iterator[Read]:
        """Give what returns the rows of statements, all from one moment."""
        timer = Timer()
        with self._guard(timer), self._taken() as wire:

            def do(send: Callable[..., None], *what: Any) -> Sequence[Row]:
                timer.go()
                send(*what)
                rows = wire.receive(self._patience)
                timer.stop()
                return rows

            do(wire.send, b"START TRANSACTION READ ONLY")
            yield lambda statement, values: do(wire.ask, statement, values)
            do(wire.send, b"COMMIT")

    def send(self, statement: Prebuilt, values: Values, spare: int = 0) -> "Flight | None":
        """Send a statement on a wire that is idle, None if there is none: nothing is waited for.

        ``spare`` more are to be free: who has something in flight and waits for another wire must never have the last.
        """
        while wire := self._take_idle(spare):
            sent = False
            try:
                wire.ask(statement, values)
                sent = True
                return Flight(self, wire, self._guard)
            except sa.exc.DBAPIError:
                continue  # The server has hung up in this moment; it has heard of nothing.
            finally:
                if not sent:
                    self.give_back(wire, usable=False)
        return None

    def give_back(self, wire: Wire, *, usable: bool) -> None:
        """Keep a wire for the next, or hang up if who knows what it would be told."""
        with self._lock:
            self.in_use -= 1
            if usable:
                self._idle.append(wire)
        if not usable:
            wire.close()
        self._free.release()

    def close(self) -> None:
        """Hang up all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    @contextmanager
    def _taken(self) -> Iterator[Wire]:
        wire = self._take_idle() or self._open()
        usable = False
        try:
            yield wire
            usable = True
        finally:
            self.give_back(wire, usable=usable)

    def _take_idle(self, spare: int = 0) -> Wire | None:
        while self._idle:
            with self._lock:
                enough = self._idle and self._size - self.in_use > spare
                if not enough or not self._free.acquire(blocking=False):
                    return None
                wire = self._idle.pop()
                self.in_use += 1
            # Who asks for nothing is told nothing, but that the server has hung up.
            if not wire.has_answer():
                return wire
            self.give_back(wire, usable=False)
        return None

    def _open(self) -> Wire:
        if not self._free.acquire(timeout=self._wait):
            raise sa.exc.TimeoutError
        try:
            wire = self._opener()
        except BaseException:
            self._free.release()
            raise
        with self._lock:
            self.in_use += 1
        return wire


class Flight:
    """A statement that was sent: its answer is to be received, or given up, once."""

    def __init__(self, wires: Wires, wire: Wire, guard: Guard) -> None:
        self._wires, self._wire, self._guard, self._timer = wires, wire, guard, Timer()
        self.fileno, self.is_over = wire.fileno, False

    def receive(self, seconds: float = 0.0) -> Sequence[Row]:
        """Return the rows of the answer, which begins within so many seconds. Raises as ``Database.reader`` does."""
        usable = False
        try:
            with self._guard(self._timer):
                rows = self._wire.receive(seconds)
                usable = True
                return rows
        finally:
            self._end(usable)

    def give_up(self, seconds: float = 0.0) -> None:
        """Wait no longer, or for so many seconds, after which the wire is of use to others."""
        usable = False
        with contextlib.suppress(sa.exc.DBAPIError):
            if seconds and self._wire.has_answer(seconds):
                self._wire.receive(0)
                usable = True
        self._end(usable)

    def _end(self, usable: bool) -> None:
        self.is_over = True
        self._wires.give_back(self._wire, usable=usable)


def opener(url: sa.URL, arguments: dict[str, Any], pause: float) -> Callable[[], Wire]:
    """Return what opens wires to a URL with the driver's ``arguments``; what comes may pause for ``pause`` seconds."""
    from MySQLdb.constants import FIELD_TYPE
    from MySQLdb.converters import conversions

    # In nova's tables a TINYINT is a boolean; and the driver's own way to read a time takes ten times as long.
    convert = {**conversions, FIELD_TYPE.TINY: _boolean, FIELD_TYPE.DATETIME: _time}
    positional, named = url.get_dialect()().create_connect_args(url)
    options = {**named, **arguments, "read_timeout": max(1, round(pause)), "autocommit": True,
               "multi_statements": False, "conv": convert}  # fmt: skip

    def open_one() -> Wire:
        with _told():
            return Wire(_mysqldb().connect(*positional, **options), url.get_backend_name())

    return open_one


def _boolean(text: str | bytes) -> bool:
    return int(text) != 0


def _time(text: str) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError:
        return None  # MySQL's zero, which is no time.


def _mysqldb() -> Any:
    import MySQLdb

    return MySQLdb


class _told:
    """Turns what the driver raises into SQLAlchemy's errors, without the statement, which has the values in it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        if error is not None and isinstance(error, base := _mysqldb().Error):
            raise sa.exc.DBAPIError.instance(None, None, error, base, hide_parameters=True) from error
