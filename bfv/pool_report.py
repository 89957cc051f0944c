# SPDX-License-Identifier: Apache-2.0
"""What still lives in nova's pool of each cell, and whose it is: what must go before ``images_type=rbd`` can.

Reads the pool, the cell's database and the API database, and writes nothing; accounts that may only SELECT suffice.
Whose an image is, its name tells (``nova/virt/libvirt/imagebackend.py:Rbd``); whether its server lives, its cell does.
"""

import datetime as dt
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bfv.errors import StorageError
from bfv.parts import Parts
from cells import hosts
from cells.database import Database
from cells.owners import Owner, owners, places
from cells.types import Cell, Down, Up
from imagebackends.rbd import disks
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.pools import together
from imagebackends.rbd.types import Image

UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
OF_SERVER = re.compile(f"({UUID})(.*)")
KINDS = {"_disk": "root", "_disk.local": "ephemeral", "_disk.swap": "swap", "_disk.config": "config drive",
         "_disk.rescue": "rescue"}  # fmt: skip
EPHEMERAL = re.compile(r"_disk\.eph\d+")
ALL = ("root", "ephemeral", "swap", "config drive", "rescue", "other")
# live: of a server of this cell. deleted: of one that its cell has deleted. elsewhere: of one that is in another
# cell. nobody: of a server that no database knows. unknown: the database that would tell is down. bfv: no server's, of
# our own image backend rbd. cinder: a volume in the same pool. stranger: nothing tells.
State = Literal["live", "deleted", "elsewhere", "nobody", "unknown", "bfv", "cinder", "stranger"]
ORPHANS = ("deleted", "elsewhere", "nobody")
GIB = 1024**3


@dataclass(frozen=True)
class PoolImage:
    """An image of the pool; ``size`` in bytes as its guest sees it. ``whose`` says in words who is behind it.

    ``snapshots`` are names, ``open_at`` the addresses of who has it open for writing or locked.
    """

    name: str
    kind: str
    size: int
    state: State
    whose: str
    server_id: str | None = None
    host: str | None = None
    snapshots: Sequence[str] = ()
    open_at: Sequence[str] = ()


@dataclass(frozen=True)
class HostReport:
    """What servers of a host have in the pool, by kind; ``can_go`` says whether its ``images_type=rbd`` can."""

    host: str
    servers: int
    counts: Mapping[str, int]
    snapshots: int
    size: int
    can_go: bool


@dataclass(frozen=True)
class PoolReport:
    """Nova's pool of a cell. ``down`` says why it could not be read, ``database_down`` why whose all is is not known.

    ``counts`` are images by state.
    """

    cell: str
    pool: str
    down: str = ""
    database_down: str = ""
    images: Sequence[PoolImage] = ()
    hosts: Sequence[HostReport] = ()
    trashed: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


def report(parts: Parts, cells: Sequence[str] = ()) -> list[PoolReport]:
    """Look into the pools of these cells, or of all that name their Ceph.

    Raises BadRequest for a cell that names none, BadConfig for one that has no mapping, CellDown for the API database.
    """
    pools = parts.clusters.pools()
    there = {name: pools.of(name) for name in cells or pools.clusters}
    return [_report(parts, parts.cells.cell(name), pool) for name, pool in there.items()]


def _report(parts: Parts, cell: Cell, pool: Pool) -> PoolReport:
    try:
        images = [each for each in together(pool.find, pool.names()) if each]
        trashed = len(pool.trashed())
    except StorageError as error:
        return PoolReport(cell.name, pool.name, down=str(error))
    ids = {found for each in images if (found := _server_of(each.name))}
    answer = parts.pool.gather([cell], lambda _, database: _known(database, cell, ids))[cell.uuid]
    known, names = answer.value if isinstance(answer, Up) else ({}, [])
    placed = places(parts.api, ids - known.keys())
    down = answer.reason if isinstance(answer, Down) else ""
    told = [_image(each, cell.name, known, placed, down) for each in images]
    told.sort(key=lambda each: (each.state, each.host or "", each.name))
    states = Counter[str](each.state for each in told)
    return PoolReport(cell.name, pool.name, "", down, told, _hosts(told, names, down), trashed, states)


