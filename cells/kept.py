# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy's connections to a file, kept from one transaction to the next: making one costs more than its reads.

For SQLite alone: a file does not hang up, so nobody has to ask whether a kept connection still lives.
"""

import collections
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa


class Kept:
    """Lends at most ``size`` connections of an engine at a time; who comes later waits ``wait`` seconds."""

    def __init__(self, engine: sa.Engine, size: int, wait: float) -> None:
        self._engine, self.size, self._wait = engine, size, wait
        self._free = threading.BoundedSemaphore(size)
        self._idle: collections.deque[sa.Connection] = collections.deque()

    @property
    def idle(self) -> int:
        """How many connections wait for the next transaction."""
        return len(self._idle)

    @contextmanager
    def lend(self) -> Iterator[sa.Connection]:
        """Give a connection that is in no transaction. Raises SQLAlchemy's TimeoutError when none comes free."""
        if not self._free.acquire(timeout=self._wait):
            raise sa.exc.TimeoutError(f"all {self.size} connections are in use")
        conn = None
        try:
            conn = self._taken()
            yield conn
        except BaseException:
            # In whatever state it is: the next one is new.
            if conn is not None:
                conn.close()
            raise
        else:
            # The last one given back is taken first: SQLite keeps pages for each connection.
            self._idle.append(conn)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close all connections that are not in use."""
        while self._idle:
            self._idle.pop().close()

    def _taken(self) -> sa.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()
