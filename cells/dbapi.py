# SPDX-License-Identifier: Apache-2.0
"""What differs between the drivers: which URLs they take, where their time-outs are set, what their errors mean."""

import importlib.util
import re
from typing import Any

import sqlalchemy as sa

from cells import postgresql
from cells.errors import BadCell, BadValue, Busy, CellDown, CellsError, NoRight

# Deadlock, lock wait time-out, and MariaDB's answer to a snapshot that another writer overtook.
_MYSQL_BUSY = {1213, 1205, 1020}
_MYSQL_NO_RIGHT = {1142, 1143, 1227}
# Of tables, columns and named indexes.
_MYSQL_NO_SUCH = {1146, 1054, 1176}
# The last ones: a regular expression that it cannot parse, or that it gave up on (MariaDB 1139, MySQL the others).
_MYSQL_BAD_VALUE = {1264, 1265, 1366, 1406, 1139, *range(3685, 3700)}
# Mistakes of a statement that drivers call operational.
_MYSQL_OURS = {1048, 1364, 1292}
# Not always called operational, but the server is not to be had.
_MYSQL_DOWN = {1040, 1044, 1045, 1047, 1049, 1053, 1129, 1130, 1203, 1226, 1290, 1836, 1927}
_SQLITE_BUSY = {"SQLITE_BUSY", "SQLITE_LOCKED"}
# What both drivers understand, in the form that SQLAlchemy gives it to them.
_COMMON_OPTIONS = {"charset", "connect_timeout", "read_timeout", "write_timeout", "unix_socket", "local_infile",
                   "ssl_ca", "ssl_capath", "ssl_cert", "ssl_cipher", "ssl_key"}  # fmt: skip
_MYSQL_DRIVERS = {"mysqlclient": "MySQLdb", "mysqldb": "MySQLdb", "pymysql": "pymysql"}


def check_url(name: str, url: str) -> sa.URL:
    """Return a database URL parsed. Raises BadCell with a reason that holds no part of the URL.

    A MySQL URL gets mysqlclient where that is installed, whichever driver it names: nova's own cell mappings say
    ``mysql+pymysql`` wherever they are read. One with an option that only the named driver has keeps that driver.
    """
    host = url.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")[0]
    if "," in host:
        raise _several_hosts(name)
    if re.match(r"[^?]*\{\w+\}", url):
        raise BadCell(f"cell {name}: its database URL is a template and there is no base URL to fill it from")
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise BadCell(f"cell {name}: its database URL cannot be parsed") from None
    if isinstance(parsed.query.get("host"), tuple) or "," in str(parsed.query.get("host", "")):
        raise _several_hosts(name)
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if not parsed.database or ":memory:" in parsed.database or "mode=memory" in parsed.database:
            raise BadCell(f"cell {name}: an SQLite database must be a file, each connection has its own otherwise")
    elif backend in ("mysql", "mariadb"):
        parsed = _with_driver(name, parsed)
    elif backend == "postgresql":
        parsed = postgresql.with_driver(name, parsed)
    else:
        raise BadCell(f"cell {name}: databases of kind {backend} are not supported")
    return parsed


def check_nova_url(name: str, url: str) -> sa.URL:
    """Return the URL of one of nova's databases parsed. Raises BadCell, also for PostgreSQL."""
    parsed = check_url(name, url)
    refuse_for_nova(name, parsed.get_backend_name())
    return parsed


def refuse_for_nova(name: str, backend: str) -> None:
    """Raise BadCell for PostgreSQL: nova's tables are known here as MySQL, MariaDB and SQLite have them."""
    if backend == "postgresql":
        raise BadCell(
            f"cell {name}: nova's databases must be MySQL, MariaDB or SQLite. Only bfv's own database may be "
            "PostgreSQL: [database] connection."
        )


def _several_hosts(name: str) -> BadCell:
    return BadCell(
        f"cell {name}: several hosts or a backup URL for one cell are not supported. Two writers that do not know of "
        "each other split a cell's truth; use the database's own high availability behind one address."
    )


def _with_driver(name: str, url: sa.URL) -> sa.URL:
    backend, _, named = url.drivername.partition("+")
    order = ["mysqldb", "pymysql"] if _COMMON_OPTIONS.issuperset(url.query) else [named, "mysqldb", "pymysql"]
    for driver in order:
        if driver and importlib.util.find_spec(_MYSQL_DRIVERS.get(driver, driver)):
            return url.set(drivername=f"{backend}+{driver}")
    raise BadCell(f"cell {name}: neither mysqlclient nor PyMySQL is installed")


