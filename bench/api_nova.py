# SPDX-License-Identifier: Apache-2.0
"""The Compute API of ours beside nova 34's own under uWSGI: real HTTP, the same databases, taking turns.

One process of each with as many threads, on one MariaDB of the benchmark's own with real clouds' shape: 32 cells and
100,000 servers, and as many deletes that nobody archived. Both validate tokens by keystonemiddleware, against one
mocked keystone, and keep what they were told. All answers are compared once: the same servers with the same fields.
``python -m bench.api_nova --servers 3000`` for a first look; needs Debian's mariadb-server, and no other service.
"""

import argparse
import http.client
import json
import os
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1.session import Session

from bench import api, api_sides, clouds, mariadb, report
from bench.api_sides import THREADS
from bench.embedded_boot import mock
from lab import novaapi
from lab.settings import LAB
from tests import sites

VERSION = "2.69"
# Seconds after which a connection is opened anew.
IDLE = 5.0
# How often each side is asked: what takes nova milliseconds, seconds, and a boot.
OFTEN, ROUNDS, BOOTS = 100, 9, 30
SHOW, LIST_20, LIST_1000, TWO_CELLS, DEAD, CREATE_MS = 10, 100, 50, 40, 1.1, 50.0
# What docs/compute-api.md says of ours. The mocked neutron has no ports, so nova finds no groups of them.
DELIBERATE = {"OS-EXT-SRV-ATTR:instance_name", "host_status", "OS-DCF:diskConfig"}
ONLY_OURS = {"security_groups"}


class Client:
    """Calls to one API as one user, on kept connections where the server keeps them; as little work as can be."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self._at = url, urlsplit(url)
        self._headers = {"X-Auth-Token": token, "OpenStack-API-Version": f"compute {VERSION}",
                         "Accept": "application/json"}  # fmt: skip
        self._local = threading.local()

    def __call__(self, method: str, path: str, body: object = None) -> bytes:
        """Return the body of a good answer."""
        kept = getattr(self._local, "http", None)
        if kept is None or time.monotonic() - self._local.used > IDLE:
            # A server hangs up on who says nothing for long.
            kept = self._local.http = http.client.HTTPConnection(self._at.hostname, self._at.port, timeout=300)
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        kept.request(method, self._at.path + path, json.dumps(body) if body else None, headers)
        answer = kept.getresponse()
        told = answer.read()
        self._local.used = time.monotonic()
        assert answer.status in (200, 202), (answer.status, told[:1000])
        return told

    def timed(self, path: str, method: str = "GET", body: object = None) -> float:
        """Return the seconds that a call took, its answer read to the end."""
        began = time.perf_counter()
        self(method, path, body)
        return time.perf_counter() - began


@dataclass(frozen=True)
class Sides:
    """Both APIs, each as an admin and as a member of the project that is in two cells."""

    ours: dict[str, Client]
    nova: dict[str, Client]


@dataclass(frozen=True)
class Case:
    """One request that is measured; nova's time is to be at least so many times ours."""

    name: str
    user: str
    path: str
    least: int | None = None
    often: int = ROUNDS


def cases(server_id: str) -> list[Case]:
    everybody = "/servers/detail?all_tenants=1&limit="
    return [
        Case("show", "demo", f"/servers/{server_id}", SHOW, OFTEN),
        Case("list 20 detailed, all projects", "admin", f"{everybody}20", LIST_20, 3 * ROUNDS),
        Case("list 1,000 detailed, all projects", "admin", f"{everybody}1000", LIST_1000),
        Case("a project in 2 cells, 1,000 detailed", "demo", "/servers/detail?limit=1000", TWO_CELLS),
        Case("a project in 2 cells, 20 detailed", "demo", "/servers/detail?limit=20", None, 3 * ROUNDS),
    ]


def compare(sides: Sides, case: Case) -> int:
    """Return how many servers both tell of, having seen that they tell the same. Raises AssertionError."""
    mine, theirs = (_read(side[case.user], case.path) for side in (sides.ours, sides.nova))
    pairs = [(mine["server"], theirs["server"])] if "server" in mine else None
    pairs = pairs or list(zip(mine["servers"], theirs["servers"], strict=True))
    for ours, nova in pairs:
        assert ours["id"] == nova["id"], case.name
        assert ours.keys() == nova.keys() | ONLY_OURS, (case.name, ours.keys() ^ nova.keys())
        different = {name: (ours[name], nova[name]) for name in nova if ours[name] != nova[name]}
        assert different.keys() <= DELIBERATE, (case.name, different)
    assert mine.keys() == theirs.keys(), (case.name, mine.keys() ^ theirs.keys())
    return len(pairs)


def _read(client: Client, path: str) -> dict[str, Any]:
    """Return an answer with links that say nothing of who gave it."""
    told = client("GET", path).decode()
    read: dict[str, Any] = json.loads(told.replace(client.url.removesuffix("/v2.1"), "http://api"))
    return read


