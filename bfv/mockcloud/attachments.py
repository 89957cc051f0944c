# SPDX-License-Identifier: Apache-2.0
"""Cinder's attachments: reserve, connect, complete, let go (``cinder/volume/api.py``)."""

import uuid
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import callbacks, listing
from bfv.mockcloud.block import done, invalid, missing, sees, unfit, volume_of
from bfv.mockcloud.state import Attachment, Volume
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

# The strongest of a volume's attachments gives its status (``cinder/volume/api.py:attachment_delete``).
STATUS = {"attached": "in-use", "attaching": "attaching", "detaching": "detaching", "reserved": "reserved"}
NAMES = {"instance_id": "instance", "attach_status": "status"}


def view(attachment: Attachment, brief: bool = False) -> Json:
    """Return an attachment as JSON (``cinder/api/v3/views/attachments.py``)."""
    body: Json = {
        "id": attachment.id,
        "status": attachment.status,
        "instance": attachment.instance,
        "volume_id": attachment.volume_id,
    }
    if brief:
        return body
    moment = attachment.attached_at
    return body | {
        "attached_at": moment.strftime("%Y-%m-%dT%H:%M:%S.%f") if moment else "",
        "detached_at": "",
        "attach_mode": attachment.mode,
        "connection_info": attachment.connection,
    }


def create(cloud: "Cloud", request: Request) -> Response:
    """Reserve a volume, and with a connector connect it."""
    body = request.json().get("attachment", {})
    _check(request, body)
    volume = volume_of(cloud, request, body["volume_uuid"])
    instance = body.get("instance_uuid")
    made = reserve(cloud, volume, instance, body.get("mode") or "null")
    answer = view(made)
    if body.get("connector"):
        connect(cloud, volume, made, body["connector"])
        answer = view(made) | {key: answer[key] for key in ("status", "attached_at", "attach_mode")}
    return Response(200, {"attachment": answer})


def _check(request: Request, body: Any) -> None:
    allowed = {"volume_uuid", "instance_uuid", "connector"} | ({"mode"} if request.minor >= 54 else set())
    if "volume_uuid" not in body:
        raise missing("attachment", body, "volume_uuid")
    if stray := sorted(set(body) - allowed):
        names = ", ".join(repr(name) for name in stray)
        raise unfit("attachment", body, f"Additional properties are not allowed ({names} was unexpected)")
    for name in ("volume_uuid", "instance_uuid"):
        value = body.get(name)
        try:
            uuid.UUID(value or str(uuid.UUID(int=0)))
        except ValueError as error:
            raise unfit(name, value, f"{value!r} is not a 'uuid'") from error


def reserve(cloud: "Cloud", volume: Volume, instance: str | None, mode: str) -> Attachment:
    """Reserve a volume (``cinder/volume/api.py:_attachment_reserve``); the same server may, again."""
    if volume.status == "error":
        text = "Volume attachments can not be created if the volume is in an error state. "
        raise invalid(f"{text}The Volume {volume.id} currently has a status of: error ")
    expected = ("available", "in-use", "downloading") if volume.multiattach else ("available", "downloading")
    again = instance and volume.status in ("in-use", "reserved")
    allowed = volume.status in expected
    if not allowed and not (again and any(each.instance == instance for each in cloud.attachments_of(volume.id))):
        text = f"Volume {volume.id} status must be {' or '.join(expected)} to reserve"
        raise invalid(f"{text}, but the current status is {volume.status}.")
    ident = str(uuid.uuid4())
    made = Attachment(ident, volume.id, volume.project_id, instance, mode, cloud.clock.now())
    cloud.attachments[ident] = made
    if allowed:
        cloud.touch(volume, status="reserved")
    return made


def connect(cloud: "Cloud", volume: Volume, attachment: Attachment, connector: Json) -> None:
    """Connect a host (``cinder/volume/manager.py:attachment_update``)."""
    cell = cloud.cell_of(volume.host)
    if not connector.get("host") or cell is None or cell.storage != "up":
        raise Refusal(500, "Unable to update the attachment.")
    attachment.mode = "rw" if attachment.mode == "null" else attachment.mode
    attachment.status, attachment.host = "attaching", connector["host"]
    attachment.mountpoint, attachment.attached_at = connector.get("mountpoint"), cloud.second()
    attachment.connection = {
        "name": f"volumes/volume-{volume.id}",
        "hosts": ["127.0.0.1"],
        "ports": [f"{cell.number}6789"],
        "cluster_name": cell.name,
        "auth_enabled": True,
        "auth_username": "cinder",
        "secret_type": "ceph",
        "secret_uuid": cell.secret_uuid,
        "volume_id": volume.id,
        "discard": True,
        "qos_specs": None,
        "access_mode": "rw",
        "encrypted": False,
        "cacheable": False,
        "driver_volume_type": "rbd",
        "attachment_id": attachment.id,
        "enforce_multipath": False,
        # cinder/volume/drivers/rbd.py:_get_keyring_contents, where `rbd_keyring_conf` is set.
        **({"keyring": cell.keyring} if cell.keyring else {}),
    }
    cloud.touch(volume, status="attaching")


