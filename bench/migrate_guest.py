# SPDX-License-Identifier: Apache-2.0
"""What a guest of a real nova is off for, by each way, told apart: its stop, the storage work between, its start."""

import itertools
import os
import tempfile
from pathlib import Path

from bench import report
from lab import guest
from tests.realnova import cloud as real

WAYS = {"rename": ["--tier", "inplace"], "live": [], "clone": ["--way", "clone"]}


def rows():
    """Convert a guest that runs by each way and bring it back; return its seconds off in three parts."""
    with tempfile.TemporaryDirectory() as home, real.opened(Path(home)) as cloud:
        disk = guest.image(Path(home) / "disk")
        image = cloud.site.upload(disk.read_bytes(), hw_disk_bus="virtio")
        body = {"flavor": {"name": f"bench-{os.getpid()}", "ram": 64, "vcpus": 1, "disk": 1}}
        flavor = cloud.call("admin", "POST", "/flavors", body)["flavor"]["id"]
        server = cloud.boot(image, flavor)
        try:
            found = [row for way in WAYS for row in _by(cloud, server, way)]
        finally:
            cloud.delete(server)
            cloud.bfv("repair")
            cloud.call("admin", "DELETE", f"/flavors/{flavor}")
            cloud.site.call("admin", "DELETE", f"{cloud.site.image_url}/v2/images/{image}")
    return found


def _by(cloud, server, way):
    cloud.convert(server, *WAYS[way], "--stop-and-start")
    *_, intent = [each for each in cloud.parts.journal.of_server(server) if each.verb == "migrate"]
    parts = {"stop": 0.0, "storage": 0.0, "start": 0.0}
    now = None
    # A step is written before its act, so an act lasts until the next one.
    for step, then in itertools.pairwise(cloud.parts.journal.history(intent)):
        now = step.name if step.name in ("stop", "start") else "storage" if now else None
        if now:
            parts[now] += (then.at - step.at).total_seconds()
    cloud.bfv("migrate", "undo", "--stop-and-start", server)
    return [report.Row(f"a guest of nova, {way}: {name}", "s", seconds, None) for name, seconds in parts.items()]
