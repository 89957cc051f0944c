# SPDX-License-Identifier: Apache-2.0
"""One database with its own engine, its own small pool and its own time-outs, so that a dead one costs only its own.

An engine shared by all cells, or one without time-outs in the driver, lets a hung cell take every thread of the
process: the driver alone can interrupt a socket that never answers.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
import tenacity

from cells.dbapi import check_url, connect_args, on_connect, told
from cells.errors import BadCell, Busy

T = TypeVar("T")
_WRITER = "bfv_writer"


def utcnow() -> dt.datetime:
    """Return the time now as naive UTC in whole seconds, all that nova's DATETIME columns keep on MySQL."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)


class Database:
    """One database of ``pool_size`` connections; a caller waits ``connect_timeout`` seconds for one of them.

    ``connect_timeout`` bounds a new connection up to and with its handshake, ``statement_timeout`` one statement
    (for SQLite: the wait for its write lock), both in seconds; MySQL's drivers take whole ones, for a statement two
    at least. A transaction whose database hangs thus ends after at
    most their sum: a pooled connection is pinged before it is given. Nothing is opened before the first transaction.
    Raises BadCell for a URL that cannot work.
    """

    def __init__(self, name: str, url: str, *, connect_timeout: float = 5, statement_timeout: float = 30,
                 pool_size: int = 5) -> None:  # fmt: skip
        self.name = name
        self._url = check_url(name, url)
        self._patience = statement_timeout
        try:
            self._engine = sa.create_engine(
                self._url,
                connect_args=connect_args(self._url, connect_timeout, statement_timeout),
                poolclass=sa.QueuePool,
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=connect_timeout,
                pool_pre_ping=self._url.get_backend_name() != "sqlite",
                # Rows hold user data and Ceph keys; an error's text goes into logs.
                hide_parameters=True,
            )
        except (ImportError, TypeError, ValueError, sa.exc.ArgumentError) as error:
            raise BadCell(f"cell {name}: no usable driver for {self._url.drivername}: "
                          f"{type(error).__name__}") from None  # fmt: skip
        sa.event.listen(self._engine, "connect", on_connect(self._url))
        if self.dialect == "sqlite":
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    def __repr__(self) -> str:
        return f"Database({self.name!r}, {self.safe_url()!r})"

    @property
    def dialect(self) -> str:
        """The kind of database: ``sqlite``, ``mysql`` or ``mariadb``."""
        return self._url.get_backend_name()

    def safe_url(self) -> str:
        """Return the URL without its password and its options, fit for people and logs."""
        return self._url.set(query={}).render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections that are not in use; the next transaction opens new ones."""
        self._engine.dispose()

    def reader(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection in a transaction that sees one moment of the database.

        Raises CellDown, Busy (a kind of CellDown) and BadCell (the schema is not nova's, or a right is missing).
        """
        return self._transaction(write=False)

    def writer(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection in a transaction that is committed at the end and rolled back on any error.

        Raises what ``reader`` raises, and BadValue. After a CellDown that is not Busy nobody knows whether the commit
        arrived: look again, or make the transaction repeatable. SQLAlchemy's IntegrityError goes through.
        """
        return self._transaction(write=True)

    def run(self, fn: Callable[[sa.Connection], T], *, attempts: int = 5) -> T:
        """Return ``fn(connection)`` from a writer transaction, repeated whole while it comes to Busy.

        ``fn`` must do nothing outside its transaction. Gives up after ``attempts`` or ``statement_timeout`` seconds,
        whichever is first, and raises what ``writer`` raises. Only Busy is repeated: it alone says that nothing was
        changed (``oslo_db/api.py:wrap_db_retry`` with retry_on_deadlock).
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Busy),
            stop=tenacity.stop_after_attempt(attempts) | tenacity.stop_after_delay(self._patience),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )
        result: T = retrying(self._once, fn)
        return result

    def _once(self, fn: Callable[[sa.Connection], T]) -> T:
        with self.writer() as conn:
            return fn(conn)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as plain:
                conn = plain.execution_options(**{_WRITER: write})
                with conn.begin():
                    yield conn
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            instead = told(self.name, error)
            if instead is None:
                raise
            raise instead from error


def _begin_sqlite(conn: sa.Connection) -> None:
    # A deferred transaction that reads before it writes fails at once when another wrote in between, whatever the
    # busy time-out; taking the write lock first makes it wait instead.
    options: dict[str, Any] = dict(conn.get_execution_options())
    conn.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITER) else "BEGIN")
