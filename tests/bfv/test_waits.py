# SPDX-License-Identifier: Apache-2.0
"""Waiting is tested on a small real backend that keeps disks in memory and counts how often it is looked at."""

import datetime as dt
import threading

import pytest

from bfv.errors import Cancelled, MaybeRunning, NotFound
from bfv.types import utcnow
from bfv.waits import Waits
from imagebackends.types import Access, Disk
from tests.sites import until


class Shelf:
    """Disks that change at the looks that a test says, however long these take; only what waiting asks of a backend."""

    def __init__(self):
        self.left, self.looks, self.gets, self.away = {}, 0, 0, 0

    def put(self, disk_id, looks=1):
        """Make a disk that is still ``creating`` at so many looks."""
        self.left[disk_id] = looks
        return Disk(disk_id, "p", 1, "creating", utcnow())

    def look(self, access, disk_ids, since):
        self.looks += 1
        if self.looks + self.gets <= self.away:
            raise MaybeRunning("away")
        return {key: self._disk(key) for key in disk_ids if key in self.left}

    def get(self, access, disk_id):
        self.gets += 1
        if self.looks + self.gets <= self.away:
            raise MaybeRunning("away")
        if disk_id not in self.left:
            raise NotFound(disk_id)
        return self._disk(disk_id)

    def _disk(self, key):
        status = "creating" if self.left[key] > 0 else "available"
        self.left[key] -= 1
        return Disk(key, "p", 1, status, NOON)


NEVER, NOON = 1 << 30, dt.datetime(2026, 1, 1, 12)
ACCESS = Access(None, "p", "req-1")


def available(disk):
    return disk is not None and disk.status == "available"


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def waits(shelf):
    return Waits(shelf, first=0.02, longest=0.2, skew=60)


def test_one_disk(shelf, waits):
    disk = waits.until(ACCESS, shelf.put("a"), available, 60, lambda: None)

    assert (disk.status, shelf.gets) == ("available", 2)


def test_who_is_told_that_a_disk_is_ready_looks_at_once_and_believes_the_look_alone(shelf):
    waits, ended = Waits(shelf, first=600, longest=600, skew=60), threading.Event()
    disk = shelf.put("a")
    assert not waits.hurry("a"), "nobody waits yet"

    def wait():
        waits.until(ACCESS, disk, available, 600, lambda: None)
        ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    # Told too early it is looked at for nothing.
    told = [waits.hurry("a") for _ in iter(lambda: ended.wait(0.02), True)]
    thread.join()
    assert True in told
    assert (shelf.looks, shelf.gets) == (0, 2), "a disk that is waited for alone is asked for"
    assert not waits.hurry("b")
    assert not waits.hurry("a")


@pytest.mark.timeout(120)
def test_where_those_who_looked_are_done_another_looks_at_once(shelf):
    waits = Waits(shelf, first=0.02, longest=0.02, skew=60, quiet=600)
    disks = [shelf.put(name, NEVER) for name in "abcdef"]
    threads = [threading.Thread(target=waits.until, args=(ACCESS, disk, available, 600, lambda: None))
               for disk in disks]  # fmt: skip
    for thread in threads:
        thread.start()
    until(lambda: shelf.looks > 2)
    # One look is the end of all but the last.
    shelf.left.update(dict.fromkeys("abcde", 0))
    for thread in threads[:-1]:
        thread.join()
    shelf.left["f"] = 0
    threads[-1].join()


def test_one_look_serves_all_who_wait(shelf):
    waits, done = Waits(shelf, first=600, longest=600, skew=60), []
    disks = [shelf.put(f"d{number}", NEVER) for number in range(32)]

    def wait(disk):
        done.append(waits.until(ACCESS, disk, available, 600, lambda: None))

    threads = [threading.Thread(target=wait, args=(disk,)) for disk in disks]
    for thread in threads:
        thread.start()
    until(lambda: all(waits.hurry(disk.id) for disk in disks))
    for disk in disks:
        shelf.left[disk.id] = 0
    before = shelf.looks + shelf.gets
    for disk in disks:
        waits.hurry(disk.id)
    for thread in threads:
        thread.join()

    assert {disk.status for disk in done} == {"available"}
    assert len(done) == 32
    # One look may have been under way, and show but some of it.
    assert shelf.looks + shelf.gets - before <= 2


def test_the_deadline_ends_the_wait_and_says_what_it_saw(shelf, waits):
    with pytest.raises(MaybeRunning, match="Volume a was still creating after 0 seconds"):
        waits.until(ACCESS, shelf.put("a", NEVER), available, 0.2, lambda: None)


def test_past_the_deadline_it_looks_once_more(shelf, waits):
    assert waits.until(ACCESS, shelf.put("a", 0), available, -9, lambda: None).status == "available"
    with pytest.raises(MaybeRunning, match="still creating"):
        waits.until(ACCESS, shelf.put("b", 1), available, -9, lambda: None)


def test_stop_ends_the_wait(shelf, waits):
    def stop():
        raise Cancelled

    with pytest.raises(Cancelled):
        waits.until(ACCESS, shelf.put("a", NEVER), available, 60, stop)


def test_a_disk_that_was_seen_and_then_is_missing_is_confirmed_to_be_gone(shelf, waits):
    disk = shelf.put("a", NEVER)

    def gone_once_seen(now):
        shelf.left.pop("a", None) if shelf.gets else None
        return now is None

    assert waits.until(ACCESS, disk, gone_once_seen, 60, lambda: None) is None
    assert (shelf.looks, shelf.gets) == (0, 2)


def test_no_answer_is_no_news(shelf, waits):
    shelf.away = 3

    assert waits.until(ACCESS, shelf.put("a", 0), available, 60, lambda: None).status == "available"
    assert shelf.gets == 4


def test_a_look_reaches_back_to_the_oldest_wait_but_not_before_the_disk_was_made(shelf, waits):
    seen, never = [], threading.Event()
    look = shelf.look
    shelf.look = lambda access, ids, since: seen.append((ids, since)) or look(access, ids, since)

    def both(disk):
        """Wait for a disk while somebody waits for another that is never made; return the first look at both."""
        other = shelf.put("other", NEVER)
        waiting = threading.Thread(
            target=lambda: waits.until(ACCESS, other, lambda _: never.is_set(), 60, lambda: None)
        )
        waiting.start()
        seen.clear()
        waits.until(ACCESS, disk, lambda now: len(seen) > 0 and available(now), 60, lambda: None)
        never.set()
        waiting.join()
        never.clear()
        return next(since for ids, since in seen if disk.id in ids), other

    since, _ = both(disk := shelf.put("a", 0))
    assert since == disk.created_at
    shelf.put("b", 0)
    since, other = both(Disk("b", "p", 1, "downloading", utcnow() - dt.timedelta(days=9)))
    assert other.created_at - since < dt.timedelta(seconds=120)


def test_a_disk_that_is_gone_before_the_first_look_is_noticed_at_once(shelf, waits):
    disk = Disk("a", "p", 1, "deleting", utcnow())

    assert waits.until(ACCESS, disk, lambda now: now is None, 60, lambda: None, vanishing=True) is None
    assert (shelf.looks, shelf.gets) == (0, 1)
