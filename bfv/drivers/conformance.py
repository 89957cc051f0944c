# SPDX-License-Identifier: Apache-2.0
"""The suite that every compute driver must pass: what the flows rely on, tried on hosts that may really run guests.

Subclass ``DriverConformance`` in a test module and supply the fixtures ``make_driver``, ``host`` and ``make_guest``.
Nothing is skipped, and all that a test makes it removes. Nothing else in ``bfv.drivers`` needs pytest::

    class TestMine(DriverConformance):
        @pytest.fixture
        def make_driver(self):
            return lambda: MyDriver(conf)

A worker may be killed at any line and another go on: so each act is asked for twice, the second time of a driver that
was made anew, as by another process.
"""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from bfv.drivers.contract import Driver, Guest
from bfv.drivers.states import NOSTATE, RUNNING, SHUTDOWN
from bfv.errors import Failed
from cells.types import BlockDevice, Host

UNKNOWN = "no-such-host"
ANOTHER_ID = "00000000-0000-4000-8000-00000000dead"


@dataclass(frozen=True)
class On:
    """A driver on one host, as a test uses it."""

    make: Callable[[], Driver]
    host: str

    @property
    def driver(self) -> Driver:
        """A driver that knows nothing of what another did."""
        return self.make()

    def state(self, guest: Guest) -> int:
        """Return the power state of a guest."""
        return self.driver.power_state(self.host, guest.server_id)

    def own(self) -> Host:
        """Return what the host tells of itself."""
        [found] = [each for each in self.driver.hosts() if each.host == self.host]
        return found

    def run(self, guest: Guest) -> None:
        """Plug and spawn."""
        self.driver.plug(self.host, guest)
        self.driver.spawn(self.host, guest)

    def remove(self, guest: Guest) -> None:
        """Destroy and unplug."""
        self.driver.destroy(self.host, guest)
        self.driver.unplug(self.host, guest)

    def twice(self, act: str, guest: Guest, **words: bool) -> None:
        """Ask for an act, and again, as who does not know whether it was done."""
        for _ in range(2):
            getattr(self.driver, act)(self.host, guest, **words)


def another(guest: Guest) -> BlockDevice:
    """Return one more volume for a guest, connected as its first is."""
    return replace(guest.volumes[0], uuid=str(uuid.uuid4()), volume_id=str(uuid.uuid4()), boot_index=None)


def with_device(guest: Guest, device: BlockDevice) -> Guest:
    """Return a guest with one more volume."""
    return replace(guest, devices=(*guest.devices, device))


