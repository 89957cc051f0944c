# SPDX-License-Identifier: Apache-2.0
"""Cinder's volume actions, a table of their own (``cinder/api/contrib/volume_actions.py``)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import attachments, manage, quotas, volumecreate, volumejobs, volumes
from bfv.mockcloud.block import NOT_FOUND, accepted, bad_input, done, forbidden, invalid, missing, volume_of
from bfv.mockcloud.images import visible
from bfv.mockcloud.state import Volume
from bfv.mockcloud.wire import Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

Action = Callable[["Cloud", Request, Volume, Any], Response]
ADMIN = "volume_extension:volume_admin_actions"


def act(cloud: "Cloud", request: Request) -> Response:
    """Do the action that the body names."""
    body = request.json()
    name = next(iter(body), "") if isinstance(body, dict) else ""
    if name not in ACTIONS:
        text = f"There is no such action: {name}. Verify the request body and Content-Type header and try again."
        raise Refusal(400, text)
    action, need, policy, since = ACTIONS[name]
    if request.minor < since:
        raise Refusal(404, NOT_FOUND)
    volume = volume_of(cloud, request, request.ids["id"])
    if need not in request.who.roles and not request.who.admin:
        raise forbidden(policy)
    return action(cloud, request, volume, body[name])


def extend(cloud: "Cloud", request: Request, volume: Volume, body: Any) -> Response:
    """Grow a volume; one in use since 3.42."""
    size = int(body.get("new_size") or 0)
    allowed = ("available", "in-use") if request.minor >= 42 else ("available",)
    if volume.status not in allowed:
        text = "{'status': 'available'}" if volume.status != "in-use" or request.minor < 42 else "in-use"
        raise invalid(f"Volume {volume.id} status must be '{text}' to extend, currently {volume.status}.")
    if size <= volume.size:
        text = f"New size for extend must be greater than current size. (current: {volume.size}, extended: {size})."
        raise bad_input(text)
    quotas.claim(cloud, volume.project_id, cloud.types[volume.type_id].name, gigabytes=size - volume.size, size=size)
    volumejobs.extend(cloud, volume, size)
    return done()


def reimage(cloud: "Cloud", request: Request, volume: Volume, body: Any) -> Response:
    """Write an image onto a volume (3.68)."""
    if "image_id" not in body:
        raise missing("os-reimage", body, "image_id")
    image = cloud.images.get(body["image_id"])
    if image is None or not visible(image, request):
        raise Refusal(404, f"Image {body['image_id']} could not be found.")
    volumecreate.active(image)
    allowed = ("available", "error", "reserved") if body.get("reimage_reserved") else ("available", "error")
    if volume.status not in allowed:
        states = " or ".join(allowed)
        raise invalid(f"Volume {volume.id} status must be {states}, but current status is {volume.status}.")
    volumecreate.check_fit(image, volume.size)
    volumejobs.reimage(cloud, volume, image)
    return done()


def set_bootable(cloud: "Cloud", _request: Request, volume: Volume, body: Any) -> Response:
    """Mark a volume as bootable or not."""
    value = body.get("bootable")
    cloud.touch(volume, bootable=str(value).lower() in ("true", "1"))
    return done(200)


def reset_status(cloud: "Cloud", _request: Request, volume: Volume, body: Any) -> Response:
    """Set a volume's status by hand."""
    cloud.touch(volume, status=body.get("status", volume.status))
    return done()


def force_delete(cloud: "Cloud", _request: Request, volume: Volume, _body: Any) -> Response:
    """Delete a volume whatever its status."""
    volumes.remove(cloud, volume, force=True)
    return done()


def detach(cloud: "Cloud", request: Request, volume: Volume, body: Any) -> Response:
    """Let go of a volume in the old way."""
    wanted = (body or {}).get("attachment_id")
    for each in cloud.attachments_of(volume.id):
        if wanted in (None, each.id):
            attachments.ask_nova(cloud, request, each)
            attachments.release(cloud, each)
            return done()
    raise invalid("Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached'.")


def set_image_metadata(cloud: "Cloud", _request: Request, volume: Volume, body: Any) -> Response:
    """Add to what a volume keeps of its image."""
    cloud.touch(volume, image_metadata=volume.image_metadata | body["metadata"])
    return Response(200, {"metadata": volume.image_metadata})


def show_image_metadata(_cloud: "Cloud", _request: Request, volume: Volume, _body: Any) -> Response:
    """Show what a volume keeps of its image."""
    return Response(200, {"metadata": volume.image_metadata})


def unset_image_metadata(cloud: "Cloud", _request: Request, volume: Volume, body: Any) -> Response:
    """Remove one key of what a volume keeps of its image."""
    if body["key"] not in volume.image_metadata:
        raise Refusal(404, "Metadata does not exist.")
    cloud.touch(volume, image_metadata={k: v for k, v in volume.image_metadata.items() if k != body["key"]})
    return accepted(200)


def set_readonly(cloud: "Cloud", _request: Request, volume: Volume, body: Any) -> Response:
    """Make a volume read-only for its next attachment."""
    if volume.status != "available":
        text = f"Volume {volume.id} status must be available to update readonly flag"
        raise invalid(f"{text}, but current status is: {volume.status}.")
    volume.admin_metadata["readonly"] = str(body.get("readonly"))
    cloud.touch(volume)
    return done()


# name: (what it does, the role it takes, the rule's name, the first microversion)
ACTIONS: dict[str, tuple[Action, str, str, int]] = {
    "os-extend": (extend, "member", "volume:extend", 0),
    "os-reimage": (reimage, "member", "volume:reimage", 68),
    "os-set_bootable": (set_bootable, "member", "volume_extension:volume_actions:set_bootable", 0),
    "os-detach": (detach, "member", "volume_extension:volume_actions:detach", 0),
    "os-update_readonly_flag": (set_readonly, "member", "volume:update_readonly_flag", 0),
    "os-set_image_metadata": (set_image_metadata, "member", "volume_extension:volume_image_metadata:set", 0),
    "os-show_image_metadata": (
        show_image_metadata,
        "reader",
        "volume_extension:volume_image_metadata:show",
        0,
    ),
    "os-unset_image_metadata": (
        unset_image_metadata,
        "member",
        "volume_extension:volume_image_metadata:remove",
        0,
    ),
    "os-reset_status": (reset_status, "admin", f"{ADMIN}:reset_status", 0),
    "os-unmanage": (manage.unmanage, "admin", "volume_extension:volume_unmanage", 0),
    "os-force_delete": (force_delete, "admin", f"{ADMIN}:force_delete", 0),
}
ROUTES: tuple[Route, ...] = (Route("POST", "/volumes/{id}/action", act, "anybody"),)
