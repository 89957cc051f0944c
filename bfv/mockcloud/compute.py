# SPDX-License-Identifier: Apache-2.0
"""Not a Nova: the address that the catalog names, and what Cinder asks of it, told to it by a test under /_mock."""

from typing import TYPE_CHECKING

from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def failed(_cloud: "Cloud", _request: Request, refusal: Refusal) -> Response:
    """Return Nova's body of a refusal."""
    return Response(
        refusal.status, {"itemNotFound": {"code": refusal.status, "message": refusal.message or "not found"}}
    )


def _version(request: Request) -> Json:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": "2.100",
        "min_version": "2.1",
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{request.base}/compute/v2.1/"}],
    }


def versions(_cloud: "Cloud", request: Request) -> Response:
    """List the versions."""
    return Response(200, {"versions": [_version(request)]})


def version(_cloud: "Cloud", request: Request) -> Response:
    """Show the version."""
    return Response(200, {"version": _version(request)})


def attachment(cloud: "Cloud", request: Request) -> Response:
    """Show what a server has of a volume."""
    found = cloud.nova.attachments.get((request.ids["server"], request.ids["volume"]))
    if found is None:
        raise Refusal(404, "not found")
    own = {"id": request.ids["volume"], "serverId": request.ids["server"], "volumeId": request.ids["volume"]}
    return Response(200, {"volumeAttachment": {**own, "attachment_id": found, "device": "/dev/vdb"}})


def events(cloud: "Cloud", request: Request) -> Response:
    """Take events."""
    given = request.json()["events"]
    cloud.nova.events += given
    return Response(200, {"events": [{"status": "completed", "code": 200, **event} for event in given]})


ROUTES: tuple[Route, ...] = (
    Route("GET", "", versions, ""),
    Route("GET", "/", versions, ""),
    Route("GET", "/v2.1", version, ""),
    Route("GET", "/v2.1/", version, ""),
    Route("GET", "/v2.1/servers/{server}/os-volume_attachments/{volume}", attachment, "anybody"),
    Route("POST", "/v2.1/os-server-external-events", events, "anybody"),
)
