# SPDX-License-Identifier: Apache-2.0
"""Services, nodes and servers of all cells at once, for operators; a cell that is down is told and fails nothing.

Nova asks one cell after the other and answers 500 as soon as one of them is down
(``nova/compute/api.py:HostAPI.compute_node_get_all, _service_get_all_cells``).
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bfv.errors import CellDown
from bfv.parts import Parts
from bfv.types import utcnow
from cells import nodes, services
from cells.database import Database
from cells.hosts import Reporting, is_up
from cells.nodes import Node
from cells.services import Service
from cells.types import Cell, Down

T = TypeVar("T")
Rows = Callable[[Database], Collection[T]]


@dataclass(frozen=True)
class Found(Generic[T]):
    """What the cells that answer have, each with its cell, and why others do not answer."""

    rows: list[tuple[Cell, T]] = field(default_factory=list)
    down: list[Down] = field(default_factory=list)

    def only(self, fits: Callable[[T], bool], what: str) -> tuple[Cell, T] | None:
        """Return the first that fits, None where surely none does. Raises CellDown if one may be in a down cell."""
        for cell, row in self.rows:
            if fits(row):
                return cell, row
        if self.down:
            first = self.down[0]
            raise CellDown(first.cell.name, f"{what} may be there: {first.reason}", first.since)
        return None


def find_services(parts: Parts) -> Found[Service]:
    """Return all services, those of the graveyard's database too. Raises CellDown for the API database."""
    return _gather(parts, parts.registry.cells(), services.list_services)


def find_nodes(parts: Parts) -> Found[Node]:
    """Return all compute nodes. Raises CellDown for the API database."""
    return _gather(parts, (cell for cell in parts.registry.cells() if not cell.is_cell0), nodes.list_nodes)


def servers_on(parts: Parts, hosts: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """Return id and name of each server on these hosts, by host. Raises CellDown if a cell of theirs is down."""
    if not hosts:
        return {}
    theirs = {uuid for host, uuid in services.mapped_hosts(parts.api) if host in hosts}
    cells = [cell for cell in parts.registry.cells() if cell.uuid in theirs]
    found: dict[str, list[tuple[str, str]]] = {}
    for answer in parts.pool.gather(cells, lambda _cell, database: nodes.servers_on(database, hosts)).values():
        if isinstance(answer, Down):
            raise CellDown(answer.cell.name, answer.reason, answer.since)
        found |= answer.value
    return found


def reports(parts: Parts, row: Reporting) -> bool:
    """Return whether a service or a node counts as up now."""
    return is_up(row, utcnow(), parts.placing.down_after)


def _gather(parts: Parts, cells: Iterable[Cell], read: Rows[T]) -> Found[T]:
    answers = parts.pool.gather(cells, lambda _cell, database: read(database)).values()
    down = [answer for answer in answers if isinstance(answer, Down)]
    return Found([(up.cell, row) for up in answers if not isinstance(up, Down) for row in up.value], down)
