# SPDX-License-Identifier: Apache-2.0
"""What the HTTP door costs: calls through `bfv serve`, a process of its own, beside the same calls of the library.

Both work on the same databases and take turns; the library's call is the floor, so the ratio is the price of HTTP,
tokens, policy, schemas and JSON together. Then many clients at once: how many requests a second, whether any is lost,
and whether memory stays.
"""

import argparse
import contextlib
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from keystoneauth1.session import Session

import bfv
from bench import report
from bench.embedded_boot import TICK, mock
from bench.seed_cells import Shape, project_id, seed
from bfv.types import BootRequest
from cells.listing import Query
from cells.schema_api import instance_mappings
from cells.schema_cell import instances
from tests import sites

SEEDED, CREATE_MS = 1200, 50.0
PATHS = (("show", "/servers/{server_id}"), ("list 20 detailed", "/servers/detail?limit=20"),
         ("list 1000 detailed", "/servers/detail?limit=1000"), ("flavors", "/flavors"))  # fmt: skip
VERSION = {"OpenStack-API-Version": "compute 2.96"}
WIDE = "[quota]\ninstances = -1\ncores = -1\nram = -1\n[compute]\ndriver = example\n[example_driver]\n"
# Hosts that never are full: what no host takes is refused, and rightly.
WIDE += "vcpus = 10000\nmemory_mb = 10000000\nlocal_gb = 100000\n"


class Door:
    """Calls over HTTP on kept connections, one for each thread, as demo."""

    def __init__(self, url, site, image):
        self.url, self.image = url, image
        self._token = site.auth("demo").get_token(Session())
        self._local = threading.local()

    def __call__(self, method, path, body=None):
        """Return the answer, whatever it is."""
        http = getattr(self._local, "http", None)
        if http is None:
            http = self._local.http = requests.Session()
            http.headers.update({"X-Auth-Token": self._token, **VERSION})
        return http.request(method, self.url + path, json=body, timeout=120)

    def get(self, path):
        """Read, and return nothing."""
        answer = self("GET", path)
        assert answer.status_code == 200, answer.text

    def create(self):
        """Create a server and return its id."""
        server = {"name": sites.NAME, "imageRef": self.image, "flavorRef": "tiny", "networks": "none"}
        answer = self("POST", "/servers", {"server": server})
        assert answer.status_code == 202, answer.text
        return answer.json()["server"]["id"]


