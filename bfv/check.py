# SPDX-License-Identifier: Apache-2.0
"""Prove before the first boot that the cloud is ready: a line for each thing, with what to do where it is not.

A line is ok, bad, or unknown: what no API tells is never guessed. ``probe`` makes and removes one volume for each
cell to learn what only a volume shows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bfv import database
from bfv.errors import CellsError, NotAllowed, NotFound, StorageError
from bfv.parts import Parts
from bfv.probe import probe_cell
from bfv.types import new_request_id
from imagebackends.cinder.backend import CinderBackend
from imagebackends.cinder.client import REIMAGE, TIME_FILTER
from imagebackends.survey import Pool, Survey, VolumeType
from imagebackends.types import Access, Target

State = Literal["ok", "bad", "unknown"]
SERVICE_ROLE = "service"
# In which cinder tells of a volume that was re-imaged (cinder/compute/nova.py).
REIMAGED = 93


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    state: State
    what: str
    found: str
    todo: str = ""


def check(parts: Parts, *, projects: Sequence[str] = (), probe: bool = False, image: str | None = None) -> list[Line]:
    """Return a line for each thing; nothing is changed unless ``probe``, which needs an ``image``."""
    lines = [*_databases(parts), *_nova_pools(parts)]
    try:
        access = parts.rights.everywhere(new_request_id())
        roles = parts.rights.roles()
    except StorageError as error:
        return [*lines, Line("bad", "service user", str(error), "correct [service_user]")]
    lines += _roles(roles)
    if access is None:
        return lines
    if not isinstance(parts.backend, CinderBackend):
        return lines
    survey = Survey(parts.backend.clients, access)
    for part in (_versions, _clock, _call_backs, _default_quota, lambda s: _storage(parts, s)):
        lines += _guarded(part, survey)
    for project in projects:
        lines += _guarded(lambda s, project=project: _project(parts, s, project), survey)  # type: ignore[misc]
    lines += _cache(parts, survey, access, image if probe else None)
    return lines


def _guarded(part: Callable[[Survey], Iterable[Line]], survey: Survey) -> list[Line]:
    try:
        return list(part(survey))
    except StorageError as error:
        return [
            Line("bad", "cinder or glance", str(error), "grant the service user the role admin, or mend the service")
        ]


def _databases(parts: Parts) -> Iterable[Line]:
    looks: list[tuple[str, Callable[[], str]]] = [
        ("journal", lambda: f"version {database.check(parts)}"),
        ("API database", lambda: f"{len(parts.registry.cells())} cells"),
    ]
    for name, look in looks:
        try:
            yield Line("ok", name, look())
        except (StorageError, CellsError) as error:
            yield Line("bad", name, str(error), "run `bfv db init`")
            return
    mapped = {cell.name: cell for cell in parts.registry.cells()}
    for name in dict.fromkeys(["cell0", *(target.cell for target in parts.targets)]):
        if name not in mapped:
            todo = "bfv db init --cell0 URL" if name == "cell0" else f"bfv cell create {name} --database URL"
            yield Line("bad", f"cell {name}", "has no mapping", todo)
            continue
        try:
            with parts.cells.of(mapped[name]).reader():
                yield Line("ok", f"cell {name}", "database answers")
        except CellsError as error:
            yield Line("bad", f"cell {name}", str(error), "mend its database")


def _nova_pools(parts: Parts) -> Iterable[Line]:
    """Look into nova's pool of each cell that names its Ceph."""
    for cell, ceph in parts.clusters.settings.ceph.items():
        what = f"cell {cell}: nova's pool {ceph.pool}"
        try:
            yield Line("ok", what, f"{len(parts.clusters.pools().of(cell).names())} images")
        except StorageError as error:
            yield Line("bad", what, str(error), "correct ceph_conf, ceph_user and nova_pool, or mend its Ceph")


def _roles(roles: Sequence[str]) -> Iterable[Line]:
    found = ", ".join(sorted(roles))
    if SERVICE_ROLE in roles:
        yield Line("ok", "service user: role service", found)
    else:
        yield Line("bad", "service user: role service", found or "none",
                   "openstack role add --user USER --project service service: without it cinder refuses service "
                   "tokens, and detaching is refused to users")  # fmt: skip
    if "admin" in roles:
        yield Line("ok", "service user: sees all volumes", "role admin: one look a tick serves all boots")
    else:
        yield Line("unknown", "service user: sees all volumes", "no role admin: each project is looked at by itself, "
                   "and where a volume landed is not checked", "grant it admin, or see docs/operate.md")  # fmt: skip


def _versions(survey: Survey) -> Iterable[Line]:
    version = survey.version()
    text = f"3.{version[1]}"
    if version < TIME_FILTER:
        yield Line("bad", "cinder", f"{text}: no filter by time", "upgrade cinder to Train (3.60)")
    elif version < REIMAGE:
        yield Line("bad", "cinder", f"{text}: boots, but no rebuild", "upgrade cinder to Zed (3.68)")
    else:
        yield Line("ok", "cinder", f"{text}: boots and rebuilds")


def _clock(survey: Survey) -> Iterable[Line]:
    skew = survey.skew()
    if skew is None:
        yield Line("unknown", "clocks", "cinder's answers bear no date", "run NTP on all hosts")
        return
    seconds = abs(skew.total_seconds())
    state: State = "ok" if seconds < 5 else "bad"
    yield Line(state, "clocks", f"cinder's differs by {seconds:.0f} s", "" if state == "ok" else "run NTP on both")


