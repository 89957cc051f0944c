# SPDX-License-Identifier: Apache-2.0
"""Cinder's manage and unmanage: an image of a backend's pool becomes a volume, and the other way round.

Manage answers 202 and fails afterwards without a word (``cinder/volume/flows/manager/manage_existing.py``); unmanage
leaves the image as it is, by the volume's name.
"""

import math
import uuid
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import quotas, volumejobs, volumes
from bfv.mockcloud.block import accepted, bad_input, invalid, missing, unfit
from bfv.mockcloud.rbd import GIB
from bfv.mockcloud.state import Cell, Volume, VolumeType
from bfv.mockcloud.volumecreate import check_metadata
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

KEYS = ("host", "cluster", "ref", "name", "description", "volume_type", "availability_zone", "metadata", "bootable")


def manage(cloud: "Cloud", request: Request) -> Response:
    """Accept an image as a volume of the caller's project; it becomes one afterwards."""
    body: Json = request.json().get("volume", {})
    cell, kind = _checked(cloud, body)
    volume = Volume(
        id=str(uuid.uuid4()),
        project_id=request.who.project_id,
        user_id=request.who.user.id,
        size=0,
        type_id=kind.id,
        availability_zone=body.get("availability_zone") or cloud.settings.cells[0],
        created_at=cloud.clock.now(),
        host=cell.backend,
        name=body.get("name"),
        description=body.get("description"),
        metadata=check_metadata(body.get("metadata") or {}),
        bootable=str(body.get("bootable", False)).lower() in ("true", "1"),
        request_id=request.id,
    )
    cloud.volumes[volume.id] = volume
    answer = {"volume": volumes.view(cloud, request, volume, new=True)}
    volume.created_at = volume.created_at.replace(microsecond=0)
    source = str(body["ref"].get("source-name"))
    cloud.pace.later("managing", volume.id, lambda: _adopt(cloud, cell, kind, volume, source),
                     lambda: volumejobs.up(cell))  # fmt: skip
    return Response(202, answer)


def _checked(cloud: "Cloud", body: Json) -> tuple[Cell, VolumeType]:
    if "ref" not in body:
        raise missing("volume", body, "ref")
    if stray := sorted(set(body) - set(KEYS)):
        names = ", ".join(repr(name) for name in stray)
        raise unfit("volume", body, f"Additional properties are not allowed ({names} was unexpected)")
    if not body.get("host"):
        raise bad_input("One and only one of cluster and host must be set.")
    cell = cloud.cell_of(body["host"])
    if cell is None:
        raise Refusal(400, f"Host '{body['host']}' not found")
    wanted = body.get("volume_type") or cloud.settings.cells[0]
    kind = next((each for each in cloud.types.values() if wanted in (each.id, each.name)), None)
    if kind is None:
        raise Refusal(400, f"Invalid volume type: Cannot find requested '{wanted}' volume type")
    if any(volumejobs.name(each) == body["ref"].get("source-name") for each in cloud.volumes):
        raise Refusal(400, "Unable to manage existing volume. The volume is already managed")
    return cell, kind


def _adopt(cloud: "Cloud", cell: Cell, kind: VolumeType, volume: Volume, source: str) -> None:
    """Rename the image, whoever has it open, and count its size in whole GiB; its bytes stay as they are."""
    pool = cell.cluster.pools["volumes"]
    image = pool.images.get(source)
    fits = kind.extra_specs.get("volume_backend_name") in (None, cell.name)
    if volume.id not in cloud.volumes:
        return
    if image is None or not fits or cell.storage == "down":
        cloud.touch(volume, status="error")
        return
    size = math.ceil(image.size / GIB)
    try:
        # Its own row counts already, with no size.
        quotas.claim(cloud, volume.project_id, kind.name, gigabytes=size)
    except Refusal:
        cloud.touch(volume, status="error")
        return
    pool.rename(source, volumejobs.name(volume.id))
    cloud.touch(volume, status="available", size=size)


def unmanage(cloud: "Cloud", _request: Request, volume: Volume, _body: Any) -> Response:
    """Begin to forget a volume; its image stays, by the volume's name."""
    if volume.status not in volumes.DELETABLE or cloud.snapshots_of(volume.id):
        raise invalid(volumes.NOT_DELETABLE)
    cloud.touch(volume, status="deleting" if volume.status == "error" else "unmanaging")
    cloud.pace.later("unmanaging", volume.id, lambda: volumejobs.forget(cloud, volume))
    return accepted()


ROUTES: tuple[Route, ...] = (
    Route("POST", "/manageable_volumes", manage, "admin", "volume_extension:volume_manage", 8),
    # The same by the name that it had before, which clients use.
    Route("POST", "/os-volume-manage", manage, "admin", "volume_extension:volume_manage"),
)
