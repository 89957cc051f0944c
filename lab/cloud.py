# SPDX-License-Identifier: Apache-2.0
"""Keystone, Glance, Cinder and the Nova stand-in: their configuration, databases and processes."""

import base64
import json
import os
import shutil
import sys
from collections.abc import Callable

from lab import ceph, ready
from lab.process import Service, run, start, wait
from lab.rest import answers
from lab.settings import (
    ADMIN_PASSWORD,
    AUTH_URL,
    CELLS,
    ETC,
    HERE,
    IDS,
    LAB,
    PORTS,
    REGION,
    RUN,
    VENV,
    VENV_BIN,
    Cell,
    lock_hash,
    render,
    url,
    write,
)

KEYSTONE_CONF = ETC / "keystone" / "keystone.conf"
GLANCE_CONF = ETC / "glance" / "glance-api.conf"
CINDER_CONF = ETC / "cinder" / "cinder.conf"
CINDER_INTERNAL_CONF = ETC / "cinder" / "internal.conf"
# uWSGI refuses chunked bodies of this size by default; cinder's volume upload sends them.
GLANCE_UWSGI = "\n".join(
    (
        f"env = OS_GLANCE_CONFIG_DIR={ETC}/glance",
        "chunked-input-limit = 67108864",
        "chunked-input-timeout = 60",
        "socket-timeout = 60",
    )
)
CHUNKED = "\nhttp-auto-chunked = true\nwsgi-manage-chunked-input = true"
KEYSTONE_UWSGI = f"env = OS_KEYSTONE_CONFIG_FILES={KEYSTONE_CONF}{CHUNKED}"
CINDER_UWSGI = f"pyargv = --config-file {CINDER_CONF}{CHUNKED}"


def web(name: str, project: str) -> Service:
    path = {"keystone": "/v3"}.get(name, "/")
    return Service(
        name,
        (f"{VENV_BIN}/uwsgi", "--ini", f"{ETC}/{project}/uwsgi.ini"),
        ready=lambda: answers(url(name, path)),
        ports=(PORTS[name],),
    )


NOVASTUB = Service(
    "novastub",
    (sys.executable, "-m", "lab.novastub"),
    ready=lambda: answers(url("novastub", "/v2.1/")),
    env={"PYTHONPATH": str(HERE.parent)},
    ports=(PORTS["novastub"],),
)
KEYSTONE = web("keystone", "keystone")
GLANCE = web("glance", "glance")
CINDER_API = web("cinder-api", "cinder")
CINDER_SCHEDULER: Service = Service(
    "cinder-scheduler",
    (f"{VENV_BIN}/cinder-scheduler", "--config-file", str(CINDER_CONF)),
    ready=lambda: ready.scheduler_serves(CINDER_SCHEDULER),
)


def cinder_volume(name: str, serves: Callable[[], bool]) -> Service:
    """A cinder-volume that reads the file of its name beside what all read."""
    return Service(
        f"cinder-volume-{name}",
        ("unshare", "-m", "--propagation", "private", f"{LAB}/bin/cinder-volume", name),
        ready=serves,
    )


def cell_volume(cell: Cell) -> Service:
    """Each cell has its own, with locks of its own, as on a cell's own machines.

    Where cells share their locks, one whose storage is silent stops the others, too: it holds the lock on an image
    while it fills its cache (``cinder/volume/flows/manager/create_volume.py:_prepare_image_cache_entry``).
    """
    service = cinder_volume(cell.name, lambda: ready.volume_serves(service, cell))
    return service


CINDER_VOLUMES = tuple(cell_volume(cell) for cell in CELLS)


