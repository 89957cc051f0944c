# SPDX-License-Identifier: Apache-2.0
"""The sources that we made, in our own database; a look at cinder and Glance says whether each is still there.

A source is ``warm``, ``retired`` (superseded, or its image is gone: no new clones, removed once nothing descends
from it) or ``broken`` (somebody removed it). Who runs the one warm-up of its key writes it, so two never do.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from bfv.tables import image_sources as table
from bfv.types import utcnow
from cells.database import Database
from cells.prebuilt import Prebuilt

WARM, RETIRED, BROKEN = "warm", "retired", "broken"
# So many times in a day the same image was put into cinder's cache of a cell: cinder evicts it each time.
THRASH, DAY = 3, dt.timedelta(days=1)
# How much one boot's time weighs in the mean, and how often it is written.
WEIGHT, OFTEN = 0.3, dt.timedelta(seconds=10)


@dataclass(frozen=True)
class Source:
    """A row: times in seconds or naive UTC, ``bytes`` of the image; ``version`` is the state of the image it is of."""

    id: int
    image_id: str
    cell: str
    tier: str
    kind: str
    state: str
    version: str
    bytes: int
    volume_id: str | None
    snapshot_id: str | None
    made_seconds: float
    clone_seconds: float | None
    made_at: dt.datetime
    used_at: dt.datetime | None
    # Since when it is not warm any more.
    turned_at: dt.datetime | None
    reason: str | None


_OF_IMAGE = Prebuilt(sa.select(table).where(table.c.image_id == sa.bindparam("image")).order_by(table.c.id))


def of_image(database: Database, image_id: str) -> list[Source]:
    """Return all sources of an image, oldest first."""
    return [Source(*row) for row in database.rows(_OF_IMAGE, {"image": image_id})]


def on(conn: sa.Connection, image_id: str) -> list[Source]:
    """Return all sources of an image, oldest first, read on a connection of the caller's."""
    return [Source(*row) for row in _OF_IMAGE.rows(conn, {"image": image_id})]


def all_of(database: Database, *states: str) -> list[Source]:
    """Return the sources in these states, or all, oldest first."""
    query = sa.select(table).order_by(table.c.id)
    with database.reader() as conn:
        return [
            Source(**row._mapping) for row in conn.execute(query.where(table.c.state.in_(states)) if states else query)
        ]


def thrashes(sources: Iterable[Source], cell: str, tier: str) -> bool:
    """Say whether cinder's cache of a place does not keep an image: whoever warms it again only fights cinder."""
    young = [each.version for each in sources if (each.cell, each.tier, each.kind) == (cell, tier, "cache")
             and utcnow() - each.made_at < DAY]  # fmt: skip
    return any(young.count(version) >= THRASH for version in young)


def add(database: Database, **columns: Any) -> None:
    """Write a warm source and retire those that it takes the place of; repeatable."""
    mine = [table.c[name] == columns[name] for name in ("image_id", "cell", "tier", "kind")]
    same = sa.and_(*mine, table.c.version == columns["version"], table.c.snapshot_id == columns.get("snapshot_id"))

    def write(conn: sa.Connection) -> None:
        if columns.get("snapshot_id") and conn.execute(sa.select(table.c.id).where(same)).first():
            return
        older = table.update().where(*mine, table.c.state == WARM)
        conn.execute(older.values(state=RETIRED, turned_at=utcnow(), reason="a newer one took its place"))
        conn.execute(table.insert().values(state=WARM, made_at=utcnow(), **columns))

    database.run(write)


def turn(database: Database, ids: Collection[int], state: str, reason: str) -> None:
    """Put warm sources into another state."""
    query = table.update().where(table.c.id.in_(ids), table.c.state == WARM)
    query = query.values(state=state, reason=reason, turned_at=utcnow())
    database.run(lambda conn: conn.execute(query))


def forget(database: Database, source_id: int) -> None:
    """Remove a row whose source is no more."""
    database.run(lambda conn: conn.execute(table.delete().where(table.c.id == source_id)))


def used(database: Database, source: Source, seconds: float) -> None:
    """Note that a volume came of a source and took so long; of a storm only some are written."""
    now = utcnow()
    if source.used_at and now - source.used_at < OFTEN:
        return
    mean = seconds if source.clone_seconds is None else (1 - WEIGHT) * source.clone_seconds + WEIGHT * seconds
    due = sa.or_(table.c.used_at.is_(None), table.c.used_at < now - OFTEN)
    query = table.update().where(table.c.id == source.id, due).values(used_at=now, clone_seconds=mean)
    database.run(lambda conn: conn.execute(query))
