# SPDX-License-Identifier: Apache-2.0
"""The compute nodes of a cell with all that operators are told of them, and the servers on them."""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cells.database import Database
from cells.hosts import BINARY
from cells.schema_cell import instances
from cells.schema_place import compute_nodes, services

# As they are called in nova's table and in its API; the API shows them until 2.87.
CAPACITY = (
    "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used", "free_ram_mb", "free_disk_gb",
    "current_workload", "running_vms", "disk_available_least",
)  # fmt: skip
_SHOWN = ("id", "uuid", "host", "hypervisor_hostname", "hypervisor_type", "hypervisor_version", "host_ip", "cpu_info")
_SERVICE = [services.c[name].label(f"service_{name}")
            for name in ("id", "uuid", "disabled", "disabled_reason", "forced_down", "last_seen_up",
                         "created_at")]  # fmt: skip
_NODES = (
    sa.select(*(compute_nodes.c[name] for name in (*_SHOWN, *CAPACITY)), *_SERVICE)
    .join_from(compute_nodes, services, services.c.host == compute_nodes.c.host)
    .where(services.c.binary == BINARY, services.c.deleted == 0, compute_nodes.c.deleted == 0)
    .order_by(compute_nodes.c.id)
)


@dataclass(frozen=True)
class Node:
    """A row of nova's ``compute_nodes`` with its service; ``capacity`` has the columns of that name.

    ``seen_at`` is the latest report, naive UTC. Memory in MiB, disks in GiB.
    """

    id: int
    uuid: str
    host: str
    node: str
    hypervisor_type: str
    hypervisor_version: int
    host_ip: str | None
    cpu_info: str
    capacity: dict[str, int | None]
    service_id: int
    service_uuid: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    seen_at: dt.datetime | None


def list_nodes(db: Database) -> list[Node]:
    """Return the nodes of a cell that have a service, in the order of their making. Raises CellDown."""
    with db.reader() as conn:
        return [_node(row) for row in conn.execute(_NODES)]


def servers_on(db: Database, hosts: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """Return id and name of each server on these hosts, by host. Raises CellDown."""
    query = sa.select(instances.c.host, instances.c.uuid, instances.c.display_name).order_by(instances.c.id)
    query = query.where(instances.c.host.in_(hosts), instances.c.deleted == 0, instances.c.hidden.is_not(sa.true()))
    found: dict[str, list[tuple[str, str]]] = {}
    with db.reader() as conn:
        for host, uuid, name in conn.execute(query):
            found.setdefault(host, []).append((uuid, name or ""))
    return found


def _node(row: sa.Row[Any]) -> Node:
    return Node(
        id=row.id, uuid=row.uuid or "", host=row.host or "", node=row.hypervisor_hostname or row.host or "",
        hypervisor_type=row.hypervisor_type, hypervisor_version=row.hypervisor_version, host_ip=row.host_ip,
        cpu_info=row.cpu_info, capacity={name: getattr(row, name) for name in CAPACITY},
        service_id=row.service_id, service_uuid=row.service_uuid or "", disabled=bool(row.service_disabled),
        disabled_reason=row.service_disabled_reason, forced_down=bool(row.service_forced_down),
        seen_at=row.service_last_seen_up or row.service_created_at,
    )  # fmt: skip