def configure() -> None:
    """Write every configuration file; those that the packages ship are copied unchanged."""
    for name in (
        "cinder/conversion",
        "cinder/state",
        "cinder/locks",
        *(f"cinder/locks-{cell.name}" for cell in CELLS),
        "glance/locks",
        "glance/os_glance_staging_store",
        "glance/os_glance_tasks_store",
    ):
        (LAB / name).mkdir(parents=True, exist_ok=True)
    render("keystone.conf", KEYSTONE_CONF)
    render("glance-api.conf", GLANCE_CONF)
    render("cinder.conf", CINDER_CONF, cell1_secret=CELLS[0].secret_uuid, cell2_secret=CELLS[1].secret_uuid)
    for cell in CELLS:
        render("cinder-cell.conf", ETC / "cinder" / f"{cell.name}.conf", cell=cell.name,
               backends=",".join(cell.backends))  # fmt: skip
    for project, port, module, more in (
        ("keystone", PORTS["keystone"], "keystone.wsgi.api:application", KEYSTONE_UWSGI),
        ("glance", PORTS["glance"], "glance.wsgi.api:application", GLANCE_UWSGI),
        ("cinder", PORTS["cinder-api"], "cinder.wsgi.api:application", CINDER_UWSGI),
    ):
        render("uwsgi.ini", ETC / project / "uwsgi.ini", port=port, module=module, more=more)
    for path in (
        "glance/glance-api-paste.ini",
        "cinder/api-paste.ini",
        "cinder/resource_filters.json",
        "cinder/rootwrap.conf",
    ):
        shutil.copy(VENV / "etc" / path, ETC / path)
    for script in ("sudo", "cinder-volume"):
        render(f"{script}.sh", LAB / "bin" / script)
        (LAB / "bin" / script).chmod(0o755)
    ceph.configure_clients(ETC / "ceph")
    make_keystone_keys()


def make_keystone_keys() -> None:
    """The two key files of `fernet_setup` and `credential_setup`, without two slow Python starts."""
    for repository in ("fernet-keys", "credential-keys"):
        directory = ETC / "keystone" / repository
        directory.mkdir(exist_ok=True)
        directory.chmod(0o700)
        for name in "01":
            if not (directory / name).exists():
                write(directory / name, base64.urlsafe_b64encode(os.urandom(32)).decode(), 0o600)


def once(name: str, *commands: list[object]) -> None:
    """Run the commands unless they have succeeded with the same packages before."""
    stamp = RUN / f"{name}.done"
    if stamp.exists() and stamp.read_text() == lock_hash():
        return
    for command in commands:
        run(name, command, seconds=600)
    write(stamp, lock_hash())


def keystone_schema() -> None:
    once("keystone-schema", [VENV_BIN / "keystone-manage", "--config-file", KEYSTONE_CONF, "db_sync"])


def keystone_bootstrap() -> None:
    once(
        "keystone-bootstrap",
        [
            VENV_BIN / "keystone-manage",
            "--config-file",
            KEYSTONE_CONF,
            "bootstrap",
            "--bootstrap-password",
            ADMIN_PASSWORD,
            "--bootstrap-region-id",
            REGION,
            "--bootstrap-admin-url",
            AUTH_URL,
            "--bootstrap-internal-url",
            AUTH_URL,
            "--bootstrap-public-url",
            AUTH_URL,
        ],
    )


def glance_schema() -> None:
    once("glance-schema", [VENV_BIN / "glance-manage", "--config-file", GLANCE_CONF, "db_sync"])


def cinder_schema() -> None:
    once("cinder-schema", [VENV_BIN / "cinder-manage", "--config-file", CINDER_CONF, "db", "sync"])


def up_cinder_volume() -> None:
    """Start them once Keystone has made the ids of their internal tenant; `ready` waits for them."""
    ids = json.loads(IDS.read_text())
    render(
        "cinder-internal.conf",
        CINDER_INTERNAL_CONF,
        internal_project=ids["projects"]["cinder-internal"],
        internal_user=ids["users"]["cinder-internal"],
    )
    for service in CINDER_VOLUMES:
        start(service)


def wait_cinder() -> None:
    wait(CINDER_SCHEDULER)
    for service in CINDER_VOLUMES:
        wait(service)