def _known(database: Database, cell: Cell, ids: set[str]) -> tuple[dict[str, Owner], list[str]]:
    """Return the servers that are behind these ids, and the names of the cell's hosts."""
    return owners(database, ids), [each.host for each in hosts.list(database, cell.name)]


def _server_of(name: str) -> str | None:
    found = OF_SERVER.fullmatch(name)
    return found[1] if found else None


def _kind(name: str) -> str:
    found = OF_SERVER.fullmatch(name)
    if found is None:
        return "other"
    return KINDS.get(found[2]) or ("ephemeral" if EPHEMERAL.fullmatch(found[2]) else "other")


def _image(
    image: Image, cell: str, known: Mapping[str, Owner], placed: Mapping[str, str | None], down: str
) -> PoolImage:
    server_id = _server_of(image.name)
    owner = known.get(server_id or "")
    state, whose = _whose(image, cell, server_id, owner, placed, down)
    return PoolImage(
        name=image.name,
        kind=_kind(image.name),
        size=image.size,
        state=state,
        whose=whose,
        server_id=server_id,
        host=owner.host if owner else None,
        snapshots=tuple(each.name for each in image.snapshots if not each.trashed),
        open_at=tuple(dict.fromkeys([*image.watchers, *(each.address for each in image.lockers)])),
    )


def _whose(image: Image, cell: str, server_id: str | None, owner: Owner | None, placed: Mapping[str, str | None],
           down: str) -> tuple[State, str]:  # fmt: skip
    if owner:
        words = f"server {owner.name or owner.server_id} of project {owner.project_id}"
        if owner.deleted_at is None:
            doing = f", {owner.task_state or owner.vm_state or 'state unknown'}"
            return "live", f"{words}{doing}{', root is a volume' if owner.root_is_volume else ''}"
        when = f"{owner.deleted_at:%F %T}" if owner.deleted_at > dt.datetime.min else "at an unknown time"
        return "deleted", f"{words} on {owner.host or 'no host'}, deleted {when}"
    if server_id:
        return _unrowed(server_id, cell, placed, down)
    if project := disks.project(image):
        return "bfv", f"project {project}, no server's: made by bfv's image backend rbd"
    if image.name.startswith("volume-") and _is_uuid(image.name.removeprefix("volume-")):
        return "cinder", "a volume of cinder's, which keeps some in this pool"
    return "stranger", "neither nova's, cinder's nor bfv's by its name"


def _unrowed(server_id: str, cell: str, placed: Mapping[str, str | None], down: str) -> tuple[State, str]:
    """Say what is known of a server that its cell does not tell."""
    there = placed.get(server_id)
    if down and there in (None, cell):
        return "unknown", f"server {server_id}; the cell's database is down"
    if there and there != cell:
        return "elsewhere", f"server {server_id}, which is in {there}"
    if server_id in placed:
        return "nobody", f"server {server_id}, which is mapped and has no row"
    return "nobody", f"server {server_id}, which no database knows"


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _hosts(images: Sequence[PoolImage], names: Sequence[str], down: str) -> list[HostReport]:
    if down:
        return []
    found = []
    living = [each for each in images if each.state == "live"]
    for host in sorted({*names, *(each.host or "-" for each in living)}):
        theirs = [each for each in living if (each.host or "-") == host]
        counts = Counter(each.kind for each in theirs)
        found.append(
            HostReport(
                host=host,
                servers=len({each.server_id for each in theirs}),
                counts={kind: counts[kind] for kind in ALL if counts[kind]},
                snapshots=sum(len(each.snapshots) for each in theirs),
                size=sum(each.size for each in theirs),
                can_go=not theirs,
            )
        )
    return found
