# SPDX-License-Identifier: Apache-2.0
"""What a project's servers take, counted in the cells; and where a cell is down, by what was asked for.

``nova/quota.py:_instances_cores_ram_count``: all rows that are not deleted, not soft-deleted and not hidden, those in
cell0 included. Nova counts a cell that is down as nothing; here the caller is told of it and must decide.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cells import encode
from cells.database import Database
from cells.pool import Cells
from cells.prebuilt import Prebuilt, Values, by_index
from cells.registry import LIVE
from cells.schema_api import instance_mappings, request_specs
from cells.schema_cell import BY_PROJECT, instances
from cells.types import Cell, Down, Up
from cells.wire import Read, Row

# vm_states.SOFT_DELETED
_SOFT_DELETED = "soft-delete"
_COUNTED = sa.and_(
    instances.c.deleted == 0,
    sa.or_(instances.c.vm_state.is_(None), instances.c.vm_state != _SOFT_DELETED),
    sa.or_(instances.c.hidden.is_(None), instances.c.hidden.is_(sa.false())),
)
# 1 or 0: to multiply by it costs less than a CASE for each row, and so does to put a zero in for none afterwards.
_MINE = sa.type_coerce(instances.c.user_id == sa.bindparam("user_id"), sa.Integer)
_COLUMNS: list[Any] = [
    sa.func.count(),
    sa.func.sum(_MINE),
    *(sa.func.sum(value) for what in (instances.c.vcpus, instances.c.memory_mb) for value in (what, what * _MINE)),
]
_SUMS = by_index(
    sa.select(*_COLUMNS).where(instances.c.project_id == sa.bindparam("project_id"), _COUNTED),
    instances,
    BY_PROJECT,
)
_ALL = Prebuilt(_SUMS)
_OTHERS = Prebuilt(_SUMS.where(instances.c.uuid.not_in(sa.bindparam("without", expanding=True))))
_MAPPED = instance_mappings.c.project_id == sa.bindparam("project_id")
_CELLS_OF = Prebuilt(sa.select(instance_mappings.c.cell_id).where(_MAPPED).distinct())
_SOME = sa.select(instance_mappings.c.cell_id).where(_MAPPED).limit(sa.bindparam("most")).subquery()
# Not NULL if it has more mappings than so many.
_MORE = sa.select(instance_mappings.c.id).where(_MAPPED).limit(1).offset(sa.bindparam("many")).scalar_subquery()
_CELLS_OF_SOME = Prebuilt(sa.select(_SOME.c.cell_id, sa.func.count(), _MORE).group_by(_SOME.c.cell_id))
# To find the cell of so many mappings takes as long as a cell takes to count that there are none.
_A_CELL = 40
_FEW = 200


@dataclass(frozen=True)
class Usage:
    """Servers, their vcpus, and their memory in MiB; named as nova's limits are."""

    instances: int = 0
    cores: int = 0
    ram: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.instances + other.instances, self.cores + other.cores, self.ram + other.ram)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.instances - other.instances, self.cores - other.cores, self.ram - other.ram)


