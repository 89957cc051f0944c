# SPDX-License-Identifier: Apache-2.0
import threading

from bfv.engine import InProcess
from tests.sites import until


def test_an_intent_is_run_again_until_nothing_is_left_to_do():
    answers = {"i": [0.01, 0.01, None]}
    engine = InProcess(2)
    engine.start(lambda intent_id: answers[intent_id].pop(0))

    engine.submit("i", "cell1")

    assert engine.wait("i", 60)
    assert answers == {"i": []}
    assert engine.stop(60)


def test_an_intent_is_never_run_twice_at_once_and_a_full_lane_holds_up_no_other():
    release, began = threading.Event(), []

    def work(intent_id):
        began.append(intent_id)
        release.wait(60)

    engine = InProcess(1)
    engine.start(work)
    for intent_id in ("a", "a", "b"):
        engine.submit(intent_id, "cell1")
    engine.submit("c", "cell2")

    until(lambda: len(began) == 2)
    assert not engine.wait("b", 0.2)
    assert sorted(began) == ["a", "c"]
    assert engine.running() == {"a", "b", "c"}
    release.set()
    assert engine.wait("b", 60)
    assert engine.stop(60)
    assert sorted(began) == ["a", "b", "c"]


def test_stop_does_not_wait_for_a_flow_that_only_waits_to_ask_again():
    engine = InProcess(1)
    asked = threading.Event()

    def work(intent_id):
        asked.set()
        return 60.0

    engine.start(work)
    engine.submit("i", "cell1")
    assert asked.wait(60)

    assert engine.stop(60)
    assert engine.running() == set()


def test_a_flow_that_breaks_frees_its_thread(caplog):
    def work(intent_id):
        raise ValueError(intent_id)

    engine = InProcess(1)
    engine.start(work)
    engine.submit("i", "cell1")

    assert engine.wait("i", 60)
    assert "ended by an error of ours" in caplog.text
    assert engine.stop(60)
