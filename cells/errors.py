# SPDX-License-Identifier: Apache-2.0
"""What a database of the cells layer may answer instead of rows.

::

    CellsError
    ├── CellDown       the database does not answer; nothing was changed, or nobody knows
    │   └── Busy           it answers, but a lock was not to be had; nothing was changed
    ├── NotMapped      no server, flavor or cell of that name
    ├── Exists         that id or name is taken
    ├── NotEmpty       the cell still has servers or hosts
    ├── BadValue       a value does not fit nova's column
    └── BadCell        the cell's description cannot be used
"""


class CellsError(Exception):
    """Any failure of the cells layer."""


class CellDown(CellsError):
    """The database of a cell (or the API database) does not answer."""

    def __init__(self, cell: str, reason: str) -> None:
        super().__init__(f"cell {cell} does not answer: {reason}")
        self.cell = cell
        self.reason = reason


class Busy(CellDown):
    """A deadlock, or a lock that was not to be had in time: nothing was changed, try again."""


class NotMapped(CellsError):
    """There is no such server, flavor or cell."""


class Exists(CellsError):
    """That id or name is already taken."""


class NotEmpty(CellsError):
    """The cell still has servers or hosts."""


class BadValue(CellsError):
    """A value does not fit nova's column: too long, or a character that utf8mb3 cannot hold."""


class BadCell(CellsError):
    """A cell is described in a way that cannot work."""