def connect_args(url: sa.URL, connect_timeout: float, statement_timeout: float) -> dict[str, Any]:
    """Return the driver's arguments for time-outs in seconds; the handshake counts as part of connecting."""
    if url.get_backend_name() == "sqlite":
        # No isolation level: SQLAlchemy's begin event writes BEGIN itself, sqlite3 would only before the first write.
        return {"timeout": statement_timeout, "isolation_level": None, "check_same_thread": False}
    if url.get_backend_name() == "postgresql":
        return postgresql.connect_args(connect_timeout, statement_timeout)
    lock_wait = max(1, int(statement_timeout / 2))
    patience = max(lock_wait + 1, round(statement_timeout))
    return {
        "connect_timeout": max(1, round(connect_timeout)),
        # PyMySQL reads the handshake under the read time-out; on_connect sets the one for statements.
        "read_timeout": max(1, round(connect_timeout)) if url.get_driver_name() == "pymysql" else patience,
        "write_timeout": patience,
        # TRADITIONAL as oslo.db sets it: a value that is too long is an error and never cut. A lock wait ends before
        # the read time-out, so that it comes back as "busy" and not as "down".
        # A list's GROUP_CONCAT would be cut without a word after 1,024 bytes (MySQL's default).
        "init_command": f"SET SESSION sql_mode='TRADITIONAL', SESSION innodb_lock_wait_timeout={lock_wait}, "
        "SESSION group_concat_max_len=16777216",
    }


def prepare(engine: sa.Engine, statement_timeout: float, sqlite_durable: bool = True) -> None:
    """Have done what each new connection of an engine needs, for statements of at most so many seconds."""

    def sqlite(connection: Any, _record: Any) -> None:
        # Changing the mode wants the file alone; asking does not.
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        if not sqlite_durable:
            # https://sqlite.org/pragma.html#pragma_synchronous: nothing waits for the disk.
            connection.execute("PRAGMA synchronous = OFF")

    def pymysql(connection: Any, _record: Any) -> None:
        connection._read_timeout = connection._write_timeout

    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", sqlite)
    elif engine.dialect.driver == "pymysql":
        sa.event.listen(engine, "connect", pymysql)
    elif engine.dialect.name == "postgresql":
        sa.event.listen(engine, "do_connect", postgresql.connector(statement_timeout))


def told(name: str, error: sa.exc.DBAPIError | sa.exc.TimeoutError) -> CellsError | None:
    """Return our word for a driver's error, None when it tells of no outage but of a mistake or a duplicate."""
    if isinstance(error, sa.exc.TimeoutError):
        return CellDown(name, "all of its connections are in use")
    cause = error.orig
    module = type(cause).__module__.partition(".")[0]
    if module == "sqlite3":
        return _told_by_sqlite(name, error)
    if module == "psycopg":
        return postgresql.told(name, error)
    code, text = _code(cause)
    reason = f"{text} ({code})" if code else text
    if code in _MYSQL_BUSY:
        return Busy(name, reason)
    if code in _MYSQL_NO_RIGHT:
        return NoRight(f"cell {name}: {reason}")
    if code in _MYSQL_NO_SUCH:
        return BadCell(f"cell {name}: {reason}")
    if code in _MYSQL_BAD_VALUE or isinstance(error, sa.exc.DataError):
        return BadValue(f"cell {name}: {reason}")
    if isinstance(error, sa.exc.IntegrityError) or code in _MYSQL_OURS:
        return None
    operational = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.InternalError)
    if operational or error.connection_invalidated or code in _MYSQL_DOWN:
        return CellDown(name, reason)
    return None


def _told_by_sqlite(name: str, error: sa.exc.DBAPIError) -> CellsError | None:
    # The primary name comes first in extended ones such as SQLITE_BUSY_SNAPSHOT.
    kind = "_".join(str(getattr(error.orig, "sqlite_errorname", "")).split("_")[:2])
    if kind in _SQLITE_BUSY:
        return Busy(name, str(error.orig))
    if kind == "SQLITE_READONLY":
        return NoRight(f"cell {name}: {error.orig}")
    if kind == "SQLITE_ERROR":
        return BadCell(f"cell {name}: {error.orig}") if "no such" in str(error.orig) else None
    if kind in ("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", ""):
        return None
    return CellDown(name, str(error.orig))


def _code(cause: BaseException | None) -> tuple[int, str]:
    match getattr(cause, "args", ()):
        case (int(code), text, *_):
            return code, str(text) or "connection lost"
        case _:
            return 0, str(cause) or type(cause).__name__
