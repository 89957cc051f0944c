# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

from bfv import owner


def test_this_process_is_alive_and_nobody_is_dead():
    assert not owner.is_dead(owner.this_process())
    assert owner.is_dead(None)


def test_a_process_that_was_killed_is_dead_at_once_even_as_a_zombie():
    child = subprocess.Popen(
        [sys.executable, "-c", "from bfv import owner; print(owner.this_process(), flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        name = child.stdout.readline().strip()
        assert not owner.is_dead(name)

        child.kill()
        while not owner.is_dead(name):
            pass
    assert owner.is_dead(name)


def test_a_reused_pid_is_not_its_former_owner():
    place, pid, started = owner.this_process().rsplit(":", 2)

    assert owner.is_dead(f"{place}:{pid}:{int(started) + 1}")


def test_of_a_process_elsewhere_only_its_lease_tells():
    assert not owner.is_dead("otherhost:boot:1234:1:1")
