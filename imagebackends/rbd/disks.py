# SPDX-License-Identifier: Apache-2.0
"""How a disk is told by nova's pool: by its image's name and metadata what it is, by the pool's book whose it is.

::

    bfv_<project>_<marker's hash>_<8 random>    nobody's yet
    <server>_disk, <server>_disk.eph<n>         a server's, as nova/virt/libvirt/imagebackend.py:Rbd names them

Metadata is written one key at a time, so a disk whose process died in between is told by its name: ``find`` finds it,
and it can be deleted. A rename cannot bind a disk, since of several each is told that it renamed it; so who enters a
``Claim`` into the book (``Pool.swap``) has it, and what a crash leaves undone behind a claim is done by repeating.

Ids must outlive renames and fit 36 characters, so they are librbd's: ``<crc of the cell's name>-<librbd's id>``, of an
attachment with ``-a<the claim's token>`` behind it, of a snapshot with ``-s<librbd's id of it>``.
"""

import datetime as dt
import hashlib
import json
import math
import re
import secrets
import uuid
import zlib
from dataclasses import dataclass
from typing import Any

from imagebackends.errors import BadRequest
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.types import Id, Image
from imagebackends.types import Access, Attachment, Disk, DiskSpec

GIB = 1024**3
# Seconds that a disk may be in the making without being watched, before it is one whose process died.
GRACE = 60
PROJECT, MARKER, NAME, TYPE, SOURCE, SNAPSHOT = (
    f"bfv_{key}" for key in ("project", "marker", "name", "type", "image", "snapshot")
)
STATE, WHY, HOST, USED = (f"bfv_{key}" for key in ("state", "why", "host", "used"))
# Of a clone they may be its parent's, so that all are written.
ALL = (PROJECT, MARKER, NAME, TYPE, SOURCE, SNAPSHOT, STATE, WHY, HOST, USED)
READY, FAILED, MAKING = "ready", "failed", "making"
FREE = re.compile(r"bfv_(.+)_([0-9a-f]{16})_[0-9a-f]{8}")
KEY = re.compile(r"([0-9a-f]{8})-([0-9A-Za-z]{1,14})(?:-([as])([0-9a-f]{1,10}))?")


@dataclass(frozen=True)
class Key:
    """A parsed id: of a disk, or with ``kind`` ``a`` or ``s`` of its attachment or snapshot."""

    cell: str
    image: str
    kind: str | None = None
    rest: str | None = None

    def __str__(self) -> str:
        disk = f"{self.cell}-{self.image}"
        return f"{disk}-{self.kind}{self.rest}" if self.kind else disk

    @property
    def disk(self) -> str:
        """The disk's id."""
        return f"{self.cell}-{self.image}"


def new_token() -> str:
    """Return what tells an attachment from all others of its disk."""
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Claim:
    """Who has a disk: a server, or "" while it is being deleted. ``at`` orders claims (UTC).

    ``next`` is the token of the reservation that stays when a host lets go of the disk, "" for none.
    """

    server: str
    token: str
    at: str
    next: str = ""

    @classmethod
    def new(cls, server_id: str) -> "Claim":
        """Return a claim of now."""
        return cls(server_id, new_token(), dt.datetime.now(dt.UTC).isoformat())

    @classmethod
    def read(cls, text: str) -> "Claim | None":
        """Return the claim that the book has, None for none."""
        return cls(*json.loads(text)) if text else None

    def __str__(self) -> str:
        return json.dumps([self.server, self.token, self.at, *([self.next] if self.next else [])])


@dataclass(frozen=True)
class Own:
    """A disk of ours as it lies in a cell's pool."""

    cell: str
    pool: Pool
    image: Image
    claim: Claim | None

    @property
    def id(self) -> Id:
        """What it is opened by, whatever its name."""
        return Id(self.image.id)

    @property
    def server(self) -> str | None:
        """The server that it is bound to."""
        return self.claim.server if self.claim and self.claim.server else None


def parse(id: str, kind: str | None = None) -> Key | None:
    """Return an id of this kind, or None: another backend's, or nobody's."""
    match = KEY.fullmatch(id)
    return Key(*match.groups()) if match and match[3] == kind else None


def crc(words: str) -> str:
    """Return eight characters for a cell or a server."""
    return f"{zlib.crc32(words.encode()):08x}"


def free_name(project_id: str, marker: str) -> str:
    """Return a new name for a disk that is nobody's."""
    return f"{free_prefix(project_id, marker)}{secrets.token_hex(4)}"


