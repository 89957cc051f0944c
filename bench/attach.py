# SPDX-License-Identifier: Apache-2.0
"""Attach and detach, and boots with many disks, over the least that plain python-cinderclient can do.

The bare minimum of an attach and a detach where no host runs the server: reserve, delete; where a host does: reserve,
connect, complete, delete. Of a boot with nine disks: nine creates at once, a look every 0.1 s until all are there, nine
reservations at once. Both sides use the same user, image and cell, hold their tokens before the clock starts, and take
turns; who begins alternates.

The mocked cloud answers at once, which no cinder does: beside it our own work is all that is seen. So it is measured
twice, at once and at ``PACE``, how long the lab's calls take. And since nobody may reserve a volume without a look at
whose it is and where it lies, there is a row beside plain calls with that look, too.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cinderclient import client as cinderclient
from keystoneauth1.session import Session

import bfv
from bench import embedded_boot, report
from bfv.embedded import embedded
from tests import sites
from tests.flows.test_driver import DriverWorld

CONNECTOR = {"host": "host1", "ip": "127.0.0.1", "initiator": "iqn.1993-08.org.debian:01:host1", "os_type": "linux",
             "platform": "x86_64", "multipath": False}  # fmt: skip
DISKS = 8
# Seconds that the lab's cinder takes for a call, by method and path: about the medians that ``--lab`` prints on two
# cores with no other work.
PACE = {("GET", "/volumes/[^/]+$"): 0.013, ("POST", "/attachments$"): 0.023, ("PUT", "/attachments/"): 0.25,
        ("POST", "/action$"): 0.03, ("DELETE", "/attachments/"): 0.035}  # fmt: skip
ATTACH, PARALLEL, SEVERAL = 1.15, 1.15, 1.5


def timed(act):
    """Return the seconds that an act takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def in_turn(ours, other, count, warm=2):
    """Measure both in turn and return the seconds of each, without those that warmed up."""
    mine, theirs = [], []
    for number in range(-warm, count):
        turns = [lambda: mine.append(ours()), lambda: theirs.append(other())]
        for turn in turns if number % 2 else reversed(turns):
            turn()
    return mine[warm:], theirs[warm:]


def client_of(site):
    """Return a plain client."""
    session = Session(auth=site.auth("demo"))
    return cinderclient.Client("3.71", session=session, endpoint_override=site.volume_url)


class Plain:
    """Plain calls for one volume; what each took is in ``seconds``."""

    def __init__(self, site, volume, *, hosted):
        self.client, self.volume, self.hosted, self.seconds = client_of(site), volume, hosted, {}

    def __call__(self, *, look=False):
        """Attach and detach, after a look if it is to be one."""
        calls = self.client.attachments
        if look:
            self._timed("look", self.client.volumes.get, self.volume)
        key = self._timed("reserve", calls.create, self.volume, None, str(uuid.uuid4()))["id"]
        if self.hosted:
            self._timed("connect", calls.update, key, CONNECTOR)
            self._timed("complete", calls.complete, key)
        self._timed("delete", calls.delete, key)

    def _timed(self, name, call, *words):
        began = time.perf_counter()
        answer = call(*words)
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return answer

    def rows(self, where):
        """Return the median of each call."""
        return [report.Row(f"plain call: {name}, {where}", "s", statistics.median(seconds), None)
                for name, seconds in self.seconds.items()]  # fmt: skip


def attached(site, world, image, count, where):
    """Return the rows of attach and detach in a world, with the hosts of a driver or with none, and the plain calls."""
    hosted = isinstance(world, DriverWorld)
    volume, other = site.volume(), site.volume()
    plain = Plain(site, other, hosted=hosted)

    with world.cloud() as cloud:
        request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME)
        cloud.boot(request)
        server = cloud.wait(request.server_id, 120)
        assert (server.cell, server.fault) == ("cell1", None)

        def ours():
            cloud.attach_volume(server.id, bfv.VolumeRequest(volume))
            cloud.detach_volume(server.id, volume)

        least = in_turn(lambda: timed(ours), lambda: timed(plain), count)
        looked = in_turn(lambda: timed(ours), lambda: timed(lambda: plain(look=True)), count)
        cloud.delete(server.id)
    site.drop_volume(volume, other)
    what = f"attach and detach {'with' if hosted else 'without'} a host, {where}, over"
    return [report.pairs(f"{what} the bare minimum", "s", *least, ATTACH),
            report.pairs(f"{what} the same with a look", "s", *looked, ATTACH), *plain.rows(where)]  # fmt: skip


