# SPDX-License-Identifier: Apache-2.0
"""The values that cross this floor: what is asked for and what was found."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from keystoneauth1.plugin import BaseAuthPlugin


@dataclass(frozen=True)
class Access:
    """Whose rights one act uses, and the request that it belongs to.

    ``auth`` is scoped to ``project_id``. ``everywhere`` says that the roles let
    it see volumes of all projects. ``request_id`` (``req-<uuid>``) is passed on
    so that one request can be followed through the logs of all services.
    """

    auth: BaseAuthPlugin = field(repr=False)
    project_id: str
    request_id: str
    everywhere: bool = False


@dataclass(frozen=True)
class Target:
    """Where disks of one cell and one tier go.

    ``backend`` (``host@backend#pool``) is where a volume must land; None means
    that it is not checked.
    """

    cell: str
    tier: str = "default"
    volume_type: str | None = None
    availability_zone: str | None = None
    backend: str | None = None


@dataclass(frozen=True)
class Ceph:
    """A cell's cluster, for what calls Ceph itself; times in seconds.

    ``conf`` is its ceph.conf, ``user`` a cephx name without ``client.``. ``images_pool`` is where Glance keeps its
    images there, looked into when Glance does not tell locations; None: never. ``libvirt_secret`` None means the fsid.
    """

    conf: str
    user: str = "nova"
    pool: str = "vms"
    images_pool: str | None = None
    libvirt_secret: str | None = None
    connect_timeout: float = 5.0
    timeout: float = 30.0


@dataclass(frozen=True)
class Image:
    """A Glance image as a boot needs it; sizes in bytes, ``min_disk`` in GiB, ``min_ram`` in MiB."""

    id: str
    name: str
    status: str
    size: int
    virtual_size: int | None
    min_disk: int
    min_ram: int
    disk_format: str
    container_format: str
    owner: str
    visibility: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    # Where Glance has its bytes, when it was last changed in any way (Glance's own text), and what the bytes are.
    stores: tuple[str, ...] = ()
    updated_at: str = ""
    digest: str = ""
    # Its MD5, as Glance keeps it in a volume's image metadata.
    checksum: str | None = None
    # Whether Glance is copying it to another store now.
    importing: bool = False


@dataclass(frozen=True)
class NewImage:
    """An image to make, without bytes; ``id`` is chosen by who makes it. ``min_disk`` in GiB, ``min_ram`` in MiB."""

    id: str
    name: str
    min_disk: int
    min_ram: int
    properties: Mapping[str, str]


SourceKind = Literal["image", "snapshot", "blank"]


@dataclass(frozen=True)
class DiskSpec:
    """A disk to make: ``size`` in GiB; ``source_id`` is None for a blank one.

    ``marker`` is the random secret of this one creation, see ``Backend.find``. ``shared`` says that the source is the
    service's own, which only its rights may read.
    """

    name: str
    size: int
    target: Target
    source: SourceKind
    source_id: str | None
    marker: str
    shared: bool = False


@dataclass(frozen=True)
class Disk:
    """A disk as the backend tells it; ``size`` in GiB, ``status`` in cinder's words.

    ``backend`` is None where the rights do not show it. ``image_id`` is the image
    whose bytes it was made of. ``servers`` are the ids of servers it is attached to; for
    which one it is reserved only ``Backend.attachments`` tells.
    """

    id: str
    project_id: str
    size: int
    status: str
    created_at: dt.datetime
    name: str = ""
    volume_type: str | None = None
    availability_zone: str | None = None
    backend: str | None = None
    bootable: bool = False
    multiattach: bool = False
    image_id: str | None = None
    snapshot_id: str | None = None
    servers: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    image_metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Adoption:
    """An image that is to become a disk: ``image`` is its name in the pool of ``target.backend``.

    ``marker`` is the random secret of this one adoption, see ``Adopts.adopted``.
    """

    name: str
    image: str
    target: Target
    marker: str


@dataclass(frozen=True)
class Found:
    """The disk that a lost creation left, if any, and ``copies``: younger ones that carry its marker."""

    disk: Disk | None
    copies: tuple[Disk, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of a disk; ``size`` in GiB."""

    id: str
    volume_id: str
    size: int
    status: str
    project_id: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Attachment:
    """A disk bound to a server; ``connection`` is empty until a host connects."""

    id: str
    disk_id: str
    server_id: str | None
    status: str
    connection: Mapping[str, Any] = field(default_factory=dict, repr=False)