def free_prefix(project_id: str, marker: str) -> str:
    """Return how the names of all disks begin that carry a marker and are nobody's."""
    return f"bfv_{project_id}_{hashlib.sha256(marker.encode()).hexdigest()[:16]}_"


def server_name(server_id: str) -> str:
    """Return the name of a server's root disk. Raises BadRequest for what is no uuid."""
    try:
        return f"{uuid.UUID(server_id)}_disk"
    except ValueError as error:
        raise BadRequest(f"{server_id} is no id of a server: give a uuid.") from error


def is_free(image: Image) -> bool:
    """Say whether an image bears the name of a disk that is nobody's."""
    return FREE.fullmatch(image.name) is not None


def project(image: Image) -> str | None:
    """Return the project of a disk, None for one that is not ours: nova's tell none."""
    free = FREE.fullmatch(image.name)
    return free[1] if free else image.metadata.get(PROJECT)


def described(access: Access, spec: DiskSpec, image_id: str | None) -> dict[str, str | None]:
    """Return what is written onto a new disk; ``image_id`` is the image whose bytes it gets."""
    values = {
        PROJECT: access.project_id,
        MARKER: spec.marker,
        NAME: spec.name,
        TYPE: spec.target.volume_type,
        SOURCE: image_id,
        SNAPSHOT: spec.source_id if spec.source == "snapshot" else None,
        STATE: MAKING,
    }
    return {key: values.get(key) for key in ALL}


def disk(own: Own) -> Disk:
    """Return a disk as it is told to others."""
    image, told, status = own.image, own.image.metadata, _status(own)
    return Disk(
        id=str(Key(crc(own.cell), image.id)),
        project_id=project(image) or "",
        size=math.ceil(image.size / GIB),
        status=status,
        created_at=image.created_at,
        name=told.get(NAME, ""),
        volume_type=told.get(TYPE),
        bootable=SOURCE in told,
        image_id=told.get(SOURCE),
        snapshot_id=told.get(SNAPSHOT),
        # Like a volume, one that is only reserved names no server.
        servers=(own.server,) if own.server and status == "in-use" else (),
    )


def _status(own: Own) -> str:
    image = own.image
    if own.claim:
        return "deleting" if not own.server else "in-use" if USED in image.metadata else "reserved"
    state = image.metadata.get(STATE)
    if state == READY:
        return "available"
    age = dt.datetime.now(dt.UTC).replace(tzinfo=None) - image.created_at
    lives = image.watchers or age < dt.timedelta(seconds=GRACE)
    return "creating" if state != FAILED and lives else "error"


def attachments(own: Own) -> list[Attachment]:
    """Return what binds a disk to its server, without connections: the one that a host may use first."""
    claim, server = own.claim, own.server
    if claim is None or server is None:
        return []
    first = "attached" if USED in own.image.metadata else "reserved"
    keys = {token: Key(crc(own.cell), own.image.id, "a", token) for token in (claim.token, claim.next) if token}
    return [Attachment(str(key), key.disk, server, first if token == claim.token else "reserved")
            for token, key in keys.items()]  # fmt: skip


def connection(own: Own) -> dict[str, Any]:
    """Return what cinder's rbd driver gives a host (``cinder/volume/drivers/rbd.py:initialize_connection``)."""
    cluster = own.pool.cluster
    monitors = cluster.monitors()
    return {
        "driver_volume_type": "rbd",
        "name": f"{own.pool.name}/{own.image.name}",
        "hosts": [host for host, _ in monitors],
        "ports": [port for _, port in monitors],
        "auth_enabled": True,
        "auth_username": cluster.ceph.user,
        "secret_type": "ceph",
        "secret_uuid": cluster.ceph.libvirt_secret or cluster.fsid,
        "access_mode": "rw",
        "discard": True,
        "encrypted": False,
        "qos_specs": None,
    }


def counts(own: Own, access: Access, spec: DiskSpec, since: dt.datetime) -> bool:
    """Say whether a disk that carries the right marker can be the one that was asked for."""
    found = disk(own)
    if own.claim or found.project_id != access.project_id or found.created_at < since:
        return False
    if STATE not in own.image.metadata:
        # It was not described yet, nor sized: its name is all that is known.
        return True
    snapshot = spec.source_id if spec.source == "snapshot" else None
    # A disk of a snapshot has the image of its origin.
    image = found.image_id if spec.source == "snapshot" else spec.source_id
    asked = (spec.size, spec.target.volume_type, image, snapshot)
    return asked == (found.size, found.volume_type, found.image_id, found.snapshot_id)