def side_by_side(sides: Sides, case: Case, rounds: int, name: str = "") -> list[report.Row]:
    """Measure both in turn; tell medians, how many times nova's time is ours, and what is slow."""
    count = compare(sides, case)
    mine, theirs = report.in_turn(
        max(rounds, case.often * rounds // ROUNDS),
        lambda: sides.ours[case.user].timed(case.path),
        lambda: sides.nova[case.user].timed(case.path),
    )
    return told(f"{case.name}{name} ({count})", mine, theirs, case.least)


def told(name: str, mine: Sequence[float], theirs: Sequence[float], least: float | None = None) -> list[report.Row]:
    """Return the rows of calls that were measured in turn, and print the first."""
    mine, theirs = ([1000 * seconds for seconds in side] for side in (mine, theirs))
    row = report.times(f"{name}, p50", "ms", mine, theirs, least)
    print(f"{name}: {row.ours:.1f} ms, nova {row.other:.1f} ms: {row.ratio:.1f} x", flush=True)
    return [row, report.Row(f"{name}, p99", "ms", slowest(mine), slowest(theirs))]


def slowest(taken: Sequence[float]) -> float:
    """Return what 99 of a hundred do not exceed; of few it is the longest."""
    return sorted(taken)[min(len(taken) - 1, round(len(taken) * 0.99))]


def rate(client: Client, path: str, seconds: float, body: object = None) -> float:
    """Return how many such requests a second are answered to four clients."""
    until = time.perf_counter() + seconds

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < until:
            client("POST" if body else "GET", path, body)
            done += 1
        return done

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        done = sum(pool.map(work, range(THREADS)))
    return done / (time.perf_counter() - began)


def rates(sides: Sides, case: Case, seconds: float) -> report.Row:
    """Return the requests a second of both, measured one after the other."""
    mine, theirs = (rate(side[case.user], case.path, seconds) for side in (sides.ours, sides.nova))
    row = report.Row(f"{case.name}, {THREADS} clients", "1/s", mine, theirs, mine / theirs)
    return replace(row, target=f">= {case.least}", met=mine / theirs >= case.least) if case.least else row


def creates(sides: Sides, image: str, seconds: float, boots: int) -> list[report.Row]:
    """Create servers by both. Behind the answer ours is made on the mocked cloud; nova's waits for a conductor."""
    server = {"name": "bench", "imageRef": image, "flavorRef": "tiny", "networks": "none"}
    body = {"server": server}
    ours, nova = sides.ours["demo"], sides.nova["demo"]
    mine, theirs = report.in_turn(
        boots, lambda: ours.timed("/servers", "POST", body), lambda: nova.timed("/servers", "POST", body)
    )
    many = [rate(each, "/servers", seconds, body) for each in (ours, nova)]
    return [
        *told("create (202)", mine, theirs),
        report.most("create (202), our p50", "ms", 1000 * statistics.median(mine), CREATE_MS),
        report.Row(f"create (202), {THREADS} clients", "1/s", *many, many[0] / many[1]),
    ]


def beside_dead(healthy: Client, dead: Client, limit: int, rounds: int) -> report.Row:
    """Compare a page of ours beside a cell that accepts and never answers with the same of a healthy cloud."""
    path = f"/servers/detail?all_tenants=1&limit={limit}"
    with_dead, without = report.in_turn(rounds, lambda: dead.timed(path), lambda: healthy.timed(path))
    in_ms = ([1000 * seconds for seconds in taken] for taken in (with_dead, without))
    return report.pairs(f"list {limit:,} detailed, one dead cell beside none", "ms", *in_ms, DEAD)


def measure(args: argparse.Namespace, url: str, home: Path, site: sites.Site) -> Iterator[report.Row]:
    """Run all of it and yield the rows."""
    project = site.caller("demo").project_id
    databases = api_sides.prepare(url, home, args.servers, args.cells, args.projects, project)
    files = {name: home / f"{name}.conf" for name in ("bench_api", "bench_dead")}
    for name, file in files.items():
        file.write_text(api_sides.configured(databases, home, site, name))
    api_sides.make_own(files["bench_api"])
    tokens = {user: site.auth(user).get_token(Session()) for user in ("admin", "demo")}

    def clients(told):
        return {user: Client(told[0], token) for user, token in tokens.items()}

    with api_sides.ours(files["bench_api"]) as mine, api_sides.nova(databases, home, site, "nova-api") as theirs:
        sides = Sides(clients(mine), clients(theirs))
        (first,) = json.loads(sides.ours["demo"]("GET", "/servers?limit=1"))["servers"]
        for case in cases(first["id"]):
            yield from side_by_side(sides, case, args.rounds)
            yield rates(sides, case, args.seconds)
        with api_sides.nova(databases, home, site, "nova-api-tuned", api_sides.TUNED) as tuned:
            against = Sides(sides.ours, clients(tuned))
            for case in cases(first["id"]):
                quick = replace(case, least=None, often=ROUNDS)
                yield from side_by_side(against, quick, args.rounds, ", beside a tuned nova")[:1]
        with api_sides.ours(files["bench_dead"]) as dead:
            for limit in (20, 1000):
                yield beside_dead(sides.ours["admin"], clients(dead)["admin"], limit, 3 * args.rounds)
        memory = api.resident(mine[1]), sum(map(api.resident, children(theirs[1])))
        yield report.Row("memory of the process", "MiB", *memory)
        yield from creates(sides, site.upload(os.urandom(1 << 20)), args.seconds, BOOTS)


def children(pid: int) -> list[int]:
    """Return the processes that uWSGI's master has made."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.api_nova", description=__doc__)
    parser.add_argument("--servers", type=int, default=100_000)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of what takes nova seconds")
    parser.add_argument("--seconds", type=float, default=5, help="how long each rate is measured")
    args = parser.parse_args()
    if not shutil.which("mariadb-install-db"):
        sys.exit("mariadb-install-db is not there: apt-get install mariadb-server, or `python3 -m lab install`")
    novaapi.install()
    home = LAB / "bench-api"
    buffer = max(512, int(2 * clouds.MIB_EACH * args.servers))
    with mock() as cloud, mariadb.running(home / "mariadb", buffer) as url:
        report.write("api_nova", list(measure(args, url, home, cloud.site)))


if __name__ == "__main__":
    main()
