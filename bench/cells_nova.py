# SPDX-License-Identifier: Apache-2.0
"""Lists and counts of ours beside nova's own library, on the same databases of one MariaDB, taking turns.

Library against library: nova's ``instance_list.get_instance_objects_sorted`` with what its view of details asks for at
microversion 2.69 (that view, its JSON and its HTTP come on top), its quota count, in a process of its own that starts
as its API starts; ours with volumes and faults, which nova's view reads by further queries. Ours through mysqlclient
where it is installed, nova's through PyMySQL as it comes, or with ``--nova-driver mysqldb`` through mysqlclient, too.

``python -m bench.cells_nova``; needs Debian's mariadb-server and ``python3 -m lab nova-install``, no other service.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import clouds, mariadb, report, seed_cells
from cells import Cell, Cells, Database, Registry, usage
from cells.dbapi import check_url
from cells.listing import Listing, Query
from lab import nova as real
from lab.settings import LAB

PARTS = ("nova", "deletes", "million")
# Fewer have no interval.
MEASURED = 6
STREAM_MIB = 150


@dataclass(frozen=True)
class Pair:
    """Seconds of the same thing by us and by nova, measured in turn; nova's are empty where it has nothing like it."""

    name: str
    ours: Sequence[float]
    novas: Sequence[float] = ()
    note: str = ""


class Ours:
    """Our library on the databases of a deployment, as one process of our API has it."""

    def __init__(self, api_url: str, dead: str | None = None) -> None:
        self.registry = Registry(Database("api", api_url), api_url)

        def opened(cell: Cell) -> Database:
            url = cell.database_connection
            return Database(cell.name, clouds.silent(url) if cell.name == dead else url)

        self.cells = Cells(opened)
        self.listing = Listing(self.registry, self.cells)

    def page(self, project: str | None = None, limit: int = 1000, marker: str | None = None, detail: bool = True):
        began = time.perf_counter()
        page = self.listing.page(Query(project, limit, marker, detail=detail))
        return time.perf_counter() - began, page

    def count(self, project: str) -> tuple[float, usage.Usage]:
        """Return what a project has, as ``bfv.quota`` counts it, and the seconds."""
        began = time.perf_counter()
        cells = usage.cells_of(self.registry.database.rows, project, self.registry.recent_cells())
        answers = usage.in_cells(self.cells, cells, project, "somebody")
        total = usage.total(usage.merged(answer.value for answer in answers).values())
        return time.perf_counter() - began, total

    def close(self) -> None:
        self.cells.close()
        self.registry.database.close()


def beside_nova(ours: Ours, nova: real.Nova, shape: seed_cells.Shape, rounds: int) -> Iterator[Pair]:
    """Measure pages and counts of both; each answer is compared once, so that both do the same."""
    two_cells, one = seed_cells.project_id(shape.projects - 1), seed_cells.project_id(0)
    pages: list[tuple[str, str | None, int]] = [("20 detailed of all", None, 20), ("1,000 detailed of all", None, 1000),
                                                ("1,000 detailed of a project in 2 cells", two_cells, 1000),
                                                ("20 detailed of a project in 2 cells", two_cells, 20)]  # fmt: skip
    for per_project in (False, True):
        nova.ask("option", group="api", name="instance_list_per_project_cells", value=per_project)
        for name, project, limit in pages[2:] if per_project else pages:
            found = len(ours.page(project, limit)[1].servers)
            assert nova.ask("timed_page", project=project, limit=limit)["servers"] == found, "not the same page"
            mine, theirs = report.in_turn(
                rounds,
                lambda project=project, limit=limit: ours.page(project, limit)[0],
                lambda project=project, limit=limit: nova.ask("timed_page", project=project, limit=limit)["seconds"],
            )  # fmt: skip
            yield Pair(name + (", instance_list_per_project_cells" if per_project else ""), mine, theirs, f"{found}")
    nova.ask("option", group="api", name="instance_list_per_project_cells", value=False)
    total, counted = ours.count(one)[1], nova.ask("timed_count", project=one)["count"]["project"]
    assert asdict(total) == counted, f"not the same count: {total}, {counted}"
    mine, theirs = report.in_turn(rounds, lambda: ours.count(one)[0],
                           lambda: nova.ask("timed_count", project=one)["seconds"])  # fmt: skip
    yield Pair("count of a project's quota", mine, theirs, f"{total.instances} servers")


