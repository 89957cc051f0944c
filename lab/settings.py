# SPDX-License-Identifier: Apache-2.0
"""Every path, port, name and password of the lab in one place, so that no other file spells one out."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAB = Path(os.environ.get("BFV_LAB_DIR") or HERE.parent / ".lab").resolve()
MARK = LAB / "this-is-a-bfv-lab"
VENV = LAB / "venv"
VENV_BIN = VENV / "bin"
LOCK = HERE / "requirements.lock"
ETC, RUN, LOG = LAB / "etc", LAB / "run", LAB / "log"
CLOUDS = LAB / "clouds.yaml"
IDS = LAB / "ids.json"
# What `wipe` may remove: never more than these names, whatever else is in the directory.
DATA = (
    "ceph",
    "cinder",
    "etc",
    "glance",
    "log",
    "mariadb",
    "postgresql",
    "rabbitmq",
    "run",
    "realnova",
    "bin",
    "clouds.yaml",
    "ids.json",
    "lab.env",
    ".cache",
)

HOST = "127.0.0.1"
PORTS = {
    "keystone": 25000,
    "glance": 29292,
    "cinder-api": 28776,
    "novastub": 28774,
    "mariadb": 23306,
    "postgresql": 25432,
    "rabbitmq": 24672,
    "rabbitmq-dist": 24673,
    "epmd": 24369,
    "memcached": 24211,
    # Of a nova that runs guests, which is not up by default.
    "nova-api": 28775,
    "placement": 28778,
    "glance-locations": 29293,
    "neutronstub": 29696,
}
ADMIN_PASSWORD = "labadmin"
USER_PASSWORD = "labdemo"
SERVICE_PASSWORD = "labsvc"
DATABASE_PASSWORD = "labdb"
RABBIT_PASSWORD = "labmq"

REGION = "RegionOne"
POOLS = ("images", "volumes", "vms")
MARIADB_SOCKET = LAB / "mariadb" / "mysqld.sock"
# A unix socket's path ends at 107 bytes; Ceph's admin sockets are the longest below the lab directory.
LONGEST_LAB_PATH = 60


class LabError(Exception):
    """The lab cannot go on; the text is for the operator and names the service."""


@dataclass(frozen=True)
class Cell:
    """One Ceph cluster and the Cinder backend on it; the digit makes its ports and uuids."""

    digit: str

    @property
    def name(self) -> str:
        return f"cell{self.digit}"

    @property
    def backends(self) -> tuple[str, ...]:
        """Cinder's backends on it: of the first cell also one on nova's own pool."""
        return (self.name, f"{self.name}vms") if self.digit == "1" else (self.name,)

    def uuid(self, middle: str) -> str:
        """A fixed uuid, so that a log line tells by eye which cell it is about."""
        d = self.digit
        return f"{d * 8}-{middle}-{d * 12}"

    @property
    def fsid(self) -> str:
        d = self.digit
        return self.uuid(f"{d * 4}-4{d * 3}-8{d * 3}")

    @property
    def osd_uuid(self) -> str:
        return self.uuid("aaaa-4aaa-8aaa")

    @property
    def secret_uuid(self) -> str:
        return self.uuid("cccc-4ccc-8ccc")

    @property
    def root(self) -> Path:
        return LAB / "ceph" / self.name

    @property
    def conf(self) -> Path:
        return self.root / "ceph.conf"

    @property
    def mon_v2(self) -> int:
        return int(f"{self.digit}3300")

    @property
    def mon_v1(self) -> int:
        return int(f"{self.digit}6789")

    def keyring(self, user: str) -> Path:
        return self.root / "keys" / f"client.{user}.keyring"


CELLS = (Cell("1"), Cell("2"))


def url(service: str, path: str = "") -> str:
    return f"http://{HOST}:{PORTS[service]}{path}"


AUTH_URL = url("keystone", "/v3")


def lock_hash() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def render(template: str, target: Path, **values: object) -> None:
    """Write a template's text with its {{names}} filled in; an unknown name is an error."""
    known = {
        "lab": LAB,
        "host": HOST,
        "region": REGION,
        "auth_url": AUTH_URL,
        "service_password": SERVICE_PASSWORD,
        "database_password": DATABASE_PASSWORD,
        "rabbit_password": RABBIT_PASSWORD,
        "mariadb_socket": MARIADB_SOCKET,
    }
    known |= {f"port_{name.replace('-', '_')}": port for name, port in PORTS.items()}
    known |= values
    text = (HERE / "templates" / template).read_text()
    write(target, re.sub(r"\{\{(\w+)\}\}", lambda match: str(known[match[1]]), text))


def write(target: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file at once: a reader sees the old text or the new one, never a half."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(target.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(target)


def claim_directory() -> None:
    """Make the lab directory ours, and refuse one that holds somebody else's files."""
    if len(str(LAB)) > LONGEST_LAB_PATH:
        raise LabError(f"{LAB}: over {LONGEST_LAB_PATH} characters, too long for unix sockets below it")
    if LAB.exists() and not MARK.exists() and any(LAB.iterdir()):
        raise LabError(f"{LAB}: not empty and not a lab (no {MARK.name}); choose another BFV_LAB_DIR")
    LAB.mkdir(parents=True, exist_ok=True)
    MARK.touch()
