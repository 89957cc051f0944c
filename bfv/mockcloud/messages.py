# SPDX-License-Identifier: Apache-2.0
"""Cinder's user messages: why a volume is in error (``cinder/message/message_field.py``)."""

import datetime as dt
import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud import listing
from bfv.mockcloud.block import accepted, links, sees
from bfv.mockcloud.state import Message, Volume
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

# what went wrong: (event, action:detail)
TEXTS = {
    "no_backend": (
        "VOLUME_VOLUME_001_003",
        "schedule allocate volume:Could not find any available weighted backend.",
    ),
    "driver_failed": (
        "VOLUME_VOLUME_008_012",
        "create volume from backend storage:Driver failed to create the volume.",
    ),
    "not_extended": ("VOLUME_VOLUME_007_009", "extend volume:Compute service failed to extend volume."),
    "not_reimaged": ("VOLUME_VOLUME_016_028", "reimage volume:Compute service failed to reimage volume."),
}
KEPT = dt.timedelta(days=30)


def add(cloud: "Cloud", volume: Volume, what: str) -> None:
    """Leave a message about a volume."""
    event, text = TEXTS[what]
    ident = str(uuid.uuid4())
    made = Message(ident, volume.project_id, volume.id, event, text, volume.request_id, cloud.second())
    cloud.messages[ident] = made


def _view(request: Request, message: Message) -> Json:
    stamp = "%Y-%m-%dT%H:%M:%S.%f"
    return {
        "id": message.id,
        "event_id": message.event_id,
        "user_message": message.text,
        "message_level": "ERROR",
        "created_at": message.created_at.strftime(stamp),
        "guaranteed_until": (message.created_at + KEPT).strftime(stamp),
        "request_id": message.request_id,
        "links": links(request, "messages", message.id),
        "resource_type": "VOLUME",
        "resource_uuid": message.resource_uuid,
    }


def listed(cloud: "Cloud", request: Request) -> Response:
    """List messages, those of other projects too: the real list does not ask whose they are."""
    wanted = listing.filters(request, "message")
    rows = [
        each
        for each in cloud.messages.values()
        if listing.fits({**vars(each), "resource_type": "VOLUME", "message_level": "ERROR"}, wanted)
    ]
    shown, more, _ = listing.page(request, rows, getattr, "message")
    return Response(200, {"messages": [_view(request, each) for each in shown], **more})


def _find(cloud: "Cloud", request: Request) -> Message:
    found = cloud.messages.get(request.ids["id"])
    if found is None or not sees(request, found.project_id):
        raise Refusal(404, f"Message {request.ids['id']} could not be found.")
    return found


def show(cloud: "Cloud", request: Request) -> Response:
    """Show a message."""
    return Response(200, {"message": _view(request, _find(cloud, request))})


def delete(cloud: "Cloud", request: Request) -> Response:
    """Delete a message."""
    del cloud.messages[_find(cloud, request).id]
    return accepted(204)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/messages", listed, "reader", "message:get_all", 3),
    Route("GET", "/messages/{id}", show, "anybody", since=3),
    Route("DELETE", "/messages/{id}", delete, "member", "message:delete", 3),
)