class DriverConformance:
    """What every driver must do."""

    @pytest.fixture
    def make_driver(self) -> Callable[[], Driver]:
        """Supply this: it returns a new driver of the same hosts each time."""
        raise NotImplementedError("supply the fixture make_driver")

    @pytest.fixture
    def host(self) -> str:
        """Supply this: the name of the host to try, which has room for two guests."""
        raise NotImplementedError("supply the fixture host")

    @pytest.fixture
    def make_guest(self) -> Callable[[], Guest]:
        """Supply this: it returns a new guest each time, with volumes that are connected to the host."""
        raise NotImplementedError("supply the fixture make_guest")

    @pytest.fixture
    def on(self, make_driver: Callable[[], Driver], host: str) -> On:
        """Give the driver on its host."""
        return On(make_driver, host)

    @pytest.fixture
    def guest(self, on: On, make_guest: Callable[[], Guest]) -> Iterator[Guest]:
        """Give a guest that is not there, and remove it in the end."""
        made = make_guest()
        yield made
        with contextlib.suppress(Failed):
            on.remove(made)

    def test_hosts_tell_what_they_have(self, on: On) -> None:
        """Names once, a cell, a node, and no more used than is there unless the host overcommits."""
        hosts = on.driver.hosts()
        names = [(host.host, host.node) for host in hosts]
        assert len(set(names)) == len(names)
        for host in hosts:
            assert all((host.cell, host.host, host.node, host.hypervisor_type)), host
            assert min(host.vcpus, host.memory_mb) > 0, host
            assert (
                min(host.local_gb, host.vcpus_used, host.memory_mb_used, host.local_gb_used, host.running_vms) >= 0
            ), host
        assert on.own().host == on.host

    def test_a_connector_names_its_host_and_is_the_same_each_time(self, on: On) -> None:
        """The storage knows the host by it: another name would be another host."""
        connector = on.driver.connector(on.host)
        assert connector["host"] == on.host
        assert connector.get("ip") or connector.get("initiator"), "no storage can reach a host without an address"
        assert on.driver.connector(on.host) == connector

    def test_a_guest_is_there_once_it_is_spawned_and_gone_once_it_is_destroyed(self, on: On, guest: Guest) -> None:
        """Each act is asked for twice."""
        assert on.state(guest) == NOSTATE
        on.twice("plug", guest)
        assert on.state(guest) == NOSTATE
        on.twice("spawn", guest)
        assert on.state(guest) == RUNNING
        on.twice("destroy", guest)
        assert on.state(guest) == NOSTATE
        on.twice("unplug", guest)
        assert on.state(guest) == NOSTATE

    def test_a_guest_takes_its_size_of_the_host_once(self, on: On, guest: Guest) -> None:
        """A second spawn takes nothing, a stop frees no memory, and a destroy frees all."""
        before = on.own()
        on.run(guest)
        taken = on.own()
        assert taken.memory_mb_used == before.memory_mb_used + guest.flavor.memory_mb
        assert taken.vcpus_used == before.vcpus_used + guest.flavor.vcpus
        assert taken.local_gb_used == before.local_gb_used + guest.local_gb
        assert taken.running_vms == before.running_vms + 1
        on.driver.spawn(on.host, guest)
        assert on.own() == taken
        on.driver.stop(on.host, guest)
        assert on.own().memory_mb_used == taken.memory_mb_used
        on.remove(guest)
        assert on.own() == before

    def test_a_guest_stops_and_starts(self, on: On, guest: Guest) -> None:
        """Each act is asked for twice."""
        on.run(guest)
        on.twice("stop", guest)
        assert on.state(guest) == SHUTDOWN
        on.twice("start", guest)
        assert on.state(guest) == RUNNING

    def test_a_spawn_of_a_guest_that_is_off_switches_it_on(self, on: On, guest: Guest) -> None:
        """It was spawned and stopped, and a worker that slept comes back; the guest that is there is kept."""
        on.run(guest)
        on.driver.stop(on.host, guest)
        on.run(guest)
        assert on.state(guest) == RUNNING

    @pytest.mark.parametrize("hard", [False, True])
    def test_a_guest_that_reboots_runs(self, on: On, guest: Guest, hard: bool) -> None:
        """Both ways."""
        on.run(guest)
        on.twice("reboot", guest, hard=hard)
        assert on.state(guest) == RUNNING

    def test_a_hard_reboot_switches_on_what_is_off(self, on: On, guest: Guest) -> None:
        """It is the way out of any state."""
        on.run(guest)
        on.driver.stop(on.host, guest)
        on.twice("reboot", guest, hard=True)
        assert on.state(guest) == RUNNING

    def test_destroying_and_unplugging_nothing_is_no_error(self, on: On, guest: Guest) -> None:
        """Before anything was made, with only the volumes plugged, and with a guest that is off."""
        on.twice("destroy", guest)
        on.twice("unplug", guest)
        on.driver.plug(on.host, guest)
        on.remove(guest)
        on.run(guest)
        on.driver.stop(on.host, guest)
        on.remove(guest)
        assert on.state(guest) == NOSTATE

    def test_a_guest_that_was_destroyed_can_be_spawned_again(self, on: On, guest: Guest) -> None:
        """As a rebuild does."""
        on.run(guest)
        on.remove(guest)
        on.run(guest)
        assert on.state(guest) == RUNNING

    @pytest.mark.parametrize("act", ["stop", "start", "reboot"])
    def test_no_guest_is_failed(self, on: On, guest: Guest, act: str) -> None:
        """Nobody may think that it runs, and none is made."""
        with pytest.raises(Failed):
            getattr(on.driver, act)(on.host, guest)
        assert on.state(guest) == NOSTATE

    def test_a_guest_without_its_volumes_is_not_spawned(self, on: On, guest: Guest) -> None:
        """Neither with none of them plugged nor with one that has no connection."""
        with pytest.raises(Failed):
            on.driver.spawn(on.host, guest)
        loose = replace(guest, devices=tuple(replace(device, connection_info=None) for device in guest.devices))
        with pytest.raises(Failed):
            on.run(loose)
        assert on.state(guest) == NOSTATE

    def test_a_guest_with_data_volumes_has_all_of_them_or_is_not_spawned(self, on: On, guest: Guest) -> None:
        """As one that was booted with several disks; each act is asked for twice."""
        whole = with_device(with_device(guest, another(guest)), another(guest))
        on.driver.plug(on.host, guest)
        with pytest.raises(Failed):
            on.driver.spawn(on.host, whole)
        assert on.state(whole) == NOSTATE
        for act, state in (("plug", NOSTATE), ("spawn", RUNNING), ("destroy", NOSTATE), ("unplug", NOSTATE)):
            on.twice(act, whole)
            assert on.state(whole) == state
        with pytest.raises(Failed):
            on.driver.spawn(on.host, guest)

    def test_a_volume_comes_to_a_guest_and_goes_whether_it_runs_or_is_off(self, on: On, guest: Guest) -> None:
        """Each act is asked for twice, and changes nothing else of the guest and its host."""
        more = another(guest)
        on.run(guest)
        for state in (RUNNING, SHUTDOWN):
            before = on.own()
            for _ in range(2):
                on.driver.attach(on.host, with_device(guest, more), more)
            assert (on.state(guest), on.own()) == (state, before)
            for _ in range(2):
                on.driver.detach(on.host, with_device(guest, more), more)
            assert (on.state(guest), on.own()) == (state, before)
            on.driver.stop(on.host, guest)

    def test_a_volume_that_came_is_plugged_and_one_that_went_is_not(self, on: On, guest: Guest) -> None:
        """So a guest that is made anew has it, or cannot have it."""
        whole = with_device(guest, another(guest))
        on.run(guest)
        on.driver.attach(on.host, whole, whole.volumes[-1])
        on.driver.destroy(on.host, whole)
        on.driver.spawn(on.host, whole)
        assert on.state(guest) == RUNNING
        on.driver.detach(on.host, whole, whole.volumes[-1])
        on.driver.destroy(on.host, whole)
        with pytest.raises(Failed):
            on.driver.spawn(on.host, whole)
        on.driver.spawn(on.host, guest)
        assert on.state(guest) == RUNNING

    def test_a_volume_without_a_guest_or_a_connection_does_not_come(self, on: On, guest: Guest) -> None:
        """Nor does it have to go: who undoes an attach does not know how far it came."""
        more = another(guest)
        with pytest.raises(Failed):
            on.driver.attach(on.host, with_device(guest, more), more)
        on.driver.detach(on.host, with_device(guest, more), more)
        assert on.state(guest) == NOSTATE
        on.run(guest)
        loose = replace(more, connection_info=None)
        with pytest.raises(Failed):
            on.driver.attach(on.host, with_device(guest, loose), loose)
        on.driver.detach(on.host, with_device(guest, loose), loose)
        assert on.state(guest) == RUNNING

    def test_a_disk_grows_under_a_guest_that_runs_or_is_off_or_is_not_there(self, on: On, guest: Guest) -> None:
        """It changes nothing else."""
        grown = replace(guest.volumes[0], volume_size=(guest.volumes[0].volume_size or 0) + 1)
        on.driver.disk_grew(on.host, guest, grown)
        assert on.state(guest) == NOSTATE
        on.run(guest)
        for _ in range(2):
            on.driver.disk_grew(on.host, guest, grown)
        assert on.state(guest) == RUNNING
        on.driver.stop(on.host, guest)
        on.driver.disk_grew(on.host, guest, grown)
        assert on.state(guest) == SHUTDOWN

    def test_guests_are_apart(self, on: On, guest: Guest, make_guest: Callable[[], Guest]) -> None:
        """What happens to one is no matter to another."""
        other = make_guest()
        on.run(guest)
        try:
            on.run(other)
            on.driver.stop(on.host, other)
            assert (on.state(guest), on.state(other)) == (RUNNING, SHUTDOWN)
            on.remove(guest)
            assert (on.state(guest), on.state(other)) == (NOSTATE, SHUTDOWN)
        finally:
            on.remove(other)
        assert on.driver.power_state(on.host, ANOTHER_ID) == NOSTATE

    @pytest.mark.parametrize(
        "act", ["plug", "unplug", "spawn", "attach", "detach", "stop", "start", "reboot", "destroy"]
    )
    def test_a_host_of_others_is_failed(self, on: On, guest: Guest, act: str) -> None:
        """Also to destroy or detach there: a guest may run, and its volumes must not be freed."""
        words = [guest.volumes[0]] if act in ("attach", "detach") else []
        with pytest.raises(Failed):
            getattr(on.driver, act)(UNKNOWN, guest, *words)
        with pytest.raises(Failed):
            on.driver.connector(UNKNOWN)
        with pytest.raises(Failed):
            on.driver.power_state(UNKNOWN, guest.server_id)

    def test_many_threads_use_one_driver(self, on: On, guest: Guest) -> None:
        """Two workers may even act on one guest, before the older learns that it lost its lease."""
        driver = on.driver
        driver.plug(on.host, guest)
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(lambda _: driver.spawn(on.host, guest), range(4))]
        assert driver.power_state(on.host, guest.server_id) == RUNNING
        with ThreadPoolExecutor(4) as pool:
            [*pool.map(lambda _: driver.destroy(on.host, guest), range(4))]
        assert driver.power_state(on.host, guest.server_id) == NOSTATE
