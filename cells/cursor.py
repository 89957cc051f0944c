# SPDX-License-Identifier: Apache-2.0
"""A driver's own cursor within a transaction of SQLAlchemy's: the short way for what runs many times for each boot.

Its errors are those that ``Connection.execute`` would raise, and its time counts as the database's.
"""

from typing import Any

import sqlalchemy as sa

TIMER = "bfv_timer"


class Cursor:
    """A cursor for as long as the block lasts."""

    __slots__ = ("_conn", "_cursor", "_timer")

    def __init__(self, conn: sa.Connection) -> None:
        self._conn, self._timer = conn, conn.get_execution_options().get(TIMER)

    def __enter__(self) -> Any:
        self._cursor = self._conn.connection.cursor()
        if self._timer:
            self._timer.go()
        return self._cursor

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._timer:
            self._timer.stop()
        if error is None:
            self._cursor.close()
        elif isinstance(error, self._conn.dialect.loaded_dbapi.Error):
            raise self._told(error) from error
        elif not isinstance(error, Exception):
            # Interrupted in the middle of an answer: the next one who asked on this connection would get its rest.
            self._conn.invalidate()

    def _told(self, error: Any) -> sa.exc.DBAPIError:
        """Return an error of the driver as SQLAlchemy's, and give up a connection that is lost."""
        dialect: Any = self._conn.dialect
        lost = dialect.is_disconnect(error, self._conn.connection.dbapi_connection, self._cursor)
        if lost:
            self._conn.invalidate(error)
        told: Any = sa.exc.DBAPIError.instance(None, None, error, dialect.loaded_dbapi.Error, hide_parameters=True,
                                               connection_invalidated=lost, dialect=dialect)  # fmt: skip
        return told  # type: ignore[no-any-return]
