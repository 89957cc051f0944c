# SPDX-License-Identifier: Apache-2.0
"""A storm: many volumes or servers of one image at once, when each was ready, and what it cost cinder and Glance."""

import contextlib
import dataclasses
import re
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bfv
from tests import sites
from tests.images.conftest import volumes

CELL, AT_ONCE, LOOK, PATIENCE = "cell2", 8, 0.5, 900
MIB = 1 << 20


@dataclasses.dataclass
class Storm:
    """Seconds from the first request until each was ready, in order; calls to cinder; whole images that Glance sent."""

    times: list[float] = dataclasses.field(default_factory=list)
    calls: int = 0
    downloads: int = 0
    bytes: int = 0

    @property
    def seconds(self):
        """Until the last was ready."""
        return self.times[-1]

    def at(self, number):
        """Return when the so-manieth was ready, the last one's time if there are fewer."""
        return self.times[min(number, len(self.times)) - 1]


class Meter:
    """Counts calls and downloads while a block runs: in the lab by its services' own access logs."""

    def __init__(self, site):
        self._site = site

    @contextlib.contextmanager
    def over(self, storm, image):
        """Add what happens in the block to a storm."""
        control = self._site.control_url
        if control:
            before = self._flat(image)
            self._site.call("admin", "DELETE", f"{control}/calls")
            yield
            found = self._site.call("admin", "GET", f"{control}/calls", params={"service": "volume"}).json()
            storm.calls, storm.downloads = found["count"], len(self._flat(image) - before)
            size = self._site.call("admin", "GET", f"{self._site.image_url}/v2/images/{image}").json()["size"]
            storm.bytes = storm.downloads * size
            return
        logs = [Path(sites.lab_environment()["LAB_LOG_DIR"], f"{name}.log") for name in ("cinder-api", "glance")]
        sizes = [log.stat().st_size for log in logs]
        yield
        cinder, glance = (_since(log, size) for log, size in zip(logs, sizes, strict=True))
        storm.calls = len(re.findall(r"^\[pid: .*\] (?:GET|POST|PUT|DELETE) /v3/", cinder, re.MULTILINE))
        sent = re.findall(rf"GET /v2/images/{image}/file => generated (\d+) bytes", glance)
        storm.downloads, storm.bytes = len(sent), sum(map(int, sent))

    def _flat(self, image):
        """The mocked cinder reads the bytes where they are: each download is a volume that has no parent."""
        listed = self._site.call("admin", "GET", f"{self._site.control_url}/rbd/{CELL}/volumes").json()["images"]
        mine = {each["id"] for each in volumes(self._site, image)} | self._site.ours()[0]
        flat = {each["name"].partition(".")[0].removeprefix("volume-") for each in listed if each["parent"] is None}
        return flat & mine


def _since(log, size):
    with log.open(errors="replace") as file:
        file.seek(size)
        return file.read()


def of_volumes(meter, client, count, image, kind=CELL, **source):
    """Create so many volumes with a plain client, eight POSTs at once, and list them each LOOK; remove them again."""
    done, began = Storm(), time.perf_counter()

    def create(_):
        return client.volumes.create(1, name=sites.NAME, volume_type=kind, availability_zone=CELL, **source).id

    def listed():
        return {each.id: each.status for each in client.volumes.list(search_opts={"name": sites.NAME})}

    try:
        with meter.over(done, image), ThreadPoolExecutor(AT_ONCE) as pool:
            asked, ready = [pool.submit(create, number) for number in range(count)], set()
            while len(ready) < count:
                time.sleep(LOOK)
                # One that was refused ends it.
                [each.result() for each in asked if each.done()]
                assert time.perf_counter() - began < PATIENCE, f"{count - len(ready)} volumes do not come"
                now = listed()
                assert "error" not in now.values()
                ready |= {key for key, state in now.items() if state == "available"}
                done.times += [time.perf_counter() - began] * (len(ready) - len(done.times))
            assert {each.result() for each in asked} == ready
    finally:
        remove(client, listed)
    return done


def remove(client, listed):
    """Delete all volumes of this run, those too that are made meanwhile, and wait until they are gone."""
    while left := listed():
        ended = [key for key, state in left.items() if state in ("available", "error")]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(client.volumes.delete, ended))
        time.sleep(LOOK)


def of_boots(meter, cloud, count, image):
    """Boot so many servers, eight requests at once, and remove them again."""
    done, began = Storm(), time.perf_counter()
    asked = [bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone=CELL) for _ in range(count)]
    posts = threading.Semaphore(AT_ONCE)

    def ready(request):
        with posts:
            cloud.boot(request)
        server = cloud.wait(request.server_id, PATIENCE)
        assert server.task_state == "spawning", server.fault
        return time.perf_counter() - began

    def delete(request):
        with contextlib.suppress(bfv.errors.NotFound):
            cloud.delete(request.server_id)

    try:
        with meter.over(done, image), ThreadPoolExecutor(count) as pool:
            done.times = sorted(pool.map(ready, asked))
    finally:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(delete, asked))
    return done


def told(storms):
    """Return the figures of equal storms, the medians of each."""

    def middle(figure):
        return statistics.median(map(figure, storms))

    return {
        "storms": len(storms),
        "1st, s": middle(lambda each: each.at(1)),
        "8th, s": middle(lambda each: each.at(8)),
        "last, s": middle(lambda each: each.seconds),
        "a second": middle(lambda each: len(each.times) / each.seconds),
        "downloads": middle(lambda each: each.downloads),
        "MiB sent": middle(lambda each: each.bytes / MIB),
        "calls to cinder": middle(lambda each: each.calls),
    }
