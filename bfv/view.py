# SPDX-License-Identifier: Apache-2.0
"""What people see of a server, made of its rows and its open intents. Pure."""

from collections.abc import Sequence

from bfv.journal import Intent, Object
from bfv.records import flavor_of
from bfv.types import Decision, ServerInfo
from cells.types import Server, ServerMapping

# nova/api/openstack/common.py:_STATE_MAP, as far as a server of ours can be in it.
_BY_TASK = {"rebuilding": "REBUILD", "rebuild_spawning": "REBUILD"}
_BY_STATE = {
    "active": "ACTIVE",
    "building": "BUILD",
    "stopped": "SHUTOFF",
    "error": "ERROR",
    "deleted": "DELETED",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "soft-delete": "SOFT_DELETED",
}


def status(vm_state: str, task_state: str | None) -> str:
    """Return a server's status in the Compute API's words."""
    if vm_state == "error":
        return "ERROR"
    return _BY_TASK.get(task_state or "", _BY_STATE.get(vm_state, "UNKNOWN"))


def recorded(server: Server, mapping: ServerMapping, intents: Sequence[Intent], left: Sequence[Object]) -> ServerInfo:
    """Return a server that has its row in a cell."""
    return ServerInfo(
        id=server.uuid,
        name=server.display_name,
        project_id=server.project_id,
        status=status(server.vm_state, server.task_state),
        task_state=server.task_state,
        cell=mapping.cell.name if mapping.cell else None,
        created_at=server.created_at,
        flavor=server.flavor,
        availability_zone=server.availability_zone,
        host=server.host,
        devices=server.devices,
        metadata=server.metadata,
        fault=server.fault,
        decision=_decision(intents),
        left_outside=tuple(str(thing) for thing in left),
    )


def accepted(boot: Intent, left: Sequence[Object]) -> ServerInfo:
    """Return a server that is accepted and has no row yet."""
    return ServerInfo(
        id=boot.server_id,
        name=boot.request["boot"]["name"],
        project_id=boot.project_id,
        status="BUILD",
        task_state="scheduling" if boot.cell is None else "block_device_mapping",
        cell=boot.cell,
        created_at=boot.created_at,
        flavor=flavor_of(boot),
        availability_zone=boot.request["boot"]["availability_zone"],
        metadata=boot.request["boot"]["metadata"],
        decision=_decision([boot]),
        left_outside=tuple(str(thing) for thing in left),
    )


def _decision(intents: Sequence[Intent]) -> Decision | None:
    for intent in intents:
        if intent.verb == "boot" and intent.decision:
            return Decision.from_dict(intent.decision)
    return None
