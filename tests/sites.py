# SPDX-License-Identifier: Apache-2.0
"""A cloud to test against, as data: where it is and who may do what. The same tests run on every site."""

import contextlib
import dataclasses
import functools
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import requests
from keystoneauth1.identity import v3

import bfv
from bfv.cloud import Cloud
from bfv.config import load
from bfv.types import new_request_id
from tests import leaks, nursery

# Of this run alone, so that others may use the same cloud at the same time.
NAME = os.environ.setdefault("BFV_TEST_NAME", f"vm-{uuid.uuid4().hex[:8]}")
ROOT = Path(__file__).parent.parent
USERS = {  # name: (project, its domain, password)
    "admin": ("admin", "default", "labadmin"),
    "demo": ("demo", "default", "labdemo"),
    "other": ("other", "default", "labdemo"),
    "noservice": ("noservice", "outer", "labdemo"),
    "cinder": ("service", "default", "labsvc"),
    "bfv": ("service", "default", "labsvc"),
    "bfv-nosvc": ("service", "default", "labsvc"),
    "bfv-plain": ("service", "default", "labsvc"),
}


@dataclasses.dataclass(frozen=True)
class Site:
    """Endpoints and names; ``domains`` maps a domain's name to its id."""

    auth_url: str
    image_url: str
    volume_url: str
    domains: dict[str, str]
    backends: dict[str, str]
    internal_project: str
    control_url: str | None = None
    # Each cell's ceph.conf and the user there, and the modules where they are not librados and librbd themselves.
    ceph: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    bindings: object = None
    # Cinder's backend on nova's own pool of the first cell, where there is one.
    on_novas_pool: str | None = None

    def auth(self, user):
        project, domain, password = USERS[user]
        return v3.Password(
            auth_url=self.auth_url,
            username=user,
            password=password,
            user_domain_id=self.domains[domain],
            project_name=project,
            project_domain_id=self.domains[domain],
        )

    def caller(self, user):
        auth = self.auth(user)
        access = auth.get_access(_session())
        return bfv.Caller(
            auth, access.project_id, access.user_id, tuple(access.role_names), request_id=new_request_id()
        )

    def call(self, user, method, url, **kwargs):
        """Make one plain call and return the response."""
        headers = {
            "X-Auth-Token": self.auth(user).get_token(_session()),
            "OpenStack-API-Version": "volume 3.71",
            **kwargs.pop("headers", {}),
        }
        return requests.request(method, url, headers=headers, timeout=60, **kwargs)

    def volumes(self, user="admin", **query):
        """Return all volumes of all projects but those of cinder's own cache."""
        query = {"all_tenants": 1, **query} if user == "admin" else query
        found = self.call(user, "GET", f"{self.volume_url}/volumes/detail", params=query).json()["volumes"]
        return {each["id"]: each for each in found if each.get("os-vol-tenant-attr:tenant_id") != self.internal_project}

    def attachments(self):
        found = self.call("admin", "GET", f"{self.volume_url}/attachments", params={"all_tenants": 1}).json()
        return {each["id"]: each for each in found["attachments"]}

    def ours(self):
        """Return the ids of the volumes of this run's servers, and of the attachments of these."""
        volumes = {key for key, each in self.volumes().items() if (each["name"] or "").startswith(NAME)}
        return volumes, {key for key, each in self.attachments().items() if each["volume_id"] in volumes}

    def volume(self, cell="cell1", *, user="demo", state="available", **words):
        """Make a volume in a cell's storage, wait until it is there and return its id."""
        body = {"size": 1, "name": NAME, "volume_type": cell, "availability_zone": cell, **words}
        made = self.call(user, "POST", f"{self.volume_url}/volumes", json={"volume": body})
        assert made.status_code == 202, made.text
        return self.settle(made.json()["volume"]["id"], state)["id"]

    def drop_volume(self, *volume_ids):
        for key in volume_ids:
            self.call("admin", "DELETE", f"{self.volume_url}/volumes/{key}")
        for key in volume_ids:
            self.settle(key, None)

    def bound(self, volume_id):
        """Return the attachments of a volume, by their ids, with the servers that they are for."""
        found = self.call("admin", "GET", f"{self.volume_url}/attachments/detail",
                          params={"all_tenants": 1, "volume_id": volume_id}).json()["attachments"]  # fmt: skip
        return {each["id"]: each["instance"] for each in found}

    def snapshot(self, volume_id, user="demo"):
        """Make a snapshot of a volume that is in use and return its id."""
        body = {"snapshot": {"volume_id": volume_id, "name": NAME}}
        made = self.call(user, "POST", f"{self.volume_url}/snapshots", json=body)
        assert made.status_code == 202, made.text
        key = made.json()["snapshot"]["id"]
        until(lambda: self._snapshot(key).json()["snapshot"]["status"] == "available")
        return key

    def drop_snapshot(self, key):
        self.call("admin", "DELETE", f"{self.volume_url}/snapshots/{key}")
        until(lambda: self._snapshot(key).status_code == 404)

    def _snapshot(self, key):
        return self.call("admin", "GET", f"{self.volume_url}/snapshots/{key}")

    def upload(self, data, *, user="admin", **properties):
        """Make an image of these bytes and return its id."""
        body = {
            "name": f"img-{uuid.uuid4().hex[:8]}",
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "public",
            **properties,
        }
        made = self.call(user, "POST", f"{self.image_url}/v2/images", json=body)
        assert made.status_code == 201, made.text
        image_id = made.json()["id"]
        if data is not None:
            put = self.call(
                user,
                "PUT",
                f"{self.image_url}/v2/images/{image_id}/file",
                data=data,
                headers={"Content-Type": "application/octet-stream"},
            )
            assert put.status_code == 204, put.text
        return image_id

    @contextlib.contextmanager
    def silent(self, cell):
        """Have a cell's storage give no answer, while cinder goes on to call it up, for as long as the block lasts."""
        self._storage(cell, "hangs")
        try:
            yield
        finally:
            self._storage(cell, "up")

    @contextlib.contextmanager
    def failing(self, cell):
        """Have all fail that a cell's storage of the mocked cloud is asked for, for as long as the block lasts."""
        self._storage(cell, "down")
        try:
            yield
        finally:
            self._storage(cell, "up")

    def _storage(self, cell, state):
        if self.control_url:
            answer = requests.put(f"{self.control_url}/cells/{cell}", json={"storage": state}, timeout=60)
            answer.raise_for_status()
        else:
            on_lab({"hangs": "pause", "up": "resume"}[state], f"ceph-osd-{cell}")

    def settle(self, volume_id, *states, seconds=120):
        """Wait until a volume is in one of the states (None: gone) and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            got = self.call("admin", "GET", f"{self.volume_url}/volumes/{volume_id}")
            state = None if got.status_code == 404 else got.json()["volume"]["status"]
            if state in states:
                return got.json().get("volume")
            time.sleep(0.1)
        raise AssertionError(f"volume {volume_id} is {state}, not {states}")


def on_its_way(site):
    """Return for how many seconds what a killed process had asked for at once, in threads, may still take effect."""
    return 4 if site.control_url else 10


def until(done, seconds=120, said=()):
    """Wait until a condition holds; fail when it does not, with the last of what was said meanwhile."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not done():
        assert time.monotonic() < deadline, f"it did not happen in time; last: {[*said][-1:]}"
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


