# SPDX-License-Identifier: Apache-2.0
"""Look whether claims, mappings and rows tell the same of a project's servers; nothing is changed.

Each place is read at its own moment, so a server with an open intent before or after the look is left out: what is
told has no flow that works on it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from bfv import claims
from bfv.claims import Claim
from bfv.parts import Parts
from bfv.tables import intents
from cells import usage
from cells.types import Down


@dataclass(frozen=True)
class Drift:
    """A server that is not counted as it should be, and why."""

    server_id: str
    what: str


@dataclass(frozen=True)
class Look:
    """What was found, and why which cells, by name, could not be looked at."""

    found: tuple[Drift, ...]
    down: Mapping[str, str]


def look(parts: Parts, project_id: str) -> Look:
    """Compare what is known of a project. Raises CellDown for the API database and our own."""
    with parts.journal.database.reader() as conn:
        busy, claimed = _busy(conn, project_id), claims.all_of(conn, project_id)
    mapped = usage.mapped(parts.api, project_id)
    cells = {cell.id: cell.name for cell in parts.registry.cells()}
    answers = parts.pool.gather(parts.registry.cells(), lambda _, database: usage.servers_in(database, project_id))
    rows: dict[str, set[str]] = {}
    down = {}
    for answer in answers.values():
        if isinstance(answer, Down):
            down[answer.cell.name] = answer.reason
        else:
            rows[answer.cell.name] = answer.value
    with parts.journal.database.reader() as conn:
        still = _busy(conn, project_id)
    places = {key: (cells.get(cell) if cell else None, deleted) for key, (cell, deleted) in mapped.items()}
    found = [*_claims(claimed, rows, places, down), *_servers(rows, places, down)]
    return Look(tuple(each for each in found if each.server_id not in busy | still), down)


def _claims(claimed: Collection[Claim], rows: Mapping[str, set[str]],
            places: Mapping[str, tuple[str | None, bool]], down: Collection[str]) -> Iterator[Drift]:  # fmt: skip
    there = set().union(*rows.values())
    for claim in claimed:
        if claim.counts:
            # With an open boot it is busy and left out.
            yield Drift(claim.server_id, "claim without intent: it counts, and no boot is open that it belongs to")
        elif claim.server_id not in there and places.get(claim.server_id, (None, True))[0] not in down:
            yield Drift(claim.server_id, "place without server: a server group counts with a server that is gone")


def _servers(rows: Mapping[str, set[str]], places: Mapping[str, tuple[str | None, bool]],
             down: Collection[str]) -> Iterator[Drift]:  # fmt: skip
    for server_id in sorted(set().union(*rows.values())):
        cells = sorted(name for name, servers in rows.items() if server_id in servers)
        cell = places.get(server_id, (None, False))[0]
        if len(cells) > 1:
            yield Drift(server_id, f"counted twice: it has rows in {' and '.join(cells)}, mapped to {cell or 'none'}")
        elif server_id not in places:
            yield Drift(server_id, f"row without mapping: in {cells[0]}")
        elif cell not in cells:
            yield Drift(server_id, f"row without mapping: in {cells[0]}, mapped to {cell or 'none'}")
    for server_id, (cell, deleted) in sorted(places.items()):
        if not deleted and (cell is None or (cell not in down and server_id not in rows.get(cell, ()))):
            yield Drift(
                server_id, f"mapping without row: {f'to {cell}' if cell else 'to no cell, and nothing builds it'}"
            )


def _busy(conn: sa.Connection, project_id: str) -> set[str]:
    query = sa.select(intents.c.server_id).where(intents.c.project_id == project_id, intents.c.closed_at.is_(None))
    return set(conn.execute(query).scalars())
