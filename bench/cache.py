# SPDX-License-Identifier: Apache-2.0
"""Storms of volumes of one image: from our sources beside cinder's own cache, and on a cold cell beside plain creates.

On the mocked cloud in a process of its own, or on the lab's real services; sides take turns, who begins alternates.
Each cold run has an image of its own. In the lab cold storms are told of three set-ups of cinder: with its cache,
without, and two active-active volume services without a shared lock. ``--slow-monitors`` sets Ceph's own
paxos_propose_interval in the lab's cell2 while it measures (the lab has a faster one), and puts it back.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from cinderclient import client as cinderclient
from keystoneauth1.session import Session
from rich.console import Console
from rich.table import Table

from bench import report, storms
from bench.embedded_boot import mock
from bench.storms import CELL, MIB
from bfv.images import book
from tests import sites
from tests.images.conftest import forget, volumes

PACE = {"creating": {"seconds": 0.3}, "downloading": {"seconds": 3}, "cloning": {"seconds": 1}}
SLOW, FAST = "1", "0.05"
# Set-ups of cinder: what is told of each, and who cinder says has its pool.
SETUPS = {CELL: "cinder's cache on", "cell2-nocache": "cache off", "cell2-pair": "two services, no shared lock"}
OWNERS = {"cell2-nocache": "lab@cell2-nocache#cell2-nocache", "cell2-pair": "cell2-pair@cell2-pair#cell2-pair"}
WIDE = "[quota]\ninstances = 10000\ncores = 10000\nram = 10000000\n[engine]\n"


class Bench:
    """A site with a bfv of its own and plain clients, as a user and as the service user in the user's project."""

    def __init__(self, site, home, args):
        self.site, self.home, self.rounds, self.args = site, Path(home), args.rounds, args
        self.rows, self.storms, self.colds = [], {}, ([], [])
        self.meter = storms.Meter(site)
        self.user = self._client(site.auth("demo"))

    def world(self, name, kind=CELL, **settings):
        """Return a bfv whose second cell's volumes are of a type."""
        (self.home / name).mkdir()
        world = sites.World(self.site, self.home / name, **{"sources": "snapshot", **settings})
        text = (
            world.config.read_text().replace("[engine]\n", WIDE).replace("volume_type = cell2", f"volume_type = {kind}")
        )
        world.config.write_text(text.replace(self.site.backends[CELL], OWNERS.get(kind, self.site.backends[CELL])))
        return world

    def _client(self, auth):
        return cinderclient.Client("3.71", session=Session(auth=auth), endpoint_override=self.site.volume_url)

    @contextlib.contextmanager
    def image(self):
        """Make an image, and remove it and all that anybody keeps of it."""
        image = self.site.upload(os.urandom(self.args.mib * MIB))
        try:
            yield image
        finally:
            self.site.call("admin", "DELETE", f"{self.site.image_url}/v2/images/{image}")
            forget(self.site, image)

    def keep(self, name, storm):
        """Keep a storm under its source's name and return its seconds."""
        self.storms.setdefault(name, []).append(storm)
        print(f"{name}: {len(storm.times)} in {storm.seconds:.2f} s, {storm.downloads} downloads, {storm.calls} calls",
              file=sys.stderr, flush=True)  # fmt: skip
        return storm.seconds

    def pairs(self, name, one, other, most, rounds=None):
        """Measure both in turn and keep their row."""
        mine, theirs = [], []
        for number in range(rounds or self.rounds):
            turns = [lambda: mine.append(one()), lambda: theirs.append(other())]
            for turn in turns if number % 2 else reversed(turns):
                turn()
        self.rows.append(report.pairs(name, "s", mine, theirs, most))
        return mine, theirs

    def plain(self, name, image, count, client=None, kind=CELL, **source):
        """Storm with a plain client."""
        source = source or {"imageRef": image}
        return self.keep(name, storms.of_volumes(self.meter, client or self.user, count, image, kind, **source))

    def booted(self, name, cloud, image, count):
        """Storm with whole boots."""
        return self.keep(name, storms.of_boots(self.meter, cloud, count, image))

    def warm(self, most):
        """Compare storms on a warm image: from our snapshot beside hits of cinder's cache, volumes and whole boots."""
        count, ours, theirs = self.args.storm, self.world("ours"), self.world("plain", sources="cache")
        with self.image() as image, ours.cloud("admin") as cloud:
            [made] = cloud.images.warm(image, [CELL])
            assert made.kind == "snapshot", made
            [row] = book.of_image(cloud.parts.journal.database, image)
            service = self._client(cloud.parts.rights.scoped(self.site.caller("demo").project_id))
            # Cinder's own cache, as its first user fills it; both sides have then cloned once.
            storms.of_volumes(self.meter, self.user, 1, image)
            storms.of_volumes(self.meter, service, 1, image, snapshot_id=row.snapshot_id)
            self.pairs(f"{count} volumes, our snapshot beside cinder's cache",
                       lambda: self.plain("our snapshot", image, count, service, snapshot_id=row.snapshot_id),
                       lambda: self.plain("cinder's cache, filled by its first user", image, count), most)  # fmt: skip
            with ours.cloud() as mine, theirs.cloud() as other:
                boots = self.args.boots
                self.pairs(f"{boots} whole boots, the same",
                           lambda: self.booted("boots from our snapshot", mine, image, boots),
                           lambda: self.booted("boots from cinder's cache", other, image, boots), most)  # fmt: skip

    def first(self):
        """Compare the first boot after a warm-up with the next one."""
        world = self.world("first")
        with world.cloud("admin") as cloud, world.cloud() as mine:
            firsts, laters = [], []
            for number in range(max(6, self.rounds) + 1):
                with self.image() as fresh:
                    cloud.images.warm(fresh, [CELL])
                    seconds = [storms.of_boots(self.meter, mine, 1, fresh).seconds for _ in range(2)]
                # The first connects to everything.
                if number:
                    firsts.append(seconds[0])
                    laters.append(seconds[1])
        self.rows.append(report.pairs("the first boot after a warm-up beside the next", "s", firsts, laters, 1.2))

    def others(self):
        """Storm once from each other source that a warm-up of ours makes."""
        for kind, name in (("glance", "our copy in Glance"), ("cache", "cinder's cache, filled by us")):
            with self.world(kind, sources=kind).cloud("admin") as cloud, self.image() as image:
                [made] = cloud.images.warm(image, [CELL])
                assert (made.state, made.kind) == ("made", kind), made
                self.plain(name, image, self.args.storm)

    def cold(self, name, kind):
        """Compare storms on a cold cell of one set-up: our boots, which make one source, beside plain creates."""
        count = self.args.storm
        world, found = self.world(name, kind, warm_on_boot=True), []

        def one():
            with self.image() as image, world.cloud() as cloud:
                seconds = self.booted(f"cold, {name}: our boots", cloud, image, count)
                found.append(self.storms[f"cold, {name}: our boots"][-1].downloads)
                assert sum(each["name"].startswith("bfv-image-") for each in volumes(self.site, image)) == 1
            return seconds

        def other():
            with self.image() as image:
                return self.plain(f"cold, {name}: plain creates", image, count, kind=kind)

        both = self.pairs(f"{count} boots on a cold cell, {name}, beside plain creates", one, other, 1.05,
                                self.args.cold)  # fmt: skip
        for kept, more in zip(self.colds, both, strict=True):
            kept += more
        self.rows.append(report.most(f"downloads of such a storm of ours, {name}", "", max(found), 1))

    def tell(self, name):
        """Print and write the pairs, and what each source gave."""
        if len(self.colds[0]) >= 3:
            self.rows.append(report.pairs("boots on a cold cell, all set-ups together", "s", *self.colds, 1.05))
        report.write(name, self.rows)
        figures = {source: storms.told(found) for source, found in self.storms.items()}
        if not figures:
            return
        table = Table("source", *next(iter(figures.values())), box=None)
        for source, each in figures.items():
            table.add_row(
                source, *(f"{value:g}" if float(value).is_integer() else f"{value:.2f}" for value in each.values())
            )
        Console(width=160).print(table)
        Path("build/bench", f"{name}_sources.json").write_text(json.dumps(figures, indent=1) + "\n")


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


