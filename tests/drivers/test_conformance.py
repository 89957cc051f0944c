# SPDX-License-Identifier: Apache-2.0
"""The example driver passes the suite, and each way to break it is seen: a suite that all pass proves nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bfv.drivers.conformance import DriverConformance
from bfv.drivers.example import ExampleDriver
from tests.drivers.conftest import new_guest

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = (ROOT / "bfv" / "drivers" / "example.py").read_text()
SUITE = {name for name in dir(DriverConformance) if name.startswith("test_")}


class TestExample(DriverConformance):
    @pytest.fixture
    def make_driver(self, options):
        conf = options()
        return lambda: ExampleDriver(conf)

    @pytest.fixture
    def host(self):
        return "cell1-host1"

    @pytest.fixture
    def make_guest(self):
        return new_guest


RUN_END = "                self._set_power(host, guest, RUNNING)\n\n    def attach"
STOP = "            self._set_power(host, guest, SHUTDOWN)"
IN_LOCK = "                if self.power_state(host, guest.server_id) == NOSTATE:\n"
HARD = 'only a hard reboot switches it on.")\n            self._set_power(host, guest, '
MISSING = 'raise Failed(f"There is no guest'
PLUG = 'self._write(self._file(host, guest.server_id, "volumes"), connections)'
UNLINK = 'self._remove(self._file(host, guest.server_id, "guest"))'
GROWN = '{\n                **found, "sizes": {**found["sizes"], device.volume_id: device.volume_size}}'
CAME = '{\n                **found, "sizes": {**found["sizes"], key: device.volume_size}}'
ADDED = 'self._amend(host, guest, "volumes", lambda found: {**found, key: device.connection_info})'
# (what is broken: words of the example, other words, the tests that must see it)
BREAKS = {
    "one host twice": ("for host in self._cells]", "for host in [*self._cells] * 2]", ["hosts_tell"]),
    "no host": ("return [self._host(host) for host in self._cells]", "return []", ["hosts_tell"]),
    "no node": ("node=host,", 'node="",', ["hosts_tell"]),
    "another name": ('"host": host,', '"host": "x",', ["a_connector"]),
    "no address": ('"ip": "127.0.0.1",\n                "initiator"', '"x"', ["a_connector"]),
    "a new connector": ('"multipath": False', '"multipath": os.urandom(8)', ["a_connector"]),
    "plugs nothing": (PLUG, "pass", ["a_guest_is_there"]),
    "plugs loose ends": ("if not device.connection_info:", "if False:", ["a_guest_without"]),
    "plugs once": (PLUG, "self._file(host, guest.server_id, 'volumes').open('x')", ["a_guest_is_there"]),
    "spawns without": ("if missing:", "if False:", ["a_guest_without"]),
    "looks at the root": ("{str(device.volume_id) for device in guest.volumes} - set(plugged)",
                          "{str(guest.volumes[0].volume_id)} - set(plugged)", ["a_guest_with_data"]),
    "spawns once": (IN_LOCK, f"{IN_LOCK[:-1]} pass\n                else: raise Failed('there')\n{IN_LOCK}",
                    ["a_guest_is_there", "a_spawn_of"]),
    "spawns two": ("{server_id}.{kind}", "{server_id}{os.urandom(2).hex() if kind == 'guest' else ''}.{kind}",
                   ["a_guest_is_there", "a_guest_takes"]),
    "spawns off": (RUN_END, RUN_END.replace("RUNNING", "SHUTDOWN"), ["a_guest_is_there"]),
    "leaves off": (RUN_END, f"{IN_LOCK}    {RUN_END}", ["a_spawn_of"]),
    "not stopped": (STOP, "            pass", ["a_guest_stops"]),
    "stop removes": (STOP, f"            {UNLINK}", ["a_guest_stops", "a_guest_takes"]),
    "stops once": (STOP, "            if self.power_state(host, guest.server_id) == SHUTDOWN: raise Failed('off')\n"
                   + STOP, ["a_guest_stops"]),
    "not started": ('        with self._act("start", host):', '        return\n        with self._act("start", host):',
                    ["a_guest_stops", "no_guest"]),
    "reboot stops": (f"{HARD}RUNNING", f"{HARD}SHUTDOWN", ["a_guest_that_reboots", "a_hard_reboot"]),
    "never hard": ("if not hard and", "if", ["a_hard_reboot"]),
    "no guest is fine": (MISSING, MISSING.replace("raise Failed", "str"), ["no_guest"]),
    "not destroyed": (UNLINK, "pass", ["a_guest_is_there", "guests_are_apart", "a_guest_that_was"]),
    "removes once": ("each.unlink(missing_ok=True)", "each.unlink()", ["destroying_and", "a_guest_is_there"]),
    "destroys all": (UNLINK, "[each.unlink() for each in (self._path / host).glob('*.guest')]", ["guests_are_apart"]),
    "all are there": ('return int(found["power_state"]) if found else NOSTATE', "return RUNNING",
                      ["a_guest_is_there", "guests_are_apart"]),
    "any host": ("if host not in self._cells:", "if False:", ["a_host_of_others"]),
    "counts nothing": ('memory_mb_used=sum(guest["memory_mb"]', "memory_mb_used=sum(0", ["a_guest_ta"]),
    "growing stops": (GROWN, GROWN.replace("**found, ", '**found, "power_state": 4, ', 1), ["a_disk_grows"]),
    "coming stops": (CAME, CAME.replace("**found, ", '**found, "power_state": 4, ', 1), ["a_volume_comes"]),
    "comes once": (ADDED, ADDED.replace("{**found, key", "{**found, **({1: 1} if key not in found else None), key"),
                   ["a_volume_comes"]),
    "comes unplugged": (ADDED, "pass", ["a_volume_that"]),
    "comes loose": ("guest)\n            self._must_be_connected(host, device)", "guest)", ["a_volume_without"]),
    "does not go": ("lambda found: _without(found, key))", "lambda found: found)", ["a_volume_that"]),
    "goes with all": ("lambda found: _without(found, key))", "lambda found: {})", ["a_volume_that"]),
    "goes once": ("lambda found: _without(found, key))", "lambda found: found[key] and _without(found, key))",
                  ["a_volume_comes", "a_volume_without"]),
    "forgets": ("Path(self._opts.state_path)", "Path(self._opts.state_path, str(id(self)))", ["a_guest_is_there"]),
    "one thread": (IN_LOCK, "                assert threading.current_thread() is threading.main_thread()\n" + IN_LOCK,
                   ["many_threads"]),
}  # fmt: skip

TESTS = """

