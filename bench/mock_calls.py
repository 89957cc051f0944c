# SPDX-License-Identifier: Apache-2.0
"""The mocked cloud beside moto, the well-known mock of another cloud: how long a blank volume and a look at it take.

A mock is called thousands of times in a test run, so its own time counts. Both serve from a process of their own, both
are called by the same plain client over as many kept connections, and they take turns.
"""

import argparse
import contextlib
import importlib.util
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from keystoneauth1.session import Session

from bench import report
from bench.embedded_boot import mock

MOTO = "moto[server,ec2]"
ZONE = "us-east-1a"
SIGNED = "AWS4-HMAC-SHA256 Credential=mock/20250101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=none"


class Ours:
    """Cinder's calls to the mocked cloud; one of these for each connection."""

    def __init__(self, site):
        self.url = f"{site.volume_url}/volumes"
        self.http = requests.Session()
        token = site.auth("demo").get_token(Session())
        self.http.headers.update({"X-Auth-Token": token, "OpenStack-API-Version": "volume 3.71"})

    def pair(self):
        """Create a blank volume and show it."""
        made = self.http.post(self.url, json={"volume": {"size": 1}})
        assert made.status_code == 202, made.text
        key = made.json()["volume"]["id"]
        shown = self.http.get(f"{self.url}/{key}")
        assert shown.json()["volume"]["id"] == key
        return key

    def drop(self, key):
        """Delete the volume."""
        assert self.http.delete(f"{self.url}/{key}").status_code == 202


class Moto:
    """EC2's calls to moto; one of these for each connection."""

    def __init__(self, url):
        self.url = url
        self.http = requests.Session()
        self.http.headers["Authorization"] = SIGNED

    def call(self, action, **values):
        """Make one call of EC2's query API."""
        answer = self.http.post(self.url, data={"Action": action, "Version": "2016-11-15", **values})
        assert answer.status_code == 200, answer.text
        return answer.text

    def pair(self):
        """Create a blank volume and describe it."""
        key = re.search("<volumeId>(.*?)</volumeId>", self.call("CreateVolume", Size=1, AvailabilityZone=ZONE))[1]
        assert key in self.call("DescribeVolumes", **{"VolumeId.1": key})
        return key

    def drop(self, key):
        """Delete the volume."""
        self.call("DeleteVolume", VolumeId=key)


def unlimited(site):
    """Lift the quota: more volumes are made at once than a project may have."""
    project = site.caller("demo").project_id
    body = {"quota_set": {"volumes": -1, "gigabytes": -1}}
    answer = site.call("admin", "PUT", f"{site.volume_url}/os-quota-sets/{project}", json=body)
    assert answer.status_code == 200, answer.text


@contextlib.contextmanager
def moto_python():
    """Give a Python that has moto: this one, the machine's, or one that is made for it and removed again."""
    if importlib.util.find_spec("moto"):
        yield sys.executable
        return
    found = shutil.which("python3")
    if found and subprocess.run([found, "-c", "import moto.server, flask_cors"], capture_output=True).returncode == 0:
        yield found
        return
    with tempfile.TemporaryDirectory() as home:
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        python = str(Path(home, "bin", "python"))
        subprocess.run([python, "-m", "pip", "install", "--quiet", MOTO], check=True)
        yield python


@contextlib.contextmanager
def moto():
    """Serve moto for as long as the block lasts, and give its address and version."""
    with socket.socket() as free, moto_python() as python:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        version = subprocess.run([python, "-c", "import moto; print(moto.__version__)"], capture_output=True, text=True)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], **quiet)
        try:
            yield _awaited(f"http://127.0.0.1:{port}/", process), version.stdout.strip()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _awaited(url, process, seconds=60):
    deadline = time.monotonic() + seconds
    while True:
        try:
            requests.get(f"{url}moto-api/data.json", timeout=5)
            return url
        except requests.ConnectionError:
            assert process.poll() is None, "moto does not start"
            assert time.monotonic() < deadline, "moto does not listen"
            time.sleep(0.1)


def timed(clients, count):
    """Return the seconds that one pair of calls takes, all connections together; the volumes are removed after."""

    def some(client):
        return [client.pair() for _ in range(count // len(clients))]

    with ThreadPoolExecutor(len(clients)) as pool:
        began = time.perf_counter()
        made = list(pool.map(some, clients))
        seconds = time.perf_counter() - began
        for client, keys in zip(clients, made, strict=True):
            for key in keys:
                client.drop(key)
    return seconds / sum(map(len, made))


def in_turn(ours, theirs, pairs, count):
    """Measure both in turn; who begins alternates. The first two rounds warm up and are not counted."""
    taken = ([], [])
    for number in range(-2, pairs):
        sides = [(taken[0], ours), (taken[1], theirs)]
        for to, clients in sides if number % 2 else reversed(sides):
            to.append(timed(clients, count) * 1000)
    return taken[0][2:], taken[1][2:]


def main():
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m bench.mock_calls", description=__doc__)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--count", type=int, default=200, help="volumes of one measurement")
    args = parser.parse_args()
    rows = []
    with mock() as served, moto() as (url, version):
        unlimited(served.site)
        for connections in (1, 4):
            ours = [Ours(served.site) for _ in range(connections)]
            theirs = [Moto(url) for _ in range(connections)]
            name = f"a volume created and shown, connections: {connections}, other: moto {version}"
            mine, others = in_turn(ours, theirs, args.pairs, args.count)
            rows.append(report.pairs(name, "ms", mine, others, 0.5))
    rows += [report.Row(f"calls in a second, {row.name}", "1/s", 2000 / row.ours, 2000 / row.other) for row in rows]
    report.write("mock_calls", rows)


if __name__ == "__main__":
    sys.exit(main())