@contextlib.contextmanager
def setup(site, kind):
    """Have cinder set up so for as long as the block lasts; yield the volume type."""
    if kind == CELL:
        yield kind
    elif site.control_url:
        site.call("admin", "PUT", f"{site.control_url}/cells/{CELL}", json={"cached": False})
        try:
            yield CELL
        finally:
            site.call("admin", "PUT", f"{site.control_url}/cells/{CELL}", json={"cached": True})
    else:
        sites.on_lab("backend-up", kind)
        try:
            yield kind
        finally:
            sites.on_lab("backend-down", kind)


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--lab", action="store_true", help="on the lab's real services")
    parser.add_argument("--slow-monitors", action="store_true", help="with Ceph's own paxos_propose_interval (lab)")
    parser.add_argument("--storm", type=int, help="volumes of a storm (64; on the mocked cloud 16)")
    parser.add_argument("--boots", type=int, help="whole boots of a warm image at once (a quarter of it)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of storms on a warm image (3)")
    parser.add_argument("--cold", type=int, default=1, help="pairs of storms on a cold cell in each set-up (1)")
    parser.add_argument("--mib", type=int, default=16, help="size of the images (16)")
    parts = parser.add_argument("--only", action="append", choices=["warm", "first", "others", *SETUPS],
                                help="only this part; repeatable")  # fmt: skip
    args = parser.parse_args()
    if min(args.rounds, args.cold) < 1:
        parser.error("there is no ratio without a pair")
    args.storm = args.storm or (64 if args.lab else 16)
    args.boots = args.boots or -(-args.storm // 4)
    # Whoever ends it, what it set up is undone.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        if args.lab:
            site = sites.lab()
        else:
            cloud = stack.enter_context(mock())
            cloud.control("PUT", "/pace", json=PACE)
            site = cloud.site
        stack.enter_context(monitors(args.slow_monitors))
        bench = Bench(site, home, args)
        # Of a run that is interrupted what was measured so far is told.
        stack.callback(bench.tell, f"cache{'_lab' if args.lab else ''}{'_slow' if args.slow_monitors else ''}")
        wanted = args.only or [each for each in parts.choices if each == "warm" or not args.slow_monitors]
        with contextlib.suppress(KeyboardInterrupt):
            if "warm" in wanted:
                bench.warm(round(1 / 3 if args.slow_monitors or not args.lab else 1 / 1.3, 3))
            if "first" in wanted:
                bench.first()
            if "others" in wanted:
                bench.others()
            for kind in SETUPS:
                if kind in wanted and (args.lab or kind != "cell2-pair"):
                    with setup(site, kind) as volume_type:
                        bench.cold(SETUPS[kind], volume_type)


if __name__ == "__main__":
    sys.exit(main())
