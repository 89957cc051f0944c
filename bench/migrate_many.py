# SPDX-License-Identifier: Apache-2.0
"""How long many servers take: to be planned, and to become volumes in one run beside what cinder alone needs for it."""

import contextlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import report
from bfv.migrate import look, records
from bfv.migrate.wave import Running, Wave
from imagebackends.rbd.pools import together
from imagebackends.types import Adoption
from tests.migrate import disks

WORKERS = 4


@contextlib.contextmanager
def _servers(ground, image, way, count):
    """Give a cloud with so many small servers, as nova's backend makes them, and their ids."""
    with tempfile.TemporaryDirectory() as home:
        cloud = disks.Cloud(ground, Path(home), way)
        try:
            yield cloud, cloud.servers(image, count)
            # One by one that takes longer than the measurement.
            left = set(cloud.pool.names()).intersection(f"{key}_disk" for key in cloud.made)
            together(cloud.pool.remove, left)
        finally:
            cloud.clean()


def planned(ground, image, count):
    """Return how long a plan of so many servers takes, from nothing: connections and tokens too."""
    with _servers(ground, image, "live", count) as (cloud, _), cloud.cloud("bfv") as own:
        began = time.monotonic()
        found = look.read(own.parts, look.Selection(cell="cell1"))
        seconds = time.monotonic() - began
        assert [len(found), {each.refusals for each in found}] == [count, {()}]
    return [report.most(f"plan of {count} servers", "s", seconds, 10)]


def run(ground, image, way, count):
    """Return how many servers a minute become volumes by a way, beside cinder's calls for them and nothing else."""
    with _servers(ground, image, way, count) as (cloud, keys), cloud.cloud("bfv") as own:
        plans = look.read(own.parts, look.Selection(cell="cell1"))
        began = time.monotonic()
        done = Running(own.parts, Wave(workers=WORKERS)).run(plans)
        ours = time.monotonic() - began
        assert {each.state for each in done} == {"converted"}, done
        assert sorted(each.server_id for each in done) == sorted(keys)
    bare = _bare(ground, image, way, count)
    rates = [count * 60 / seconds for seconds in (ours, bare)]
    return [report.Row(f"{count} servers in a run, {way}", "a minute", *rates, rates[0] / rates[1])]


def _bare(ground, image, way, count):
    """Return how long cinder's own calls take for so many disks: manage, describe, attach, connect, complete."""
    with _servers(ground, image, way, count) as (cloud, keys), cloud.cloud("bfv") as own:
        parts, backend = own.parts, own.parts.backend
        plans = {each.server_id: each for each in look.read(parts, look.Selection(cell="cell1"))}
        metadata = records.image_metadata(parts, records.before(parts, parts.cells.named("cell1"), keys[0]))
        if way == "live":
            together(lambda key: cloud.pool.prepare_migration(f"{key}_disk", cloud.new), keys)

        def one(key):
            target = plans[key].goes_to()
            access = parts.rights.sharing(_Act(cloud.project))
            made = backend.adopt(access, Adoption(f"{plans[key].name}-root", f"{key}_disk", target, "bare"))
            while backend.get(access, made.id).status != "available":
                time.sleep(0.1)
            backend.describe(access, made.id, metadata)
            attached = backend.attach(access, made.id, key)
            backend.connect(access, attached.id, {"host": "host1", "platform": "x86_64", "os_type": "linux"})
            backend.complete(access, attached.id)

        began = time.monotonic()
        with ThreadPoolExecutor(WORKERS) as threads:
            list(threads.map(one, keys))
        return time.monotonic() - began


class _Act:
    """On whose behalf cinder is asked."""

    id, request_id = "bench", "-"

    def __init__(self, project_id):
        self.project_id = project_id
