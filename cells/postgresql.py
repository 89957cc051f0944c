# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL as a home for our own tables: time-outs that hold also when the server freezes, and its errors' meaning.

Nova's own databases are never PostgreSQL here, see `cells.dbapi.check_nova_url`.
"""

import importlib.util
import time
from collections.abc import Callable, Generator
from typing import Any

import sqlalchemy as sa

from cells.errors import BadCell, BadValue, Busy, CellDown, CellsError, NoRight

# Serialization failure, deadlock, lock not available.
_BUSY = {"40001", "40P01", "55P03"}
_NO_RIGHT = "42501"
# Undefined table, column, schema.
_NO_TABLE = {"42P01", "42703", "3F000"}
# Data exception and integrity constraint violation: the first two characters are the class.
_BAD_VALUE, _INTEGRITY = "22", "23"
# Connection, wrong password, no such database, read-only, resources, operator intervention (also a statement that was
# ended at its time-out), system error.
_DOWN = {"08", "28", "3D", "25", "53", "57", "58"}


def with_driver(name: str, url: sa.URL) -> sa.URL:
    """Return the URL for psycopg, whatever driver it names. Raises BadCell where that is not installed."""
    if importlib.util.find_spec("psycopg") is None:
        raise BadCell(f"cell {name}: psycopg is not installed; install bfv with its extra `postgresql`")
    return url.set(drivername="postgresql+psycopg")


def connect_args(connect_timeout: float, statement_timeout: float) -> dict[str, Any]:
    """Return the driver's arguments; libpq takes whole seconds for a connect, two at least.

    A lock wait ends before the statement's time-out, so that it comes back as "busy" and not as "down".
    """
    statement, lock = round(statement_timeout * 1000), max(1, round(statement_timeout * 500))
    return {
        "connect_timeout": max(2, round(connect_timeout)),
        "options": f"-c statement_timeout={statement} -c lock_timeout={lock}",
    }


def connector(statement_timeout: float) -> Callable[..., Any]:
    """Return what makes connections whose every wait ends, also where the server's own time-outs no longer work.

    The server ends a statement at ``statement_timeout``; a second later the client does so itself, and closes.
    """
    import psycopg

    class Connection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return super().wait(self._bounded(gen), *args, **options)

        def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            deadline = time.monotonic() + statement_timeout + 1
            try:
                wants = next(gen)
                while True:
                    # The driver looks up several times a second, with nothing if the socket is not ready.
                    ready = yield wants
                    if not ready and time.monotonic() > deadline:
                        self.pgconn.finish()
                        raise psycopg.OperationalError(f"no answer within {statement_timeout + 1:g} seconds")
                    wants = gen.send(ready)
            except StopIteration as end:
                return end.value

    def connect(_dialect: Any, _record: Any, args: Any, options: Any) -> Any:
        return Connection.connect(*args, **options)

    return connect


def told(name: str, error: sa.exc.DBAPIError) -> CellsError | None:
    """Return our word for an error, None when it tells of no outage but of a mistake or a duplicate."""
    state = getattr(error.orig, "sqlstate", None) or ""
    reason = " ".join(str(error.orig).split()) + (f" ({state})" if state else "")
    if state in _BUSY:
        return Busy(name, reason)
    if state == _NO_RIGHT:
        return NoRight(f"cell {name}: {reason}")
    if state in _NO_TABLE:
        return BadCell(f"cell {name}: {reason}")
    if state[:2] == _BAD_VALUE or isinstance(error, sa.exc.DataError):
        return BadValue(f"cell {name}: {reason}")
    if state[:2] == _INTEGRITY or isinstance(error, sa.exc.IntegrityError):
        return None
    if state[:2] in _DOWN or error.connection_invalidated or isinstance(error, sa.exc.OperationalError):
        return CellDown(name, reason)
    return None
