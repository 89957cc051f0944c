# SPDX-License-Identifier: Apache-2.0
"""What is known of the hosts when a server is placed, at a price that a storm of boots can pay.

One look costs one statement for each up cell, all at once, and one for the aggregates; it serves every boot of
this process for some seconds. What is promised to servers on their way is read for each boot, in one statement of
our own database. A claim ends with its boot: a server that is booted and that no host counts yet, or that was counted
after the last look, is not seen, so a host may for that long be given more than it has, and its driver refuses it.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from bfv.choose import Chosen, Known, Wish, choose
from bfv.claims import hold
from bfv.fit import Size
from bfv.tables import claims
from cells import aggregates
from cells import hosts as cell_hosts
from cells.database import Database
from cells.fixed import Fixed
from cells.pool import Cells
from cells.types import Cell, Host, Up

_SUMS = [sa.func.sum(claims.c[name]) for name in ("vcpus", "memory_mb", "disk_gb")]
_COUNTS = claims.c.counts.is_(sa.true())
_CLAIMED = Fixed(sa.select(claims.c.host, *_SUMS).where(claims.c.host.is_not(None), _COUNTS).group_by(claims.c.host))
# A locking read sees what was committed last, however old the transaction is (MySQL's repeatable read); PostgreSQL
# locks rows and no sums.
_CLAIMED_ON = Fixed(
    sa.select(claims.c.vcpus, claims.c.memory_mb, claims.c.disk_gb)
    .where(claims.c.cell == sa.bindparam("cell"), claims.c.host == sa.bindparam("host"), _COUNTS)
    .with_for_update(read=True)
)


@dataclass(frozen=True)
class Seen:
    """What the cells told: ``hosts`` of those that answered and ``down``, why others did not, by the cell's name.

    ``zones`` has the availability zone of each host that is in one.
    """

    hosts: Mapping[str, Sequence[Host]] = field(default_factory=dict)
    down: Mapping[str, str] = field(default_factory=dict)
    zones: Mapping[str, str] = field(default_factory=dict)


def gather_hosts(pool: Cells, api: Database, cells: Iterable[Cell]) -> Seen:
    """Ask cells for their hosts, for at most the pool's ``cell_timeout`` seconds; the graveyard has none.

    Raises CellDown for the API database.
    """
    asked = [cell for cell in cells if not cell.is_cell0]
    answers = pool.gather(asked, lambda cell, database: cell_hosts.list(database, cell.name))
    told, down = {}, {}
    for answer in answers.values():
        if isinstance(answer, Up):
            told[answer.cell.name] = answer.value
        else:
            down[answer.cell.name] = answer.reason
    return Seen(told, down, aggregates.zones(api))


def claimed(conn: sa.Connection) -> dict[str, Size]:
    """Return what is promised on each host to servers that it does not count yet."""
    return {row[0]: _size(row[1:]) for row in _CLAIMED.rows(conn)}


def choose_and_hold(conn: sa.Connection, known: Known, wish: Wish) -> Chosen:
    """Choose as `bfv.choose.choose`, and keep all others from choosing the best host until this transaction ends.

    The transaction is the one that writes the claim: of two boots, whoever's, that see the same room one gets it, and
    the other is placed with that in mind. Only the best host is held: on its way to the next cell a server may find
    that others were quicker. Raises what ``choose`` raises, and Busy: the transaction is to be repeated.
    """
    held: dict[str, Size] = {}
    while True:
        chosen = choose(replace(known, claimed={**known.claimed, **held}), wish)
        best = chosen.choices[0]
        if best.host is None or best.host in held:
            return chosen
        hold(conn, f"host:{best.host}")
        promised = _CLAIMED_ON.rows(conn, {"cell": best.cell, "host": best.host})
        held[best.host] = Size(*(sum(column) for column in zip(*promised, strict=True)))


def _size(sums: Sequence[Any]) -> Size:
    # A sum of nothing is NULL, and MySQL sums integers to decimals.
    return Size(*(int(each or 0) for each in sums))


class Hosts:
    """Looks at the hosts of all cells and keeps what it saw for ``fresh`` seconds; safe for many threads."""

    def __init__(self, pool: Cells, api: Database, fresh: float) -> None:
        self._pool, self._api, self._fresh = pool, api, fresh
        self._lock = threading.Lock()
        self._cells: tuple[Cell, ...] = ()
        self._seen, self._until = Seen(), 0.0

    def seen(self, cells: Sequence[Cell]) -> Seen:
        """Return what the cells that may get servers tell; of many that ask at once one looks, all get its answer.

        A cell that is changed in the registry is looked at anew. Raises CellDown for the API database.
        """
        asked = tuple(cell for cell in cells if not cell.disabled)
        with self._lock:
            if time.monotonic() >= self._until or self._cells != asked:
                self._seen = self.look(asked)
                self._cells, self._until = asked, time.monotonic() + self._fresh
            return self._seen

    def look(self, cells: Iterable[Cell]) -> Seen:
        """Return what these cells tell now. Raises CellDown for the API database."""
        return gather_hosts(self._pool, self._api, cells)
