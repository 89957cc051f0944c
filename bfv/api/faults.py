# SPDX-License-Identifier: Apache-2.0
"""What an error becomes over HTTP: one table, nova's shapes (``nova/api/openstack/wsgi.py:Fault``).

What users read never holds a stack trace, SQL, a path or a secret: the words of an error of ours that is not in the
table go nowhere, and the log gets its type and the places in the code it came through.
"""

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bfv.errors import (
    BadConfig,
    CellDown,
    Conflict,
    Failed,
    HasSnapshots,
    InUse,
    MaybeRunning,
    NoRoom,
    NotAllowed,
    NotFound,
    NotMapped,
    OverQuota,
    Refused,
    Unsupported,
)
from cells.errors import BadCell, BadValue, Busy, Exists

LOG = logging.getLogger(__name__)

NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}
UNEXPECTED = "Unexpected API Error. Please contact the administrator and name the request id."
# Errors and their status; the first that fits counts, so the narrow stand before the wide.
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (BadConfig, 500),
    (Conflict, 409),
    (OverQuota, 403),
    (NotAllowed, 403),
    (Unsupported, 501),
    (Refused, 400),
    (BadValue, 400),
    (NotFound, 404),
    (NotMapped, 404),
    (NoRoom, 409),
    (HasSnapshots, 409),
    (InUse, 409),
    (Exists, 409),
    (Failed, 500),
    (MaybeRunning, 503),
    (CellDown, 503),
    (BadCell, 503),
)
# Seconds until a client may well try again.
AGAIN, AGAIN_BUSY = 30, 1


@dataclass
class Fault(Exception):
    """An answer that is an error."""

    code: int
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return it as nova says it."""
        return {NAMES.get(self.code, "computeFault"): {"code": self.code, "message": self.message}}


class Nowhere(Fault):
    """There is nothing at this address; nova's router says so in a shape of its own."""

    def __init__(self) -> None:
        super().__init__(404, "The resource could not be found.")

    def body(self) -> dict[str, Any]:
        """Return it as nova's router says it."""
        return {"message": f"{self.message}<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found"}


def of(error: Exception, *, admin: bool = False, within: Mapping[type[Exception], int] | None = None) -> Fault:
    """Return what an error becomes; ``within`` is what one call says otherwise. Only admins read a cell's name."""
    if isinstance(error, Fault):
        return error
    for kind, code in (*(within or {}).items(), *STATUS):
        if isinstance(error, kind):
            return _known(error, code, admin)
    LOG.error("unexpected %s", where(error))
    return Fault(500, UNEXPECTED)


def _known(error: Exception, code: int, admin: bool) -> Fault:
    if isinstance(error, CellDown):
        LOG.warning("%s", error)
        again = {"Retry-After": str(AGAIN_BUSY if isinstance(error, Busy) else AGAIN)}
        if isinstance(error, Busy):
            return Fault(code, "The database is busy with others; nothing was changed. Try again.", again)
        name = f" {error.cell}" if admin else ""
        return Fault(code, f"The cell{name} does not answer; nothing was done. Try again later.", again)
    if isinstance(error, BadCell):
        # Its text is for operators.
        LOG.error("%s", error)
        return Fault(code, "The cell cannot be used; nothing was done. Try again later.", {"Retry-After": str(AGAIN)})
    if isinstance(error, MaybeRunning):
        LOG.warning("%s", error)
        return Fault(code, "A service that is needed gives no answer. Try again later.", {"Retry-After": str(AGAIN)})
    if isinstance(error, BadConfig):
        LOG.error("configuration: %s", error)
        return Fault(code, UNEXPECTED)
    return Fault(code, str(error))


def where(error: BaseException) -> str:
    """Return an error's type and the places it came through, in one line without a path or a word of its text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    cause = f" from {where(error.__cause__)}" if error.__cause__ else ""
    return f"{type(error).__name__} at {' > '.join(places)}{cause}"
