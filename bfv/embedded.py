# SPDX-License-Identifier: Apache-2.0
"""A whole cloud in this process, for first tries: mocked services over real HTTP on loopback, SQLite databases.

The one file that knows the mocked cloud: it makes an ordinary configuration, and all else is the same code as ever.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from bfv import config, database, mockcloud
from bfv.mockcloud import librbd, serve
from bfv.parts import assemble
from bfv.types import Caller
from cells import aggregates, flavors, hosts
from cells.types import Flavor
from imagebackends.rbd.bindings import Bindings

__all__ = ["CELLS", "Embedded", "embedded", "serve"]

CELLS = ("cell1", "cell2", "cell3")
# A clone is quick, but one a second of a volume; a download is what a cold cell waits for.
PACE = {"creating": {"seconds": 0.3}, "downloading": {"seconds": 2.0}, "deleting": {"seconds": 0.2},
        "cloning": {"seconds": 1.0}}  # fmt: skip
FLAVORS = (("tiny", 1, 128, 0), ("small", 1, 2048, 2), ("large", 4, 8192, 20))

HEAD = """\
[DEFAULT]
cells = {cells}
[database]
api_connection = sqlite:///{home}/api.db
connection = sqlite:///{home}/bfv.db
sqlite_durable = false
[boot]
late_answer = 5
[engine]
ask_again = 0.5
[compute]
driver = example
[example_driver]
state_path = {home}/guests
[service_user]
auth_type = v3password
auth_url = {auth_url}
username = bfv
password = labsvc
project_name = service
user_domain_id = default
project_domain_id = default
"""
CELL = """\
[cell:{name}]
availability_zone = {name}
volume_type = {name}
backend = {backend}
tiers = fast:{name}-fast
"""
CEPH = """\
ceph_conf = {name}
glance_pool = images
"""


@dataclass(frozen=True)
class Embedded:
    """A running mocked cloud with a bfv of its own in ``home``; ``config_file`` is what ``bfv`` reads."""

    server: mockcloud.Server
    home: Path
    config_file: Path
    auth_url: str

    def auth(self, user: str = "demo", password: str = "labdemo") -> v3.Password:  # noqa: S107 - nothing is behind it
        """Return the credentials of one of the mocked cloud's users in the project of the same name."""
        return v3.Password(auth_url=self.auth_url, username=user, password=password, project_name=user,
                           user_domain_id="default", project_domain_id="default")  # fmt: skip

    @contextlib.contextmanager
    def database_away(self, cell: str) -> Iterator[None]:
        """Have something that is no database where a cell's was, for as long as the block lasts."""
        files = [self.home / f"{cell}.db{end}" for end in ("", "-wal", "-shm")]
        for file in files:
            if file.exists():
                file.rename(file.with_name(f"{file.name}.away"))
        files[0].write_text("This is no database.\n" * 100)
        try:
            yield
        finally:
            files[0].unlink()
            for file in files:
                if file.with_name(f"{file.name}.away").exists():
                    file.with_name(f"{file.name}.away").rename(file)

    @property
    def bindings(self) -> Bindings:
        """What behaves as librados and librbd, on the mocked cells' Ceph."""
        mocked = librbd.Bindings(self.server.cloud)
        return Bindings(mocked.rados, mocked.rbd)

    def upload(self, name: str, data: bytes) -> str:
        """Make a public raw image of these bytes and return its id."""
        token = str(self.auth("admin", "labadmin").get_token(Session()))
        url = f"{self.server.describe()['image_url']}/v2/images"
        body = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        made = requests.post(url, json=body, headers={"X-Auth-Token": token}, timeout=10)
        made.raise_for_status()
        sent = requests.put(f"{url}/{made.json()['id']}/file", data=data, timeout=30,
                            headers={"X-Auth-Token": token, "Content-Type": "application/octet-stream"})  # fmt: skip
        sent.raise_for_status()
        return str(made.json()["id"])

    def caller(self) -> Caller:
        """Return the caller `demo`."""
        auth = self.auth()
        access: Any = auth.get_access(Session())
        return Caller(auth, access.project_id, access.user_id, tuple(access.role_names))


@contextlib.contextmanager
def embedded(home: Path, port: int = 0, *, ceph: bool = False) -> Iterator[Embedded]:
    """Serve a mocked cloud of three cells, Glance's store in the first, and make its databases in ``home``.

    With ``ceph`` its cells name their Ceph: then only who has ``Embedded.bindings`` reaches it.
    """
    with mockcloud.start(mockcloud.Settings(CELLS, glance_stores=CELLS[:1]), port=port) as server:
        server.cloud.pace.set(PACE)
        told = server.describe()
        path = home / "bfv.conf"
        text = HEAD.format(cells=",".join(CELLS), home=home, auth_url=told["auth_url"])
        cell = CELL + CEPH if ceph else CELL
        path.write_text(text + "".join(cell.format(name=name, backend=told["backends"][name]) for name in CELLS))
        _databases(path, home)
        yield Embedded(server, home, path, told["auth_url"])


def _databases(path: Path, home: Path) -> None:
    parts = assemble(config.load(path))
    try:
        database.init(parts, f"sqlite:///{home}/cell0.db")
        for name in CELLS:
            database.add_cell(parts, name, f"sqlite:///{home}/{name}.db")
        for name, vcpus, memory_mb, root_gb in FLAVORS:
            flavors.create(parts.api, Flavor(id=0, flavorid=name, name=name, vcpus=vcpus, memory_mb=memory_mb,
                                             root_gb=root_gb))  # fmt: skip
        assert parts.driver is not None, "it is in the configuration above"
        for name in CELLS:
            aggregates.create(parts.api, name, availability_zone=name)
        for host in parts.driver.hosts():
            hosts.map_host(parts.api, host.host, parts.registry.cell(host.cell))
            aggregates.add_host(parts.api, host.cell, host.host)
    finally:
        parts.close()
