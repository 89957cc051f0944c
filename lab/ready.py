# SPDX-License-Identifier: Apache-2.0
"""Ask each service for one real thing, since an open port or a stored "up" proves little.

Cinder says "up" of a process that died a minute ago, so an answer counts only if it is younger than the
process; and a message broker that lost its queues is found only by a call that must come back.
"""

import datetime as dt

from lab.process import Service
from lab.rest import Session, login
from lab.settings import CELLS, USER_PASSWORD, Cell, LabError, url


def volume_url(session: Session, path: str) -> str:
    return url("cinder-api", f"/v3/{session.project_id}{path}")


def reported_since_start(session: Session, service: Service, binary: str) -> set[str]:
    """Hosts of this binary that have reported since the service was started."""
    started = dt.datetime.fromtimestamp(service.pid_file.stat().st_mtime, dt.UTC)
    rows = session.call("GET", volume_url(session, f"/os-services?binary={binary}"))["services"]
    return {
        row["host"]
        for row in rows
        if row["state"] == "up"
        and row["updated_at"]
        and dt.datetime.fromisoformat(row["updated_at"]).replace(tzinfo=dt.UTC) > started
    }


def scheduler_serves(service: Service) -> bool:
    return "lab" in reported_since_start(login(), service, "cinder-scheduler")


def volume_serves(service: Service, cell: Cell) -> bool:
    """The cell's backends serve."""
    return backends_serve(service, {f"lab@{name}": f"lab@{name}#{name}" for name in cell.backends})


def backends_serve(service: Service, backends: dict[str, str]) -> bool:
    """The backends report, answer a call through the broker, and the scheduler knows the pool of each."""
    admin = login()
    if not backends.keys() <= reported_since_start(admin, service, "cinder-volume"):
        return False
    pools = admin.call("GET", volume_url(admin, "/scheduler-stats/get_pools"))["pools"]
    if not set(backends.values()) <= {pool["name"] for pool in pools}:
        return False
    body = {"binary": "cinder-volume", "server": "", "prefix": "cinder.volume.manager"}
    levels = admin.call("PUT", volume_url(admin, "/os-services/get-log"), body)["log_levels"]
    return backends.keys() <= {row["host"] for row in levels}


def check_user() -> None:
    """What a plain user sees first: a token and the image list."""
    demo = login("demo", USER_PASSWORD, "demo")
    if "images" not in demo.call("GET", url("glance", "/v2/images")):
        raise LabError("glance: an answer without images")


def make_volume_types() -> None:
    """Two types per cell, which also choose its zone, one of nova's own pool, and `lost`, which no backend serves."""
    wanted = {"lost": {"volume_backend_name": "nowhere"}}
    for cell in CELLS:
        for name in (cell.name, f"{cell.name}-fast"):
            wanted[name] = {"volume_backend_name": cell.name, "RESKEY:availability_zones": cell.name}
        wanted |= {name: {"volume_backend_name": name} for name in cell.backends[1:]}
    admin = login()
    have = {row["name"]: row for row in admin.call("GET", volume_url(admin, "/types"))["volume_types"]}
    for name, specs in wanted.items():
        if name not in have:
            body = {"volume_type": {"name": name, "os-volume-type-access:is_public": True}}
            have[name] = admin.call("POST", volume_url(admin, "/types"), body)["volume_type"]
        if have[name].get("extra_specs") != specs:
            path = f"/types/{have[name]['id']}/extra_specs"
            admin.call("POST", volume_url(admin, path), {"extra_specs": specs})
