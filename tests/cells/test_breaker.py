# SPDX-License-Identifier: Apache-2.0
"""What opens a cell's breaker, what only looks like an outage, and who may close it."""

import pytest

from cells.breaker import Breaker, Patience
from cells.errors import BadCell, CellDown

PATIENCE = Patience(failures=3, slow=1.0, probe_interval=1.0, probe_interval_max=8.0)
REFUSED = CellDown("c1", "connection refused")


@pytest.fixture
def opened():
    return []


@pytest.fixture
def breaker(opened):
    return Breaker("c1", PATIENCE, lambda: opened.append(1))


def is_open(breaker):
    return breaker.outage is not None


def test_quick_failures_open_it_only_when_there_are_enough_in_a_row(breaker, opened):
    breaker.failed(REFUSED, 0.01)
    breaker.failed(REFUSED, 0.01)
    breaker.answered(0.01)
    breaker.failed(REFUSED, 0.01)
    breaker.failed(REFUSED, 0.01)
    assert (is_open(breaker), opened) == (False, [])

    breaker.failed(REFUSED, 0.01)
    assert (is_open(breaker), opened) == (True, [1])


def test_one_failure_that_a_request_had_to_wait_for_opens_it(breaker):
    breaker.failed(REFUSED, 1.0)
    assert is_open(breaker)


def test_an_open_one_refuses_and_tells_why_and_since_when(breaker):
    breaker.check()
    breaker.late("no answer within 5 seconds")

    with pytest.raises(CellDown, match=r"no answer within 5 seconds \(since 20") as caught:
        breaker.check()
    assert (caught.value.cell, caught.value.reason) == ("c1", "no answer within 5 seconds")
    assert caught.value.since == breaker.outage.since


def test_it_opens_once_however_many_find_it_down(breaker, opened):
    breaker.late("first")
    breaker.late("second")
    for _ in range(5):
        breaker.failed(REFUSED, 2.0)
    assert (breaker.outage.reason, opened) == ("first", [1])


def test_an_answer_that_was_on_its_way_does_not_close_it(breaker):
    breaker.late("no answer")
    breaker.answered(7.0)
    assert is_open(breaker)
    assert breaker.answers().last == 7.0


def test_probes_come_ever_later_up_to_a_maximum_until_one_finds_it(breaker):
    breaker.late("no answer")
    since = breaker.outage.since

    assert [breaker.probed("refused") for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert (breaker.outage.reason, breaker.outage.since, breaker.probes) == ("refused", since, 6)

    assert breaker.probed(None) is None
    assert not is_open(breaker)
    breaker.check()

    breaker.late("again")
    assert (breaker.probed("refused"), breaker.probes) == (1.0, 1)


def test_one_quick_failure_after_it_came_back_does_not_open_it_again(breaker):
    breaker.late("no answer")
    breaker.probed(None)
    breaker.failed(REFUSED, 0.01)
    assert not is_open(breaker)


def test_a_missing_table_opens_nothing_but_is_trouble_with_a_beginning_until_an_answer(breaker):
    for _ in range(5):
        breaker.failed(BadCell("cell c1: no such table: instances"), 5.0)
    assert not is_open(breaker)
    first = breaker.trouble
    assert "no such table" in first.reason

    breaker.failed(BadCell("cell c1: no such table: services"), 0.1)
    assert (breaker.trouble.since, "services" in breaker.trouble.reason) == (first.since, True)

    breaker.answered(0.1)
    assert breaker.trouble is None


def test_slow_is_half_of_the_latest_answers_and_no_outage(breaker):
    assert not breaker.is_slow()
    assert breaker.answers() is None
    for seconds in (0.1, 0.2, 3.0):
        breaker.answered(seconds)
    assert not breaker.is_slow()
    for seconds in (3.0, 4.0):
        breaker.answered(seconds)
    assert breaker.is_slow()
    assert not is_open(breaker)
    told = breaker.answers()
    assert (told.count, told.last, told.p50, told.p99) == (5, 4.0, 3.0, 4.0)


def test_only_the_latest_answers_are_kept(breaker):
    for _ in range(1000):
        breaker.answered(9.0)
    for _ in range(64):
        breaker.answered(0.1)
    assert (breaker.answers().count, breaker.answers().p99) == (64, 0.1)
