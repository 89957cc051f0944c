# SPDX-License-Identifier: Apache-2.0
"""Cinder's volumes: create, show, list, change, delete, and their metadata."""

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import listing, volumecreate, volumejobs
from bfv.mockcloud.block import accepted, forbidden, invalid, links, volume_of
from bfv.mockcloud.state import Volume
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")
# cinder/volume/api.py:API.delete
NOT_DELETABLE = (
    "Volume status must be available or error or error_restoring or error_extending or error_managing and must not be "
    "migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots "
    "after volume transfer."
)


def stamp(moment: dt.datetime | None) -> str | None:
    """Return a time as Cinder writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") if moment else None


def view(cloud: "Cloud", request: Request, volume: Volume, new: bool = False) -> Json:
    """Return a volume as JSON (``cinder/api/v3/views/volumes.py``); ``new`` as POST and PUT answer."""
    admin, minor = request.who.admin, request.minor
    cell = cloud.cell_of(volume.host)
    body: Json = {
        "id": volume.id,
        "status": volume.status,
        "size": volume.size,
        "availability_zone": volume.availability_zone,
        "created_at": stamp(volume.created_at),
        "updated_at": stamp(volume.updated_at),
        "name": volume.name,
        "description": volume.description,
        "volume_type": cloud.types[volume.type_id].name if volume.type_id in cloud.types else None,
        "snapshot_id": volume.snapshot_id,
        "source_volid": volume.source_volid,
        "metadata": volume.metadata | (volume.admin_metadata if admin else {}),
        "links": links(request, "volumes", volume.id),
        "user_id": volume.user_id,
        "bootable": str(volume.bootable).lower(),
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": volume.multiattach,
        "attachments": attached(cloud, volume, admin),
    }
    body |= {"migration_status": None} if admin else {}
    later: tuple[tuple[int, Json], ...] = (
        (13, {"group_id": None}),
        (21, {"provider_id": None} if admin else {}),
        (48, {"shared_targets": cell is None, "service_uuid": cell.service_uuid if cell else None}),
        (61, {"cluster_name": None} if admin else {}),
        (63, {"volume_type_id": volume.type_id}),
        (65, {"consumes_quota": True}),
    )
    for since, more in later:
        body |= more if minor >= since else {}
    return body if new else body | _extensions(volume, admin)


def _extensions(volume: Volume, admin: bool) -> Json:
    """Return what the extensions add to a volume that is shown (``cinder/api/contrib``)."""
    more: Json = {"os-vol-tenant-attr:tenant_id": volume.project_id}
    if admin:
        more |= {
            "os-vol-mig-status-attr:migstat": None,
            "os-vol-mig-status-attr:name_id": None,
            "os-vol-host-attr:host": volume.host,
        }
    if volume.image_metadata:
        more["volume_image_metadata"] = volume.image_metadata
    return more


def attached(cloud: "Cloud", volume: Volume, admin: bool) -> list[Json]:
    """Return the attachments that a volume shows: those that are complete."""
    return [
        {
            "id": volume.id,
            "attachment_id": each.id,
            "volume_id": volume.id,
            "server_id": each.instance,
            "host_name": each.host if admin else None,
            "device": each.mountpoint or "na",
            "attached_at": stamp(each.attached_at),
        }
        for each in cloud.attachments_of(volume.id)
        if each.status == "attached"
    ]


def create(cloud: "Cloud", request: Request) -> Response:
    """Accept a volume; it is made afterwards."""
    volume = volumecreate.make(cloud, request)
    body = {"volume": view(cloud, request, volume, new=True)}
    volume.created_at = volume.created_at.replace(microsecond=0)
    volumejobs.schedule(cloud, volume)
    return Response(202, body)


def show(cloud: "Cloud", request: Request) -> Response:
    """Show a volume; that counts as a look."""
    volume = volume_of(cloud, request, request.ids["id"])
    body = {"volume": view(cloud, request, volume)}
    cloud.look([volume.id])
    return Response(200, body)


def column(volume: Volume, name: str) -> Any:
    """Return a column of a volume's row."""
    return getattr(volume, name)


def _rows(cloud: "Cloud", request: Request) -> tuple[list[Volume], Json]:
    wanted = listing.filters(request, "volume")
    rows = [
        volume
        for volume in cloud.volumes.values()
        if listing.mine(request, volume.project_id) and listing.fits(_row(volume), wanted)
    ]
    shown, more, count = listing.page(request, rows, column, "volume")
    if request.args.get("with_count", "").lower() in ("1", "true") and request.minor >= 45:
        more["count"] = count
    return shown, more


def _row(volume: Volume) -> dict[str, Any]:
    more = {"migration_status": None, "group_id": None, "consumes_quota": True}
    return {**vars(volume), **more}


def brief(cloud: "Cloud", request: Request) -> Response:
    """List names and ids."""
    rows, more = _rows(cloud, request)
    body = [{"id": each.id, "name": each.name, "links": links(request, "volumes", each.id)} for each in rows]
    cloud.look(each.id for each in rows)
    return Response(200, {"volumes": body, **more})


