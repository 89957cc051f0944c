# SPDX-License-Identifier: Apache-2.0
"""What a boot costs us alone: the services are mocked, in a process of their own, and answer at once over real HTTP.

On real services nobody sees whether we are slow: Cinder is so much slower. Here our CPU time for each boot is told
apart from the mock's, and it is seen whether many boots that wait are looked at as rarely as one.
"""

import argparse
import contextlib
import cProfile
import dataclasses
import json
import os
import pstats
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

import bfv
from bench import report
from bfv import dispatch
from bfv.engine import Engine
from tests import sites

STORM = 32
WAITING = 64
CREATING = 5.0
CPU, FLAT = 15.0, 1.5
TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Mock:
    """A mocked cloud in a process of its own."""

    site: sites.Site
    pid: int

    def control(self, method, path, **kwargs):
        """Call the mock's own interface."""
        answer = requests.request(method, self.site.control_url + path, timeout=30, **kwargs)
        answer.raise_for_status()
        return answer

    def cpu(self):
        """Return the seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@contextlib.contextmanager
def mock():
    """Run a mocked cloud for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-m", "bfv.mockcloud"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    try:
        told = json.loads(process.stdout.readline())
        names = {field.name for field in dataclasses.fields(sites.Site)}
        yield Mock(sites.Site(**{key: value for key, value in told.items() if key in names}), process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


class Here(Engine):
    """Runs a flow where it is submitted, so that one thread's profile holds all of a boot."""

    def __init__(self, handler):
        self.start(handler)

    def start(self, handler):
        self.handler = handler

    def submit(self, intent_id, _lane):
        while (again := self.handler(intent_id)) is not None:
            time.sleep(again)

    def wait(self, _intent_id, _seconds):
        return True

    def running(self):
        return set()

    def stop(self, _seconds):
        return True


@contextlib.contextmanager
def opened(mock, workers=""):
    """Open a cloud with databases of its own, warm: each cell has booted once and all tokens are there."""
    with tempfile.TemporaryDirectory() as home:
        world = sites.World(mock.site, Path(home))
        wide = f"[quota]\ninstances = 10000\ncores = 10000\nram = 10000000\n[engine]\n{workers}"
        world.config.write_text(world.config.read_text().replace("[engine]\n", wide))
        with world.cloud() as cloud:
            image = mock.site.upload(os.urandom(1 << 20))
            for cell in mock.site.backends:
                remove(cloud, boot(cloud, image, 1, availability_zone=cell))
            yield cloud, image


def boot(cloud, image, count, at_once=STORM, **how):
    """Boot so many servers, so many at once, and return their ids once all are ready."""

    def one(_):
        request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, **how)
        cloud.boot(request)
        server = cloud.wait(request.server_id, 120)
        assert server.task_state == "spawning", server.fault
        return server.id

    with ThreadPoolExecutor(min(at_once, count)) as pool:
        return list(pool.map(one, range(count)))


def remove(cloud, ids):
    """Delete servers, some at once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cloud.delete, ids))


def rates(mock, rounds):
    """Return the boots a second of each storm."""
    found = []
    with opened(mock) as (cloud, image):
        for _ in range(rounds):
            began = time.perf_counter()
            ids = boot(cloud, image, STORM)
            found.append(STORM / (time.perf_counter() - began))
            remove(cloud, ids)
    return found


def cpu(mock, count, at_once, rounds):
    """Return the milliseconds of CPU for each boot, the medians of so many rounds: ours and the mock's."""
    found = []
    with opened(mock) as (cloud, image):
        for _ in range(rounds):
            ours, theirs = time.process_time(), mock.cpu()
            ids = boot(cloud, image, count, at_once)
            found.append((time.process_time() - ours, mock.cpu() - theirs))
            remove(cloud, ids)
    return [statistics.median(side) / count * 1000 for side in zip(*found, strict=True)]


def looks(mock, count):
    """Return the looks in a second while so many boots wait for their volumes in one cell."""
    made = {"method": "POST", "path": "/volume/v3/volumes$"}
    seen = {"method": "GET", "path": "/volumes/[^/]+$"}
    with opened(mock, f"workers_per_cell = {WAITING}\n") as (cloud, image):
        mock.control("PUT", "/pace", json={"creating": {"seconds": CREATING}})
        mock.control("DELETE", "/calls")
        with ThreadPoolExecutor(1) as pool:
            booting = pool.submit(boot, cloud, image, count, count, availability_zone="cell1")
            sites.until(lambda: mock.control("GET", "/calls", params=made).json()["count"] >= count)
            mock.control("DELETE", "/calls")
            began = time.perf_counter()
            time.sleep(CREATING * 0.6)
            number = mock.control("GET", "/calls", params=seen).json()["count"]
            seconds = time.perf_counter() - began
            ids = booting.result()
        mock.control("PUT", "/pace", json={})
        remove(cloud, ids)
    return number / seconds


def profiled(mock, count, lines):
    """Print what our time goes to, by own time and by all below."""
    with opened(mock) as (cloud, image):
        cloud.engine = Here(lambda intent_id: dispatch.run(cloud.parts, intent_id))
        cloud.use(cloud.parts)
        profiler = cProfile.Profile(time.thread_time)
        for _ in range(count):
            request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME)
            profiler.runcall(cloud.boot, request)
            cloud.delete(request.server_id)
    for order in ("tottime", "cumtime"):
        pstats.Stats(profiler).sort_stats(order).print_stats(lines)


def measure(mock, args):
    """Return all rows."""
    storms = rates(mock, args.rounds)
    many, mock_many = cpu(mock, args.boots, STORM, args.rounds)
    one, mock_one = cpu(mock, args.boots, 1, args.rounds)
    few, all_looks = looks(mock, 1), looks(mock, WAITING)
    ratio = all_looks / few
    return [
        report.Row(f"boots in a second, {STORM} at once, the median of {len(storms)}", "1/s", statistics.median(storms),
                   None),
        report.most(f"CPU of ours for a boot, {STORM} at once", "ms", many, CPU),
        report.most("CPU of ours for a boot, one after the other", "ms", one, CPU),
        report.Row(f"CPU of the mock for a boot, {STORM} at once", "ms", mock_many, None),
        report.Row("CPU of the mock for a boot, one after the other", "ms", mock_one, None),
        report.Row(f"looks in a second, {WAITING} boots wait (ours) beside 1 (other)", "1/s", all_looks, few, ratio,
                   target=f"<= {FLAT}", met=ratio <= FLAT),
    ]  # fmt: skip


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.embedded_boot", description=__doc__)
    parser.add_argument("--boots", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", type=int, metavar="LINES", help="only print what our time goes to")
    args = parser.parse_args()
    with mock() as served:
        if args.profile:
            profiled(served, args.boots, args.profile)
            return
        report.write("embedded_boot", measure(served, args))


if __name__ == "__main__":
    sys.exit(main())
