# SPDX-License-Identifier: Apache-2.0
"""A whole Ceph cluster of one monitor, one manager and one OSD on a sparse file, for each cell."""

import json
import shutil
from pathlib import Path
from typing import Any

from lab.process import Service, main_pid, poll, port_open, run, start, tail, wait
from lab.settings import CELLS, HOST, POOLS, Cell, LabError, render

CLEAN_SECONDS = 300
MGR_SOURCE = Path("/usr/share/ceph/mgr")
MGR_REAL = ("mgr_module.py", "mgr_util.py", "rbd_support")
# The manager insists on these modules; empty ones keep it healthy at a third of the memory.
MGR_STUBS = (
    "balancer",
    "crash",
    "devicehealth",
    "orchestrator",
    "pg_autoscaler",
    "progress",
    "status",
    "telemetry",
    "volumes",
)
MGR_STUB = "from mgr_module import MgrModule\n\n\nclass Module(MgrModule):\n    pass\n"

RBD_POOLS = ", ".join(f"profile rbd pool={pool}" for pool in POOLS)
ALL = "allow *"
# Keys are put into the monitor's first keyring, so no `ceph auth` call is needed later.
KEYS = {
    "keys/client.admin.keyring": ("client.admin", {"mon": ALL, "osd": ALL, "mgr": ALL, "mds": ALL}),
    "keys/client.cinder.keyring": (
        "client.cinder",
        {"mon": "profile rbd", "osd": RBD_POOLS, "mgr": "profile rbd pool=volumes, profile rbd pool=vms"},
    ),
    "keys/client.glance.keyring": (
        "client.glance",
        {"mon": "profile rbd", "osd": "profile rbd pool=images", "mgr": "profile rbd pool=images"},
    ),
    "mgr/x/keyring": ("mgr.x", {"mon": "allow profile mgr", "osd": ALL, "mds": ALL}),
    "osd/0/keyring": ("osd.0", {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": ALL}),
}


def services(cell: Cell) -> tuple[Service, Service, Service]:
    """Monitor, manager and OSD, in the order in which they start."""

    def command(kind: str, ident: str) -> tuple[str, ...]:
        return (f"ceph-{kind}", "-f", "-c", str(cell.conf), "-i", ident)

    return (
        Service(
            f"ceph-mon-{cell.name}",
            command("mon", "a"),
            ready=lambda: port_open(cell.mon_v2),
            ports=(cell.mon_v2, cell.mon_v1),
        ),
        Service(f"ceph-mgr-{cell.name}", command("mgr", "x")),
        Service(f"ceph-osd-{cell.name}", command("osd", "0"), ready=lambda: unclean(cell) is None),
    )


def up(cell: Cell) -> None:
    """Bring the cell's cluster to active+clean, from nothing or from its data."""
    mon, mgr, osd = services(cell)
    made, has_pools = cell.root / "made", cell.root / "has-pools"
    configure(cell)
    if not made.exists():
        make(cell)
        made.touch()
    start(mon)
    wait(mon)
    if not has_pools.exists():
        ceph(cell, "osd", "new", cell.osd_uuid, "0")
    start(mgr)
    start(osd)
    if not has_pools.exists():
        make_pools(cell)
        has_pools.touch()
    if not poll(lambda: unclean(cell) is None, CLEAN_SECONDS, 0.4):
        raise LabError(f"ceph {cell.name}: {unclean(cell)} after {CLEAN_SECONDS} s\n{tail(osd.log)}")


def configure(cell: Cell) -> None:
    render("ceph.conf", cell.conf, fsid=cell.fsid, digit=cell.digit, root=cell.root, mon_host=mon_address(cell))
    modules = cell.root / "mgr-modules"
    modules.mkdir(exist_ok=True)
    for name in MGR_REAL:
        link(modules / name, MGR_SOURCE / name)
    for name in MGR_STUBS:
        (modules / name).mkdir(exist_ok=True)
        (modules / name / "module.py").write_text(MGR_STUB)
        (modules / name / "__init__.py").write_text("from .module import Module\n")


def mon_address(cell: Cell) -> str:
    return f"[v2:{HOST}:{cell.mon_v2},v1:{HOST}:{cell.mon_v1}]"


def make(cell: Cell) -> None:
    """mkfs of monitor and OSD; a half-made cluster of an earlier try is thrown away first."""
    for name in ("run", "log", "crash", "keys", "mon", "mgr", "osd"):
        shutil.rmtree(cell.root / name, ignore_errors=True)
    for name in ("run", "log", "crash", "keys", "mon", "mgr/x", "osd/0"):
        (cell.root / name).mkdir(parents=True)
    log = f"ceph-make-{cell.name}"
    mon_keyring, monmap = cell.root / "keys/mon.keyring", cell.root / "monmap"
    run(log, ["ceph-authtool", "-C", mon_keyring, "--gen-key", "-n", "mon.", "--cap", "mon", ALL])
    for path, (user, caps) in KEYS.items():
        words = [word for service, cap in caps.items() for word in ("--cap", service, cap)]
        run(log, ["ceph-authtool", "-C", cell.root / path, "--gen-key", "-n", user, *words])
        run(log, ["ceph-authtool", mon_keyring, "--import-keyring", cell.root / path])
    run(
        log,
        [
            "monmaptool",
            "--create",
            "--clobber",
            "--fsid",
            cell.fsid,
            "--addv",
            "a",
            mon_address(cell),
            "--set-min-mon-release",
            "pacific",
            monmap,
        ],
    )
    run(log, ["ceph-mon", "-c", cell.conf, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", mon_keyring])
    # Without --no-mon-config the OSD looks 300 s for a monitor that does not run yet.
    run(
        log,
        ["ceph-osd", "-c", cell.conf, "--no-mon-config", "--mkfs", "-i", "0", "--osd-uuid", cell.osd_uuid],
    )


def make_pools(cell: Cell) -> None:
    for pool in POOLS:
        ceph(cell, "osd", "pool", "create", pool, "8", "8")
    # Clone v2: no snapshot protection, and an image with clones can be deleted.
    ceph(cell, "osd", "set-require-min-compat-client", "mimic", "--yes-i-really-mean-it")
    for pool in POOLS:
        run(f"ceph-make-{cell.name}", ["rbd", "-c", cell.conf, "pool", "init", pool])


def ceph(cell: Cell, *words: str) -> str:
    return run(f"ceph-make-{cell.name}", ["ceph", "-c", cell.conf, "--connect-timeout", "30", *words])


def unclean(cell: Cell) -> str | None:
    """What still keeps the cluster from being usable, None when nothing does.

    HEALTH_OK alone is not enough: it is said before the manager is active, when capacity is still 0, and
    for a while of an OSD that was killed. So the OSD itself is asked, and old reports do not count.
    """
    if (state := osd_state(cell)) != "active":
        return f"OSD is {state}"
    try:
        status = question(cell, "-s")
        if reason := unhealthy(status):
            return reason
        booted = question(cell, "osd", "dump")["osds"][0]["up_from"]
        reports = [pg["reported_epoch"] for pg in question(cell, "pg", "ls")["pg_stats"]]
    except LabError:
        return "no answer from the monitor"
    return None if min(reports) >= booted else "placement groups have not reported since the OSD's start"


def rejoin(cell: Cell) -> None:
    """Have an OSD that was paused peer anew.

    Its read leases ran out while it slept, and an OSD that is alone has nobody who renews them: a placement group may
    stay ``laggy``, answering nothing, for ever.
    """
    ceph(cell, "osd", "down", "0")
    if not poll(lambda: question(cell, "osd", "dump")["osds"][0]["up"] == 1, CLEAN_SECONDS, 0.4):
        raise LabError(f"ceph {cell.name}: the OSD is not up {CLEAN_SECONDS} s after it was resumed")


def osd_state(cell: Cell) -> str:
    """What the OSD process says of itself, without the monitor."""
    pid = main_pid(services(cell)[2])
    if not pid:
        return "down"
    socket = cell.root / "run" / f"osd.0.{pid}.asok"
    try:
        text = run(f"ceph-status-{cell.name}", ["ceph", "--admin-daemon", socket, "status"], seconds=60)
    except LabError:
        return "starting"
    return str(json.loads(text)["state"])


def question(cell: Cell, *words: str) -> Any:
    return json.loads(
        run(
            f"ceph-status-{cell.name}",
            ["ceph", "-c", cell.conf, "--connect-timeout", "30", *words, "-f", "json"],
            seconds=60,
        )
    )


def unhealthy(status: dict[str, Any]) -> str | None:
    pgs, osds = status["pgmap"], status["osdmap"]
    states = {state["state_name"] for state in pgs["pgs_by_state"]}
    wrong = {
        status["health"]["status"]: status["health"]["status"] != "HEALTH_OK",
        "no active manager": not status["mgrmap"]["available"],
        "OSD down": osds["num_up_osds"] != 1,
        "pools missing": pgs["num_pools"] < len(POOLS),
        f"placement groups {sorted(states)}": states != {"active+clean"},
        "no capacity known": not pgs["bytes_total"],
    }
    return ", ".join(reason for reason, is_so in wrong.items() if is_so) or None


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink() or path.readlink() != target:
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def configure_clients(directory: Path) -> None:
    """The /etc/ceph that cinder-volume sees: one conf and one keyring for each cluster name."""
    for cell in CELLS:
        link(directory / f"{cell.name}.conf", cell.conf)
        link(directory / f"{cell.name}.client.cinder.keyring", cell.keyring("cinder"))
