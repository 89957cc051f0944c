# SPDX-License-Identifier: Apache-2.0
"""All that the cloud knows, in one object under one lock: the services are functions over it."""

import datetime as dt
import threading
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bfv.mockcloud.clock import Clock
from bfv.mockcloud.faults import Faults
from bfv.mockcloud.pace import Pace
from bfv.mockcloud.people import People, fixed_id
from bfv.mockcloud.placement import Placement
from bfv.mockcloud.rbd import Cluster
from bfv.mockcloud.recorder import Recorder
from bfv.mockcloud.remote import Handles

STORAGE = ("up", "hangs", "down")


@dataclass(frozen=True)
class Settings:
    """What a cloud is made of; ``glance_stores`` None gives each cell a store of Glance's, the first is the default.

    ``shared_lock``: the cells' cinder-volumes have one coordination backend, so one lock for each image.
    """

    cells: tuple[str, ...] = ("cell1", "cell2")
    host: str = "mock"
    capacity_gb: float = 1000.0
    glance_stores: tuple[str, ...] | None = None
    tiers: tuple[str, ...] = ("fast",)
    shared_lock: bool = False

    def __post_init__(self) -> None:
        if not self.cells or len(set(self.cells)) < len(self.cells):
            raise ValueError("name each cell once, and at least one")
        if stray := set(self.glance_stores or ()) - set(self.cells):
            raise ValueError(f"no cell for the store {', '.join(sorted(stray))}")


@dataclass
class Cell:
    """A cell's storage: one Cinder backend on one Ceph. ``filling`` holds the images that are being copied in.

    ``cached`` is Cinder's ``image_volume_cache_enabled``; ``busy`` says until when the volume that many are cloned of
    takes its snapshots, one after the other.
    """

    name: str
    number: int
    host: str
    capacity_gb: float
    cluster: Cluster
    keyring: str | None = None
    storage: str = "up"
    health: str = "HEALTH_OK"
    full: bool = False
    cached: bool = True
    filling: dict[str, str] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)

    @property
    def backend(self) -> str:
        """``host@backend#pool``, as Cinder says."""
        return f"{self.host}@{self.name}#{self.name}"

    @property
    def service_uuid(self) -> str:
        """The id of its cinder-volume."""
        return str(uuid.UUID(fixed_id("service", self.name)))

    @property
    def secret_uuid(self) -> str:
        """The id of the libvirt secret for it."""
        return _uuid(self.number, "cccc-4ccc-8ccc")


@dataclass
class Image:
    """A row of Glance's; ``properties`` are those that are not its own, ``stores`` the cells that hold the bytes."""

    id: str
    owner: str
    created_at: dt.datetime
    updated_at: dt.datetime
    fields: dict[str, Any]
    properties: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    stores: list[str] = field(default_factory=list)
    members: dict[str, "Member"] = field(default_factory=dict)


@dataclass
class Member:
    """A project that an image is shared with."""

    id: str
    created_at: dt.datetime
    updated_at: dt.datetime
    status: str = "pending"


@dataclass
class VolumeType:
    """A row of Cinder's volume types."""

    id: str
    name: str
    created_at: dt.datetime
    extra_specs: dict[str, str] = field(default_factory=dict)
    is_public: bool = True
    description: str | None = None
    encryption: dict[str, Any] = field(default_factory=dict)


@dataclass
class Volume:
    """A row of Cinder's; ``host`` is None until it is scheduled."""

    id: str
    project_id: str
    user_id: str
    size: int
    type_id: str
    availability_zone: str
    created_at: dt.datetime
    status: str = "creating"
    updated_at: dt.datetime | None = None
    host: str | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    admin_metadata: dict[str, str] = field(default_factory=dict)
    image_metadata: dict[str, str] = field(default_factory=dict)
    bootable: bool = False
    multiattach: bool = False
    snapshot_id: str | None = None
    source_volid: str | None = None
    image_id: str | None = None
    request_id: str = ""


@dataclass
class VolumeSnapshot:
    """A row of Cinder's snapshots."""

    id: str
    volume_id: str
    project_id: str
    user_id: str
    size: int
    created_at: dt.datetime
    status: str = "creating"
    updated_at: dt.datetime | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Attachment:
    """A row of Cinder's attachments."""

    id: str
    volume_id: str
    project_id: str
    instance: str | None
    mode: str
    created_at: dt.datetime
    status: str = "reserved"
    host: str | None = None
    mountpoint: str | None = None
    connection: dict[str, Any] = field(default_factory=dict)
    attached_at: dt.datetime | None = None


