# SPDX-License-Identifier: Apache-2.0
"""In which states a verb may begin, what is shown meanwhile, and what it ends in: one table. Pure.

Words are nova's (``nova/compute/vm_states.py``, ``task_states.py``, ``power_state.py``); who may begin is
``nova/compute/api.py:check_instance_state`` at each verb.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bfv.errors import Conflict

NOSTATE, RUNNING, SHUTDOWN = 0, 1, 4
BUILDING, ACTIVE, STOPPED, ERROR, DELETED = "building", "active", "stopped", "error", "deleted"


@dataclass(frozen=True)
class Change:
    """One verb. ``vm_states`` None: any. ``task`` is shown meanwhile; a None in ``tasks`` is a server at rest.

    ``ends`` maps the vm_state before to the vm_state after, None is for all others. ``fails`` is the vm_state after a
    failure that left the guest as it was, None if it stays.
    """

    vm_states: frozenset[str] | None
    tasks: frozenset[str | None]
    task: str
    ends: Mapping[str | None, str]
    fails: str | None = None


def _change(vm_states: str, tasks: str, task: str, ends: Mapping[str | None, str], fails: str | None = None) -> Change:
    begins = frozenset(vm_states.split()) or None
    return Change(begins, frozenset({None, task, *tasks.split()}), task, ends, fails)


# nova/compute/task_states.py:ALLOW_REBOOT, as far as a server of ours can be in it.
_REBOOTS = "rebooting reboot_pending reboot_started"
CHANGES: Mapping[str, Change] = {
    # verb: begins in these vm_states, and while these tasks run; task meanwhile; ends; after a failure
    "boot": _change("building", "", "spawning", {None: ACTIVE}, ERROR),
    "stop": _change("active error", "", "powering-off", {None: STOPPED}),
    "start": _change("stopped", "", "powering-on", {None: ACTIVE}),
    "reboot": _change("active", "", "rebooting", {None: ACTIVE}),
    "reboot hard": _change("active stopped paused suspended error", _REBOOTS, "rebooting_hard", {None: ACTIVE}),
    # A server that was stopped is stopped again (nova/compute/manager.py:_do_rebuild_instance).
    "rebuild": _change("active stopped error", "", "rebuilding", {STOPPED: STOPPED, None: ACTIVE}, ERROR),
    # Changes nothing but what is shown meanwhile: nova/compute/api.py:snapshot_volume_backed.
    "createImage": _change("active stopped paused suspended", "", "image_snapshot", {None: ACTIVE}),
    "delete": Change(None, frozenset(), "deleting", {None: DELETED}, ERROR),
}  # fmt: skip
# nova/compute/api.py:attach_volume, detach_volume: beside these verbs nothing of the server itself changes.
_WITH_VOLUMES = frozenset({ACTIVE, "paused", STOPPED})
_POWER = {ACTIVE: RUNNING, STOPPED: SHUTDOWN}


def check(verb: str, server_id: str, vm_state: str, task_state: str | None) -> None:
    """Raise Conflict where a verb cannot begin; its words are nova's (``nova/exception.py:InstanceInvalidState``).

    A verb that finds its own task running goes on with it.
    """
    change = CHANGES[verb]
    if change.vm_states is not None and vm_state not in change.vm_states:
        raise _refusal(verb, server_id, "vm_state", vm_state)
    if change.tasks and task_state not in change.tasks:
        raise _refusal(verb, server_id, "task_state", task_state)


def check_volumes(verb: str, server_id: str, vm_state: str, task_state: str | None) -> None:
    """Raise Conflict where the volumes of a server cannot change: ``verb`` is attach_volume or detach_volume."""
    if vm_state not in _WITH_VOLUMES:
        raise _refusal(verb, server_id, "vm_state", vm_state)
    if task_state is not None:
        raise _refusal(verb, server_id, "task_state", task_state)


def _refusal(verb: str, server_id: str, what: str, state: str | None) -> Conflict:
    return Conflict(f"Cannot '{verb}' instance {server_id} while it is in {what} {state}")


def begun(verb: str) -> dict[str, Any]:
    """Return the columns of a server while a verb is at work on it."""
    return {"task_state": CHANGES[verb].task}


def ended(verb: str, before: str) -> dict[str, Any]:
    """Return the columns of a server after a verb, from its vm_state before."""
    ends = CHANGES[verb].ends
    after = ends.get(before, ends[None])
    return {"vm_state": after, "power_state": _POWER.get(after, NOSTATE), "task_state": None}


def failed(verb: str) -> dict[str, Any]:
    """Return the columns of a server after a verb that surely changed nothing about its guest, or undid it.

    ``nova/compute/manager.py:reverts_task_state``: a server that could not be stopped is what it was.
    """
    after = CHANGES[verb].fails
    return {"task_state": None, **({"vm_state": after} if after else {})}