@contextlib.contextmanager
def served(site):
    """Run `bfv serve` on databases with servers in them; give its process, door and the world they are of."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        world = sites.World(site, home)
        world.config.write_text(f"{world.config.read_text()}{WIDE}state_path = {home}/guests\n")
        with world.cloud() as cloud:
            fill(cloud.parts, site.caller("demo").project_id)
        environment = {**os.environ, "PYTHONPATH": str(sites.ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "bfv", "--config-file", str(world.config), "serve", "--port", "0"]
        log = (home / "log").open("w")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=home)
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            yield process, Door(found[0], site, site.upload(os.urandom(1 << 20))), world
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
            process.stdout.close()
            log.close()


def fill(parts, project):
    """Write servers of a project into its cells, as a real cloud has them."""
    cells = [(cell, parts.cells.of(cell)) for cell in parts.registry.cells() if not cell.is_cell0]
    seed(parts.api, cells, Shape(servers=SEEDED, projects=1, queued=0.0, specs=True))
    for database, table in ((parts.api, instance_mappings), *((database, instances) for _, database in cells)):
        mine = table.update().where(table.c.project_id == project_id(0)).values(project_id=project)
        with database.writer() as conn:
            conn.execute(mine)


def in_turn(ours, other, count):
    """Return the milliseconds that each of so many calls took, of both sides; the first two warm up."""
    taken = ([], [])
    for number in range(-2, count):
        sides = [(taken[0], ours), (taken[1], other)]
        for to, call in sides if number % 2 else reversed(sides):
            began = time.perf_counter()
            call()
            to.append((time.perf_counter() - began) * 1000)
    return taken[0][2:], taken[1][2:]


def told(name, ours, other):
    """Return the rows of calls that were measured in turn: their medians and ratio, and ours that are slow."""
    slow = statistics.quantiles(ours, n=100)[98]
    middle, floor = statistics.median(ours), statistics.median(other)
    return [report.Row(f"{name}, p50 beside the library", "ms", middle, floor, middle / floor),
            report.Row(f"{name}, p99", "ms", slow, None)]  # fmt: skip


def latencies(door, world, count):
    """Return the rows of single calls, and the median of creates."""
    with world.cloud() as cloud:
        who = world.site.caller("demo")
        pages = {limit: Query(who.project_id, limit, detail=True) for limit in (20, 1000)}
        server_id = cloud.page(pages[20]).servers[0].id
        rows = told("show", *in_turn(lambda: door.get(f"/servers/{server_id}"), lambda: cloud.server(server_id), count))
        for limit, query in pages.items():
            calls = lambda: door.get(f"/servers/detail?limit={limit}"), lambda: cloud.page(query)  # noqa: B023
            rows += told(f"list {limit} detailed", *in_turn(*calls, max(count // (limit // 10), 30)))

        def boot():
            made.append(cloud.boot(BootRequest(image=door.image, flavor="tiny", name=sites.NAME)).id)

        made: list[str] = []
        ours, other = in_turn(lambda: made.append(door.create()), boot, 40)
        rows += told("create", ours, other)
        for key in made:
            with contextlib.suppress(bfv.errors.NotFound):
                cloud.delete(key)
    return rows, statistics.median(ours)


def throughput(door, process, path, threads, seconds):
    """Return how many such requests a second are answered to so many clients, and the milliseconds of CPU of each."""
    until, cpu = time.monotonic() + seconds, used(process.pid)

    def client(_):
        done = 0
        while time.monotonic() < until:
            door.get(path)
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(client, range(threads)))
    return done / seconds, (used(process.pid) - cpu) / done * 1000


def storm(door, process, clients, seconds):
    """Have many clients create, list, show and delete; return the answers by code and the memory before and after."""
    memory, codes, until = [resident(process.pid)], Counter(), time.monotonic() + seconds

    def client(_):
        while time.monotonic() < until:
            server = {"name": sites.NAME, "imageRef": door.image, "flavorRef": "tiny", "networks": "none"}
            made = door("POST", "/servers", {"server": server})
            codes[made.status_code] += 1
            path = f"/servers/{made.json()['server']['id']}" if made.status_code == 202 else "/servers?limit=1"
            for method, where in (("GET", "/servers?limit=20"), ("GET", path), ("DELETE", path)):
                codes[door(method, where).status_code] += 1

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, number) for number in range(clients)]
        time.sleep(seconds / 2)
        memory.append(resident(process.pid))
        for each in running:
            each.result()
    memory.append(resident(process.pid))
    return codes, memory


def used(pid):
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    """Return the memory of a process in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="calls of each kind")
    parser.add_argument("--clients", type=int, default=200, help="clients of the storm")
    parser.add_argument("--seconds", type=float, default=60, help="how long the storm lasts")
    args = parser.parse_args()
    with mock() as cloud, served(cloud.site) as (process, door, world):
        rows, middle = latencies(door, world, args.count)
        server_id = door("GET", "/servers?limit=1").json()["servers"][0]["id"]
        rows.append(report.most("create, p50", "ms", middle, CREATE_MS))
        for name, path in PATHS:
            rate, cpu = throughput(door, process, path.format(server_id=server_id), 8, 5)
            rows.append(report.Row(f"{name}, 8 clients", "1/s", rate, None))
            rows.append(report.Row(f"{name}, our CPU for each", "ms", cpu, None))
        codes, memory = storm(door, process, args.clients, args.seconds)
    # A request that is lost raises in its client, and ends all this.
    failed = sum(count for code, count in codes.items() if code >= 400)
    rows += [report.Row(f"create, list, show, delete: {args.clients} clients for {args.seconds:g} s", "1/s",
                        sum(codes.values()) / args.seconds, None),
             report.most("the same, answers that are no success", "", failed, 0),
             report.Row("memory at half time (ours) and before (other)", "MiB", memory[1], memory[0]),
             report.Row("memory at the end (ours) and at half time (other)", "MiB", memory[2], memory[1],
                        memory[2] / memory[1])]  # fmt: skip
    sys.stdout.write(f"answers by code: {dict(sorted(codes.items()))}\n")
    report.write("api", rows)


if __name__ == "__main__":
    main()
