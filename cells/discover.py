# SPDX-License-Identifier: Apache-2.0
"""Find compute hosts that registered in a cell and that the API database does not know yet."""

from dataclasses import dataclass

import sqlalchemy as sa

from cells import hosts
from cells.aggregates import host_cells
from cells.database import Database, utcnow
from cells.errors import Exists
from cells.schema_place import compute_nodes
from cells.types import Cell

_BATCH = 500
_NODES = (
    sa.select(compute_nodes.c.host, sa.func.min(sa.func.coalesce(compute_nodes.c.mapped, 0)).label("mapped"))
    .where(compute_nodes.c.deleted == 0, compute_nodes.c.host.is_not(None))
    .group_by(compute_nodes.c.host)
    .order_by(compute_nodes.c.host)
)


@dataclass(frozen=True)
class Discovered:
    """The hosts of a cell that are mapped now, and why others are not: another cell has a host of that name."""

    mapped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def discover_hosts(api: Database, database: Database, cell: Cell) -> Discovered:
    """Map each compute host of a cell that is not, and mark its nodes as mapped; repeatable.

    ``nova/objects/host_mapping.py:discover_hosts``; that looks only at nodes that are not marked, and marks none
    whose host is mapped already. Here a mark without a mapping is mended, and so is a mapping without a mark.
    Raises CellDown, BadCell.
    """
    with database.reader() as conn:
        nodes = {row.host: row.mapped for row in conn.execute(_NODES)}
    known = host_cells(api)
    mapped, refused = [], []
    for host in nodes:
        try:
            if host not in known:
                hosts.map_host(api, host, cell)
                mapped.append(host)
            elif known[host] != cell.name:
                hosts.map_host(api, host, cell)
        except Exists as error:
            refused.append(str(error))
            nodes[host] = 1
    database.run(lambda conn: _mark(conn, [host for host, mark in nodes.items() if not mark]))
    return Discovered(tuple(mapped), tuple(refused))


def _mark(conn: sa.Connection, names: list[str]) -> None:
    for start in range(0, len(names), _BATCH):
        theirs = compute_nodes.c.host.in_(names[start : start + _BATCH])
        marked = compute_nodes.update().where(theirs, compute_nodes.c.deleted == 0)
        conn.execute(marked.values(mapped=1, updated_at=utcnow()))
