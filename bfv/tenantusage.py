# SPDX-License-Identifier: Apache-2.0
"""What projects used in a time, from the rows of all cells; one that gives no answer is named, not counted as none."""

import datetime as dt
import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from bfv.errors import NotMapped
from bfv.parts import Parts
from cells import spans
from cells.spans import Span
from cells.types import Down


@dataclass(frozen=True)
class Used:
    """Servers that ran in a time, sorted by project and id, and why which cells, by name, are not among them."""

    spans: tuple[Span, ...]
    down: Mapping[str, str]


def between(parts: Parts, start: dt.datetime, stop: dt.datetime, project_id: str | None = None, *,
            limit: int | None = None, marker: str | None = None) -> Used:  # fmt: skip
    """Return the servers that ran between (naive UTC), of a project or of all, at most ``limit`` after ``marker``.

    Raises NotMapped for an unknown marker, CellDown for the API database.
    """
    after = _key_of(parts, marker) if marker else None
    answers = parts.pool.gather(
        parts.registry.cells(),
        lambda _, database: spans.between(database, start, stop, project_id, after=after, limit=limit),
    ).values()
    merged = heapq.merge(*(each.value for each in answers if not isinstance(each, Down)), key=lambda span: span.key)
    down = {each.cell.name: each.reason for each in answers if isinstance(each, Down)}
    return Used(tuple(itertools.islice(merged, limit)), down)


def _key_of(parts: Parts, marker: str) -> tuple[str, str]:
    mapping = parts.registry.find_mapping(marker)
    if mapping is None:
        raise NotMapped(f"Server {marker} is mapped to no cell.")
    return mapping.project_id, marker
