# SPDX-License-Identifier: Apache-2.0
"""How long storage keeps a server off while its disk becomes a volume, by each way, beside what people do by hand.

A quarter of each disk is written. Ours is from the moment that the guest is off to the moment that it may start, by the
journal's times: volume, attachment and rows included. By hand is the copy alone. Sizes and ways take turns, each disk
goes and comes back, and the median of the rounds counts. How long plans take and how many servers go in a minute is
told by ``bench.migrate_many``, and what nova's own stop and start take by ``bench.migrate_guest``.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import migrate_guest, migrate_many, report
from bfv.job import Job
from bfv.migrate import look, wave, ways
from bfv.migrate.move import ROOT, Move
from bfv.migrate.run import planned
from tests import sites
from tests.migrate import disks

GIB, MIB = 1 << 30, 1 << 20
PIECE = 4 * MIB
# What is said for each way: where volumes go, and the way where there are several.
WAYS = {"rename": {"tier": "inplace"}, "live": {}, "clone": {"way": "clone"}, "copy": {"tier": "far"}}
# Onto a volume that was made beforehand.
WAYS |= {f"{way}, placeholder": WAYS[way] for way in ("rename", "live")}
FLAT = tuple(each for each in WAYS if each != "copy")
# What people do, in a shell; of Glance, whose copy is as thick as the disk is large, only up to so many GiB.
BY_HAND = {
    "rbd export | rbd import": "rbd {here} export {source} - | rbd {here} import - {target}",
    "qemu-img convert": "qemu-img convert -n -f raw -O raw rbd:{source}:conf={conf}:id=cinder"
    " rbd:{target}:conf={conf}:id=cinder",
}
UPLOAD = "upload to Glance, create"
UPLOAD_AT_MOST = 4


def written(count):
    """Yield so many random bytes in pieces."""
    for _ in range(count // PIECE):
        yield os.urandom(PIECE)


def seconds_off(parts, key):
    """Return for how many seconds storage kept a server off the last time: from its lock to its release."""
    *_, intent = [each for each in parts.journal.of_server(key) if each.verb == "migrate"]
    at = {step.name: step.at for step in parts.journal.history(intent)}
    return (at["leave to converted"] - at["hold"]).total_seconds()


def plan_of(parts, key, way):
    """Return the plan by which a server goes one of the ways."""
    [plan] = look.read(parts, look.Selection((key,), **WAYS[way]))
    name, _, adopt = way.partition(", ")
    assert (plan.way, plan.refusals) == (name, ()), plan
    return dataclasses.replace(plan, adopt=adopt or plan.adopt)


def there_and_back(cloud, parts, key, way):
    """Convert a server and undo it; return for how many seconds it was off."""
    assert wave.convert(parts, plan_of(parts, key, way), "bench").phase == "done"
    found = seconds_off(parts, key)
    assert wave.turn(parts, key, "unmigrate").phase == "done"
    print(f"{cloud.sizes[key]} GiB, {way}: {found:.2f} s", file=sys.stderr)
    return found


def in_turns(cloud, keys, rounds):
    """Return the seconds off by (GiB, way): the median of the rounds; what is copied between clusters goes once."""
    found = {}
    with cloud.cloud("bfv") as own:
        for turn in range(rounds):
            for way in WAYS:
                for key in keys if turn == 0 or way in FLAT else ():
                    seconds = there_and_back(cloud, own.parts, key, way)
                    found.setdefault((cloud.sizes[key], way), []).append(seconds)
    return {key: statistics.median(each) for key, each in found.items()}


def by_hand(cloud, key):
    """Copy a server's disk as people do; return the seconds by what they do."""
    ground, found, gib = cloud.ground, {}, cloud.sizes[key]
    source, target, conf = f"{key}_disk", f"{sites.NAME}-by-hand", ground.confs["cell1"]
    for name, command in BY_HAND.items():
        if "qemu-img" in name:
            ground.pool("volumes").create(target, gib * GIB)
        words = command.format(here=f"--conf {conf} --id cinder --no-progress", conf=conf, source=f"vms/{source}",
                               target=f"volumes/{target}")  # fmt: skip
        began = time.monotonic()
        subprocess.run(["bash", "-o", "pipefail", "-c", words], check=True)
        found[name] = time.monotonic() - began
        ground.pool("volumes").remove(target)
    if gib <= UPLOAD_AT_MOST:
        found[UPLOAD] = uploaded(ground.site, conf, f"vms/{source}", gib)
    for name, seconds in found.items():
        print(f"{gib} GiB, {name}: {seconds:.1f} s", file=sys.stderr)
    return found


