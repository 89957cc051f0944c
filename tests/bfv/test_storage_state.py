# SPDX-License-Identifier: Apache-2.0
"""Storage that failed is left alone for a while, is tried again, and is left alone for longer if it fails again."""

import time

from bfv.storage_state import StorageState


def test_a_cell_is_down_from_its_first_failure_with_its_reason_until_it_works():
    state = StorageState()
    assert state.down() == {}

    state.failed("cell1", "no volume within 300 seconds")
    state.failed("cell1", "another one")
    [(cell, (since, reason))] = state.down().items()
    assert (cell, reason, since is not None) == ("cell1", "no volume within 300 seconds", True)

    state.ok("cell2")
    assert set(state.down()) == {"cell1"}
    state.ok("cell1")
    assert state.down() == {}


def test_it_is_tried_again_and_each_further_failure_closes_it_for_longer():
    state = StorageState(first=0.1, longest=0.4)
    state.failed("cell1", "first")
    since = state.down()["cell1"][0]
    closed = []
    for number in range(4):
        began = time.monotonic()
        while state.down():
            time.sleep(0.005)
        closed.append(time.monotonic() - began)
        state.failed("cell1", f"again {number}")
        assert state.down()["cell1"] == (since, f"again {number}")
    assert closed[0] < 0.2 <= closed[1] + 0.05 < closed[2] + 0.05
    assert abs(closed[3] - 0.4) < 0.1


def test_after_it_worked_the_next_failure_is_a_first_one():
    state = StorageState(first=0.05, longest=60)
    for _ in range(3):
        state.failed("cell1", "x")
        while state.down():
            time.sleep(0.005)
        state.ok("cell1")
    state.failed("cell1", "x")
    time.sleep(0.1)
    assert state.down() == {}
