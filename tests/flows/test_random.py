# SPDX-License-Identifier: Apache-2.0
"""Verbs, faults, crashes and repairs in any order: what no list of cases thinks of.

A machine of hypothesis does what it likes to some servers and notes only what it knows for sure. In the end, with
the faults gone and all repaired, the rows, the journal and the cloud must agree, and after the last deletion nothing
is left. On the mocked cloud only: a history that fails is printed with what repeats it.
``BFV_RANDOM=N`` tries N times as many examples.
"""

import contextlib
import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

import bfv
from tests import sites
from tests.flows.test_boot import HOST

EXAMPLES = 8 * int(os.environ.get("BFV_RANDOM", "1"))
STEPS = 12
SERVERS = 2  # At a time: the more, the less happens to each.
KILLS = 2  # A process costs a second.
PACE = {"creating": {"seconds": 0.1}, "downloading": {"seconds": 0.1}, "deleting": {"seconds": 0.05}}
CALLS = {
    "boot": [("POST", "/volumes$"), ("POST", "/attachments$")],
    "delete": [("DELETE", "/attachments/"), ("DELETE", "/volumes/")],
    "rebuild": [("POST", "/attachments$"), ("DELETE", "/attachments/"), ("POST", "/action$")],
    "connect": [("PUT", "/attachments/"), ("POST", "/action$")],
    "disconnect": [("POST", "/attachments$"), ("DELETE", "/attachments/")],
}
# A request that takes effect later than late_answer breaks a promise, and so does a POST that is done twice. Who
# asks for a connection once more waits for no late one: `bfv repair` tells of what that undoes (test_strays).
FAULTS = [
    {"kind": "lost_before"},
    {"kind": "lost_after"},
    {"kind": "lost_late", "seconds": 0.1},
    {"kind": "late", "seconds": 2.3},
    {"kind": "status_before", "status": 503},
    {"kind": "status_after", "status": 500},
    {"kind": "status_after", "status": 504},
]
TWICE = [{"kind": "doubled"}]


def fault(verb):
    """Draw what one of a verb's calls meets, or that all goes well."""
    met = [
        {"method": method, "path": path, **how}
        for method, path in CALLS[verb]
        for how in FAULTS + (TWICE if method in ("PUT", "DELETE") else [])
        if (method, how["kind"]) != ("PUT", "lost_late")
    ]
    return st.none() | st.sampled_from(met)


PICK = st.integers(0, SERVERS - 1)


UNSURE = "unsure"


@dataclass
class Known:
    """What is sure of a server: whether it is ``there`` (None: nobody knows before a repair), and its ``host``."""

    id: str
    there: bool | None = True
    host: str | None = None


