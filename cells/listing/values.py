# SPDX-License-Identifier: Apache-2.0
"""What a list of servers is made of; the JSON of nova's columns stays text, most of it is only passed on."""

import datetime as dt
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from cells.encode import load_instance_flavor
from cells.types import Down, Fault, Flavor, ServerMapping


class Detail(NamedTuple):
    """A server as its cell tells it; field names are nova's columns, times naive UTC, ``id`` the cell's own counter.

    What ends in ``_json`` is JSON text, ready to be sent: an object of metadata, a list of tags, a list of volumes as
    nova's view has them (``id``, ``delete_on_termination``), nova's own text of the network. The properties of the same
    names parse it. ``extra`` is nova's text of the flavor, and on a second line, which may be empty or not there, that
    of the trusted certificates (``instance_extra``); of equal texts only the first is parsed. ``fault_json`` (code,
    message, details, time) is only filled where nova shows a fault: in ERROR and DELETED; ``system_metadata_json`` only
    of servers with an ``image_ref``, and if it is asked for.
    A tuple, because a row of the database becomes one as it is.
    """

    cell: str
    id: int
    uuid: str
    project_id: str | None
    user_id: str | None
    display_name: str | None
    vm_state: str | None
    task_state: str | None
    power_state: int | None
    progress: int | None
    created_at: dt.datetime | None
    updated_at: dt.datetime | None
    launched_at: dt.datetime | None
    terminated_at: dt.datetime | None
    deleted: int
    host: str | None
    node: str | None
    hostname: str | None
    availability_zone: str | None
    image_ref: str | None
    key_name: str | None
    config_drive: str | None
    root_device_name: str | None
    reservation_id: str | None
    display_description: str | None
    locked: bool | None
    locked_by: str | None
    access_ip_v4: str | None
    access_ip_v6: str | None
    kernel_id: str | None
    ramdisk_id: str | None
    launch_index: int | None
    auto_disk_config: bool | None
    extra: str
    network_info_json: str
    metadata_json: str
    tags_json: str
    volumes_json: str
    locked_reason: str | None
    fault_json: str | None
    system_metadata_json: str | None

    @property
    def flavor(self) -> Flavor:
        """The flavor that the server has now; one and the same object for equal texts."""
        return _flavor(self.extra)

    @property
    def trusted_certs(self) -> list[str] | None:
        """The ids of the certificates that the server's image was to be signed with, None where none were named."""
        _, _, text = self.extra.partition("\n")
        ids: list[str] | None = json.loads(text)["nova_object.data"]["ids"] if text else None
        return ids

    @property
    def metadata(self) -> dict[str, str]:
        """The user's metadata."""
        metadata: dict[str, str] = json.loads(self.metadata_json)
        return metadata

    @property
    def tags(self) -> list[str]:
        """The server's tags."""
        tags: list[str] = json.loads(self.tags_json)
        return tags

    @property
    def volumes(self) -> list[dict[str, Any]]:
        """``id`` and ``delete_on_termination`` of each attached volume, oldest first."""
        volumes: list[dict[str, Any]] = json.loads(self.volumes_json)
        return volumes

    @property
    def fault(self) -> Fault | None:
        """The latest fault, None unless the server is in ERROR or deleted."""
        if self.fault_json is None:
            return None
        code, message, details, created_at = json.loads(self.fault_json)
        at = None if created_at is None else dt.datetime.fromisoformat(created_at)
        return Fault(code, message or "", details or "", at)

    @property
    def system_metadata(self) -> dict[str, str | None]:
        """The ``image_*`` keys of a server with an ``image_ref`` and what else stands beside them; else nothing."""
        found: dict[str, str | None] = json.loads(self.system_metadata_json or "{}")
        return found

    def __repr__(self) -> str:
        # Rows hold user data; what is printed goes into logs.
        return f"Detail({self.cell!r}, {self.uuid!r})"


class Brief(NamedTuple):
    """As much of a server as a list without details shows."""

    cell: str
    uuid: str
    project_id: str | None
    user_id: str | None
    display_name: str | None
    vm_state: str | None
    task_state: str | None
    created_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Minimal:
    """As much of a server as is known while its cell is down: nova's UNKNOWN (``nova-api`` 2.69).

    The last three are only filled for a single server, from what was asked for when it was booted: ``image_ref`` is
    "" for one that boots from a volume, as it is while its cell is up; ``availability_zone`` None if none was asked.
    """

    uuid: str
    project_id: str
    user_id: str | None
    created_at: dt.datetime | None
    cell: str
    reason: str
    flavor: Flavor | None = None
    availability_zone: str | None = None
    image_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A server without a row: it has no cell yet, or is mapped to one ahead of it.

    ``build_request`` is nova's own record of it as a dict of Instance fields, None where there is none: then whoever
    accepted the server knows more.
    """

    mapping: ServerMapping
    build_request: Mapping[str, Any] | None = None

    @property
    def uuid(self) -> str:
        """The server's id."""
        return self.mapping.server_id


Entry: TypeAlias = Detail | Brief | Minimal | Unplaced


@dataclass(frozen=True, slots=True)
class Page:
    """Servers in order; ``next_marker`` is None when these were the last.

    ``unasked`` are the cells that gave no answer. By default their servers stand in the page as ``Minimal``; where a
    filter or an order was asked for that only a cell knows, they are missing from it.
    """

    servers: tuple[Entry, ...]
    next_marker: str | None
    unasked: tuple[Down, ...] = ()


@functools.lru_cache(maxsize=1024)
def _flavor(extra: str) -> Flavor:
    return load_instance_flavor(extra.partition("\n")[0]) or Flavor(0, "", "", 0, 0, 0)
