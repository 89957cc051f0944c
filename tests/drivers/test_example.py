# SPDX-License-Identifier: Apache-2.0
"""What the example driver has beyond the contract: it takes its time, fails as told, and fills up."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bfv import drivers
from bfv.drivers.example import ExampleDriver
from bfv.errors import BadConfig, Failed, MaybeRunning, NoRoom
from tests.drivers.conftest import SMALL, new_guest

HOST = "cell1-host1"


def run(driver, guest, host=HOST):
    driver.plug(host, guest)
    driver.spawn(host, guest)


def test_it_is_found_by_its_name(options):
    assert isinstance(drivers.load("example", options()), ExampleDriver)
    with pytest.raises(BadConfig, match=r"no compute driver nonesuch; installed are: .*example"):
        drivers.load("nonesuch", options())


def test_each_cell_has_as_many_hosts_as_configured(make):
    told = make(hosts_per_cell=3, vcpus=4, memory_mb=2048, local_gb=7).hosts()
    assert [(host.cell, host.host) for host in told] == [
        (cell, f"{cell}-host{number}") for cell in ("cell1", "cell2") for number in (1, 2, 3)]  # fmt: skip
    assert {(host.vcpus, host.memory_mb, host.local_gb) for host in told} == {(4, 2048, 7)}


def test_an_act_takes_the_seconds_that_it_is_told(make):
    driver, guest = make(seconds="spawn:0.3"), new_guest()
    driver.plug(HOST, guest)
    begun = time.monotonic()
    driver.spawn(HOST, guest)
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("how", "error", "there"), [("failed", Failed, 0), ("noroom", NoRoom, 0),
                                                     ("maybe", MaybeRunning, 1)])  # fmt: skip
def test_an_act_that_is_to_fail_does_so_before_it_or_with_its_answer_lost(make, how, error, there):
    driver, guest = make(fails=f"spawn:{how}"), new_guest()
    with pytest.raises(error, match="configured to fail here: spawn"):
        run(driver, guest)
    assert driver.power_state(HOST, guest.server_id) == there


@pytest.mark.parametrize("change", [{"memory_mb": 2048}, {"local_gb": 6}])
def test_a_host_that_is_full_has_no_room_and_two_at_once_do_not_both_get_the_last(make, change):
    driver = make(**change)
    guests = [new_guest() for _ in range(6)]
    for guest in guests:
        driver.plug(HOST, guest)

    def spawned(guest):
        try:
            driver.spawn(HOST, guest)
        except NoRoom:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(spawned, guests)) == 2
    run(driver, guests[0], "cell1-host2")
    tiny = new_guest(flavor=replace(SMALL, memory_mb=0), devices=())
    run(driver, tiny)


def test_a_host_keeps_connections_from_others_on_the_machine(make, tmp_path):
    guest = new_guest()
    make().plug(HOST, guest)
    [path] = (tmp_path / "guests" / HOST).glob("*.volumes")
    assert path.stat().st_mode & 0o077 == 0
    assert "pool/volume-1" in path.read_text()


def test_volumes_are_not_taken_from_a_guest_that_runs(make):
    driver, guest = make(), new_guest()
    run(driver, guest)
    with pytest.raises(Failed, match="uses its volumes"):
        driver.unplug(HOST, guest)


def test_a_soft_reboot_does_not_switch_on(make):
    driver, guest = make(), new_guest()
    run(driver, guest)
    driver.stop(HOST, guest)
    with pytest.raises(Failed, match="only a hard reboot"):
        driver.reboot(HOST, guest)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"seconds": "spawn:soon"}, "seconds: could not"), ({"seconds": "dance:1"}, "seconds: dance is none of"),
     ({"fails": "dance:failed"}, "fails: dance is none of"), ({"fails": "spawn:often"}, "fails: often is none of"),
     ({"state_path": ""}, "state_path")],
)  # fmt: skip
def test_options_that_cannot_be_are_told(make, given, words):
    with pytest.raises(BadConfig, match=words):
        make(**given)