@contextlib.contextmanager
def in_place_of_compute(control_url=None):
    """Give a free port that the catalog names as the compute service, for as long as the block lasts.

    In the lab the stand-in leaves its port meanwhile; a run that is killed here leaves that to `python -m lab up`.
    """
    if control_url:
        put = functools.partial(requests.put, f"{control_url}/compute", timeout=60)
        with socket.socket() as held:
            # Bound, so that nobody else gets it; who listens there reuses the address.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            put(json={"url": f"http://127.0.0.1:{port}/v2.1"}).raise_for_status()
            try:
                yield port
            finally:
                put(json={"url": None}).raise_for_status()
        return
    on_lab("stop", "novastub")
    try:
        yield urlsplit(lab_environment()["LAB_COMPUTE_URL"]).port
    finally:
        on_lab("start", "novastub")


def on_lab(*words):
    """Have the lab do something, as its README says."""
    subprocess.run([sys.executable, "-m", "lab", *words], cwd=ROOT, check=True, timeout=600, stdout=subprocess.DEVNULL)


def _session():
    from keystoneauth1.session import Session

    return Session()


@functools.cache
def lab_environment():
    """Return what `python -m lab env` tells."""
    text = subprocess.run([sys.executable, "-m", "lab", "env"], cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(line.split("=", 1) for line in text.stdout.splitlines() if "=" in line)


def downloads(image_id):
    """Return how often glance has sent an image's bytes, by its access log."""
    log = Path(lab_environment()["LAB_LOG_DIR"], "glance.log").read_text(errors="replace")
    return len(re.findall(rf"GET /v2/images/{image_id}/file", log))


def lab() -> Site:
    """Return the lab, which must be up."""
    env = lab_environment()
    return Site(
        auth_url=env["LAB_AUTH_URL"],
        image_url=env["LAB_IMAGE_URL"],
        volume_url=env["LAB_VOLUME_URL"],
        domains={"default": env["LAB_DOMAIN_DEFAULT"], "outer": env["LAB_DOMAIN_OUTER"]},
        backends={"cell1": env["LAB_CELL1_POOL"], "cell2": env["LAB_CELL2_POOL"]},
        internal_project=env["LAB_PROJECT_CINDER_INTERNAL"],
        ceph={cell: (env[f"LAB_{cell.upper()}_CEPH_CONF"], "cinder") for cell in ("cell1", "cell2")},
        on_novas_pool=env["LAB_CELL1VMS_POOL"],
    )


@contextlib.contextmanager
def mock():
    """Serve a mocked cloud for as long as the block lasts."""
    from bfv.mockcloud import start

    with start() as server:
        for cell in server.cloud.cells.values():
            cell.keyring = leaks.KEYRING
        yield mock_of(server)


def mock_of(server) -> Site:
    """Return the site of a mocked cloud that is served already."""
    from bfv.mockcloud.librbd import Bindings

    told = server.describe()
    return Site(
        auth_url=told["auth_url"],
        image_url=told["image_url"],
        volume_url=told["volume_url"],
        domains=told["domains"],
        backends=told["backends"],
        internal_project=told["internal_project"],
        control_url=told["control_url"],
        ceph={cell: (cell, "nova") for cell in told["backends"]},
        bindings=Bindings(server.cloud),
    )


CONFIG = """
[DEFAULT]
cells = {cells}
[database]
api_connection = sqlite:///{home}/api.db
connection = sqlite:///{home}/bfv.db
cell_timeout = 60
sqlite_durable = {sqlite_durable}
[storage]
volume_endpoint = {volume_url}
image_endpoint = {image_url}
read_timeout = {read_timeout}
[boot]
late_answer = {late_answer}
clock_skew = {clock_skew}
volume_timeout = {volume_timeout}
volume_timeout_per_gib = {per_gib}
delete_timeout = {delete_timeout}
[images]
warm_on_boot = {warm_on_boot}
sources = {sources}
keep = {keep}
{more_images}[engine]
ask_again = 0.2
give_up = {give_up}
lease = 30
[service_user]
auth_type = v3password
auth_url = {auth_url}
username = {service_user}
password = labsvc
project_name = service
user_domain_id = {domain}
project_domain_id = {domain}
[cell:cell1]
availability_zone = cell1
volume_type = cell1
backend = {backend1}
tiers = fast:cell1-fast
[cell:cell2]
availability_zone = cell2
volume_type = cell2
backend = {backend2}
tiers = fast:cell2-fast
"""


class World:
    """A bfv of its own on a site: databases in a folder, a configuration, and processes to be killed."""

    def __init__(self, site: Site, home: Path, **settings):
        self.site, self.home = site, home
        self.settings = {
            "volume_url": site.volume_url,
            "image_url": site.image_url,
            "service_user": "bfv",
            "late_answer": 20,
            "clock_skew": 30,
            "volume_timeout": 120,
            "delete_timeout": 300,
            "per_gib": 20,
            "give_up": 120,
            "read_timeout": 60,
            # Processes are killed and machines are not; what is measured beside real services is as it would be there.
            "sqlite_durable": site.control_url is None,
            # What is not about images is not to leave sources of them behind.
            "cells": "cell1,cell2",
            "warm_on_boot": False,
            "keep": "",
            "sources": "glance,snapshot,cache",
            # Lines for [images] beside these.
            "more_images": "",
            **settings,
        }
        self.config = home / "bfv.conf"
        self.write_config()
        with self.cloud("admin") as cloud:
            from bfv import database
            from cells import flavors
            from cells.types import Flavor

            database.init(cloud.parts, f"sqlite:///{home}/cell0.db")
            for cell in site.backends:
                database.add_cell(cloud.parts, cell, f"sqlite:///{home}/{cell}.db")
            small = {"id": 0, "vcpus": 1, "memory_mb": 128}
            flavors.create(cloud.parts.api, Flavor(flavorid="tiny", name="tiny", root_gb=0, **small))
            flavors.create(cloud.parts.api, Flavor(flavorid="big", name="big", root_gb=2, **small))

    def write_config(self, **settings):
        """Write the configuration with other settings from now on; ``ceph`` says whether cells name theirs."""
        self.settings.update(settings)
        site = self.site
        text = CONFIG
        for cell, (conf, user) in site.ceph.items() if self.settings.get("ceph") else ():
            lines = f"ceph_conf = {conf}\nceph_user = {user}\nglance_pool = images\nceph_timeout = 4\n"
            text = text.replace(f"[cell:{cell}]\n", f"[cell:{cell}]\n{lines}")
        self.config.write_text(
            text.format(
                home=self.home,
                auth_url=site.auth_url,
                domain=site.domains["default"],
                backend1=site.backends["cell1"],
                backend2=site.backends["cell2"],
                **self.settings,
            )
        )

    @contextlib.contextmanager
    def cloud(self, user="demo"):
        """Open the cloud in this process, for one user."""
        caller = self.site.caller(user)
        conf = load(self.config)
        asks = lambda: dataclasses.replace(caller, request_id=new_request_id())  # noqa: E731
        with Cloud(conf, asks, bindings=self.site.bindings) as cloud:
            yield cloud

    def environment(self, user="demo"):
        project, domain, password = USERS[user]
        hidden = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
        return {
            **hidden,
            "OS_AUTH_URL": self.site.auth_url,
            "OS_USERNAME": user,
            "OS_PASSWORD": password,
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_ID": self.site.domains[domain],
            "OS_PROJECT_DOMAIN_ID": self.site.domains[domain],
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }

    def run(self, *words, user="demo", expect=0):
        """Run the command in a process of its own and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "bfv", "--config-file", str(self.config), *words],
            capture_output=True,
            text=True,
            env=self.environment(user),
            timeout=600,
            cwd=self.home,
        )
        # How a host reaches a volume, keys and all, is what `connect` is asked for.
        leaks.look(f"printed by bfv {words}", done.stderr + ("" if "connect" in words else done.stdout))
        assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
        return done.stdout if expect == 0 else done.stderr + done.stdout

    def victim(self, plan, user="demo"):
        """Run a verb in a process that kills itself, see ``tests.victim``; return how it ended and what it printed."""
        return nursery.victim([str(self.config), *plan], self.environment(user))