import pytest
from bfv.drivers.conformance import DriverConformance
from tests.drivers.conftest import new_guest, options


class TestBroken(DriverConformance):
    host = pytest.fixture(lambda self: "cell1-host1")
    make_guest = pytest.fixture(lambda self: new_guest)

    @pytest.fixture
    def make_driver(self, options):
        conf = options()
        return lambda: ExampleDriver(conf)
"""


def about(broken):
    """Return the names of the tests that are about a way to break it."""
    found = {start: [name for name in SUITE if name.startswith(f"test_{start}")] for start in BREAKS[broken][2]}
    assert all(len(names) == 1 for names in found.values()), found
    return {name for names in found.values() for name in names}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Run on each broken driver the tests that are about it; return those that fail, by what is broken."""
    home, asked = tmp_path_factory.mktemp("broken"), []
    for number, (broken, (words, others, _)) in enumerate(BREAKS.items()):
        assert EXAMPLE.count(words) == 1, f"the example does not say once: {words}"
        (home / f"test_broken_{number}.py").write_text(EXAMPLE.replace(words, others) + TESTS)
        asked += [f"test_broken_{number}.py::TestBroken::{name}" for name in about(broken)]
    words = ["-p", "no:cacheprovider", "-p", "no:randomly", "-q", "-rfE", "--tb=line"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-m", "pytest", *words, *asked], cwd=home, capture_output=True, text=True,
                          env=environment, timeout=500)  # fmt: skip
    assert re.search(r"^\d+ failed", done.stdout, re.MULTILINE), done.stdout
    seen = {broken: set() for broken in BREAKS}
    for number, test in re.findall(r"^FAILED test_broken_(\d+)\.py::TestBroken::(\w+)", done.stdout, re.MULTILINE):
        seen[[*BREAKS][int(number)]].add(test)
    return seen


@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_driver_is_seen_by_the_tests_that_are_about_it(seen, broken):
    assert seen[broken] == about(broken)


def test_each_test_of_the_suite_has_been_seen_to_fail(seen):
    assert SUITE - set().union(*seen.values()) == set()
