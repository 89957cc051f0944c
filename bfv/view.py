# SPDX-License-Identifier: Apache-2.0
"""What people see of a server, made of its rows and its open intents. Pure."""

from collections.abc import Sequence

from bfv.drivers import states
from bfv.journal import Intent, Object
from bfv.records import flavor_of, hostname, reservation
from bfv.types import Decision, ServerInfo
from cells.types import Server, ServerMapping

# nova/api/openstack/common.py:_STATE_MAP, as far as a server of ours can be in it.
_BY_TASK = {"rebuilding": "REBUILD", "rebuild_spawning": "REBUILD"}
_REBOOTS = {"rebooting": "REBOOT", "rebooting_hard": "HARD_REBOOT"}
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
    if vm_state == "active" and task_state in _REBOOTS:
        return _REBOOTS[task_state]
    return _BY_TASK.get(task_state or "", _BY_STATE.get(vm_state, "UNKNOWN"))


def recorded(server: Server, mapping: ServerMapping, intents: Sequence[Intent], left: Sequence[Object]) -> ServerInfo:
    """Return a server that has its row in a cell."""
    task_state = task(server.task_state, server.vm_state, intents)
    return ServerInfo(
        id=server.uuid,
        name=server.display_name,
        project_id=server.project_id,
        status=status(server.vm_state, task_state),
        task_state=task_state,
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
        user_id=server.user_id,
        vm_state=server.vm_state,
        power_state=server.power_state,
        updated_at=server.updated_at,
        launched_at=server.launched_at,
        description=server.display_description,
        hostname=server.hostname,
        node=server.node,
        key_name=server.key_name,
        config_drive=server.config_drive,
        image_ref=server.image_ref,
        system_metadata=server.system_metadata if server.image_ref else {},
        root_device_name=server.root_device_name,
        reservation_id=server.reservation_id,
        pinned_availability_zone=pinned(intents),
        user_data=server.user_data,
        launch_index=server.launch_index,
        locked=server.locked,
        locked_by=server.locked_by,
        locked_reason=server.locked_reason,
        tags=server.tags,
        network_info=server.network_info,
    )


def accepted(boot: Intent, left: Sequence[Object]) -> ServerInfo:
    """Return a server that is accepted and has no row yet."""
    asked = boot.request["boot"]
    return ServerInfo(
        id=boot.server_id,
        name=asked["name"],
        project_id=boot.project_id,
        status="BUILD",
        task_state="scheduling" if boot.cell is None else "block_device_mapping",
        cell=boot.cell,
        created_at=boot.created_at,
        flavor=flavor_of(boot),
        availability_zone=asked["availability_zone"],
        metadata=asked["metadata"],
        decision=_decision([boot]),
        left_outside=tuple(str(thing) for thing in left),
        user_id=boot.user_id,
        pinned_availability_zone=pinned([boot]),
        description=asked["description"],
        key_name=asked["key_name"],
        config_drive="True" if asked["config_drive"] else "",
        reservation_id=reservation(boot),
        launch_index=asked.get("launch_index") or 0,
        tags=tuple(asked.get("tags") or ()),
        hostname=asked.get("hostname") or hostname(asked["name"], boot.server_id),
    )


def task(written: str | None, vm_state: str | None, intents: Sequence[Intent]) -> str | None:
    """Return what is done to a server, also if it is accepted and has not begun: who waits for its end must see it.

    ``written`` is what its row says.
    """
    if written is not None or vm_state == states.ERROR:
        return written
    for intent in intents:
        change = "reboot hard" if (intent.verb, intent.request.get("type")) == ("reboot", "hard") else intent.verb
        if intent.is_open and intent.verb != "boot" and change in states.CHANGES:
            return states.CHANGES[change].task
    return None


def _decision(intents: Sequence[Intent]) -> Decision | None:
    for intent in intents:
        if intent.verb == "boot" and intent.decision:
            return Decision.from_dict(intent.decision)
    return None


def pinned(intents: Sequence[Intent]) -> str | None:
    """Return the zone that was asked for."""
    asked = [intent.request["boot"]["availability_zone"] for intent in intents if intent.verb == "boot"]
    return asked[0] if asked else None
