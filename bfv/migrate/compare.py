# SPDX-License-Identifier: Apache-2.0
"""A converted server beside a genuine one: what databases and services tell of each, but for ids, names and times.

What a server is known by is put out of both first: its ids and those of its volumes, devices and attachments, its
names, and every time. Whatever differs then is a difference between the two.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bfv.errors import NotFound
from bfv.migrate.contract import Difference
from bfv.parts import Parts
from bfv.types import new_request_id
from cells import dump
from cells.errors import NotMapped
from imagebackends.cinder.adopts import MARKER
from imagebackends.types import Access, Disk

# Numbers and names of rows: what has the same use in both and another value.
_NAMES = {"id", "launch_index", "display_name", "hostname", "reservation_id"}


@dataclasses.dataclass(frozen=True)
class _Look:
    """On whose behalf volumes are looked at."""

    id: str
    project_id: str
    request_id: str


def compare(parts: Parts, converted: str, genuine: str) -> list[Difference]:
    """Return in what a converted server differs from a genuine one, but for ids, names and times.

    Both are to be in the same state, of the same image, flavor and host, or these are told too.
    Raises NotFound, CellDown, MaybeRunning, NotAllowed.
    """
    one, other = (dict(_leaves(_told(parts, each))) for each in (converted, genuine))
    return [
        Difference(where, _text(one, where), _text(other, where))
        for where in sorted(one.keys() | other.keys())
        if _text(one, where) != _text(other, where)
    ]


def _told(parts: Parts, server_id: str) -> dict[str, Any]:
    """Return all that is told of a server, with its ids and names put out."""
    mapping = parts.registry.find_mapping(server_id)
    if mapping is None or mapping.cell is None:
        raise NotFound(f"Server {server_id} could not be found.")
    try:
        rows = dump.server(parts.cells.of(mapping.cell), server_id)
    except NotMapped as error:
        raise NotFound(str(error)) from error
    look = _Look("compare", mapping.project_id, new_request_id())
    access = parts.rights.storage(look)
    volumes = [row["volume_id"] for row in rows["block_device_mapping"] if row["volume_id"]]
    disks = [_disk(parts.backend.get(access, each)) for each in volumes]
    attachments = [dataclasses.asdict(each) for each in parts.backend.attachments(access, server_id=server_id)]
    told = {
        **{table: [_bare(row) for row in found] for table, found in rows.items()},
        "instance_metadata": _pairs(rows["instance_metadata"]),
        "instance_system_metadata": _pairs(rows["instance_system_metadata"]),
        "request_spec": parts.registry.request_spec(server_id),
        "allocation": _counted(parts, server_id),
        "volumes": disks,
        "attachments": attachments,
    }
    return dict(_without(told, _known_by(server_id, rows, disks, attachments)))


def _disk(disk: Disk) -> dict[str, Any]:
    """Return a volume without its name, and without the random word by which a lost answer is found again."""
    metadata = {key: value for key, value in disk.metadata.items() if key != MARKER}
    return dataclasses.asdict(dataclasses.replace(disk, name="", metadata=metadata))


def _bare(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in _NAMES}


def _pairs(rows: Any) -> dict[str, Any]:
    return {row["key"]: row["value"] for row in rows}


def _counted(parts: Parts, server_id: str) -> dict[str, int]:
    """Return what placement counts, by class, whichever provider has it."""
    answer = parts.placement.allocation(Access(parts.rights.service(), "", new_request_id()), server_id)
    counted: dict[str, int] = {}
    for each in (answer or {"allocations": {}})["allocations"].values():
        for kind, amount in each["resources"].items():
            counted[kind] = counted.get(kind, 0) + amount
    return counted


def _known_by(server_id: str, rows: Mapping[str, Any], disks: Any, attachments: Any) -> dict[str, str]:
    """Return the ids that are a server's own, and what stands for each of these."""
    ids = {server_id: "SERVER"}
    ids |= {row["uuid"]: f"DEVICE {at}" for at, row in enumerate(rows["block_device_mapping"]) if row["uuid"]}
    ids |= {disk["id"]: f"VOLUME {at}" for at, disk in enumerate(disks)}
    return {**ids, **{each["id"]: f"ATTACHMENT {at}" for at, each in enumerate(attachments)}}


def _without(value: Any, ids: Mapping[str, str]) -> Any:
    """Return a value with ids put out, also within a text."""
    if isinstance(value, Mapping):
        return {key: _without(each, ids) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without(each, ids) for each in value]
    if isinstance(value, str):
        for text, word in ids.items():
            value = value.replace(text, f"<{word}>")
    return value


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every single value with the path to it, but for times."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            if not str(key).endswith("_at"):
                yield from _leaves(each, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple) and value:
        for at, each in enumerate(value):
            yield from _leaves(each, f"{where}[{at}]")
    elif not isinstance(value, dt.datetime):
        yield where, value


def _text(found: Mapping[str, Any], where: str) -> str:
    return json.dumps(found[where], default=str) if where in found else "nothing"
