# SPDX-License-Identifier: Apache-2.0
"""The compute hosts of a cell: what they have, what of it is used, and whether they still report.

Rows are those that a nova-compute writes of itself, so that nova reads them as its own. All functions raise CellDown,
and BadValue for a value that does not fit nova's column.
"""

import builtins
import datetime as dt
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

import sqlalchemy as sa

from cells.database import Database, utcnow
from cells.errors import Exists, NotMapped
from cells.schema_api import cell_mappings, host_mappings
from cells.schema_place import compute_nodes, services
from cells.types import Cell, Host

BINARY, TOPIC = "nova-compute", "compute"
# nova/objects/service.py:SERVICE_VERSION of nova 34: an older one, or none, makes a nova-api refuse to start.
SERVICE_VERSION = 74
_SERVICE = (services.c.binary == BINARY, services.c.deleted == 0)
# Not the whole rows: a node's other columns hold many KiB of JSON, and every cell is asked every few seconds.
_SHOWN: builtins.list[sa.ColumnElement[Any]] = [
    *(compute_nodes.c[name] for name in (
        "host", "hypervisor_hostname", "vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "local_gb",
        "local_gb_used", "running_vms", "cpu_allocation_ratio", "ram_allocation_ratio", "disk_allocation_ratio",
        "hypervisor_type")),
    services.c.disabled, services.c.disabled_reason, services.c.forced_down, services.c.last_seen_up,
    services.c.created_at.label("service_since"),
]  # fmt: skip
_HOSTS = (
    sa.select(*_SHOWN)
    .join(services, services.c.host == compute_nodes.c.host)
    .where(*_SERVICE, compute_nodes.c.deleted == 0)
    .order_by(compute_nodes.c.host, compute_nodes.c.hypervisor_hostname)
)  # fmt: skip
_NODE = sa.and_(
    compute_nodes.c.host == sa.bindparam("of_host"),
    compute_nodes.c.hypervisor_hostname == sa.bindparam("of_node"),
    compute_nodes.c.deleted == 0,
)
# Names in one statement: SQLite takes 999 variables at least.
_BATCH = 400


def list(db: Database, cell_name: str) -> builtins.list[Host]:
    """Return the hosts of a cell by name, those that are down too, in one statement. Raises CellDown."""
    with db.reader() as conn:
        return [_host(cell_name, row) for row in conn.execute(_HOSTS)]


class Reporting(Protocol):
    """A host, a service or a node: anything that reports."""

    @property
    def forced_down(self) -> bool:
        """Whether an operator has said that it is down."""

    @property
    def seen_at(self) -> dt.datetime | None:
        """When it reported last, in naive UTC."""


def is_up(host: Reporting, now: dt.datetime, down_after: float) -> bool:
    """Return whether a host has reported within ``down_after`` seconds and nobody said that it is down.

    ``nova/servicegroup/drivers/db.py:is_up``; ``now`` is naive UTC.
    """
    if host.forced_down or host.seen_at is None:
        return False
    return abs((now - host.seen_at).total_seconds()) <= down_after


def register(db: Database, host: Host) -> None:
    """Write a host's service and node unless they are there; what is there stays, disabled or not. Repeatable.

    ``nova/objects/service.py:Service.create``, ``nova/compute/resource_tracker.py:_init_compute_node``.
    """

    def write(conn: sa.Connection) -> None:
        known = sa.select(services.c.id).where(*_SERVICE, services.c.host == host.host)
        if conn.execute(known).first() is None:
            conn.execute(services.insert().values(_service_row(host)))
        node = {"of_host": host.host, "of_node": host.node}
        if conn.execute(sa.select(compute_nodes.c.id).where(_NODE), node).first() is None:
            conn.execute(compute_nodes.insert().values(_node_row(host)))

    try:
        db.run(write)
    except sa.exc.IntegrityError:
        # Another process of the same host was first with one of the rows, and this transaction left none.
        db.run(write)


def report(db: Database, hosts: Iterable[Host]) -> builtins.list[Host]:
    """Write that hosts are up now, and what they have and use; return those that are not registered, if any.

    ``nova/servicegroup/drivers/db.py:_report_state``, ``nova/compute/resource_tracker.py:_update``. Who is disabled
    or forced down stays so. One transaction for all of them.
    """
    told = [*hosts]
    if not told:
        return []

    def write(conn: sa.Connection) -> set[tuple[str, str]]:
        now, there = utcnow(), set()
        for names in _batches(sorted({host.host for host in told})):
            there |= {(row.host, row.hypervisor_hostname)
                      for row in conn.execute(_HOSTS.where(compute_nodes.c.host.in_(names)))}  # fmt: skip
            seen = services.update().where(*_SERVICE, services.c.host.in_(names))
            beat = {"report_count": services.c.report_count + 1, "last_seen_up": now, "updated_at": now}
            conn.execute(seen.values(beat))
        rows = [{"of_host": host.host, "of_node": host.node, **_capacity(host), "updated_at": now} for host in told]
        conn.execute(compute_nodes.update().where(_NODE), rows)
        return there

    there = db.run(write)
    return [host for host in told if (host.host, host.node) not in there]


