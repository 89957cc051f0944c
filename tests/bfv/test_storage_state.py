# SPDX-License-Identifier: Apache-2.0
"""Storage that failed is left alone for a while, is tried again, and is left alone for longer if it fails again."""

import pytest

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


class Clock:
    """A clock that goes on when the test says so."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def closed(state, clock):
    """Return for how many seconds a cell is left alone, and let them go by."""
    began = clock.now
    while state.down():
        clock.now += 1
    return clock.now - began


def test_it_is_tried_again_and_each_further_failure_closes_it_for_longer(clock):
    state = StorageState(30, 100, clock)
    state.failed("cell1", "first")
    since = state.down()["cell1"][0]
    took = []
    for number in range(4):
        took.append(closed(state, clock))
        state.failed("cell1", f"again {number}")
        assert state.down()["cell1"] == (since, f"again {number}")
    assert took == [30, 60, 100, 100]


def test_after_it_worked_the_next_failure_is_a_first_one(clock):
    state = StorageState(30, 600, clock)
    for _ in range(3):
        state.failed("cell1", "x")
        assert closed(state, clock) == 30
        state.ok("cell1")
    state.failed("cell1", "x")
    assert closed(state, clock) == 30
