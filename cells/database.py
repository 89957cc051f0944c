# SPDX-License-Identifier: Apache-2.0
"""One database with its own engine, its own small pool and its own time-outs, so that a dead one costs only its own.

An engine shared by all cells, or one without time-outs in the driver, lets a hung cell take every thread of the
process: the driver alone can interrupt a socket that never answers.
"""

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import tenacity

from cells import wire
from cells.cursor import TIMER, Cursor
from cells.dbapi import check_url, connect_args, prepare, told
from cells.errors import BadCell, Busy, CellDown, CellsError, NoRight
from cells.kept import Kept
from cells.prebuilt import Prebuilt, Values
from cells.timer import Timer
from cells.wire import Flight, Read, Row, Wires

T = TypeVar("T")
ATTEMPTS = 5
# Seconds for which an answer that nobody wants any more is waited for: to connect anew takes as long.
UNWANTED = 0.05
# By whether it is a writer.
_POSTGRESQL = {False: {"isolation_level": "REPEATABLE READ"}, True: {"isolation_level": "READ COMMITTED"}}
_DEFAULT: dict[bool, dict[str, str]] = {False: {}, True: {}}
# For who listens to the engines' events.
_OPTIONS = {False: {"bfv_writer": False}, True: {"bfv_writer": True}}


