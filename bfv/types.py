# SPDX-License-Identifier: Apache-2.0
"""The values that the doors and the flows pass on: who asks, what is asked, what was decided."""

import dataclasses
import datetime as dt
import functools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from keystoneauth1.plugin import BaseAuthPlugin

from cells.types import BlockDevice, Fault, Flavor

RootKind = Literal["volume", "local"]
Handling = Literal["driver", "volume", "refuse"]


def utcnow() -> dt.datetime:
    """Return the time now as naive UTC, which is what nova's tables and ours hold."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def new_request_id() -> str:
    """Return a request id in the form that all OpenStack services use."""
    return f"req-{uuid.uuid4()}"


def plain(value: Any) -> Any:
    """Return a dataclass as dictionaries, as ``dataclasses.asdict`` does but without a copy of each value.

    A copy takes as long as all else, and what is written down is changed by nobody.
    """
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if names := _names(kind):
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if kind is list or kind is tuple:
        return kind(map(plain, value))
    return value


_ATOMS = frozenset((str, int, bool, float, type(None)))


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


@dataclass(frozen=True)
class Caller:
    """Who asks. ``auth`` holds the token; it lives in memory only and never shows in a repr.

    ``request_id`` goes on to other services. ``asked_as`` is the id of this one request, where it came with the id of
    another of which it is a part.
    """

    auth: BaseAuthPlugin = field(repr=False)
    project_id: str
    user_id: str
    roles: tuple[str, ...] = ()
    request_id: str = field(default_factory=new_request_id)
    asked_as: str | None = None

    def asked(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request as the journal keeps it: with its own id, if it came in the course of another one."""
        own = self.asked_as if self.asked_as != self.request_id else None
        return {**request, **({"asked_as": own} if own else {})}


@dataclass(frozen=True)
class DiskDevice:
    """A disk that is asked for: an item of ``block_device_mapping_v2``; size in GiB, of a local swap disk in MiB.

    ``volume_type`` names a tier, or a volume type that one of the tiers leads to. Names, bus and type of the device
    are hints for its host.
    """

    source_type: str
    uuid: str | None = None
    destination_type: str = "volume"
    volume_size: int | None = None
    volume_type: str | None = None
    delete_on_termination: bool = False
    boot_index: int = -1
    device_name: str | None = None
    tag: str | None = None
    guest_format: str | None = None
    device_type: str | None = None
    disk_bus: str | None = None

    @property
    def is_volume(self) -> bool:
        """Whether it is a volume, and no disk of the host's own."""
        return self.destination_type == "volume"


@dataclass(frozen=True)
class RootDevice(DiskDevice):
    """An explicit root: the device that a server boots from."""

    boot_index: int = 0


@dataclass(frozen=True)
class VolumeRequest:
    """A volume to attach to a server that is there; ``size`` in GiB, as cinder tells it."""

    volume_id: str
    device_name: str | None = None
    tag: str | None = None
    delete_on_termination: bool = False
    size: int | None = None


@dataclass(frozen=True)
class BootRequest:
    """What a user asks for. ``image`` and ``flavor`` are ids or names.

    ``server_id`` is the key for repeating: the same id never makes a second server.
    ``volume_type`` names a tier, or a volume type that one of the tiers leads to. ``group`` is the UUID of a server
    group, as nova's scheduler hint. ``disks`` are those beside the root. ``networks`` (the Compute API's value) and
    ``security_groups`` are kept with the request for whoever plugs the server; ``admin_pass`` and ``user_data`` are
    secret and in no history. ``hostname`` None is made of the name. Servers of one request share a ``reservation_id``
    and are numbered by ``launch_index``.
    ``key_data`` is found by ``key_name`` when the request is considered.
    """

    image: str | None
    flavor: str
    name: str
    server_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    availability_zone: str | None = None
    volume_type: str | None = None
    root: RootDevice | None = None
    disks: tuple[DiskDevice, ...] = ()
    config_drive: bool = False
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    key_name: str | None = None
    key_data: str | None = None
    user_data: str | None = field(default=None, repr=False)
    group: str | None = None
    networks: Any = None
    security_groups: tuple[str, ...] = ()
    admin_pass: str | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    hostname: str | None = None
    reservation_id: str | None = None
    launch_index: int = 0


