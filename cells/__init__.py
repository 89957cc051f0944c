# SPDX-License-Identifier: Apache-2.0
"""Nova's cells v2 databases as values: which cells there are, which server is in which, and what its rows say.

Knows SQL and no HTTP, and nothing of who calls it.
"""

from cells import encode, flavors, servers
from cells.create import create_api, create_cell
from cells.database import Database
from cells.errors import BadCell, BadValue, Busy, CellDown, CellsError, Exists, NotEmpty, NotMapped
from cells.registry import Registry
from cells.types import CELL0_UUID, BlockDevice, Cell, Fault, Flavor, RequestSpec, Server, ServerMapping

__all__ = [
    "CELL0_UUID",
    "BadCell",
    "BadValue",
    "BlockDevice",
    "Busy",
    "Cell",
    "CellDown",
    "CellsError",
    "Database",
    "Exists",
    "Fault",
    "Flavor",
    "NotEmpty",
    "NotMapped",
    "Registry",
    "RequestSpec",
    "Server",
    "ServerMapping",
    "create_api",
    "create_cell",
    "encode",
    "flavors",
    "servers",
]