def utcnow() -> dt.datetime:
    """Return the time now as naive UTC in whole seconds, all that nova's DATETIME columns keep on MySQL."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)


class Watch(Protocol):
    """Is told what the transactions of a database come to, and asked before each: a breaker (`cells.breaker`).

    Seconds are those that the database took: what its user did between two statements does not count.
    """

    def check(self) -> None:
        """Raise CellDown where no transaction is to be tried."""

    def answered(self, seconds: float) -> None:
        """Hear that a transaction was answered after so many seconds."""

    def failed(self, error: CellsError, seconds: float) -> None:
        """Hear that one came to CellDown (not Busy) or BadCell after so many seconds."""


class Database:
    """One database of ``pool_size`` connections; a caller waits ``wait`` seconds for one, or ``connect_timeout``.

    ``connect_timeout`` bounds a new connection up to and with its handshake, ``statement_timeout`` one statement
    (for SQLite: the wait for a turn to write, and once more that for its write lock), both in seconds; MySQL's drivers
    take whole ones, for a statement two at least. A transaction whose database hangs thus ends after at most their sum:
    a pooled connection is pinged before it is given. Nothing is opened before the first transaction.
    Without ``sqlite_durable`` a power cut may take the last commits to SQLite; a killed process loses none.
    Raises BadCell for a URL that cannot work.
    """

    def __init__(self, name: str, url: str, *, connect_timeout: float = 5, statement_timeout: float = 30,
                 pool_size: int = 5, wait: float | None = None, sqlite_durable: bool = True) -> None:  # fmt: skip
        self.name = name
        self.size = pool_size
        self._url = check_url(name, url)
        self._patience, self._durable = statement_timeout, sqlite_durable
        self._dialect = self._url.get_backend_name()
        self._writing = threading.Lock() if self.is_file else None
        self._retrying = self._retry(ATTEMPTS)
        # A reader of PostgreSQL sees one moment only if it is told to; a writer sees what it waited for, as in InnoDB.
        self._isolation = _POSTGRESQL if self.dialect == "postgresql" else _DEFAULT
        self._watch: Watch | None = None
        wait = connect_timeout if wait is None else wait
        self._engine = self._make_engine(
            connect_timeout,
            statement_timeout,
            poolclass=sa.QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=wait,
            pool_pre_ping=not self.is_file,
        )
        self._kept = Kept(self._engine, pool_size, wait) if self.is_file else None
        # Reads alone have wires, where there is the driver for them.
        self._wires: Wires | None = None
        if self._url.get_driver_name() == "mysqldb":
            arguments = connect_args(self._url, connect_timeout, statement_timeout)
            opener = wire.opener(self._url, arguments, connect_timeout)
            self._wires = Wires(
                opener, pool_size, wait, statement_timeout, lambda timer: self._watched(timer, self._watch)
            )
            self.size += pool_size
        # A probe must neither wait for connections that hang nor longer than a connect may take.
        self._fresh = self._make_engine(connect_timeout, connect_timeout, poolclass=sa.NullPool)

    def _make_engine(self, connect_timeout: float, statement_timeout: float, **pool: Any) -> sa.Engine:
        driver = connect_args(self._url, connect_timeout, statement_timeout)
        try:
            # Rows hold user data and Ceph keys; an error's text goes into logs.
            engine = sa.create_engine(self._url, connect_args=driver, hide_parameters=True, **pool)
        except (ImportError, TypeError, ValueError, sa.exc.ArgumentError) as error:
            raise BadCell(f"cell {self.name}: no usable driver for {self._url.drivername}: "
                          f"{type(error).__name__}") from None  # fmt: skip
        prepare(engine, statement_timeout, self._durable)
        return engine

    def __repr__(self) -> str:
        return f"Database({self.name!r}, {self.safe_url()!r})"

    @property
    def dialect(self) -> str:
        """The kind of database: ``sqlite``, ``mysql``, ``mariadb`` or ``postgresql``."""
        return self._dialect

    @property
    def is_file(self) -> bool:
        """Whether it is read by this process itself, and no server is waited for."""
        return self._dialect == "sqlite"

    @property
    def in_use(self) -> int:
        """How many of the connections are taken now."""
        pool = self._engine.pool
        taken = pool.checkedout() if isinstance(pool, sa.QueuePool) else 0
        idle = self._kept.idle if self._kept else 0
        return taken - idle + (self._wires.in_use if self._wires else 0)

    def safe_url(self) -> str:
        """Return the URL without its password and its options, fit for people and logs."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections that are not in use; the next transaction opens new ones."""
        if self._kept:
            self._kept.close()
        self._engine.dispose()
        if self._wires:
            self._wires.close()

    def watch(self, watch: Watch) -> None:
        """Tell ``watch`` of every transaction from now on, and let it refuse them while the database is down."""
        if self._watch is None:
            # Every statement pays for these.
            sa.event.listen(self._engine, "before_cursor_execute", _statement_begins)
            sa.event.listen(self._engine, "after_cursor_execute", _statement_ends)
        self._watch = watch

    def probe(self, statement: sa.Executable) -> float:
        """Run a statement on a connection of its own, whatever a watch says; return the seconds that it alone took.

        Takes at most some three ``connect_timeout``. Raises what ``reader`` raises.
        """
        with self._transaction(self._fresh, None, write=False) as conn:
            began = time.monotonic()
            conn.execute(statement)
            return time.monotonic() - began

    def reader(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection in a transaction that sees one moment of the database.

        Raises CellDown, Busy (a kind of CellDown) and BadCell (the schema is not nova's, or a right is missing).
        """
        return self._transaction(self._engine, self._watch, write=False)

    def writer(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection in a transaction that is committed at the end and rolled back on any error.

        Raises what ``reader`` raises, and BadValue. After a CellDown that is not Busy nobody knows whether the commit
        arrived: look again, or make the transaction repeatable. SQLAlchemy's IntegrityError goes through.
        """
        return self._transaction(self._engine, self._watch, write=True)

    def rows(self, statement: Prebuilt, values: Values) -> Sequence[Row]:
        """Return the rows of one statement that reads. Raises what ``reader`` raises."""
        if self._wires:
            return self._wires.rows(statement, values)
        if self._kept and (fixed := statement.fixed(self._dialect)):
            # One statement sees one moment by itself.
            with self._watched(Timer(), self._watch), self._kept.lend() as conn:
                return fixed.rows(conn, values)
        with self.reader() as conn:
            return statement.rows(conn, values)

    @contextmanager
    def snapshot(self) -> Iterator[Read]:
        """Give what returns the rows of statements that read, all from one moment. Raises what ``reader`` raises."""
        if self._wires:
            with self._wires.snapshot() as read:
                yield read
        else:
            with self.reader() as conn:
                yield lambda statement, values: statement.rows(conn, values)

    def send(self, statement: Prebuilt, values: Values) -> Flight | None:
        """Send a statement that reads, if nothing is to be waited for; None if it is: then ``rows`` is the way.

        Raises what ``reader`` raises.
        """
        return self._wires.send(statement, values) if self._wires else None

    @contextmanager
    def ahead(self, statement: Prebuilt, values: Values) -> Iterator[Callable[[], Sequence[Row]]]:
        """Send a statement that reads, and give what returns its rows: what is asked meanwhile is answered beside it.

        Where nothing can be sent ahead, it is asked then. What it gives raises what ``reader`` raises.
        """
        flight = self._wires.send(statement, values, spare=1) if self._wires else None
        if flight is None:
            yield lambda: self.rows(statement, values)
            return
        try:
            yield lambda: flight.receive(self._patience)
        finally:
            if not flight.is_over:
                flight.give_up(UNWANTED)

    def run(self, fn: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Return ``fn(connection)`` from a writer transaction, repeated whole while it comes to Busy.

        ``fn`` must do nothing outside its transaction. Gives up after ``attempts`` or ``statement_timeout`` seconds,
        whichever is first, and raises what ``writer`` raises. Only Busy is repeated: it alone says that nothing was
        changed (``oslo_db/api.py:wrap_db_retry`` with retry_on_deadlock).
        """
        retrying = self._retrying if attempts == ATTEMPTS else self._retry(attempts)
        result: T = retrying(self._once, fn)
        return result

    def _retry(self, attempts: int) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Busy),
            stop=tenacity.stop_after_attempt(attempts) | tenacity.stop_after_delay(self._patience),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )

    def _once(self, fn: Callable[[sa.Connection], T]) -> T:
        with self.writer() as conn:
            return fn(conn)

    @contextmanager
    def _transaction(self, engine: sa.Engine, watch: Watch | None, *, write: bool) -> Iterator[sa.Connection]:
        timer = Timer()
        options = {**({TIMER: timer} if watch else {}), **_OPTIONS[write], **self._isolation[write]}
        turn = _Turn(self._writing, self._patience) if write and self._writing else _NONE
        with self._watched(timer, watch, write=write), turn, self._connection(engine) as plain:
            conn = plain.execution_options(**options)
            with conn.begin():
                if self.is_file:
                    _begin_sqlite(conn, write)
                timer.stop()
                yield conn
                timer.go()

    def _connection(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        return self._kept.lend() if self._kept and engine is self._engine else engine.connect()

    @contextmanager
    def _watched(self, timer: Timer, watch: Watch | None, *, write: bool = False) -> Iterator[None]:
        """Tell the watch what comes of what is within, and raise in our words what the driver raises."""
        if watch:
            watch.check()
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            timer.stop()
            instead = told(self.name, error)
            # An account that may only read is a cell of use to those who read.
            harmless = isinstance(instead, Busy) or (write and isinstance(instead, NoRight))
            if watch and isinstance(instead, CellDown | BadCell) and not harmless:
                watch.failed(instead, timer.seconds)
            if instead is None:
                raise
            raise instead from error
        timer.stop()
        if watch:
            watch.answered(timer.seconds)


class _Turn:
    """Lets one thread after the other write to SQLite, which has who comes later try again and again.

    Who has no turn in time goes to SQLite all the same, and hears from it.
    """

    def __init__(self, writing: threading.Lock, seconds: float) -> None:
        self._writing, self._seconds, self._held = writing, seconds, False

    def __enter__(self) -> None:
        self._held = self._writing.acquire(timeout=self._seconds)

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._writing.release()


_NONE = nullcontext()


def _statement_begins(conn: sa.Connection, *_: Any) -> None:
    if timer := conn.get_execution_options().get(TIMER):
        timer.go()


def _statement_ends(conn: sa.Connection, *_: Any) -> None:
    if timer := conn.get_execution_options().get(TIMER):
        timer.stop()


def _begin_sqlite(conn: sa.Connection, write: bool) -> None:
    # A deferred transaction that reads before it writes fails at once when another wrote in between, whatever the
    # busy time-out; taking the write lock first makes it wait instead.
    with Cursor(conn) as cursor:
        cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
