# SPDX-License-Identifier: Apache-2.0
"""Volumes of servers that cinder tells otherwise: an administrator has force-detached, reset or deleted them.

Nothing is changed: whether a guest still writes to such a volume, only people know. A server with an open intent before
or after the look is left out, as each place is read at its own moment.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from bfv.errors import StorageError
from bfv.parts import Parts
from bfv.types import new_request_id
from cells.attached import Attached, attached
from cells.types import Down
from imagebackends.types import Disk

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
FREE = ("available", "error")


@dataclass(frozen=True)
class Stray:
    """A volume that a server has by its rows and not, or not safely, by cinder; ``what`` says so and what to do."""

    server_id: str
    volume_id: str
    what: str


@dataclass(frozen=True)
class Look:
    """What was found, and why which cells, by name or `all`, could not be looked at."""

    found: tuple[Stray, ...]
    down: Mapping[str, str]


def look(parts: Parts) -> Look:
    """Compare the rows of all servers with cinder: two list calls. Raises CellDown for the API database and our own."""
    access = parts.rights.everywhere(new_request_id())
    if access is None:
        return Look((), {"all": "the service user may not see the volumes of all projects (see `bfv check`)"})
    busy = _busy(parts)
    answers = parts.pool.gather(parts.registry.cells(), lambda _, database: attached(database)).values()
    rows = [row for each in answers if not isinstance(each, Down) for row in each.value]
    down = {each.cell.name: each.reason for each in answers if isinstance(each, Down)}
    if not rows:
        return Look((), down)
    try:
        disks = parts.backend.look(access, {row.volume_id for row in rows}, EPOCH)
        bound = {each.id for each in parts.backend.attachments(access)}
    except StorageError as error:
        return Look((), {**down, "all": str(error)})
    busy |= _busy(parts)
    told = ((row, _told(row, disks.get(row.volume_id), bound)) for row in rows if row.server_id not in busy)
    return Look(tuple(Stray(row.server_id, row.volume_id, what) for row, what in told if what), down)


def _told(row: Attached, disk: Disk | None, bound: set[str]) -> str | None:
    forget = f"`bfv detach {row.server_id} {row.volume_id}` forgets it"
    if disk is None:
        return f"volume {row.volume_id} is gone in cinder; {forget}"
    if row.attachment_id not in bound:
        return (
            f"volume {row.volume_id} is {disk.status} in cinder and its attachment {row.attachment_id} is gone: it was "
            f"force-detached or reset; {forget}, then attach it again"
        )
    if disk.status in FREE:
        return (
            f"volume {row.volume_id} is {disk.status} in cinder though attachment {row.attachment_id} is there: its "
            "state was reset, and others can take it; set it back with `openstack volume set --state in-use`"
        )
    if disk.status == "attaching":
        return (
            f"volume {row.volume_id} is attaching in cinder and nothing of ours is under way: its connection was not "
            f"completed, or was made once more later on; `bfv disconnect {row.server_id}` and `bfv connect` mend it"
        )
    return None


def _busy(parts: Parts) -> set[str]:
    return {intent.server_id for intent in parts.journal.opened()}
