# SPDX-License-Identifier: Apache-2.0
"""Are the databases as this code needs them: our own by its version, nova's table by table in every cell."""

from collections.abc import Iterator

from bfv import database
from bfv.check import Line
from bfv.errors import CellsError, StorageError
from bfv.parts import Parts
from cells.compare import NEWEST, OLDEST, Comparison, Kind, compare
from cells.database import Database

_SYNC = {"api": "nova-manage api_db sync", "cell": "nova-manage db sync --local_cell, with the cell's configuration"}
_MAKE = "bfv db init --cell0 URL makes missing tables; columns are added by hand"


def check(parts: Parts) -> list[Line]:
    """Return a line for our own database, the API database and each cell, and one for each difference; reads only.

    A difference that would make a statement of ours fail is bad, as is a database that does not answer; a
    revision of nova's that is not among those tested is unknown.
    """
    lines = [_own(parts)]
    lines += _one(parts.api, "api", "API database")
    try:
        cells = parts.registry.cells()
    except CellsError:
        # Why is told by the API database's own lines.
        return lines
    for cell in cells:
        try:
            lines += _one(parts.cells.of(cell), "cell", f"cell {cell.name}")
        except CellsError as error:
            lines.append(Line("bad", f"cell {cell.name}", str(error), "correct its database_connection"))
    return lines


def _own(parts: Parts) -> Line:
    try:
        return Line("ok", "bfv's database", f"version {database.check(parts)}")
    except (StorageError, CellsError) as error:
        return Line("bad", "bfv's database", str(error), "bfv db init")


def _one(live: Database, kind: Kind, what: str) -> Iterator[Line]:
    try:
        found = compare(live, kind)
    except CellsError as error:
        yield Line("bad", what, str(error), "mend it, or give its account the right to SELECT")
        return
    yield _revision(found, kind, what)
    todo = _MAKE if found.state == "ours" else _SYNC[kind]
    for difference in found.differences:
        yield Line("bad", f"{what}: {difference.name}", difference.what, todo)


def _revision(found: Comparison, kind: Kind, what: str) -> Line:
    if found.state == "ours":
        return Line("ok", what, "not made by nova-manage")
    if found.state == "known":
        return Line("ok", what, f"revision {found.revision} of nova {found.release}")
    if found.state == "older":
        return Line("unknown", what, f"revision {found.revision} is of before nova {OLDEST}", _SYNC[kind])
    return Line("unknown", what, f"revision {found.revision or 'none'} is not known, maybe of after nova {NEWEST}",
                "if lines below are bad, upgrade bfv before nova")  # fmt: skip
