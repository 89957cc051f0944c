# SPDX-License-Identifier: Apache-2.0
"""Storms of volumes of one image: from our sources beside cinder's own cache, and on a cold cell beside plain creates.

On the mocked cloud in a process of its own, or on the lab's real services; sides take turns, who begins alternates.
Each cold run has an image of its own. ``--slow-monitors`` sets Ceph's own paxos_propose_interval in the lab's cell2
while it measures (the lab has a faster one), and puts it back.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cinderclient import client as cinderclient
from keystoneauth1.session import Session

import bfv
from bench import report
from bench.embedded_boot import mock
from bfv.images import book
from tests import sites
from tests.images.conftest import forget, volumes

CELL, AT_ONCE, LOOK = "cell2", 8, 0.25
PACE = {"creating": {"seconds": 0.3}, "downloading": {"seconds": 3}, "cloning": {"seconds": 1}}
SLOW, FAST = "1", "0.05"


def storm(client, count, **source):
    """Create so many volumes with a plain client, eight POSTs at once, a list each LOOK; return the seconds of each."""
    began = time.perf_counter()

    def create(_):
        return client.volumes.create(1, name=sites.NAME, volume_type=CELL, availability_zone=CELL, **source).id

    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = set(pool.map(create, range(count)))
    made, done = list(waiting), []
    while waiting:
        listed = {each.id: each.status for each in client.volumes.list(search_opts={"name": sites.NAME})}
        ready = {key for key in waiting if listed.get(key) == "available"}
        assert "error" not in {listed.get(key) for key in waiting}
        done += [time.perf_counter() - began] * len(ready)
        waiting -= ready
        time.sleep(LOOK if waiting else 0)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(client.volumes.delete, made))
    while client.volumes.list(search_opts={"name": sites.NAME}):
        time.sleep(LOOK)
    return done


def boots(cloud, image, count):
    """Boot so many servers and return the seconds until all are ready."""
    began = time.perf_counter()

    def one(_):
        request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone=CELL)
        cloud.boot(request)
        return request.server_id

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ids = list(pool.map(one, range(count)))
    servers = [cloud.wait(each, 300) for each in ids]
    seconds = time.perf_counter() - began
    assert {each.task_state for each in servers} == {"spawning"}, [each.fault for each in servers if each.fault][:1]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(cloud.delete, ids))
    return seconds


class Bench:
    """A site with a bfv of its own and plain clients, as a user and as the service user in the user's project."""

    def __init__(self, site, home, count, rounds):
        self.site, self.count, self.rounds = site, count, rounds
        # What was measured so far: of a run that is interrupted this is told.
        self.rows = []
        self.ours, self.plain = (self._world(Path(home), name, on) for name, on in (("ours", True), ("plain", False)))
        self.user = self._client(site.auth("demo"))

    def _world(self, home, name, on):
        (home / name).mkdir()
        world = sites.World(self.site, home / name, sources="snapshot", warm_on_boot=on)
        wide = "[quota]\ninstances = 10000\ncores = 10000\nram = 10000000\n[engine]\nworkers_per_cell = 64\n"
        world.config.write_text(world.config.read_text().replace("[engine]\n", wide))
        return world

    def _client(self, auth):
        return cinderclient.Client("3.71", session=Session(auth=auth), endpoint_override=self.site.volume_url)

    def image(self, mib=64):
        return self.site.upload(os.urandom(mib << 20))

    def drop(self, image):
        """Remove an image and all that anybody keeps of it."""
        self.site.call("admin", "DELETE", f"{self.site.image_url}/v2/images/{image}")
        forget(self.site, image)

    def pairs(self, name, one, other, most):
        """Measure both in turn and keep their row; the first pair warms up."""
        mine, theirs = [], []
        for number in range(self.rounds + 1):
            turns = [lambda: mine.append(one()), lambda: theirs.append(other())]
            for turn in turns if number % 2 else reversed(turns):
                turn()
            print(f"{name}: {mine[-1]:.2f} s beside {theirs[-1]:.2f} s", file=sys.stderr, flush=True)
        self.rows.append(report.pairs(name, "s", mine[1:], theirs[1:], most))

    def warm(self, most):
        """Compare storms on a warm image: from our snapshot beside hits of cinder's cache, volumes and whole boots."""
        image, count = self.image(), self.count
        with self.ours.cloud("admin") as cloud, self.ours.cloud() as mine, self.plain.cloud() as theirs:
            [made] = cloud.images.warm(image, [CELL])
            assert made.kind == "snapshot", made
            [row] = book.of_image(cloud.parts.journal.database, image)
            project = mine._caller().project_id
            service = self._client(cloud.parts.rights.scoped(project))
            storm(self.user, 1, imageRef=image)
            firsts, laters = [], []
            self.pairs(f"{count} volumes, our snapshot beside cinder's cache",
                       lambda: storm(service, count, snapshot_id=row.snapshot_id)[-1],
                       lambda: storm(self.user, count, imageRef=image)[-1], most)  # fmt: skip
            self.pairs(f"{count} whole boots, the same",
                       lambda: boots(mine, image, count), lambda: boots(theirs, image, count), most)  # fmt: skip
            for _ in range(self.rounds):
                fresh = self.image(16)
                cloud.images.warm(fresh, [CELL])
                firsts.append(boots(mine, fresh, 1))
                laters.append(boots(mine, fresh, 1))
                self.drop(fresh)
            self.rows.append(report.pairs("the first boot after a warm-up beside the next", "s", firsts, laters, 1.2))
        self.drop(image)

    def cold(self):
        """Compare storms on a cold cell: our boots, which make one source, beside plain creates."""
        downloads = []

        def one():
            image = self.image()
            with self.ours.cloud() as cloud:
                seconds = boots(cloud, image, self.count)
            downloads.append(self.downloads(image))
            kept = [each for each in volumes(self.site, image) if each["name"].startswith("bfv-image-")]
            assert len(kept) == 1
            self.drop(image)
            return seconds

        def other():
            image = self.image()
            seconds = storm(self.user, self.count, imageRef=image)[-1]
            self.drop(image)
            return seconds

        self.pairs(f"{self.count} boots on a cold cell beside plain creates", one, other, 1.05)
        self.rows.append(report.most("downloads of such a storm of ours", "", statistics.mean(downloads), 1))

    def downloads(self, image):
        if self.site.control_url is None:
            return sites.downloads(image)
        # The mocked cinder reads the bytes where they are: each download is a volume that has no parent.
        listed = self.site.call("admin", "GET", f"{self.site.control_url}/rbd/{CELL}/volumes").json()["images"]
        names = {f"volume-{each['id']}" for each in volumes(self.site, image)}
        return sum(each["parent"] is None for each in listed if each["name"].partition(".")[0] in names)


