# SPDX-License-Identifier: Apache-2.0
"""`bfv compare` on the lab's two Ceph clusters, and storms of whole boots through each backend; for docs/benchmarks.md.

Prints the tables as they stand there, writes ``build/bench/compare.json`` and the picture.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bfv
from bench import report
from bfv.cli.output import plain
from bfv.compare import Plan, compare, picture, sides, table
from tests import sites
from tests.compare.outside import Outside

MIB = 1 << 20


def storm(cloud, side, image, cell, count):
    """Boot so many servers at once by the whole flow of bfv, with this side's backend; return those of a minute."""
    cloud.use(side.parts)
    asked = [bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone=cell) for _ in range(count)]
    began = time.perf_counter()
    for request in asked:
        cloud.boot(request)
    servers = [cloud.wait(request.server_id, 600) for request in asked]
    seconds = time.perf_counter() - began
    for server in servers:
        assert server.task_state == "spawning", server.fault
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(lambda server: cloud.delete(server.id), servers))
    return 60 * count / seconds


def storms(cloud, who, image, cells, count, rounds):
    """Yield a row for each cell: storms in turns, the first of each only to warm."""
    with sides.opened(cloud.parts, who) as both:
        for cell in cells:
            found = {name: [] for name in both}
            for number in range(-1, rounds):
                for name in both if number % 2 else reversed(both):
                    found[name].append(storm(cloud, both[name], image, cell, count))
            rbd, cinder = (sorted(found[name][1:])[rounds // 2] for name in ("rbd", "cinder"))
            yield report.Row(f"{count} whole boots at once in {cell}: rbd (ours) beside cinder (other)", "1/min", rbd,
                             cinder, rbd / cinder)  # fmt: skip


def told(found):
    """Print a comparison as tables of Markdown, write it, and draw it."""
    home = Path("build/bench")
    home.mkdir(parents=True, exist_ok=True)
    (home / "compare.json").write_text(json.dumps(plain(found), indent=1) + "\n")
    picture.draw(found, home / "compare")
    for cell in found.cells():
        print(f"\n{table.title(found, cell)}:\n")
        print(f"| {' | '.join(table.COLUMNS).lower()} |\n|{'---|' * len(table.COLUMNS)}")
        for row in table.rows(found, cell):
            print(f"| {' | '.join(row)} |")
    for line in (*found.kept, *found.left):
        print(f"\n{line}")


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="MiB of the image")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--cold", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    # An end from outside must leave nothing in the lab either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    site = sites.lab()
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bfv-bench-")))
        image = site.upload(os.urandom(args.size * MIB * 3 // 4) + bytes(args.size * MIB // 4))
        stack.callback(lambda: site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}"))
        world = sites.World(site, home, ceph=True)
        with world.cloud() as cloud, contextlib.ExitStack() as inner:
            outside = Outside(site, cloud.parts.clusters.pools().clusters)
            inner.callback(outside.sweep, outside.renamed())
            inner.callback(outside.uncache, image)
            found = compare(cloud.parts, site.caller("demo"), Plan(image, count=args.count, cold=args.cold))
            told(dataclasses.replace(found, image_name=f"{args.size} MiB"))
            rows = list(storms(cloud, site.caller("demo"), image, found.cells(), args.count, args.rounds))
            report.write("compare_storm", rows)


if __name__ == "__main__":
    sys.exit(main())
