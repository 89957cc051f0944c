# SPDX-License-Identifier: Apache-2.0
"""What the two halves of a conversion tell each other: the engine moves images, ``bfv.migrate.records`` moves rows.

The engine knows no column of nova's and the records know no image. Each function of ``Records`` may be called again
after any crash and then comes to the same end. All raise CellDown, MaybeRunning for a system that does not answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from bfv.parts import Parts
from cells.database import Database
from imagebackends.types import Disk


@dataclass(frozen=True)
class Facts:
    """A server as a plan needs it, from rows alone; ``root_gb``, ``ephemeral_gb`` in GiB, ``swap_mb`` in MiB.

    ``refusals`` are the reasons in its rows against a conversion, each with what lifts it: task state, resized or
    resizing (``migrations``, ``migration_context``), shelved, rescued, error, encrypted root, kernel or ramdisk, no
    local root, no host. That it runs is no refusal: ``is_off`` tells. ``notes`` are what stays as it is, in words
    (ephemeral, swap, config drive). ``is_volume_backed`` says that it needs no conversion.
    """

    server_id: str
    project_id: str
    user_id: str
    name: str
    host: str | None
    is_off: bool
    image_id: str
    root_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    config_drive: bool = False
    availability_zone: str | None = None
    is_volume_backed: bool = False
    locked: bool = False
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """Every row that a switch changes, as it was before, and what lies in other systems; JSON all through.

    ``rows`` are those of the cell's database by table; ``request_spec`` the text in the API database, None without
    one; ``allocation`` the answer of placement (GET /allocations/{id}), None where there is no placement.
    """

    server_id: str
    project_id: str
    rows: Mapping[str, Sequence[Mapping[str, Any]]]
    request_spec: str | None = None
    allocation: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data, as the journal keeps it."""
        return asdict(self)


@dataclass(frozen=True)
class Bound:
    """The volume that takes the old disk's place, and its attachment; ``connection`` is cinder's connection_info."""

    volume: Disk
    attachment_id: str
    connection: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """A value in which two servers differ, where it should be the same."""

    where: str
    converted: str
    genuine: str


class Records(Protocol):
    """The functions of the module ``bfv.migrate.records``."""

    def facts(
        self,
        parts: Parts,
        database: Database,
        *,
        server_ids: Sequence[str] | None = None,
        project_id: str | None = None,
        host: str | None = None,
    ) -> list[Facts]:
        """Return the live servers of a cell that fit, by id; a fixed number of statements for a thousand of them."""

    def connector(self, parts: Parts, database: Database, server_id: str) -> Mapping[str, Any]:
        """Return the connector of the server's host (nova keeps one in other attachments' rows; a driver tells it)."""

    def before(self, parts: Parts, database: Database, server_id: str) -> Snapshot:
        """Return what the switch will change. Raises NotFound."""

    def snapshot(self, data: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot that ``to_dict`` gave, read from JSON."""

    def image_metadata(self, parts: Parts, snapshot: Snapshot) -> Mapping[str, str]:
        """Return the ``volume_image_metadata`` that a genuine volume of the server's image has."""

    def is_switched(self, database: Database, snapshot: Snapshot) -> bool | None:
        """Return whether the root is a volume now, None for a server that is gone."""

    def switch(self, database: Database, snapshot: Snapshot, bound: Bound) -> None:
        """Make the root the volume, in one transaction: the point of no return.

        Raises Conflict, and changes nothing, if a row is not what it was and not what it becomes.
        """

    def after(self, parts: Parts, snapshot: Snapshot, bound: Bound) -> None:
        """Write what lies in other systems: the request spec's ``is_bfv``, the allocation without DISK_GB."""

    def check_restore(self, database: Database, snapshot: Snapshot, volume_id: str | None = None) -> None:
        """Raise Conflict, NotFound where ``restore`` would, and change nothing."""

    def restore(self, parts: Parts, database: Database, snapshot: Snapshot, volume_id: str | None = None) -> None:
        """Make the root the local disk again where it is ``volume_id`` (None: any volume), and all else as it was.

        Rows that nobody else changed since the switch come back bit for bit. Raises Conflict where the root is
        another volume, or none.
        """

    def compare(self, parts: Parts, converted: str, genuine: str) -> list[Difference]:
        """Return in what a converted server differs from a genuine one, but for ids, names and times."""


class Guests(Protocol):
    """Who switches guests on and off and keeps their owners' hands off: a driver of ours, or nova's API.

    ``bfv.migrate.guests`` has both. All raise NotFound, Conflict, Failed, MaybeRunning.
    """

    def lock(self, cell: str, server_id: str) -> None:
        """Keep the owner from starting, rebuilding or resizing it; as an administrator, repeatable."""

    def unlock(self, cell: str, server_id: str) -> None:
        """Give it back to its owner; repeatable."""

    def stop(self, cell: str, server_id: str) -> None:
        """Switch it off and wait for that; one that is off is no error."""

    def start(self, cell: str, server_id: str) -> None:
        """Switch it on, its devices read anew from its rows, and wait until it runs. Raises Failed if it does not."""