@dataclass(frozen=True)
class DiskPlan:
    """One disk of a server; ``size`` in GiB, ``why`` is how the size came about.

    ``handling`` volume: cinder makes or lends it; driver: the host makes a local disk.
    ``source_type`` and ``source_id`` are those of nova's block device mapping. ``volume_type`` is the one that was
    asked for, as in ``DiskDevice``.
    """

    role: str
    handling: Literal["volume", "driver"]
    source_type: str
    source_id: str | None
    size: int
    why: str
    boot_index: int = -1
    delete_on_termination: bool = True
    image_id: str | None = None
    guest_format: str | None = None
    volume_type: str | None = None
    device_name: str | None = None
    tag: str | None = None
    device_type: str | None = None
    disk_bus: str | None = None


@dataclass(frozen=True)
class Decision:
    """How a server will boot and why. ``cells`` is the order in which cells are tried.

    ``rule`` names the rule that chose ``root``; ``cell_why`` has a sentence per cell, ``why_not`` one for each that is
    left out. ``hosts`` and ``zones`` have the host (if it has any) and the availability zone in each cell.
    """

    root: RootKind
    rule: str
    disks: tuple[DiskPlan, ...]
    tier: str
    cells: tuple[str, ...]
    cell_why: Mapping[str, str]
    config_drive: Handling | None = None
    notes: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    zones: Mapping[str, str] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)
    # How the image stands in each cell, and from what its volume would come there.
    sources: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON-able data, as it is stored and shown."""
        data: dict[str, Any] = plain(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Decision":
        """Return the decision that ``to_dict`` gave."""
        disks = tuple(DiskPlan(**disk) for disk in data["disks"])
        return cls(**{**data, "disks": disks, "cells": tuple(data["cells"]), "notes": tuple(data["notes"])})


@dataclass(frozen=True)
class ServerInfo:
    """A server as people see it; ``status`` in the Compute API's words, ``network_info`` is nova's JSON.

    ``cell`` is None while it is accepted and has none. ``left_outside`` names what an open
    intent still has to remove in other services.
    """

    id: str
    name: str
    project_id: str
    status: str
    task_state: str | None
    cell: str | None
    created_at: dt.datetime | None
    flavor: Flavor | None = None
    availability_zone: str | None = None
    host: str | None = None
    devices: tuple[BlockDevice, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    decision: Decision | None = None
    left_outside: tuple[str, ...] = ()
    user_id: str | None = None
    vm_state: str = "building"
    power_state: int = 0
    updated_at: dt.datetime | None = None
    launched_at: dt.datetime | None = None
    description: str | None = None
    hostname: str | None = None
    node: str | None = None
    key_name: str | None = None
    config_drive: str = ""
    image_ref: str = ""
    system_metadata: Mapping[str, str | None] = field(default_factory=dict)
    root_device_name: str | None = None
    reservation_id: str | None = None
    pinned_availability_zone: str | None = None
    user_data: str | None = field(default=None, repr=False)
    launch_index: int = 0
    locked: bool = False
    locked_by: str | None = None
    locked_reason: str | None = None
    tags: tuple[str, ...] = ()
    network_info: str = "[]"


@dataclass(frozen=True)
class Deleted:
    """What a DELETE came to: ``kept`` names each volume that still exists, and why."""

    server_id: str
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServerEvent:
    """What another service tells of a server, in the words of ``POST /os-server-external-events``."""

    server_id: str
    name: str
    status: str = "completed"
    tag: str | None = None
