# SPDX-License-Identifier: Apache-2.0
"""How the cells are, each by its three parts: its database, its storage, and the operator's word."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bfv.cell_notes import Note, notes
from bfv.errors import CellsError, StorageError
from bfv.parts import Parts
from bfv.types import new_request_id
from cells.lane import Call, Lane, Latch
from cells.types import Answers, Cell, CellState
from imagebackends.cinder.backend import CinderBackend
from imagebackends.survey import Service, Survey
from imagebackends.types import Target


@dataclass(frozen=True)
class Storage:
    """The cell's storage. Unknown: it has none, or who could tell does not."""

    state: Literal["up", "down", "unknown"]
    reason: str = ""
    since: dt.datetime | None = None


@dataclass(frozen=True)
class CellReport:
    """A cell; ``since`` and ``reason`` are those of its database, ``disabled_*`` the operator's. Times are naive UTC.

    ``address`` is its database's URL without the password.
    """

    name: str
    uuid: str
    state: str
    since: dt.datetime | None
    reason: str
    disabled: bool
    disabled_reason: str | None
    disabled_at: dt.datetime | None
    answers: Answers | None
    connections: tuple[int, int]
    storage: Storage
    volume_type: str | None
    availability_zone: str | None
    backend: str | None
    address: str | None


def look(parts: Parts, cells: Sequence[Cell]) -> list[CellReport]:
    """Ask the database of each cell, cinder, and Ceph where it is named; takes at most thrice ``cell_timeout``.

    Raises CellDown for the API database and our own.
    """
    lane, latch = Lane("storage", 1), Latch(1)
    asked = Call(lambda: _services(parts), latch)
    lane.submit(asked)
    states = parts.cells.look(cells)
    latch.wait(parts.cells.cell_timeout)
    lane.leave(asked)
    lane.close()
    silent = str(asked.error or f"cinder did not tell within {parts.cells.cell_timeout:g} seconds")
    services = silent if asked.value is None else asked.value
    parts.clusters.look(parts.cells.cell_timeout)
    written, targets = notes(parts.journal.database), _targets(parts)
    return [_report(parts, state, written.get(state.cell.uuid), targets, services) for state in states]


def _report(parts: Parts, state: CellState, note: Note | None, targets: Mapping[str, Target],
            services: Mapping[str, Service] | str) -> CellReport:  # fmt: skip
    cell = state.cell
    target = targets.get(cell.name)
    return CellReport(
        name=cell.name,
        uuid=cell.uuid,
        state=state.state,
        since=state.since,
        reason=state.reason,
        disabled=cell.disabled,
        disabled_reason=note.reason if note and cell.disabled else None,
        disabled_at=note.at if note and cell.disabled else None,
        answers=state.answers,
        connections=(state.in_use, state.size),
        storage=_storage(parts, cell, target, services),
        volume_type=target.volume_type if target else None,
        availability_zone=target.availability_zone if target else None,
        backend=target.backend if target else None,
        address=_address(parts, cell),
    )


def _targets(parts: Parts) -> dict[str, Target]:
    return {target.cell: target for target in parts.targets if target.tier == "default"}


def _address(parts: Parts, cell: Cell) -> str | None:
    try:
        return parts.cells.of(cell).safe_url()
    except CellsError:
        return None


def _services(parts: Parts) -> dict[str, Service]:
    """Return cinder's volume services by host. Raises StorageError."""
    access = parts.rights.everywhere(new_request_id())
    if access is None or not isinstance(parts.backend, CinderBackend):
        raise StorageError("only an admin may ask cinder for its services, and the service user is none")
    return Survey(parts.backend.clients, access).volume_services()


def _storage(parts: Parts, cell: Cell, target: Target | None, services: Mapping[str, Service] | str) -> Storage:
    if target is None:
        return Storage("unknown", "" if cell.is_cell0 else f"there is no [cell:{cell.name}]")
    # What boots have met counts more than what cinder says: it says `up` for a while after a Ceph has died.
    if met := parts.storage.down().get(cell.name):
        since, reason = met
        return Storage("down", reason, since)
    if isinstance(services, str):
        return Storage("unknown", services)
    if target.backend is None:
        return Storage("unknown", "[cell:NAME] backend is not set")
    host = target.backend.partition("#")[0]
    service = services.get(host)
    if service is None:
        return Storage("down", f"cinder has no volume service {host}")
    if service.state != "up" or service.backend_state == "down":
        return Storage("down", f"cinder's volume service {host} is down")
    if service.status != "enabled":
        return Storage("down", f"cinder's volume service {host} is disabled: {service.disabled_reason or 'no reason'}")
    return Storage("up")
