# SPDX-License-Identifier: Apache-2.0
"""The states table, row by row: what nova allows, shows meanwhile and ends in."""

import itertools

import pytest

from bfv.drivers import states
from bfv.errors import Conflict

VM_STATES = ("active", "building", "error", "paused", "stopped", "suspended")
# verb: (vm_states it begins in, tasks it begins under besides its own, task, {before: after})
TABLE = {
    "boot": ("building", "", "spawning", {"building": ("active", 1)}),
    "stop": ("active error", "", "powering-off", {"active": ("stopped", 4), "error": ("stopped", 4)}),
    "start": ("stopped", "", "powering-on", {"stopped": ("active", 1)}),
    "reboot": ("active", "", "rebooting", {"active": ("active", 1)}),
    "reboot hard": (
        "active stopped paused suspended error",
        "rebooting reboot_pending reboot_started",
        "rebooting_hard",
        {"active": ("active", 1), "stopped": ("active", 1), "error": ("active", 1), "paused": ("active", 1)},
    ),
    "rebuild": (
        "active stopped error",
        "",
        "rebuilding",
        {"active": ("active", 1), "stopped": ("stopped", 4), "error": ("active", 1), "building": ("active", 1)},
    ),
    "createImage": ("active stopped paused suspended", "", "image_snapshot", {}),
}
TASKS = (None, "spawning", "powering-off", "powering-on", "rebooting", "rebooting_hard", "reboot_pending",
         "reboot_started", "rebuilding", "rebuild_spawning", "image_snapshot", "deleting", "resize_prep")  # fmt: skip


def allowed(verb, vm_state, task_state):
    try:
        states.check(verb, "s", vm_state, task_state)
    except Conflict:
        return False
    return True


@pytest.mark.parametrize("verb", TABLE)
def test_a_verb_begins_in_its_states_alone(verb):
    begins, _, task, _ = TABLE[verb]
    assert {state for state in VM_STATES if allowed(verb, state, None)} == set(begins.split())
    assert {state for state in VM_STATES if allowed(verb, state, task)} == set(begins.split())


@pytest.mark.parametrize("verb", TABLE)
def test_a_verb_begins_at_rest_or_goes_on_with_its_own_task(verb):
    begins, tasks, task, _ = TABLE[verb]
    vm_state = begins.split()[0]
    assert {each for each in TASKS if allowed(verb, vm_state, each)} == {None, task, *tasks.split()}
    assert states.begun(verb) == {"task_state": task}


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [(verb, before, after) for verb, row in TABLE.items() for before, after in row[3].items()],
)
def test_a_verb_ends_at_rest_in_the_state_of_its_guest(verb, before, after):
    assert states.ended(verb, before) == {"vm_state": after[0], "power_state": after[1], "task_state": None}


def test_a_delete_begins_always_and_ends_without_a_guest():
    assert all(allowed("delete", state, task) for state in VM_STATES for task in TASKS)
    assert states.begun("delete") == {"task_state": "deleting"}
    assert states.ended("delete", "active") == {"vm_state": "deleted", "power_state": 0, "task_state": None}


@pytest.mark.parametrize(
    ("verb", "vm_state"),
    [("boot", "error"), ("rebuild", "error"), ("delete", "error"), ("stop", None), ("start", None), ("reboot", None),
     ("reboot hard", None), ("createImage", None)],
)  # fmt: skip
def test_a_failure_is_an_error_where_the_guest_is_lost_and_changes_nothing_elsewhere(verb, vm_state):
    assert states.failed(verb) == {"task_state": None, **({"vm_state": vm_state} if vm_state else {})}


def test_all_verbs_are_in_this_table():
    assert set(states.CHANGES) == {*TABLE, "delete"}


@pytest.mark.parametrize("verb", ["attach_volume", "detach_volume"])
def test_volumes_come_and_go_while_a_server_is_at_rest_and_its_guest_is_there(verb):
    for vm_state, task_state in itertools.product(VM_STATES, TASKS):
        if task_state is None and vm_state in ("active", "paused", "stopped"):
            states.check_volumes(verb, "s", vm_state, task_state)
            continue
        with pytest.raises(Conflict, match=f"Cannot '{verb}' instance s while it is in"):
            states.check_volumes(verb, "s", vm_state, task_state)


def test_a_refusal_names_the_verb_the_server_and_the_state():
    with pytest.raises(Conflict, match="Cannot 'start' instance s while it is in vm_state active"):
        states.check("start", "s", "active", None)
    with pytest.raises(Conflict, match="Cannot 'stop' instance s while it is in task_state deleting"):
        states.check("stop", "s", "active", "deleting")