def booted(site, world, image, count):
    """Return the row of a boot with nine disks over plain calls for nine volumes at once."""
    client = client_of(site)
    left = []

    def plain():
        with ThreadPoolExecutor(DISKS + 1) as pool:
            words = {"volume_type": "cell1", "availability_zone": "cell1"}
            made = [*pool.map(lambda each: client.volumes.create(1, imageRef=each, **words), [image] + [None] * DISKS)]
            waiting = {each.id for each in made}
            while waiting:
                waiting -= {each.id for each in client.volumes.list() if each.status == "available"}
                time.sleep(0.1 if waiting else 0)
            server = str(uuid.uuid4())
            bound = [*pool.map(lambda each: client.attachments.create(each.id, None, server), made)]
        left.append((made, bound))

    with world.cloud() as cloud:
        disks = (bfv.DiskDevice("blank", volume_size=1, delete_on_termination=True),) * DISKS

        def ours():
            seconds = timed(lambda: boot(cloud, image, disks=disks, availability_zone="cell1"))
            cloud.delete(cloud.servers()[0].id)
            return seconds

        def theirs():
            seconds = timed(plain)
            made, bound = left.pop()
            for each in bound:
                client.attachments.delete(each["id"])
            site.drop_volume(*[each.id for each in made])
            return seconds

        rows = in_turn(ours, theirs, count, warm=1)
    return report.pairs(f"boot with {DISKS} blank data disks, lab, over plain calls at once", "s", *rows, PARALLEL)


def boot(cloud, image, **words):
    """Boot a server and wait until it is done."""
    request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, **words)
    cloud.boot(request)
    server = cloud.wait(request.server_id, 120)
    assert server.fault is None, server.fault
    return server


def several(count):
    """Return the row of a boot with many disks over one with none, in the embedded cloud as it is."""
    disks = (bfv.DiskDevice("blank", volume_size=1, delete_on_termination=True),) * DISKS
    with tempfile.TemporaryDirectory() as home, embedded(Path(home)) as cloud_here:
        caller = cloud_here.caller()
        with bfv.connect(cloud_here.config_file, lambda: caller) as cloud:
            image = sites.mock_of(cloud_here.server).upload(os.urandom(1 << 20))

            def one(disks):
                seconds = timed(lambda: boot(cloud, image, disks=disks, availability_zone="cell1"))
                cloud.delete(cloud.servers()[0].id)
                return seconds

            rows = in_turn(lambda: one(disks), lambda: one(()), count)
    return report.pairs(f"boot with {DISKS} blank data disks over one with none, embedded", "s", *rows, SEVERAL)


def worlds(site, home):
    """Yield a bfv without hosts and one with."""
    for name, kind in (("library", sites.World), ("driver", DriverWorld)):
        path = Path(home, name)
        path.mkdir()
        yield kind(site, path)


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.attach", description=__doc__)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--lab", action="store_true", help="on the real services, too")
    args = parser.parse_args()
    rows = [several(args.pairs)]
    with embedded_boot.mock() as served, tempfile.TemporaryDirectory() as home:
        image = served.site.upload(os.urandom(1 << 20))
        here = [*worlds(served.site, home)]
        for world in here:
            rows += attached(served.site, world, image, args.pairs, "mocked at once")
        for (method, path), seconds in PACE.items():
            rule = {"kind": "late", "method": method, "path": path, "times": 0, "seconds": seconds}
            served.control("POST", "/faults", json=rule)
        for world in here:
            rows += attached(served.site, world, image, args.pairs, "mocked at the lab's pace")
    if args.lab:
        site = sites.lab()
        image = site.upload(os.urandom(16 << 20))
        with tempfile.TemporaryDirectory() as home:
            library, driver = worlds(site, home)
            for world in (library, driver):
                rows += attached(site, world, image, args.pairs, "lab")
            rows.append(booted(site, library, image, max(6, args.pairs // 2)))
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")
    report.write("attach", rows)


if __name__ == "__main__":
    sys.exit(main())
