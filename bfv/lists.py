# SPDX-License-Identifier: Apache-2.0
"""Lists of servers as people see them: the cells' pages, with what only the journal knows of those that are built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from bfv import unplaced, view
from bfv.errors import CellsError, NotFound, NotMapped
from bfv.intent import Intent
from bfv.parts import Parts
from bfv.types import ServerInfo
from cells import listing
from cells.listing import Brief, Detail, Entry, Minimal, Page, Query, Unplaced
from cells.types import BlockDevice, ServerMapping

UNKNOWN = "UNKNOWN"
T = TypeVar("T")
Told = Callable[[Entry, Intent | None], T | None]
Building = Callable[[], Mapping[str, Intent]]


@dataclass(frozen=True)
class Listed(Generic[T]):
    """A page of servers; ``next_marker`` is None on the last. ``unasked`` says which cells gave no answer, and why."""

    servers: list[T]
    next_marker: str | None
    unasked: dict[str, str]


def servers(parts: Parts, query: Query) -> Listed[ServerInfo]:
    """Return a page as people see it. Raises NotMapped for an unknown marker, BadQuery, CellDown."""
    return _listed(parts, query, _info)


def rows(parts: Parts, query: Query) -> Listed[ServerInfo | Detail | Brief]:
    """Return what ``servers`` returns, with the rows of cells as they are: it takes time to make more of a thousand."""
    return _listed(parts, query, _row)


def _row(entry: Entry, boot: Intent | None) -> ServerInfo | Detail | Brief | None:
    return entry if isinstance(entry, Detail | Brief) else _info(entry, boot)


def _listed(parts: Parts, query: Query, told: Told[Any]) -> Listed[Any]:
    with parts.journal.building_ahead(query.project_id) as building:
        if not query.by_mapping and building():
            return _filtered(parts, query, building(), told)
        return _page(parts, query, building, told)


def _page(parts: Parts, query: Query, building: Building, told: Told[Any]) -> Listed[Any]:
    page = parts.listing.page(query, building)
    found = [info for entry in page.servers if (info := told(entry, building().get(entry.uuid))) is not None]
    return Listed(found, page.next_marker, _unasked(page))


def _filtered(parts: Parts, query: Query, building: Mapping[str, Intent], told: Told[Any]) -> Listed[Any]:
    """Return a page of a list that no cell can begin: servers without a row come first."""
    first = unplaced.matching(parts, query, building)
    places = {info.id: place for place, info in enumerate(first)}
    if query.marker in places:
        first, query = first[places[query.marker] + 1 :], replace(query, marker=None)
    elif query.marker is not None:
        first = []
    if len(first) >= query.limit:
        return Listed(first[: query.limit], first[query.limit - 1].id, {})
    rest = _page(parts, replace(query, limit=query.limit - len(first)), lambda: building, told)
    # One that has got its row in between is in both.
    shown = {each.id if isinstance(each, ServerInfo) else each.uuid for each in rest.servers}
    return replace(rest, servers=[*(info for info in first if info.id not in shown), *rest.servers])


def _unasked(page: Page) -> dict[str, str]:
    return {down.cell.name: down.reason for down in page.unasked}


def unknown(parts: Parts, mapping: ServerMapping, down: CellsError) -> ServerInfo:
    """Return a server whose cell is down, as far as the API database knows it. Raises NotFound, CellDown."""
    try:
        known = listing.minimal(parts.registry, mapping, str(down))
    except NotMapped as error:
        raise NotFound(f"Server {mapping.server_id} could not be found.") from error
    return _minimal(known)


def _info(entry: Entry, boot: Intent | None) -> ServerInfo | None:
    match entry:
        case Detail():
            return _detail(entry)
        case Minimal():
            return _minimal(entry)
        case Unplaced() if boot is not None:
            return view.accepted(boot, ())
        case Unplaced():
            return _build_request(entry)
        case _:
            # A list without details: the id and the name are all that it is asked for.
            return ServerInfo(entry.uuid, entry.display_name or "", entry.project_id or "",
                              view.status(entry.vm_state or "", entry.task_state), entry.task_state, entry.cell,
                              entry.created_at, user_id=entry.user_id)  # fmt: skip


def _detail(row: Detail) -> ServerInfo:
    devices = tuple(
        BlockDevice(uuid="", source_type="", destination_type="volume", volume_id=each["id"],
                    delete_on_termination=each["delete_on_termination"])
        for each in row.volumes
    )  # fmt: skip
    return ServerInfo(
        id=row.uuid,
        name=row.display_name or "",
        project_id=row.project_id or "",
        status=view.status(row.vm_state or "", row.task_state),
        task_state=row.task_state,
        cell=row.cell,
        created_at=row.created_at,
        flavor=row.flavor,
        availability_zone=row.availability_zone,
        host=row.host,
        devices=devices,
        metadata=row.metadata,
        fault=row.fault,
        user_id=row.user_id,
        vm_state=row.vm_state or "",
        power_state=row.power_state or 0,
        updated_at=row.updated_at,
        launched_at=row.launched_at,
        description=row.display_description,
        hostname=row.hostname,
        node=row.node,
        key_name=row.key_name,
        config_drive=row.config_drive or "",
        image_ref=row.image_ref or "",
        system_metadata=row.system_metadata,
        root_device_name=row.root_device_name,
        reservation_id=row.reservation_id,
        launch_index=row.launch_index or 0,
        locked=bool(row.locked),
        locked_by=row.locked_by,
        locked_reason=row.locked_reason,
        tags=tuple(row.tags),
        network_info=row.network_info_json,
    )


def _minimal(known: Minimal) -> ServerInfo:
    return ServerInfo(
        id=known.uuid,
        name="",
        project_id=known.project_id,
        status=UNKNOWN,
        task_state=None,
        cell=known.cell,
        created_at=known.created_at,
        flavor=known.flavor,
        availability_zone=known.availability_zone or UNKNOWN,
        user_id=known.user_id,
        vm_state="",
        image_ref=known.image_ref or "",
    )


def _build_request(entry: Unplaced) -> ServerInfo | None:
    """Return a server that nova is building and no cell has yet; None when its boot has ended in this moment."""
    asked = entry.build_request
    if asked is None:
        return None
    return ServerInfo(
        id=entry.uuid,
        name=str(asked.get("display_name") or ""),
        project_id=entry.mapping.project_id,
        status=view.status(str(asked.get("vm_state") or "building"), asked.get("task_state")),
        task_state=asked.get("task_state"),
        cell=None,
        created_at=entry.mapping.created_at,
        user_id=entry.mapping.user_id,
    )