def find(cloud: "Cloud", request: Request) -> Attachment:
    """Return the attachment of a path. Raises 404."""
    ident = request.ids["id"]
    found = cloud.attachments.get(ident)
    if found is None or not sees(request, found.project_id):
        text = f"Volume attachment could not be found with filter: attachment_id = {ident}."
        raise Refusal(404, text)
    return found


def show(cloud: "Cloud", request: Request) -> Response:
    """Show an attachment."""
    return Response(200, {"attachment": view(find(cloud, request))})


def _list(cloud: "Cloud", request: Request, brief: bool) -> Response:
    wanted = {NAMES.get(name, name): value for name, value in listing.filters(request, "attachment").items()}
    rows = [
        each
        for each in cloud.attachments.values()
        if listing.mine(request, each.project_id) and listing.fits(vars(each), wanted)
    ]
    shown, more, _ = listing.page(request, rows, getattr, "attachment")
    return Response(200, {"attachments": [view(each, brief) for each in shown], **more})


def brief(cloud: "Cloud", request: Request) -> Response:
    """List attachments."""
    return _list(cloud, request, True)


def detail(cloud: "Cloud", request: Request) -> Response:
    """List attachments with their connections."""
    return _list(cloud, request, False)


def update(cloud: "Cloud", request: Request) -> Response:
    """Connect a host to a reservation; the body still says what it was before, as the real one does."""
    attachment, body = find(cloud, request), request.json().get("attachment", {})
    if "connector" not in body:
        raise missing("attachment", body, "connector")
    if not body["connector"]:
        raise unfit("connector", body["connector"], "{} should be non-empty")
    volume = cloud.volumes[attachment.volume_id]
    if volume.status == "error":
        text = f"Volume attachments can not be updated if the volume is in an error state. The Volume {volume.id} "
        raise Refusal(409, f"Invalid volume: {text}currently has a status of: error ")
    before = view(attachment)
    connect(cloud, volume, attachment, body["connector"])
    same = {key: before[key] for key in ("status", "attached_at", "attach_mode")}
    return Response(200, {"attachment": view(attachment) | same})


def act(cloud: "Cloud", request: Request) -> Response:
    """Complete an attachment (3.44), whatever state it is in."""
    attachment, body = find(cloud, request), request.json()
    if "os-complete" not in body:
        name = next(iter(body), "")
        text = f"There is no such action: {name}. Verify the request body and Content-Type header and try again."
        raise Refusal(400, text)
    attachment.status = "attached"
    cloud.touch(cloud.volumes[attachment.volume_id], status="in-use")
    return done(204)


def delete(cloud: "Cloud", request: Request) -> Response:
    """Let go of a volume."""
    attachment = find(cloud, request)
    ask_nova(cloud, request, attachment)
    release(cloud, attachment)
    left = [view(each, brief=True) for each in cloud.attachments_of(attachment.volume_id)]
    return Response(200, {"attachments": left})


def ask_nova(cloud: "Cloud", request: Request, attachment: Attachment) -> None:
    """Ask Nova about a connected attachment, unless a service calls (``attachment_deletion_allowed``)."""
    if request.who.beside or not attachment.connection or not attachment.instance:
        return
    path = f"/servers/{attachment.instance}/os-volume_attachments/{attachment.volume_id}"
    found = callbacks.ask(cloud, request, path)
    if found and found["volumeAttachment"].get("attachment_id") == attachment.id:
        text = f"Detach volume from instance {attachment.instance} using the Compute API"
        raise Refusal(409, f"ConflictNovaUsingAttachment: {text}")


def release(cloud: "Cloud", attachment: Attachment) -> None:
    """Remove an attachment and give its volume the status that the others leave it."""
    del cloud.attachments[attachment.id]
    volume = cloud.volumes[attachment.volume_id]
    left = {each.status for each in cloud.attachments_of(volume.id)}
    status = next((value for name, value in STATUS.items() if name in left), "available")
    cloud.touch(volume, status=status)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/attachments", brief, "reader", "volume:attachment_get_all", 27),
    Route("POST", "/attachments", create, "member", "volume:attachment_create", 27),
    Route("GET", "/attachments/detail", detail, "reader", "volume:attachment_get_all", 27),
    Route("GET", "/attachments/{id}", show, "anybody", since=27),
    Route("PUT", "/attachments/{id}", update, "member", "volume:attachment_update", 27),
    Route("DELETE", "/attachments/{id}", delete, "member", "volume:attachment_delete", 27),
    Route("POST", "/attachments/{id}/action", act, "member", "volume:attachment_complete", 44),
)
