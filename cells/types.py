# SPDX-License-Identifier: Apache-2.0
"""The values that cross this floor. Field names are those of nova's tables and objects."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
CELL0_UUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Cell:
    """A row of nova's ``cell_mappings``; the URL never shows in a repr, a log or an error."""

    id: int
    uuid: str
    name: str
    disabled: bool
    database_connection: str = field(repr=False)

    @property
    def is_cell0(self) -> bool:
        """Whether this is the graveyard of servers that never had a host."""
        return self.uuid == CELL0_UUID


@dataclass(frozen=True)
class ServerMapping:
    """A row of nova's ``instance_mappings`` with its cell, None while the server has none."""

    server_id: str
    project_id: str
    user_id: str | None
    cell: Cell | None
    queued_for_delete: bool | None
    created_at: dt.datetime


@dataclass(frozen=True)
class Flavor:
    """A flavor; ``memory_mb`` and ``swap`` in MiB, disks in GiB."""

    id: int
    flavorid: str
    name: str
    vcpus: int
    memory_mb: int
    root_gb: int
    ephemeral_gb: int = 0
    swap: int = 0
    rxtx_factor: float = 1.0
    disabled: bool = False
    is_public: bool = True
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    projects: tuple[str, ...] = ()
    description: str | None = None


@dataclass(frozen=True)
class BlockDevice:
    """A row of nova's ``block_device_mapping``; ``volume_size`` in GiB."""

    uuid: str
    source_type: str
    destination_type: str
    boot_index: int | None = None
    image_id: str | None = None
    snapshot_id: str | None = None
    volume_id: str | None = None
    volume_size: int | None = None
    volume_type: str | None = None
    attachment_id: str | None = None
    connection_info: Mapping[str, Any] | None = field(default=None, repr=False)
    delete_on_termination: bool = False
    device_name: str | None = None
    device_type: str | None = None
    disk_bus: str | None = None
    guest_format: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class Fault:
    """Why a server is in ERROR, in words its user can act on."""

    code: int
    message: str
    details: str = ""
    created_at: dt.datetime | None = None


@dataclass(frozen=True)
class Server:
    """A server as its cell's database tells it (nova's ``instances`` and what hangs on it).

    ``metadata`` is the user's. ``system_metadata`` holds the ``image_*`` keys, and why it is locked.
    ``network_info`` is JSON as whoever plugged it wrote it (``instance_info_caches``), only read.
    Times are naive UTC as in nova's tables.
    """

    uuid: str
    project_id: str
    user_id: str
    display_name: str
    vm_state: str
    flavor: Flavor
    image_ref: str = ""
    task_state: str | None = None
    power_state: int = 0
    display_description: str | None = None
    hostname: str | None = None
    reservation_id: str | None = None
    availability_zone: str | None = None
    host: str | None = None
    node: str | None = None
    root_device_name: str | None = None
    config_drive: str = ""
    key_name: str | None = None
    user_data: str | None = field(default=None, repr=False)
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    launched_at: dt.datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    system_metadata: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[BlockDevice, ...] = ()
    fault: Fault | None = None
    launch_index: int = 0
    locked: bool = False
    locked_by: str | None = None
    tags: tuple[str, ...] = ()
    network_info: str = "[]"

    @property
    def locked_reason(self) -> str | None:
        """Why it is locked, if whoever locked it said so."""
        return self.system_metadata.get("locked_reason") if self.locked else None


@dataclass(frozen=True)
class RequestSpec:
    """What was asked for when a server was booted (nova's ``RequestSpec``), as far as we use it.

    ``image`` is as Glance's API tells it, flat, with the free ones under ``properties``; None if there was none.
    ``availability_zone`` is only what the user asked for or what was pinned.
    """

    server_id: str
    project_id: str
    user_id: str | None
    flavor: Flavor
    image: Mapping[str, Any] | None = None
    is_bfv: bool = False
    availability_zone: str | None = None
    num_instances: int = 1
    scheduler_hints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Up(Generic[T]):
    """A cell's answer."""

    cell: Cell
    value: T


@dataclass(frozen=True)
class Down:
    """Why a cell gave no answer, and since when (naive UTC) it gives none."""

    cell: Cell
    reason: str
    since: dt.datetime


@dataclass(frozen=True)
class Answers:
    """How long a cell's answers of the last minute took, in seconds, and how many there were."""

    count: int
    last: float
    p50: float
    p99: float


@dataclass(frozen=True)
class CellState:
    """What this process knows of a cell's database; ``since`` (naive UTC) and ``reason`` are those of an outage.

    ``disabled`` is the operator's word and stands before the others; ``reason`` then still tells an outage.
    ``in_use`` of ``size`` connections are taken. ``probes`` were made since it was found down.
    """

    cell: Cell
    state: Literal["up", "slow", "down", "disabled"]
    since: dt.datetime | None = None
    reason: str = ""
    answers: Answers | None = None
    in_use: int = 0
    size: int = 0
    probes: int = 0


@dataclass(frozen=True)
class Host:
    """A compute host as its cell's database tells it (nova's ``services`` and ``compute_nodes``).

    ``memory_mb`` in MiB, ``local_gb`` in GiB; what is used is what the host reports. An allocation ratio of None or 0
    is the reader's default (``nova/scheduler/host_manager.py``). ``seen_at`` is its latest report, None before any.
    """

    cell: str
    host: str
    node: str
    disabled: bool = False
    disabled_reason: str | None = None
    forced_down: bool = False
    seen_at: dt.datetime | None = None
    vcpus: int = 0
    vcpus_used: int = 0
    memory_mb: int = 0
    memory_mb_used: int = 0
    local_gb: int = 0
    local_gb_used: int = 0
    running_vms: int = 0
    cpu_allocation_ratio: float | None = None
    ram_allocation_ratio: float | None = None
    disk_allocation_ratio: float | None = None
    hypervisor_type: str = ""
