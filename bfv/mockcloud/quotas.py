# SPDX-License-Identifier: Apache-2.0
"""Cinder's quotas and limits, counted from the rows themselves (``cinder/quota.py``)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bfv.mockcloud.block import bad_input, done, forbidden
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

BASE = {"volumes": -1, "per_volume_gigabytes": -1, "snapshots": -1, "gigabytes": -1}
BACKUPS = {"backups": 10, "backup_gigabytes": 1000}
GROUPS = {"groups": 10}
COUNTED = ("volumes", "gigabytes", "snapshots")


def limits(cloud: "Cloud", project_id: str) -> dict[str, int]:
    """Return a project's limits, those of each type too."""
    typed = {f"{what}_{kind.name}": -1 for kind in cloud.types.values() for what in COUNTED}
    return BASE | BACKUPS | typed | GROUPS | cloud.quotas.get(project_id, {})


def _uses(cloud: "Cloud", project_id: str) -> Iterator[tuple[str, str, int]]:
    names = {kind.id: kind.name for kind in cloud.types.values()}
    for volume in cloud.volumes.values():
        if volume.project_id == project_id:
            yield "volumes", names.get(volume.type_id, ""), 1
            yield "gigabytes", names.get(volume.type_id, ""), volume.size
    for snapshot in cloud.snapshots.values():
        if snapshot.project_id == project_id:
            kind = names.get(cloud.volumes[snapshot.volume_id].type_id, "")
            yield "snapshots", kind, 1
            yield "gigabytes", kind, snapshot.size


def usage(cloud: "Cloud", project_id: str) -> dict[str, int]:
    """Return what a project uses, in all and by type."""
    found: dict[str, int] = {}
    for what, kind, count in _uses(cloud, project_id):
        for name in (what, f"{what}_{kind}"):
            found[name] = found.get(name, 0) + count
    return found


def claim(
    cloud: "Cloud",
    project_id: str,
    kind: str,
    *,
    volumes: int = 0,
    gigabytes: int = 0,
    snapshots: int = 0,
    size: int = 0,
) -> None:
    """Check that so much more fits. Raises 413 (``cinder/quota_utils.py:process_reserve_over_quota``)."""
    limit, used = limits(cloud, project_id), usage(cloud, project_id)
    most = limit["per_volume_gigabytes"]
    whole = size or gigabytes
    if not snapshots and 0 <= most < whole:
        text = f"Requested volume size {whole}G is larger than maximum allowed limit {most}G."
        raise over("VolumeSizeExceedsLimit", text)
    for name in ("gigabytes", f"gigabytes_{kind}"):
        if 0 <= limit.get(name, -1) < used.get(name, 0) + gigabytes:
            text = f"Requested volume or snapshot exceeds allowed {name} quota. Requested {gigabytes}G, "
            text += f"quota is {limit[name]}G and {used.get(name, 0)}G has been consumed."
            raise over("VolumeSizeExceedsAvailableQuota", text)
    for what, count in (("volumes", volumes), ("snapshots", snapshots)):
        for name in (what, f"{what}_{kind}"):
            if count and 0 <= limit.get(name, -1) < used.get(name, 0) + count:
                title = f"{what[:-1].capitalize()}LimitExceeded"
                text = f"Maximum number of {what} allowed ({limit[name]}) exceeded"
                raise over(title, text + (f" for quota '{name}'." if what == "volumes" else ""))


def over(title: str, text: str) -> Refusal:
    """Return the refusal of a quota."""
    return Refusal(413, f"{title}: {text}", {"Retry-After": "0"})


def _own(request: Request, policy: str) -> None:
    if not request.who.admin and request.ids["project"] != request.who.project_id:
        raise forbidden(policy)


def show(cloud: "Cloud", request: Request) -> Response:
    """Show a project's limits, with ``usage`` what is used of them."""
    _own(request, "volume_extension:quotas:show")
    project_id = request.ids["project"]
    found: Json = dict(limits(cloud, project_id))
    if request.args.get("usage", "").lower() in ("1", "true"):
        used = usage(cloud, project_id)
        found = {name: {"limit": n, "in_use": used.get(name, 0), "reserved": 0} for name, n in found.items()}
    return Response(200, {"quota_set": {**found, "id": project_id}})


def defaults(cloud: "Cloud", request: Request) -> Response:
    """Show the limits of a project that has none of its own."""
    return Response(200, {"quota_set": {**limits(cloud, ""), "id": request.ids["project"]}})


def class_defaults(cloud: "Cloud", request: Request) -> Response:
    """Show the quota of a class (``cinder/api/contrib/quota_classes.py``): every class has the defaults."""
    return Response(200, {"quota_class_set": {**limits(cloud, ""), "id": request.ids["name"]}})


def update(cloud: "Cloud", request: Request) -> Response:
    """Set limits."""
    project_id, given = request.ids["project"], request.json()["quota_set"]
    known = limits(cloud, project_id)
    if stray := sorted(set(given) - set(known) - {"force", "tenant_id"}):
        raise bad_input(f"Bad key(s) in quota set: {', '.join(stray)}")
    for name, value in given.items():
        if int(value) < -1:
            raise Refusal(400, f"{name} must be >= -1")
    values = {name: int(value) for name, value in given.items() if name in known}
    cloud.quotas.setdefault(project_id, {}).update(values)
    return Response(200, {"quota_set": limits(cloud, project_id)})


def reset(cloud: "Cloud", request: Request) -> Response:
    """Forget a project's own limits."""
    cloud.quotas.pop(request.ids["project"], None)
    return done(200)


def absolute(cloud: "Cloud", request: Request) -> Response:
    """Show the caller's limits and what its project uses."""
    limit, used = limits(cloud, request.who.project_id), usage(cloud, request.who.project_id)
    body = {
        "maxTotalVolumes": limit["volumes"],
        "maxTotalSnapshots": limit["snapshots"],
        "maxTotalVolumeGigabytes": limit["gigabytes"],
        "maxTotalBackups": limit["backups"],
        "maxTotalBackupGigabytes": limit["backup_gigabytes"],
        "totalVolumesUsed": used.get("volumes", 0),
        "totalGigabytesUsed": used.get("gigabytes", 0),
        "totalSnapshotsUsed": used.get("snapshots", 0),
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return Response(200, {"limits": {"rate": [], "absolute": body}})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/limits", absolute, "anybody"),
    Route("GET", "/os-quota-sets/{project}", show, "anybody"),
    Route("GET", "/os-quota-sets/{project}/defaults", defaults, "anybody"),
    Route("GET", "/os-quota-class-sets/{name}", class_defaults, "admin", "volume_extension:quota_classes:get"),
    Route("PUT", "/os-quota-sets/{project}", update, "admin", "volume_extension:quotas:update"),
    Route("DELETE", "/os-quota-sets/{project}", reset, "admin", "volume_extension:quotas:delete"),
)