class Machine(RuleBasedStateMachine):
    """Some servers, a cloud in this process, and processes that are killed."""

    def __init__(self, site, image):
        super().__init__()
        self.site, self.image = site, image
        self.known: list[Known] = []
        self.kills = 0
        self.stack = contextlib.ExitStack()
        self.control("DELETE", "/faults")
        self.control("PUT", "/pace", json=PACE)
        self.before = site.ours()
        home = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.world = sites.World(site, home, late_answer=2, read_timeout=2, give_up=60)
        self.cloud = self.stack.enter_context(self.world.cloud())

    def control(self, method, path, **kwargs):
        answer = requests.request(method, self.site.control_url + path, timeout=60, **kwargs)
        assert answer.status_code in (200, 204), answer.text

    def pick(self, number, met=None):
        """Return one of the servers that are not surely gone, and arm what a call of its verb meets."""
        found = self.alive()
        known = found[number % len(found)]
        self.arm(met)
        return known

    def done(self, known, act):
        """Do something to a server; return None where it may have to be repaired first, or where nobody knows."""
        unsure = bool(self.cloud.parts.journal.opened(known.id))
        try:
            return act() or "done"
        except bfv.errors.MaybeRunning:
            return None
        except bfv.errors.BadRequest:
            if unsure:
                return None
            raise
        except bfv.errors.NotFound:
            if known.there is None:
                return None
            raise

    def alive(self):
        return [each for each in self.known if each.there is not False]

    def arm(self, met):
        self.control("DELETE", "/faults")
        if met:
            self.control("POST", "/faults", json=met)

    @initialize(met=fault("boot"))
    def begin(self, met):
        self.boot(met)

    @precondition(lambda self: len(self.alive()) < SERVERS)
    @rule(met=fault("boot"))
    def boot(self, met):
        known = Known(str(uuid.uuid4()))
        self.arm(met)
        self.cloud.boot(bfv.BootRequest(image=self.image, flavor="tiny", name=sites.NAME, server_id=known.id))
        self.known.append(known)
        server = self.cloud.wait(known.id, 300)
        assert (server.status, server.fault) == ("BUILD", None)

    @precondition(alive)
    @rule(number=PICK, met=fault("delete"))
    def delete(self, number, met):
        known = self.pick(number, met)
        done = self.done(known, lambda: self.cloud.delete(known.id))
        if done:
            assert done.kept == ()
        known.there = False if done else None

    @precondition(alive)
    @rule(number=PICK, met=fault("rebuild"))
    def rebuild(self, number, met):
        known = self.pick(number, met)
        if self.done(known, lambda: self.cloud.rebuild(known.id, self.image)):
            server = self.cloud.wait(known.id, 300)
            assert server.fault is None, server.fault
            known.host = self.sure(known, None)

    @precondition(alive)
    @rule(number=PICK, met=fault("connect"), host=st.sampled_from(["host1", "host2"]))
    def connect(self, number, met, host):
        known = self.pick(number, met)
        if known.host not in (None, host):
            host = known.host
        done = self.done(known, lambda: self.cloud.connect(known.id, {**HOST, "host": host}))
        known.host = self.sure(known, host) if done else UNSURE

    @precondition(alive)
    @rule(number=PICK, met=fault("disconnect"))
    def disconnect(self, number, met):
        known = self.pick(number, met)
        done = self.done(known, lambda: self.cloud.disconnect(known.id))
        known.host = self.sure(known, None) if done else UNSURE

    def sure(self, known, value):
        """Return the host if nothing is left open that may still change it."""
        return UNSURE if self.cloud.parts.journal.opened(known.id) else value

    @precondition(lambda self: self.kills < KILLS)
    @rule(
        verb=st.sampled_from(["boot", "delete", "rebuild", "disconnect"]),
        kind=st.sampled_from(["commit", "before", "after"]),
        boundary=st.integers(1, 5),
        number=PICK,
    )
    def kill(self, verb, kind, boundary, number):
        self.kills += 1
        if verb == "boot":
            self.known.append(Known(str(uuid.uuid4()), there=None))
            words = [self.image, self.known[-1].id]
        elif self.alive():
            known = self.pick(number)
            known.there = None if verb == "delete" else known.there
            known.host = UNSURE
            words = [known.id, self.image][: 2 if verb == "rebuild" else 1]
        else:
            return
        died = self.world.victim([kind, str(boundary), verb, *words])
        assert died.returncode in (0, -9) or "Error" not in died.stderr.splitlines()[-1].split(":")[0], died.stderr

    @rule()
    def repair(self):
        self.cloud.repair()

    def teardown(self):
        with self.stack:
            self.control("DELETE", "/faults")
            sites.until(self.nothing_open)
            self.check()
            for server in self.cloud.servers():
                assert self.cloud.delete(server.id).kept == ()
            assert self.cloud.servers() == []
            assert self.site.ours() == self.before

    def nothing_open(self, server_id=None):
        """Repair, and return whether nothing is left to do, for one server or for all."""
        self.cloud.repair()
        return not self.cloud.parts.journal.opened(server_id)

    def check(self):
        """Assert that rows and cloud tell the same, and nothing else than what is sure."""
        listed = {server.id: self.cloud.server(server.id) for server in self.cloud.servers()}
        for known in self.known:
            assert known.there is None or known.there == (known.id in listed), known
        devices = [device for server in listed.values() for device in server.devices if device.volume_id]
        volumes, attachments = (now - before for now, before in zip(self.site.ours(), self.before, strict=True))
        assert volumes == {device.volume_id for device in devices}
        assert attachments == {device.attachment_id for device in devices}
        bound, disks = self.site.attachments(), self.site.volumes()
        for device in devices:
            assert bound[device.attachment_id]["volume_id"] == device.volume_id
            assert disks[device.volume_id]["status"] == ("in-use" if device.connection_info else "reserved")
        for known in self.known:
            if known.id in listed:
                self.check_whole(known, listed[known.id])

    def check_whole(self, known, server):
        assert (server.status, server.fault, len(server.devices)) == ("BUILD", None, 1), server
        assert (server.host is not None) == bool(server.devices[0].connection_info)
        assert known.host in (UNSURE, server.host), (known, server)


