# SPDX-License-Identifier: Apache-2.0
"""A real nova with libvirt as a test sees it: its API, its guests, the pools beneath, and bfv beside it."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import requests
from keystoneauth1.session import Session

from bfv import config
from bfv.parts import assemble
from lab import guest, hypervisor
from lab.realnova import COMPUTE, HOME, database
from lab.settings import CELLS, url
from tests import sites

CEPH = CELLS[0]
COMPUTE_URL, PLACEMENT_URL = url("nova-api", "/v2.1"), url("placement")
SETTLED = {"active": "ACTIVE", "off": "SHUTOFF", "error": "ERROR"}
CONFIG = """
[DEFAULT]
cells = cell1
[database]
api_connection = {api}
connection = sqlite:///{home}/bfv.db
[storage]
volume_endpoint = {volume_url}
image_endpoint = {image_url}
[service_user]
auth_type = v3password
auth_url = {auth_url}
username = bfv
password = labsvc
project_name = service
user_domain_id = default
project_domain_id = default
[migrate]
guests = nova
compute_endpoint = {compute_url}
[placement]
endpoint_override = {placement_url}
[cell:cell1]
availability_zone = cell1
volume_type = cell1
backend = {backend}
tiers = inplace:cell1vms
tier_backends = inplace:{on_novas_pool}
ceph_conf = {ceph_conf}
ceph_user = cinder
"""


class Cloud:
    """Nova and what is below it; ``home`` is a folder for bfv's configuration and journal."""

    def __init__(self, home: Path):
        self.site, self.config = sites.lab(), home / "bfv.conf"
        self.config.write_text(CONFIG.format(
            home=home, api=database("nova_api"), volume_url=self.site.volume_url, image_url=self.site.image_url,
            auth_url=self.site.auth_url, compute_url=COMPUTE_URL, placement_url=PLACEMENT_URL,
            backend=self.site.backends["cell1"], on_novas_pool=self.site.on_novas_pool,
            ceph_conf=CEPH.conf))  # fmt: skip
        self.bfv("db", "init")
        self.parts = assemble(config.load(self.config))

    # bfv

    def bfv(self, *words, expect=0):
        """Run bfv and return what it printed."""
        done = subprocess.run(
            self._command(*words), capture_output=True, text=True, env=self._environment(), timeout=300
        )
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    def _command(self, *words):
        return [sys.executable, "-m", "bfv", "--config-file", str(self.config), *words]

    def _environment(self):
        hidden = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        return {
            **hidden, "OS_AUTH_URL": self.site.auth_url, "OS_USERNAME": "admin", "OS_PASSWORD": "labadmin",
            "OS_PROJECT_NAME": "admin", "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default",
            "NO_COLOR": "1", "COLUMNS": "200", "PYTHONPATH": str(sites.ROOT)}  # fmt: skip

    def convert(self, server_id, *words, settings=""):
        """Convert a server by ``bfv migrate run``, with more settings if any, and return its row."""
        kept = self.config.read_text()
        self.config.write_text(kept + settings)
        try:
            done = json.loads(self.bfv("--json", "migrate", "run", "--server", server_id, "--no-rehearsal", *words))
        finally:
            self.config.write_text(kept)
        (row,) = done
        assert row["state"] == "converted", row
        return row

    def begin(self, server_id):
        """Begin to convert a server in a process of its own, and return that."""
        return subprocess.Popen(self._command("migrate", "run", "--server", server_id, "--no-rehearsal"),
                                env=self._environment(), stdout=subprocess.DEVNULL)  # fmt: skip

    @property
    def database(self):
        return self.parts.cells.named("cell1")

    # nova

    def call(self, user, method, path, body=None, ok=(200, 202, 204)):
        headers = {"OpenStack-API-Version": "compute 2.90"}
        answer = self.site.call(user, method, f"{COMPUTE_URL}{path}", json=body, headers=headers)
        assert answer.status_code in ok, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def act(self, server_id, action, user="demo", **words):
        self.call(user, "POST", f"/servers/{server_id}/action", {action: words or None})

    def act_as_operator(self, server_id, action, **words):
        """Act as an administrator by a token of the server's own project: what nova asks cinder with, past any lock."""
        token = self.parts.rights.scoped(self.show(server_id)["tenant_id"]).get_token(Session())
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": "compute 2.90"}
        answer = requests.post(f"{COMPUTE_URL}/servers/{server_id}/action", json={action: words}, headers=headers)
        assert answer.status_code == 202, answer.text

    def boot(self, image, flavor, *, volume=False):
        """Boot a server of demo's from an image, on nova's own pool or from a volume, and wait until it runs."""
        body = {"name": f"vm-{uuid.uuid4().hex[:8]}", "flavorRef": flavor, "networks": "none"}
        if volume:
            body["block_device_mapping_v2"] = [{
                "boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "volume",
                "volume_size": 1, "volume_type": "cell1", "delete_on_termination": True}]  # fmt: skip
        else:
            body["imageRef"] = image
        server_id = self.call("demo", "POST", "/servers", {"server": body})["server"]["id"]
        self.until(server_id, "active")
        return server_id

    def show(self, server_id):
        return self.call("admin", "GET", f"/servers/{server_id}")["server"]

    def until(self, server_id, state, seconds=300):
        """Wait until a server is active, off or in error, and nothing is at work on it."""
        deadline = time.monotonic() + seconds
        while True:
            shown = self.show(server_id)
            if shown["status"] == SETTLED[state] and shown["OS-EXT-STS:task_state"] is None:
                return shown
            # A reboot out of ERROR leaves the status as it is until it has ended.
            wrong = shown["status"] == "ERROR" and shown["OS-EXT-STS:task_state"] is None
            if wrong or time.monotonic() > deadline:
                raise AssertionError(f"server is {shown['status']}, not {state}: {shown.get('fault')}")
            time.sleep(0.3)

    def stop(self, server_id):
        self.act(server_id, "os-stop")
        self.until(server_id, "off")

    def start(self, server_id, *, starts=None):
        """Start a server; ``starts`` is what its guest counts then, told by the disk that it started from."""
        self.act(server_id, "os-start")
        self.until(server_id, "active")
        if starts is not None:
            self.until_started(server_id, starts)

    def reboot(self, server_id, kind, *, starts):
        self.act(server_id, "reboot", type=kind)
        self.until(server_id, "active")
        self.until_started(server_id, starts)

    def until_started(self, server_id, starts, seconds=120):
        """Wait until the guest has told its count of starts."""
        deadline = time.monotonic() + seconds
        while (told := guest.starts(self.console(server_id))) != starts:
            assert time.monotonic() < deadline, f"the guest counts {told} starts, not {starts}"
            time.sleep(0.2)

    def console(self, server_id):
        log = HOME / "instances" / server_id / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def source(self, server_id):
        """Return the rbd image that the server's guest has as its disk, and the disk's serial."""
        name = self.show(server_id)["OS-EXT-SRV-ATTR:instance_name"]
        xml = hypervisor.virsh("dumpxml", name)
        serial = re.search(r"<serial>(.*)</serial>", xml)
        return re.search(r"<source protocol='rbd' name='([^']+)'", xml)[1], serial[1] if serial else None

    def delete(self, server_id):
        """Delete a server and wait until it is gone."""
        self.call("demo", "DELETE", f"/servers/{server_id}", ok=(204, 404))
        sites.until(lambda: self.site.call("admin", "GET", f"{COMPUTE_URL}/servers/{server_id}").status_code == 404)

    # Below

    def pool(self, name):
        """Return the names of the images of a pool."""
        return set(rbd("ls", name).split())

    def volume_of(self, server_id):
        """Return the volume that cinder says is attached to a server, None without one."""
        for each in self.site.volumes().values():
            if any(attached["server_id"] == server_id for attached in each["attachments"]):
                return each
        return None

    def attachments_of(self, server_id):
        return [key for key, each in self.site.attachments().items() if each["instance"] == server_id]

    def allocation(self, server_id):
        """Return what placement counts for a server, by class."""
        headers = {"OpenStack-API-Version": "placement 1.28"}
        answer = self.site.call("admin", "GET", f"{PLACEMENT_URL}/allocations/{server_id}", headers=headers)
        counted = answer.json()["allocations"].values()
        return {kind: amount for each in counted for kind, amount in each["resources"].items()}

    def close(self):
        self.parts.close()


def rbd(*words):
    """Run rbd as cinder's client and return what it printed."""
    command = ["rbd", "-c", str(CEPH.conf), "--id", "cinder", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@contextlib.contextmanager
def opened(home):
    """Give the cloud, if nova is up."""
    try:
        requests.get(COMPUTE_URL, timeout=5)
    except requests.ConnectionError:
        raise AssertionError(f"no nova on {COMPUTE_URL}: run `python3 -m lab nova-up`") from None
    cloud = Cloud(home)
    services = cloud.call("admin", "GET", "/os-services?binary=nova-compute")["services"]
    assert [(each["host"], each["state"]) for each in services] == [(COMPUTE, "up")]
    try:
        yield cloud
    finally:
        cloud.close()