def take(db: Database, host: str, node: str, *, vcpus: int, memory_mb: int, local_gb: int) -> None:
    """Count a server that a host has just got, at once and not at its next report, which replaces it by the truth.

    Until then others would see room that is gone (``nova/compute/resource_tracker.py:instance_claim``).
    """
    columns = compute_nodes.c
    used = {"vcpus_used": columns.vcpus_used + vcpus, "memory_mb_used": columns.memory_mb_used + memory_mb,
            "free_ram_mb": columns.free_ram_mb - memory_mb, "local_gb_used": columns.local_gb_used + local_gb,
            "free_disk_gb": columns.free_disk_gb - local_gb,
            "running_vms": sa.func.coalesce(columns.running_vms, 0) + 1}  # fmt: skip
    changed = compute_nodes.update().where(_NODE).values(used)
    db.run(lambda conn: conn.execute(changed, {"of_host": host, "of_node": node}))


def set_disabled(db: Database, host: str, reason: str | None) -> None:
    """Have a host get no more servers, with the reason; None lets it get them again. Raises NotMapped.

    ``nova/compute/api.py:HostAPI.service_update``; what runs there stays.
    """
    changed = services.update().where(*_SERVICE, services.c.host == host)
    changed = changed.values(disabled=reason is not None, disabled_reason=reason, updated_at=utcnow())
    if not db.run(lambda conn: conn.execute(changed).rowcount):
        raise NotMapped(f"Host {host} could not be found in cell {db.name}.")


def node_of(db: Database, host: str) -> str | None:
    """Return the node of a host (its first, where it has several), None if it is not registered."""
    with db.reader() as conn:
        row = conn.execute(_HOSTS.where(compute_nodes.c.host == host)).first()
    return row.hypervisor_hostname if row else None


def map_host(api: Database, host: str, cell: Cell) -> None:
    """Write into the API database which cell a host is in. Repeatable. Raises Exists for a host of another cell.

    ``nova/objects/host_mapping.py:HostMapping.create``.
    """
    query = (
        sa.select(cell_mappings.c.id, cell_mappings.c.name)
        .join(host_mappings, host_mappings.c.cell_id == cell_mappings.c.id)
        .where(host_mappings.c.host == host)
    )
    try:
        row = {"host": host, "cell_id": cell.id, "created_at": utcnow()}
        with api.reader() as conn:
            found = conn.execute(query).first()
        if found is None:
            api.run(lambda conn: conn.execute(host_mappings.insert().values(row)))
            return
    except sa.exc.IntegrityError:
        with api.reader() as conn:
            found = conn.execute(query).one()
    if found.id != cell.id:
        raise Exists(f"Host {host} is mapped to cell {found.name}; a host is in one cell, give this one another name.")


def _batches(names: builtins.list[str]) -> Iterable[builtins.list[str]]:
    return (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))


def _service_row(host: Host) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid4()), "host": host.host, "binary": BINARY, "topic": TOPIC, "report_count": 0,
        "disabled": False, "forced_down": False, "version": SERVICE_VERSION, "deleted": 0, "created_at": utcnow(),
    }  # fmt: skip


def _node_row(host: Host) -> dict[str, Any]:
    return {
        "uuid": str(uuid.uuid4()), "host": host.host, "hypervisor_hostname": host.node, "hypervisor_version": 0,
        "cpu_info": "", "stats": "{}", "supported_instances": "[]", "metrics": "[]", "mapped": 0, "deleted": 0,
        "current_workload": 0, "created_at": utcnow(), **_capacity(host),
    }  # fmt: skip


def _capacity(host: Host) -> dict[str, Any]:
    return {
        "vcpus": host.vcpus, "vcpus_used": host.vcpus_used, "memory_mb": host.memory_mb,
        "memory_mb_used": host.memory_mb_used, "free_ram_mb": host.memory_mb - host.memory_mb_used,
        "local_gb": host.local_gb, "local_gb_used": host.local_gb_used,
        "free_disk_gb": host.local_gb - host.local_gb_used,
        "disk_available_least": host.local_gb - host.local_gb_used, "running_vms": host.running_vms,
        "cpu_allocation_ratio": host.cpu_allocation_ratio, "ram_allocation_ratio": host.ram_allocation_ratio,
        "disk_allocation_ratio": host.disk_allocation_ratio, "hypervisor_type": host.hypervisor_type,
    }  # fmt: skip


def _host(cell: str, row: sa.Row[Any]) -> Host:
    return Host(
        cell=cell, host=row.host, node=row.hypervisor_hostname or row.host, disabled=bool(row.disabled),
        disabled_reason=row.disabled_reason, forced_down=bool(row.forced_down),
        seen_at=row.last_seen_up or row.service_since,
        vcpus=row.vcpus, vcpus_used=row.vcpus_used, memory_mb=row.memory_mb, memory_mb_used=row.memory_mb_used,
        local_gb=row.local_gb, local_gb_used=row.local_gb_used, running_vms=row.running_vms or 0,
        cpu_allocation_ratio=row.cpu_allocation_ratio, ram_allocation_ratio=row.ram_allocation_ratio,
        disk_allocation_ratio=row.disk_allocation_ratio, hypervisor_type=row.hypervisor_type,
    )  # fmt: skip
