# SPDX-License-Identifier: Apache-2.0
"""A boot of ours (to reserved and recorded) over the least that plain python-cinderclient can do, on the real services.

The bare minimum: create a volume, look every 0.1 s until it is available, create an attachment. Both sides use the same
user, image and cell, hold their token before the clock starts, and take turns.
"""

import argparse
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

from cinderclient import client as cinderclient
from keystoneauth1.session import Session

import bfv
from bench import report
from tests import sites
from tests.faultproxy import FaultProxy

STORM = 32


def plain(client, image, cell):
    """Do the bare minimum and return the seconds and how to remove it again."""
    began = time.perf_counter()
    volume = client.volumes.create(1, imageRef=image, volume_type=cell, availability_zone=cell)
    while client.volumes.get(volume.id).status != "available":
        time.sleep(0.1)
    made = client.attachments.create(volume.id, None, str(uuid.uuid4()))
    seconds = time.perf_counter() - began
    client.attachments.delete(made["id"])
    client.volumes.delete(volume.id)
    return seconds


def ours(cloud, image, cell):
    """Boot, and return the seconds."""
    request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone=cell)
    began = time.perf_counter()
    cloud.boot(request)
    server = cloud.wait(request.server_id, 120)
    seconds = time.perf_counter() - began
    assert server.task_state == "spawning", server.fault
    cloud.delete(server.id)
    return seconds


def in_pairs(site, home, image, count):
    """Measure both in turn in each cell; who begins alternates, too."""
    rows = []
    session = Session(auth=site.auth("demo"))
    client = cinderclient.Client("3.71", session=session, endpoint_override=site.volume_url)
    with sites.World(site, home).cloud() as cloud:
        for cell in site.backends:
            mine, theirs = [], []
            for number in range(-2, count):
                turns = [lambda cell=cell, to=mine: to.append(ours(cloud, image, cell)),
                         lambda cell=cell, to=theirs: to.append(plain(client, image, cell))]  # fmt: skip
                for turn in turns if number % 2 else reversed(turns):
                    turn()
            rows.append(report.pairs(f"boot in {cell}, warm, over the bare minimum", "s", mine[2:], theirs[2:], 1.10))
    return rows


def calls(site, home, image, count):
    """Return calls to cinder for each boot of a storm beside looks, looks, and seconds."""
    with FaultProxy(site.volume_url) as proxy:
        world = sites.World(site, home, volume_url=proxy.url)
        with world.cloud() as cloud:
            proxy.calls.clear()
            began = time.monotonic()
            requests = [bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME) for _ in range(count)]
            for request in requests:
                cloud.boot(request)
            servers = [cloud.wait(request.server_id, 300) for request in requests]
            seconds = time.monotonic() - began
            looks = proxy.count("GET", "/volumes/")
            other = len(proxy.calls) - looks
            for server in servers:
                cloud.delete(server.id)
    return other / count, looks, seconds


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=16)
    args = parser.parse_args()
    site = sites.lab()
    image = site.upload(os.urandom(16 << 20))
    with tempfile.TemporaryDirectory() as home:
        for part in ("pairs", "one", "storm"):
            Path(home, part).mkdir()
        rows = in_pairs(site, Path(home, "pairs"), image, args.pairs)
        each, looks, seconds = calls(site, Path(home, "one"), image, 1)
        many, storm_looks, storm_seconds = calls(site, Path(home, "storm"), image, STORM)
    rows += [
        report.most("calls to cinder for a boot, beside looks", "calls", each, 5),
        report.most(f"the same, {STORM} boots at once", "calls", many, 5),
        report.most("looks in a second, 1 boot", "1/s", looks / seconds, 10),
        report.most(f"looks in a second, {STORM} boots at once", "1/s", storm_looks / storm_seconds, 10),
        report.Row(f"{STORM} boots at once, all ready", "s", storm_seconds, None),
    ]
    report.write("lab_boot", rows)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")


if __name__ == "__main__":
    sys.exit(main())
