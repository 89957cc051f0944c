# SPDX-License-Identifier: Apache-2.0
"""What a page of servers costs us alone: many cells, few and many deletes, SQLite or the lab's MariaDB.

``python -m bench.cells_page --cells 32 --servers 96000 --deleted 10``; ``BFV_TEST_MARIADB`` has the URL of a server.
Side by side with nova: ``bench.cells_nova``.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import seed_cells
from cells import Cells, Database
from cells.listing import Listing, Query

PAGES = {
    "20 detailed": Query(limit=20),
    "1,000 detailed": Query(limit=1000),
    "1,000 brief": Query(limit=1000, detail=False),
    "project, 20 detailed": Query(seed_cells.project_id(0), limit=20),
    "project, 1,000 detailed": Query(seed_cells.project_id(0), limit=1000),
    "project in 2 cells, 1,000": None,
    "by name, 20 detailed": Query(limit=20, sort_keys=("display_name",), sort_dirs=("asc",)),
    "ERROR of all, 1,000": Query(limit=1000, filters={"status": "ERROR"}),
}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--servers", type=int, default=32_000)
    parser.add_argument("--deleted", type=int, default=10, help="unarchived deletes for each living server")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        plain, dirty = (
            _listing(stack, args.cells, seed_cells.Shape(args.servers, deleted_each=each), f"bfv_page_{each}")
            for each in (0, args.deleted)
        )
        _tell(args, _measure(plain, args.rounds), _measure(dirty, args.rounds))


def _listing(stack, count, shape, prefix):
    url = os.environ.get("BFV_TEST_MARIADB")
    if url:
        registry, databases = seed_cells.mariadb(url, count, prefix)
    else:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registry, databases = seed_cells.sqlite(directory, count)
    start = time.perf_counter()
    seed_cells.seed(registry.database, databases, shape)
    for _, database in databases:
        database.close()
    print(f"{prefix}: {shape.servers * (1 + shape.deleted_each)} servers in {time.perf_counter() - start:.0f} s")
    cells = Cells(lambda cell: Database(cell.name, cell.database_connection))
    stack.callback(registry.database.close)
    stack.callback(cells.close)
    return registry, cells, shape


def _measure(where, rounds):
    """Return the first and the median milliseconds of each page."""
    registry, cells, shape = where
    found = {}
    Listing(registry, cells).page(Query(limit=1000))  # Opens all connections.
    for name, query in PAGES.items():
        asked = query or Query(seed_cells.project_id(shape.projects - 1), limit=1000)
        listing = Listing(registry, cells)
        times = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            page = listing.page(asked)
            times.append((time.perf_counter() - start) * 1000)
        found[name] = times[0], statistics.median(times[1:]), len(page.servers)
    return found


def _tell(args, plain, dirty):
    table = Table("page", "servers", "first, ms", "median, ms", f"with {args.deleted} deletes each: first", "median",
                  "ratio", box=None)  # fmt: skip
    for name, (first, median, count) in plain.items():
        first_dirty, median_dirty, _ = dirty[name]
        table.add_row(name, str(count), f"{first:.1f}", f"{median:.1f}", f"{first_dirty:.1f}", f"{median_dirty:.1f}",
                      f"{median_dirty / median:.2f}")  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
