# SPDX-License-Identifier: Apache-2.0
"""All errors that a caller of ``bfv`` meets, sorted by what to do next.

::

    Refused          the asker must change something; nothing was done
    ├── BadRequest       the words are wrong, or the state does not allow it
    │   └── Conflict         the words are right: the server's state does not allow it now
    ├── NotAllowed       the rights are missing
    ├── OverQuota        a quota is used up
    └── Unsupported      this cloud cannot do it
    NotFound         no such server, image, flavor or cell
    Failed           surely not running: undone
    MaybeRunning     nobody knows yet: the intent is kept and asked again
    NoRoom           this cell has none, or all have none
    └── Late             its storage has not answered so far; what was asked of it may still come
    CellDown         a database does not answer

The floors below own their classes: ``imagebackends.errors`` what an outside act came to,
``cells.errors`` what a database answered. This module is the list, and adds what only flows know.
"""

from cells.errors import CellDown, CellsError, NotMapped
from imagebackends.errors import (
    BadRequest,
    Failed,
    HasSnapshots,
    InUse,
    MaybeRunning,
    NoRoom,
    NotAllowed,
    NotFound,
    OverQuota,
    Refused,
    StorageError,
    Unsupported,
)

__all__ = [
    "BadConfig",
    "BadRequest",
    "Cancelled",
    "CellDown",
    "CellsError",
    "Conflict",
    "Failed",
    "HasSnapshots",
    "InUse",
    "Late",
    "LeaseLost",
    "MaybeRunning",
    "NoRoom",
    "NotAllowed",
    "NotFound",
    "NotMapped",
    "OverQuota",
    "Refused",
    "StorageError",
    "Unsupported",
]


class BadConfig(Refused):
    """The configuration cannot work; the message names the option."""


class Conflict(BadRequest):
    """The server's state does not allow it now; another time the same words may be right."""


class Cancelled(Exception):
    """A DELETE asked the running flow to stop; never leaves this package."""


class LeaseLost(Exception):
    """Another worker has taken this intent over: stop at once and touch nothing."""


class Late(NoRoom):
    """A cell's storage did not do its part in time: another cell is tried, what was begun is removed later."""