def detail(cloud: "Cloud", request: Request) -> Response:
    """List volumes; that counts as a look at each."""
    rows, more = _rows(cloud, request)
    body = [view(cloud, request, each) for each in rows]
    cloud.look(each.id for each in rows)
    return Response(200, {"volumes": body, **more})


def summary(cloud: "Cloud", request: Request) -> Response:
    """Count the volumes and their gigabytes (3.12)."""
    rows = [each for each in cloud.volumes.values() if listing.mine(request, each.project_id)]
    body: Json = {"total_count": len(rows), "total_size": sum(each.size for each in rows)}
    if request.minor >= 36:
        values: dict[str, list[str]] = {}
        for each in rows:
            for key, value in each.metadata.items():
                values.setdefault(key, [])
                values[key] += [value] if value not in values[key] else []
        body["metadata"] = values
    return Response(200, {"volume-summary": body})


def update(cloud: "Cloud", request: Request) -> Response:
    """Change name, description or metadata."""
    volume, body = volume_of(cloud, request, request.ids["id"]), request.json().get("volume", {})
    _member(request, "volume:update")
    values = {name: body[name] for name in ("name", "description", "metadata") if name in body}
    cloud.touch(volume, **values)
    return Response(200, {"volume": view(cloud, request, volume, new=True)})


def _member(request: Request, policy: str) -> None:
    if not request.who.roles & {"member", "admin"}:
        raise forbidden(policy)


def delete(cloud: "Cloud", request: Request) -> Response:
    """Delete a volume (``cinder/volume/api.py:API.delete``)."""
    volume = volume_of(cloud, request, request.ids["id"])
    _member(request, "volume:delete")
    force = request.args.get("force", "").lower() in ("1", "true") and request.minor >= 23
    if force and not request.who.admin:
        raise forbidden("volume:force_delete")
    cascade = request.args.get("cascade", "").lower() in ("1", "true")
    remove(cloud, volume, force=force, cascade=cascade)
    return accepted()


def remove(cloud: "Cloud", volume: Volume, *, force: bool = False, cascade: bool = False) -> None:
    """Begin to delete a volume. Raises 400; a volume that has no host yet is gone at once, whatever its state."""
    if volume.host is None:
        volumejobs.forget(cloud, volume)
        return
    snapshots = cloud.snapshots_of(volume.id)
    busy = [each for each in cloud.attachments_of(volume.id) if each.status == "attached"]
    if (volume.status not in DELETABLE and not force) or busy or (snapshots and not cascade):
        raise invalid(NOT_DELETABLE)
    volumejobs.delete(cloud, volume)


def show_metadata(cloud: "Cloud", request: Request) -> Response:
    """Show a volume's metadata, with a checksum for a later change."""
    body = {"metadata": volume_of(cloud, request, request.ids["id"]).metadata}
    etag = hashlib.md5(json.dumps(body).encode(), usedforsecurity=False).hexdigest()
    return Response(200, body, {"Content-Type": "text/html; charset=UTF-8", "Etag": etag})


def set_metadata(cloud: "Cloud", request: Request) -> Response:
    """Add to a volume's metadata, or with PUT replace it."""
    volume = volume_of(cloud, request, request.ids["id"])
    _member(request, "volume:create_volume_metadata")
    given = volumecreate.check_metadata(request.json().get("metadata", {}))
    cloud.touch(volume, metadata=given if request.method == "PUT" else volume.metadata | given)
    return Response(200, {"metadata": volume.metadata})


def set_item(cloud: "Cloud", request: Request) -> Response:
    """Set one key."""
    volume = volume_of(cloud, request, request.ids["id"])
    _member(request, "volume:update_volume_metadata")
    given = volumecreate.check_metadata(request.json().get("meta", {}))
    cloud.touch(volume, metadata=volume.metadata | given)
    return Response(200, {"meta": given})


def drop_item(cloud: "Cloud", request: Request) -> Response:
    """Remove one key."""
    volume, key = volume_of(cloud, request, request.ids["id"]), request.ids["key"]
    _member(request, "volume:delete_volume_metadata")
    if key not in volume.metadata:
        raise Refusal(404, f"Volume {volume.id} has no metadata with key {key}.")
    cloud.touch(volume, metadata={name: value for name, value in volume.metadata.items() if name != key})
    return accepted(200)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/volumes", brief, "reader", "volume:get_all"),
    Route("POST", "/volumes", create, "member", "volume:create"),
    Route("GET", "/volumes/detail", detail, "reader", "volume:get_all"),
    Route("GET", "/volumes/summary", summary, "reader", "volume:get_all", 12),
    Route("GET", "/volumes/{id}", show, "anybody"),
    Route("PUT", "/volumes/{id}", update, "anybody"),
    Route("DELETE", "/volumes/{id}", delete, "anybody"),
    Route("GET", "/volumes/{id}/metadata", show_metadata, "anybody"),
    Route("POST", "/volumes/{id}/metadata", set_metadata, "anybody"),
    Route("PUT", "/volumes/{id}/metadata", set_metadata, "anybody"),
    Route("PUT", "/volumes/{id}/metadata/{key}", set_item, "anybody"),
    Route("DELETE", "/volumes/{id}/metadata/{key}", drop_item, "anybody"),
)