# Usage by user; "" is all that are not named.
ByUser = Mapping[str, Usage]


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum."""
    return sum(usages, Usage())


def merged(parts: Iterable[ByUser]) -> dict[str, Usage]:
    """Return the sum for each user."""
    found: dict[str, Usage] = {}
    for part in parts:
        for user, usage in part.items():
            found[user] = found.get(user, Usage()) + usage
    return found


def in_cell(cell: Database, project_id: str, user_id: str, without: Collection[str] = ()) -> dict[str, Usage]:
    """Return what a user has in one cell and, as "", all others of the project, but for these servers.

    One statement. Raises CellDown.
    """
    return _of_user(user_id, cell.rows(*_question(project_id, user_id, without)))


def in_cells(pool: Cells, cells: Iterable[Cell], project_id: str, user_id: str,
             without: Collection[str] = ()) -> Iterator[Up[ByUser] | Down]:  # fmt: skip
    """Yield what ``in_cell`` returns for each of the cells, all asked at once, or why there is none."""
    statement, values = _question(project_id, user_id, without)
    for answer in pool.ask(statement, [(cell, values) for cell in cells]).values():
        yield Up(answer.cell, _of_user(user_id, answer.value)) if isinstance(answer, Up) else answer


def asked_for(api: Database, project_id: str, cell_id: int, without: Collection[str] = (),
              with_deleted: Collection[str] = ()) -> dict[str, Usage]:  # fmt: skip
    """Return what each user has in a cell by the requests in the API database, for a cell that does not answer.

    Counted is each server that no delete was accepted for, or that is in ``with_deleted``, with the flavor it was
    asked for. That is exact where nothing happened since; of nova's servers one that is being resized counts with the
    flavor that it will have, and one whose delete failed does not count. Raises CellDown.
    """
    maps = instance_mappings
    live = sa.or_(LIVE, maps.c.instance_uuid.in_(with_deleted)) if with_deleted else LIVE
    query = (
        sa.select(maps.c.user_id, request_specs.c.spec)
        .outerjoin_from(maps, request_specs, request_specs.c.instance_uuid == maps.c.instance_uuid)
        .where(maps.c.project_id == project_id, maps.c.cell_id == cell_id, live)
    )
    if without:
        query = query.where(maps.c.instance_uuid.not_in(without))
    with api.reader() as conn:
        return merged(_asked(user, text) for user, text in conn.execute(query))


def cells_of(ask: Read, project_id: str, cells: Sequence[Cell]) -> list[Cell]:
    """Return those of the cells that a project has mappings in, all of them where to find out takes longer than to ask.

    ``nova/objects/cell_mapping.py:CellMappingList.get_by_project_id`` takes all mappings: a server whose delete failed
    is there, too. ``ask`` reads in the API database.
    """
    project, many = {"project_id": project_id}, _A_CELL * len(cells)
    few = min(_FEW, many)
    rows = ask(_CELLS_OF_SOME, {**project, "most": few, "many": many})
    some = {key for key, _, _ in rows}
    if sum(count for _, count, _ in rows) == few:
        if few == many or rows[0][2] is not None:
            return list(cells)
        some = {key for (key,) in ask(_CELLS_OF, project)}
    return [cell for cell in cells if cell.id in some]


def servers_in(cell: Database, project_id: str) -> set[str]:
    """Return the servers of a project that have a row in a cell, all that are not deleted. Raises CellDown."""
    query = sa.select(instances.c.uuid).where(instances.c.project_id == project_id, instances.c.deleted == 0)
    with cell.reader() as conn:
        return set(conn.execute(query).scalars())


def mapped(api: Database, project_id: str) -> dict[str, tuple[int | None, bool]]:
    """Return the id of each mapped server's cell, and whether a delete was accepted for it. Raises CellDown."""
    maps = instance_mappings
    query = sa.select(maps.c.instance_uuid, maps.c.cell_id, maps.c.queued_for_delete)
    with api.reader() as conn:
        rows = conn.execute(query.where(maps.c.project_id == project_id))
        return {uuid: (cell, bool(deleted)) for uuid, cell, deleted in rows}


def _question(project_id: str, user_id: str, without: Collection[str]) -> tuple[Prebuilt, Values]:
    values = {"project_id": project_id, "user_id": user_id}
    return (_OTHERS, {**values, "without": list(without)}) if without else (_ALL, values)


def _of_user(user_id: str, rows: Sequence[Row]) -> dict[str, Usage]:
    sums = [int(number or 0) for number in rows[0]]
    everybody, mine = Usage(*sums[::2]), Usage(*sums[1::2])
    found = {user_id: mine, "": everybody - mine} if user_id else {"": everybody}
    return {user: usage for user, usage in found.items() if usage.instances}


def _asked(user_id: str | None, text: str | None) -> dict[str, Usage]:
    if text is None:
        return {user_id or "": Usage(instances=1)}
    spec = encode.read_request_spec(json.loads(text))
    return {user_id or spec.user_id or "": Usage(1, spec.flavor.vcpus, spec.flavor.memory_mb)}