def walk(ours: Ours, nova: real.Nova | None) -> Iterator[Pair]:
    """Go through all servers by marker, a thousand at a time; tell the pages at the start and those at the end."""
    steps = {"ours": lambda marker: _step(ours, marker)}
    if nova:
        steps["nova"] = lambda marker: _nova_step(nova, marker)
    # The first time it meets all the deletes.
    first = list(_walked(steps["ours"]))
    times = {name: list(_walked(step)) for name, step in steps.items()}
    edge = max(1, min(10, len(times["ours"]) // 4))
    pages = f"{len(times['ours'])} pages"
    yield Pair("a page of a walk, first ones", times["ours"][1 : edge + 1], times.get("nova", [])[1 : edge + 1], pages)
    yield Pair("a page of a walk, last full ones", times["ours"][-edge - 1 : -1], times.get("nova", [])[-edge - 1 : -1],
               pages)  # fmt: skip
    yield Pair("the first walk of a process", [sum(first)], (), pages)
    yield Pair("the whole walk", [sum(times["ours"])], [sum(times["nova"])] if nova else (), pages)


def _walked(step: Callable[[str | None], tuple[float, str | None]]) -> Iterator[float]:
    marker: str | None = None
    while True:
        seconds, marker = step(marker)
        yield seconds
        if marker is None:
            return


def _step(ours: Ours, marker: str | None) -> tuple[float, str | None]:
    seconds, page = ours.page(marker=marker, detail=False)
    return seconds, page.next_marker


def _nova_step(nova: real.Nova, marker: str | None) -> tuple[float, str | None]:
    told = nova.ask("timed_page", marker=marker, limit=1000, detail=False)
    return told["seconds"], told["last"] if told["servers"] == 1000 else None


def with_a_dead_cell(api_url: str, rounds: int) -> Iterator[Pair]:
    """Compare pages beside a cell that accepts and never answers with those of a healthy cloud."""
    with contextlib.closing(Ours(api_url)) as healthy, contextlib.closing(Ours(api_url, dead="cell1")) as dead:
        yield Pair("first request that meets a dead cell", [dead.page(limit=1000)[0]])
        for limit in (20, 1000):
            mine, plain = report.in_turn(rounds, lambda limit=limit: dead.page(limit=limit)[0],
                                  lambda limit=limit: healthy.page(limit=limit)[0])  # fmt: skip
            yield Pair(f"{limit:,} detailed with a dead cell, beside a healthy cloud", mine, plain, "ours, both")


def against(name: str, ours: Ours, other: Ours, rounds: int) -> Iterator[Pair]:
    """Compare the same pages of ours on two deployments."""
    for limit in (20, 1000):
        mine, plain = report.in_turn(rounds, lambda limit=limit: ours.page(limit=limit)[0],
                              lambda limit=limit: other.page(limit=limit)[0])  # fmt: skip
        yield Pair(f"{limit:,} detailed, {name}", mine, plain, "ours, both")


def stream(api_url: str) -> None:
    """Read all servers with details, one after the other, and print how many and the largest memory in MiB."""
    with contextlib.closing(Ours(api_url)) as ours:
        count = sum(1 for _ in ours.listing.stream(Query()))
    # Not ru_maxrss, in which a process begins with what its parent had.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"servers": count, "mib": int(peak.split()[1]) / 1024}))


def streamed(api_url: str) -> tuple[int, float]:
    """Return what ``stream`` tells from a process of its own."""
    done = subprocess.run([sys.executable, "-m", "bench.cells_nova", "--stream", api_url], check=True,
                          capture_output=True, text=True)  # fmt: skip
    told = json.loads(done.stdout)
    return told["servers"], told["mib"]


def measure(args: argparse.Namespace, url: str, home: Path) -> Iterator[tuple[list[Pair], list[report.Row]]]:
    """Run the parts that were asked for and yield what each came to."""
    if "nova" in args.parts:
        yield with_nova(args, url, home)
    if "deletes" in args.parts:
        yield with_deletes(args, url)
    if "million" in args.parts:
        yield with_a_million(args, url)


def with_nova(args: argparse.Namespace, url: str, home: Path) -> tuple[list[Pair], list[report.Row]]:
    """Compare with nova, one delete that nobody archived beside each living server; then with one cell dead."""
    shape = seed_cells.Shape(args.servers, args.projects, deleted_each=1)
    api = clouds.seeded(url, "bench", args.cells, shape)
    pairs: list[Pair] = []
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(contextlib.closing(Ours(api)))
        # As the configuration of nova-api: cell0 is its own database.
        config = real.configure(home, api, f"{url}bench_cell0")
        clouds.with_novas_tables(url, home, api, args.cells)
        nova = stack.enter_context(real.Nova(config))
        pairs += told(beside_nova(ours, nova, shape, args.rounds))
        pairs += told(walk(ours, nova if args.walk else None))
        memory = report.Row("nova's process, largest memory", "MiB", nova.ask("memory"), None)
    pairs += told(with_a_dead_cell(api, 3 * args.rounds))
    return pairs, [memory, _stream_row(api)]


def with_deletes(args: argparse.Namespace, url: str) -> tuple[list[Pair], list[report.Row]]:
    """Compare a cloud of ten deletes that nobody archived for each living server with one of none."""
    living = max(1000, args.servers * 3 // 10)
    few, many = (
        clouds.seeded(url, f"bench_{each}", args.cells, seed_cells.Shape(living, args.projects, deleted_each=each))
        for each in (0, 10)
    )
    with contextlib.closing(Ours(many)) as dirty, contextlib.closing(Ours(few)) as plain:
        name = "ten deletes not archived for each, beside none"
        return list(told(against(name, dirty, plain, 3 * args.rounds))), []


def with_a_million(args: argparse.Namespace, url: str) -> tuple[list[Pair], list[report.Row]]:
    """Compare 1,000,000 servers in 100 cells with 10,000."""
    big = clouds.seeded(url, "bench_big", 100, seed_cells.Shape(1_000_000, 500))
    small = clouds.seeded(url, "bench_small", 100, seed_cells.Shape(10_000, 50))
    with contextlib.closing(Ours(big)) as large, contextlib.closing(Ours(small)) as little:
        name = "1,000,000 servers in 100 cells, beside 10,000"
        return list(told(against(name, large, little, 3 * args.rounds))), [_stream_row(big)]


def _stream_row(api_url: str) -> report.Row:
    servers, mib = streamed(api_url)
    return report.most(f"a stream of {servers:,} servers, largest memory", "MiB", mib, STREAM_MIB)


def told(pairs: Iterator[Pair]) -> Iterator[Pair]:
    """Print each as it comes: the whole takes long."""
    for pair in pairs:
        print(f"{pair.name}: {statistics.median(pair.ours) * 1000:.1f} ms", flush=True)
        yield pair


def quartiles(times: Sequence[float]) -> str:
    """Return median and quartiles in milliseconds."""
    if len(times) < 3:
        return " ".join(f"{seconds * 1000:,.1f}" for seconds in times) or "-"
    low, middle, high = (cut * 1000 for cut in statistics.quantiles(times, n=4))
    return f"{middle:,.1f} ({low:,.1f} .. {high:,.1f})"


def tell(pairs: Sequence[Pair], rows: Sequence[report.Row]) -> None:
    """Print medians and quartiles side by side, then the ratios as every benchmark does."""
    table = Table("what", "ours, ms", "beside it, ms", "beside / ours", "", box=None)
    for pair in pairs:
        ratio = statistics.median(pair.novas) / statistics.median(pair.ours) if pair.novas else None
        table.add_row(pair.name, quartiles(pair.ours), quartiles(pair.novas), f"{ratio:.2f}" if ratio else "-",
                      pair.note)  # fmt: skip
    Console(width=180).print(table)
    report.write("cells_nova", [*map(as_row, pairs), *rows])


def as_row(pair: Pair) -> report.Row:
    """Return a pair as the row of a report, with an interval where there are enough of them."""
    ours, novas = ([seconds * 1000 for seconds in times] for times in (pair.ours, pair.novas))
    if len(novas) >= MEASURED:
        return replace(report.pairs(pair.name, "ms", ours, novas, 1.0), target="", met=None)
    return report.Row(pair.name, "ms", statistics.median(ours), statistics.median(novas) if novas else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=100_000)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS[:2], help="what to measure; million takes long"
    )
    parser.add_argument("--walk", action=argparse.BooleanOptionalAction, default=True, help="nova's walk takes minutes")
    parser.add_argument("--nova-driver", choices=["pymysql", "mysqldb"], default="pymysql")
    parser.add_argument("--stream", metavar="URL", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stream:
        stream(args.stream)
        return
    if not shutil.which("mariadb-install-db"):
        sys.exit("mariadb-install-db is not there: apt-get install mariadb-server, or `python3 -m lab install`")
    real.install()
    if args.nova_driver == "mysqldb":
        subprocess.run([real.home(real.NEWEST) / "bin" / "pip", "install", "-q", "mysqlclient"], check=True)
    print("ours through", check_url("api", "mysql://").get_driver_name(), "and nova's through", args.nova_driver)
    home = LAB / "bench"
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 21
    rows = {"nova": 2 * args.servers, "deletes": 4 * args.servers, "million": 1_010_000}
    buffer = min(half, max(512, int(clouds.MIB_EACH * sum(rows[part] for part in args.parts))))
    pairs: list[Pair] = []
    others: list[report.Row] = []
    with mariadb.running(home / "mariadb", buffer) as url:
        for measured, further in measure(args, url.replace("pymysql", args.nova_driver), home):
            pairs += measured
            others += further
    tell(pairs, others)


if __name__ == "__main__":
    main()