def uploaded(site, conf, source, gib):
    """Upload a disk to Glance and have cinder make a volume of it; return the seconds."""
    words = ["rbd", "--conf", conf, "--id", "cinder", "--no-progress", "export", source, "-"]
    began = time.monotonic()
    with subprocess.Popen(words, stdout=subprocess.PIPE) as export:
        image = site.upload(iter(lambda: export.stdout.read(PIECE), b""))
    volume = site.volume(imageRef=image, size=gib, name=f"{sites.NAME}-by-hand")
    seconds = time.monotonic() - began
    site.drop_volume(volume)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")
    return seconds


def last_change(cloud, key, change):
    """Return for how many seconds a server is off that goes to the other cluster, by what changed since it was copied.

    As a worker does it that comes after one who died in the last line before the guest is off.
    """
    with cloud.cloud("bfv") as own:
        parts, plan = own.parts, plan_of(own.parts, key, "copy")
        intent = parts.journal.open("migrate", key, project_id=plan.project_id, user_id="-", request_id="-",
                                    request=planned(plan, wave="bench"), cell=plan.cell)  # fmt: skip
        move = Move(Job(parts, intent))
        thing = move.job.ask("image", ROOT, {"pool": plan.pool, "name": plan.image, "size": plan.size})
        move.job.know(thing, move.old.look(plan.image).id)
        ways.of("copy").prepare(move)
        move.old.patch(plan.image, ((at * PIECE, data) for at, data in enumerate(written(change))))
        move.job.step("last", move.job.said("copied"))
        assert wave.finish(parts, parts.journal.check(move.job.intent)).phase == "done"
        found = seconds_off(parts, key)
        wave.turn(parts, key, "unmigrate")
    return found


@contextlib.contextmanager
def servers_of(ground, image, sizes):
    """Give a cloud with a server of each size in GiB, a quarter of whose disk is written."""
    with tempfile.TemporaryDirectory() as home:
        cloud = disks.Cloud(ground, Path(home), "live")
        try:
            cloud.sizes = {cloud.server(image, data=written(gib * GIB // 4), size=gib * GIB): gib for gib in sizes}
            yield cloud
        finally:
            cloud.clean()


def told(off, hand, sizes):
    """Return the rows: each way beside the fastest by hand, and what the largest size is held to."""
    rows, first, last = [], min(sizes), max(sizes)
    for (gib, way), seconds in sorted(off.items(), key=lambda each: (each[0][0], list(WAYS).index(each[0][1]))):
        best = min(hand[gib].values())
        limit = 1.2 * off[first, way] if way in FLAT and gib == last else None
        told = {"target": f"<= {limit:.2f}, <= 1", "met": seconds <= min(limit, 1)} if limit else {}
        rows.append(report.Row(f"{gib} GiB, {way}: off", "s", seconds, best, seconds / best, **told))
    for gib in sizes:
        rows += [report.Row(f"{gib} GiB, {name}", "s", seconds, None) for name, seconds in hand[gib].items()]
    export = hand[last]["rbd export | rbd import"]
    for way in FLAT:
        times = export / off[last, way]
        rows.append(report.Row(f"{last} GiB, export/import takes so many times {way}'s", "x", times, None,
                               target=">= 20", met=times >= 20))  # fmt: skip
    return rows


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 20], metavar="GIB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--changes", type=int, nargs="*", default=[16, 64, 256], metavar="MIB")
    parser.add_argument("--plans", type=int, default=1000, metavar="SERVERS")
    parser.add_argument("--many", type=int, default=20, metavar="SERVERS", help="so many go in one run")
    parser.add_argument("--guest", action="store_true", help="also a guest of the lab's real nova, which must be up")
    args = parser.parse_args()
    ground = disks.lab_ground()
    image = ground.site.upload(os.urandom(MIB))
    rows = []
    with servers_of(ground, image, args.sizes) as cloud:
        keys = list(cloud.sizes)
        off = in_turns(cloud, keys, args.rounds)
        changed = {change: last_change(cloud, keys[0], change * MIB) for change in args.changes}
        hand = {cloud.sizes[key]: by_hand(cloud, key) for key in keys}
    rows += told(off, hand, args.sizes)
    rows += [report.Row(f"{args.sizes[0]} GiB, copy, {change} MiB changed since: off", "s", seconds, None)
             for change, seconds in changed.items()]  # fmt: skip
    rows += migrate_many.planned(ground, image, args.plans)
    for way in ("rename", "live"):
        rows += migrate_many.run(ground, image, way, args.many)
    if args.guest:
        rows += migrate_guest.rows()
    report.write("migrate", rows)
    ground.site.call("admin", "DELETE", f"{ground.site.image_url}/v2/images/{image}")


if __name__ == "__main__":
    sys.exit(main())
