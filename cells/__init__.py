# SPDX-License-Identifier: Apache-2.0
"""Nova's cells v2 databases as values: which cells there are, which server is in which, and what its rows say.

Knows SQL and no HTTP, and nothing of who calls it.
"""

from cells import encode, flavors, hosts, servers
from cells.breaker import Patience
from cells.create import create_api, create_cell
from cells.database import Database
from cells.errors import BadCell, BadValue, Busy, CellDown, CellsError, Exists, NotEmpty, NotMapped
from cells.pool import Cells
from cells.registry import Registry
from cells.types import (
    CELL0_UUID,
    Answers,
    BlockDevice,
    Cell,
    CellState,
    Down,
    Fault,
    Flavor,
    Host,
    RequestSpec,
    Server,
    ServerMapping,
    Up,
)

__all__ = [
    "CELL0_UUID",
    "Answers",
    "BadCell",
    "BadValue",
    "BlockDevice",
    "Busy",
    "Cell",
    "CellDown",
    "CellState",
    "Cells",
    "CellsError",
    "Database",
    "Down",
    "Exists",
    "Fault",
    "Flavor",
    "Host",
    "NotEmpty",
    "NotMapped",
    "Patience",
    "Registry",
    "RequestSpec",
    "Server",
    "ServerMapping",
    "Up",
    "create_api",
    "create_cell",
    "encode",
    "flavors",
    "hosts",
    "servers",
]
