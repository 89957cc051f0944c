# SPDX-License-Identifier: Apache-2.0
"""Cinder's snapshots (``cinder/api/v3/snapshots.py``)."""

import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud import listing, quotas, volumejobs
from bfv.mockcloud.block import accepted, forbidden, invalid, missing, snapshot_of, unfit, volume_of
from bfv.mockcloud.state import Volume, VolumeSnapshot
from bfv.mockcloud.volumes import stamp
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def view(request: Request, snapshot: VolumeSnapshot, extended: bool = True, brief: bool = False) -> Json:
    """Return a snapshot as JSON (``cinder/api/v3/views/snapshots.py``)."""
    body: Json = {
        "id": snapshot.id,
        "created_at": stamp(snapshot.created_at),
        "updated_at": stamp(snapshot.updated_at),
        "name": snapshot.name,
        "description": snapshot.description,
        "volume_id": snapshot.volume_id,
        "status": snapshot.status,
        "size": snapshot.size,
        "metadata": snapshot.metadata,
    }
    if brief:
        return body
    later: tuple[tuple[int, Json], ...] = (
        (14, {"group_snapshot_id": None}),
        (41, {"user_id": snapshot.user_id}),
        (65, {"consumes_quota": True}),
    )
    for since, more in later:
        body |= more if request.minor >= since else {}
    if extended:
        body["os-extended-snapshot-attributes:project_id"] = snapshot.project_id
        body["os-extended-snapshot-attributes:progress"] = "100%" if snapshot.status == "available" else "0%"
    return body


def create(cloud: "Cloud", request: Request) -> Response:
    """Accept a snapshot; of a volume in use with ``force``, or since 3.66 always."""
    body = request.json().get("snapshot", {})
    if "volume_id" not in body:
        raise missing("snapshot", body, "volume_id")
    force = str(body.get("force", False)).lower() in ("true", "1")
    if request.minor >= 66 and "force" in body and not force:
        raise unfit("force", body["force"], "since 3.66 there is no other way, so it may not be turned off")
    volume = volume_of(cloud, request, body["volume_id"])
    if not request.who.roles & {"member", "admin"}:
        raise forbidden("volume:create_snapshot")
    _check_state(volume, request.minor >= 66 or force)
    kind = cloud.types[volume.type_id].name
    quotas.claim(cloud, volume.project_id, kind, gigabytes=volume.size, snapshots=1)
    made = VolumeSnapshot(
        id=str(uuid.uuid4()),
        volume_id=volume.id,
        project_id=volume.project_id,
        user_id=request.who.user.id,
        size=volume.size,
        created_at=cloud.clock.now(),
        name=body.get("name"),
        description=body.get("description"),
        metadata=dict(body.get("metadata") or {}),
    )
    cloud.snapshots[made.id] = made
    answer = Response(202, {"snapshot": view(request, made, extended=False)})
    made.created_at = made.created_at.replace(microsecond=0)
    _begin(cloud, volume, made)
    return answer


def _check_state(volume: Volume, in_use: bool) -> None:
    if volume.host is None:
        raise invalid("volume is not assigned to a host")
    if volume.status == "maintenance":
        raise invalid("The snapshot cannot be created when the volume is in maintenance mode.")
    allowed = ("available", "in-use") if in_use else ("available",)
    if volume.status not in allowed:
        text = f"Volume {volume.id} status must be {' or '.join(allowed)}, but current status is: {volume.status}."
        raise invalid(text)


def _begin(cloud: "Cloud", volume: Volume, made: VolumeSnapshot) -> None:
    cell = cloud.cell_of(volume.host)
    assert cell is not None, "a volume without a host was refused"

    def act() -> None:
        cell.cluster.pools["volumes"].images[volumejobs.name(volume.id)].snapshot(f"snapshot-{made.id}")
        made.status, made.updated_at = "available", cloud.second()

    cloud.pace.later("snapshotting", made.id, act, lambda: volumejobs.up(cell))


def show(cloud: "Cloud", request: Request) -> Response:
    """Show a snapshot; that counts as a look."""
    found = snapshot_of(cloud, request, request.ids["id"])
    body = {"snapshot": view(request, found)}
    cloud.look([found.id])
    return Response(200, body)


def _list(cloud: "Cloud", request: Request, brief: bool) -> Response:
    wanted = listing.filters(request, "snapshot")
    rows = [
        each
        for each in cloud.snapshots.values()
        if listing.mine(request, each.project_id) and listing.fits({**vars(each), "consumes_quota": True}, wanted)
    ]
    shown, more, _ = listing.page(request, rows, getattr, "snapshot")
    body = [view(request, each, brief=brief) for each in shown]
    cloud.look(each.id for each in shown)
    return Response(200, {"snapshots": body, **more})


def brief(cloud: "Cloud", request: Request) -> Response:
    """List snapshots."""
    return _list(cloud, request, True)


def detail(cloud: "Cloud", request: Request) -> Response:
    """List snapshots with all their columns."""
    return _list(cloud, request, False)


def delete(cloud: "Cloud", request: Request) -> Response:
    """Delete a snapshot; under clones its bytes stay until the last of them is gone."""
    found = snapshot_of(cloud, request, request.ids["id"])
    if not request.who.roles & {"member", "admin"}:
        raise forbidden("volume:delete_snapshot")
    if found.status not in ("available", "error"):
        text = "Snapshot status must be available or error, and must not be part of a group."
        raise Refusal(400, f"Invalid snapshot: {text}")
    found.status = "deleting"
    cell = cloud.cell_of(cloud.volumes[found.volume_id].host)

    def act() -> None:
        if cell is not None:
            image = cell.cluster.pools["volumes"].images[volumejobs.name(found.volume_id)]
            image.remove_snapshot(f"snapshot-{found.id}")
        cloud.snapshots.pop(found.id, None)

    cloud.pace.later("deleting", found.id, act, lambda: cell is None or volumejobs.up(cell))
    return accepted()


ROUTES: tuple[Route, ...] = (
    Route("GET", "/snapshots", brief, "reader", "volume:get_all_snapshots"),
    Route("POST", "/snapshots", create, "anybody"),
    Route("GET", "/snapshots/detail", detail, "reader", "volume:get_all_snapshots"),
    Route("GET", "/snapshots/{id}", show, "anybody"),
    Route("DELETE", "/snapshots/{id}", delete, "anybody"),
)