@pytest.fixture(scope="module")
def mocked():
    with sites.mock() as site:
        yield site


@pytest.mark.long
@pytest.mark.timeout(120 * EXAMPLES)
def test_rows_journal_and_cloud_agree_after_any_history(mocked):
    image = mocked.upload(os.urandom(1 << 20))
    run_state_machine_as_test(
        lambda: Machine(mocked, image),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            # A history that fails is printed with what repeats it; to shrink it takes longer than all other tests.
            phases=set(Phase) - {Phase.shrink, Phase.explain},
            suppress_health_check=list(HealthCheck),
        ),
    )


@dataclass(frozen=True)
class Overtaken:
    """A verb whose answer is lost, another that comes before the repair, and the host that the server has then."""

    first: str
    met: tuple[str, str, str]
    second: str
    host: str | None


@pytest.mark.parametrize(
    "case",
    [
        Overtaken("disconnect", ("POST", "/attachments$", "lost_after"), "rebuild", None),
        Overtaken("disconnect", ("DELETE", "/attachments/", "lost_before"), "connect", "host2"),
        Overtaken("disconnect", ("DELETE", "/attachments/", "lost_after"), "connect", "host2"),
        Overtaken("connect", ("PUT", "/attachments/", "lost_before"), "disconnect", None),
        Overtaken("connect", ("PUT", "/attachments/", "lost_after"), "disconnect", None),
        Overtaken("connect", ("PUT", "/attachments/", "lost_before"), "rebuild", None),
        Overtaken("connect", ("PUT", "/attachments/", "lost_after"), "rebuild", None),
        Overtaken("connect", ("PUT", "/attachments/", "lost_after"), "connect", "host2"),
    ],
    ids=lambda case: "-".join([case.first, *case.met, case.second]),
)
def test_a_verb_that_overtakes_one_without_an_answer_has_the_last_word(mocked, case):
    machine = Machine(mocked, mocked.upload(os.urandom(1 << 20)))
    machine.boot(None)
    [known], cloud = machine.known, machine.cloud
    verbs = {
        "connect": lambda host: cloud.connect(known.id, {**HOST, "host": host}),
        "disconnect": lambda _: cloud.disconnect(known.id),
        "rebuild": lambda _: (cloud.rebuild(known.id, machine.image), cloud.wait(known.id, 300)),
    }
    if case.first == "disconnect":
        verbs["connect"]("host1")
    machine.arm(dict(zip(("method", "path", "kind"), case.met, strict=True)))
    with pytest.raises(bfv.errors.MaybeRunning):
        verbs[case.first]("host1")

    try:
        verbs[case.second](case.host)
    except bfv.errors.BadRequest:
        # It may say that another verb comes first.
        sites.until(machine.nothing_open)
        verbs[case.second](case.host)

    known.host = case.host
    machine.teardown()