@contextlib.contextmanager
def monitors(slow):
    """Have the monitors of the lab's cell propose as seldom as Ceph's own default says."""
    conf = sites.lab_environment()[f"LAB_{CELL.upper()}_CEPH_CONF"] if slow else None

    def tell(value):
        words = ["ceph", "-c", conf, "tell", "mon.a", "injectargs", f"--paxos_propose_interval={value}"]
        subprocess.run(words, check=True, capture_output=True, timeout=60)

    if slow:
        tell(SLOW)
    try:
        yield
    finally:
        if slow:
            tell(FAST)


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--lab", action="store_true", help="on the lab's real services")
    parser.add_argument("--slow-monitors", action="store_true", help="with Ceph's own paxos_propose_interval (lab)")
    parser.add_argument("--storm", type=int, default=64, help="volumes of a storm (64)")
    parser.add_argument("--rounds", type=int, default=6, help="pairs that count, at least 6 (6)")
    parser.add_argument("--only", choices=["warm", "cold"], help="only these storms")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        if args.lab:
            site = sites.lab()
        else:
            cloud = stack.enter_context(mock())
            cloud.control("PUT", "/pace", json=PACE)
            site = cloud.site
        stack.enter_context(monitors(args.slow_monitors))
        bench = Bench(site, home, args.storm, args.rounds)
        with contextlib.suppress(KeyboardInterrupt):
            if args.only != "cold":
                bench.warm(round(1 / 3 if args.slow_monitors or not args.lab else 1 / 1.3, 3))
            if args.only != "warm":
                bench.cold()
    name = "cache_lab" if args.lab else "cache"
    report.write(f"{name}{'_slow' if args.slow_monitors else ''}", bench.rows)


if __name__ == "__main__":
    sys.exit(main())
