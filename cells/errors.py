# SPDX-License-Identifier: Apache-2.0
"""What a database of the cells layer may answer instead of rows.

::

    CellsError
    ├── CellDown       the database does not answer; nothing was changed, or nobody knows
    │   └── Busy           it answers, but a lock was not to be had; nothing was changed
    ├── NotMapped      no server, flavor or cell of that name
    ├── Exists         that id or name is taken
    ├── NotEmpty       the cell still has servers or hosts
    ├── Changed        rows are not what the caller takes them for; nothing was changed
    ├── BadValue       a value does not fit nova's column
    └── BadCell        the cell's description cannot be used
        └── NoRight        its account lacks a right
"""

import datetime as dt


class CellsError(Exception):
    """Any failure of the cells layer."""


class CellDown(CellsError):
    """The database of a cell (or the API database) does not answer.

    ``since`` (naive UTC) is set where it was known to be down before, so that it was not asked at all.
    """

    def __init__(self, cell: str, reason: str, since: dt.datetime | None = None) -> None:
        known = f" (since {since:%F %T} UTC)" if since else ""
        super().__init__(f"cell {cell} does not answer: {reason}{known}")
        self.cell = cell
        self.reason = reason
        self.since = since


class Busy(CellDown):
    """A deadlock, or a lock that was not to be had in time: nothing was changed, try again."""


class NotMapped(CellsError):
    """There is no such server, flavor or cell."""


class Exists(CellsError):
    """That id or name is already taken."""


class NotEmpty(CellsError):
    """The cell still has servers or hosts."""


class Changed(CellsError):
    """Rows are not what the caller takes them for: somebody else was there first. Nothing was changed."""


class BadValue(CellsError):
    """A value does not fit nova's column: too long, or a character that utf8mb3 cannot hold."""


class BadCell(CellsError):
    """A cell is described in a way that cannot work."""


class NoRight(BadCell):
    """The database account lacks a right that the statement needs."""
