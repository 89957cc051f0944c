# SPDX-License-Identifier: Apache-2.0
"""How long storage keeps a server off while its disk becomes a volume, by each way, beside what people do by hand.

A quarter of each disk is written. Ours is from the moment that the guest is off to the moment that it may start, by the
journal's times: volume, attachment and rows included. By hand is the copy alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import report
from bfv.migrate import look
from tests import sites
from tests.migrate import disks

GIB = 1 << 30
PIECE = 4 << 20
WAYS = ("rename", "live", "clone", "copy")
# What people do, in a shell.
BY_HAND = {
    "rbd export | rbd import": "rbd {here} export {source} - | rbd {here} import - {target}",
    "qemu-img convert": "qemu-img convert -n -f raw -O raw rbd:{source}:conf={conf}:id=cinder"
    " rbd:{target}:conf={conf}:id=cinder",
}


def written(size):
    """Yield random pieces for a quarter of a disk."""
    for _ in range(size // 4 // PIECE):
        yield os.urandom(PIECE)


def off(cloud, key):
    """Return for how many seconds storage kept a server off: from its lock to its release."""
    with cloud.cloud("bfv") as own:
        [intent] = [each for each in own.parts.journal.of_server(key) if each.verb == "migrate"]
        at = {step.name: step.at for step in own.parts.journal.history(intent)}
    return (at["leave to converted"] - at["hold"]).total_seconds()


def ours(ground, image, size):
    """Convert a disk of this size by each way and bring it back; return the seconds off by way."""
    found = {}
    for way in WAYS:
        with tempfile.TemporaryDirectory() as home:
            cloud = disks.Cloud(ground, Path(home), way)
            key = cloud.server(image, data=written(size), size=size)
            try:
                assert cloud.convert(key)["state"] == "converted"
                found[way] = off(cloud, key)
                cloud.migrate("undo", key)
            finally:
                cloud.clean()
    return found


def by_hand(ground, size):
    """Copy a disk of this size as people do; return the seconds by what they do."""
    pool, found = ground.pool("vms"), {}
    source = f"{sites.NAME}-by-hand"
    pool.create(source, size)
    pool.fill(source, written(size))
    for name, command in BY_HAND.items():
        target = f"{source}-copy"
        if "qemu-img" in name:
            ground.pool("volumes").create(target, size)
        conf = ground.confs["cell1"]
        words = command.format(here=f"--conf {conf} --id cinder --no-progress", conf=conf, source=f"vms/{source}",
                               target=f"volumes/{target}")  # fmt: skip
        began = time.monotonic()
        subprocess.run(["bash", "-o", "pipefail", "-c", words], check=True)
        found[name] = time.monotonic() - began
        ground.pool("volumes").remove(target)
    pool.remove(source)
    return found


def planning(ground, image, count):
    """Return for how many seconds a thousand servers are planned, from so many."""
    with tempfile.TemporaryDirectory() as home:
        cloud = disks.Cloud(ground, Path(home), "live")
        try:
            for _ in range(count):
                cloud.server(image, data=())
            with cloud.cloud("bfv") as own:
                began = time.monotonic()
                found = look.read(own.parts, look.Selection(cell="cell1"))
                seconds = time.monotonic() - began
            assert len(found) == count
        finally:
            cloud.clean()
    return seconds * 1000 / count


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 20], metavar="GIB")
    parser.add_argument("--plans", type=int, default=200, metavar="SERVERS")
    args = parser.parse_args()
    ground = disks.lab_ground()
    image = ground.site.upload(os.urandom(1 << 20))
    rows, first = [], {}
    for gib in args.sizes:
        mine, theirs = ours(ground, image, gib * GIB), by_hand(ground, gib * GIB)
        first = first or mine
        best = min(theirs.values())
        for way, seconds in mine.items():
            # In place, live migration and clone are flat in size.
            flat = way != "copy" and gib == max(args.sizes)
            limit = 1.2 * first[way] if flat else None
            told = {"target": f"<= {limit:.2f}", "met": seconds <= limit} if limit else {}
            rows.append(report.Row(f"{gib} GiB, {way}", "s", seconds, best, seconds / best, **told))
        rows += [report.Row(f"{gib} GiB, {name}", "s", seconds, None) for name, seconds in theirs.items()]
    rows.append(report.most(f"plan of 1,000 servers, from {args.plans}", "s", planning(ground, image, args.plans), 10))
    report.write("migrate", rows)
    ground.site.call("admin", "DELETE", f"{ground.site.image_url}/v2/images/{image}")


if __name__ == "__main__":
    sys.exit(main())