@dataclass
class Message:
    """A user message of Cinder's."""

    id: str
    project_id: str
    resource_uuid: str
    event_id: str
    text: str
    request_id: str
    created_at: dt.datetime


@dataclass
class CacheEntry:
    """A line of Cinder's image-volume cache: which volume of the internal project holds an image on a backend."""

    host: str
    image_id: str
    image_updated_at: dt.datetime
    volume_id: str


@dataclass
class Nova:
    """What the compute service would say of volumes, told to it by a test."""

    attachments: dict[tuple[str, str], str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    fault: int = 0


class Cloud:
    """The state behind both doors. Hold ``lock`` to look at it while calls are made."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.lock = threading.RLock()
        # Where the catalog says that servers are made: by default here, where none are; nowhere if it is empty.
        self.compute_url: str | None = None
        self.reset()

    def reset(self) -> None:
        """Make everything new: the clock, the rules, the people and all they had."""
        with self.lock:
            self.clock = Clock()
            self.pace = Pace(self.clock)
            self.faults = Faults()
            self.recorder = Recorder()
            self.handles = Handles()
            self.people = People(self.clock)
            self.cells = {name: self._cell(number, name) for number, name in enumerate(self.settings.cells, 1)}
            self.images: dict[str, Image] = {}
            self.types = self._types()
            self.volumes: dict[str, Volume] = {}
            self.snapshots: dict[str, VolumeSnapshot] = {}
            self.attachments: dict[str, Attachment] = {}
            self.messages: dict[str, Message] = {}
            self.cache: list[CacheEntry] = []
            self.quotas: dict[str, dict[str, int]] = {}
            self.nova = Nova()
            self.placement = Placement()
            self.network: dict[str, dict[str, dict[str, Any]]] = {}

    def _cell(self, number: int, name: str) -> Cell:
        settings = self.settings
        cluster = Cluster(_uuid(number, f"{str(number) * 4}-4{str(number) * 3}-8{str(number) * 3}"))
        return Cell(name, number, settings.host, settings.capacity_gb, cluster)

    def _types(self) -> dict[str, VolumeType]:
        """Make a type for each cell and tier, one that no backend can serve, and Cinder's own default."""
        made = {"__DEFAULT__": {}, "lost": {"volume_backend_name": "nowhere"}}
        for cell in self.settings.cells:
            specs = {"volume_backend_name": cell, "RESKEY:availability_zones": cell}
            made |= {name: dict(specs) for name in (cell, *(f"{cell}-{tier}" for tier in self.settings.tiers))}
        now = self.clock.now()
        kinds = (VolumeType(str(uuid.UUID(fixed_id("type", n))), n, now, specs) for n, specs in made.items())
        return {kind.id: kind for kind in kinds}

    @property
    def stores(self) -> tuple[str, ...]:
        """The cells that have a store of Glance's, the default first."""
        return self.settings.glance_stores or self.settings.cells

    @property
    def internal_project(self) -> str:
        """The project of Cinder's cache."""
        return fixed_id("project", "cinder-internal")

    def cell_of(self, host: str | None) -> Cell | None:
        """Return the cell of a volume's backend."""
        return next((cell for cell in self.cells.values() if cell.backend == host), None)

    def second(self) -> dt.datetime:
        """Return the time as the databases keep it: to the second."""
        return self.clock.now().replace(microsecond=0)

    def touch(self, volume: Volume, **values: Any) -> None:
        """Change a volume's row."""
        for name, value in values.items():
            setattr(volume, name, value)
        volume.updated_at = self.second()

    def snapshots_of(self, volume_id: str) -> list[VolumeSnapshot]:
        """Return the snapshots of a volume."""
        return [each for each in self.snapshots.values() if each.volume_id == volume_id]

    def attachments_of(self, volume_id: str) -> list[Attachment]:
        """Return the attachments of a volume."""
        return [each for each in self.attachments.values() if each.volume_id == volume_id]

    def look(self, ids: Iterable[str]) -> None:
        """Count a look at things that may be changing."""
        for each in ids:
            self.pace.look(each)


def _uuid(number: int, middle: str) -> str:
    """Return an id from which the eye can tell the cell."""
    if number > 9:
        return str(uuid.UUID(fixed_id("cell", f"{number} {middle}")))
    return f"{str(number) * 8}-{middle}-{str(number) * 12}"
