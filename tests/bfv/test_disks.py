# SPDX-License-Identifier: Apache-2.0
"""The small parts of disks, each by itself: names, what is free, and acts that are done together."""

import datetime as dt
import threading

import pytest

from bfv import DiskDevice, devicenames, sources, together
from bfv.cli import volumes
from bfv.errors import BadRequest, Failed, MaybeRunning
from imagebackends.cinder.client import disk

NOW = dt.datetime(2026, 3, 1)
VOLUME = {"id": "v", "size": 1, "status": "available", "created_at": NOW.isoformat(), "multiattach": False}


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ([], "/dev/vdb"),
        (["/dev/vda", "/dev/vdb", None, "/dev/sdx"], "/dev/vdc"),
        ([f"/dev/vd{chr(number)}" for number in range(ord("a"), ord("z") + 1)], "/dev/vdaa"),
    ],
)
def test_the_next_name_is_the_first_that_is_free_and_never_the_roots(taken, name):
    assert devicenames.following(taken) == name


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("/dev/vdb", True),
        ("/dev/sda1", True),
        ("/dev/xvdz", True),
        ("vdb", False),
        ("/dev/", False),
        ("/dev/vd b", False),
    ],
)
def test_a_name_has_one_of_novas_forms(name, fits):
    assert devicenames.fits(name) is fits


def test_a_name_without_a_folder_gets_it():
    assert [devicenames.full(name) for name in ("vdb", "/dev/vdb", None)] == ["/dev/vdb", "/dev/vdb", None]


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        ({"status": "in-use"}, BadRequest, "is in-use, not available"),
        ({"multiattach": True}, BadRequest, "'multiattach' set"),
        ({"multiattach": True, "status": "in-use"}, BadRequest, "'multiattach' set"),
    ],
)
def test_only_a_volume_that_is_free_and_has_one_server_at_a_time_is_taken(words, error, told):
    sources.check_free(disk(VOLUME))
    with pytest.raises(error, match=told):
        sources.check_free(disk({**VOLUME, **words}))


def test_the_commands_words_for_a_disk():
    asked = DiskDevice("volume", "v", delete_on_termination=True)
    assert volumes.disk("volume=v,delete") == asked
    asked = DiskDevice("blank", volume_size=3, volume_type="fast", tag="t")
    assert volumes.disk("blank,size=3,type=fast,tag=t,keep") == asked


@pytest.mark.parametrize("text", ["blank=x,size=1", "volume", "tape=x", "blank,size=x", "blank,size=1,keep=no", ""])
def test_other_words_are_refused(text):
    with pytest.raises(BadRequest, match=f"--disk {text}: "):
        volumes.disk(text)


def test_acts_are_done_at_once_and_answer_in_order():
    barrier = threading.Barrier(3, timeout=60)

    def act(number):
        barrier.wait()
        return number * 2

    assert together.each(act, [1, 2, 3]) == [2, 4, 6]
    assert together.each(lambda number: threading.current_thread().name, [1]) == [threading.current_thread().name]


def test_what_surely_failed_is_told_before_what_is_not_known_once_all_have_ended():
    done = []

    def act(error):
        done.append(error)
        if error is not None:
            raise error("no")

    with pytest.raises(Failed):
        together.each(act, [MaybeRunning, None, Failed, None])
    assert len(done) == 4
    with pytest.raises(MaybeRunning):
        together.each(act, [None, MaybeRunning])