def _call_backs(survey: Survey) -> Iterable[Line]:
    what, found = "cinder's call-backs", survey.compute()
    if found is None:
        yield Line("unknown", what, "the catalog has no compute service: no user can delete an attachment, and no host "
                   "sees that a volume was extended",
                   "openstack endpoint create compute public URL-OF-BFV-SERVE")  # fmt: skip
        return
    url, minor = found
    if minor is None:
        yield Line("bad", what, f"{url} of the catalog does not tell its versions", "start `bfv serve`, or correct it")
    elif minor < REIMAGED:
        yield Line("bad", what, f"{url} speaks up to 2.{minor}", f"2.{REIMAGED} is needed: have it be `bfv serve`")
    else:
        yield Line("ok", what, f"{url} speaks up to 2.{minor}")


def _default_quota(survey: Survey) -> Iterable[Line]:
    volumes = survey.default_volumes()
    if volumes < 0:
        yield Line("ok", "default volume quota", "unlimited")
    else:
        yield Line("ok" if volumes > 10 else "bad", "default volume quota",
                   f"{volumes}: no project has more servers than that",
                   "" if volumes > 10 else "openstack quota set --class --volumes N default")  # fmt: skip


def _storage(parts: Parts, survey: Survey) -> Iterable[Line]:
    pools, types, zones = survey.pools(), survey.volume_types(), survey.zones()
    stores = {store.fsid: store.id for store in survey.stores() if store.fsid}
    for target in parts.targets:
        yield _place(target, pools, types, zones)
        pool = _pool_of(target, pools, types)
        if target.tier != "default" or pool is None:
            continue
        if pool.fsid is None:
            yield Line("unknown", f"cell {target.cell}: Ceph", "its driver tells no fsid")
        elif pool.fsid in stores:
            yield Line("ok", f"cell {target.cell}: Ceph", f"{pool.fsid} holds glance's store {stores[pool.fsid]}: "
                       "raw images there are cloned")  # fmt: skip
        else:
            yield Line("ok", f"cell {target.cell}: Ceph", f"{pool.fsid} holds no store of glance: the first boot of "
                       "an image downloads it, later ones need cinder's image-volume cache")  # fmt: skip


def _pool_of(target: Target, pools: Sequence[Pool], types: dict[str, VolumeType]) -> Pool | None:
    if target.backend:
        return next((pool for pool in pools if pool.name == target.backend), None)
    kind = types.get(target.volume_type or "")
    wanted = kind.backend_name if kind else None
    return next((pool for pool in pools if wanted and pool.backend_name == wanted), None)


def _place(target: Target, pools: Sequence[Pool], types: dict[str, VolumeType], zones: dict[str, bool]) -> Line:
    what = f"cell {target.cell}, tier {target.tier}"
    kind = types.get(target.volume_type or "")
    pool = _pool_of(target, pools, types)
    if target.volume_type and kind is None:
        return Line("bad", what, f"no volume type {target.volume_type}", "openstack volume type create, or correct it")
    if target.availability_zone and not zones.get(target.availability_zone):
        return Line("bad", what, f"cinder has no zone {target.availability_zone}", f"choose of: {', '.join(zones)}")
    if kind and target.availability_zone and kind.zones and target.availability_zone not in kind.zones:
        return Line("bad", what, f"type {kind.name} allows only {', '.join(kind.zones)}", "correct one of the two")
    if pool is None:
        return Line("bad", what, f"leads to no pool; there are: {', '.join(each.name for each in pools)}",
                    "set backend, and volume_backend_name of the type")  # fmt: skip
    if kind and kind.backend_name and kind.backend_name != pool.backend_name:
        return Line("bad", what, f"type {kind.name} leads to {kind.backend_name}, not to {pool.name}", "correct one")
    if pool.state != "up":
        return Line("bad", what, f"{pool.name} is {pool.state}", "mend the cell's storage")
    if not (kind and kind.backend_name):
        return Line(
            "unknown", what, f"{pool.name}, but nothing pins volumes to it", "set volume_backend_name of the type"
        )
    return Line("ok", what, f"{pool.name}, {pool.free_gib} GiB free")


def _project(parts: Parts, survey: Survey, project: str) -> Iterable[Line]:
    what = f"project {project}"
    try:
        parts.rights.scoped(project)
        yield Line("ok", what, "the service user may finish and connect servers there")
    except NotAllowed as error:
        yield Line("bad", what, str(error), "openstack role add --inherited --domain DOMAIN --user USER admin")
    quota = survey.quota(project)
    if 0 <= quota.volumes <= quota.volumes_used:
        yield Line("bad", what, f"{quota.volumes_used} of {quota.volumes} volumes are used", "raise its volume quota")
    else:
        yield Line("ok", what, f"{quota.volumes_used} of {quota.volumes} volumes, {quota.gigabytes_used} of "
                   f"{quota.gigabytes} GiB are used (-1: unlimited)")  # fmt: skip


def _cache(parts: Parts, survey: Survey, access: Access, image: str | None) -> Iterable[Line]:
    for target in parts.targets:
        if target.tier != "default":
            continue
        what = f"cell {target.cell}: image-volume cache"
        try:
            if image:
                yield Line("ok", f"cell {target.cell}: probe", probe_cell(parts, access, target, image))
            cached = survey.cached(target.backend) if target.backend else []
        except (StorageError, NotFound) as error:
            yield Line("bad", what, str(error), "see the message")
            continue
        if cached:
            yield Line("ok", what, f"on, {len(cached)} images, internal project {cached[0].project_id}")
        else:
            yield Line("unknown", what, "no API tells, and it holds nothing that a volume shows",
                       "" if image else "bfv check --probe --image IMAGE")  # fmt: skip
