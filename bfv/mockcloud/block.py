# SPDX-License-Identifier: Apache-2.0
"""What all of Cinder's calls share: its words for a refusal, its headers, and how it looks for a row."""

from typing import TYPE_CHECKING

from bfv.mockcloud.state import Volume, VolumeSnapshot
from bfv.mockcloud.wire import Json, Refusal, Request, Response

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

NEWEST = 71
HTML = {"Content-Type": "text/html; charset=UTF-8"}
# cinder/api/openstack/wsgi.py:Fault._fault_names
NAMES = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    503: "serviceUnavailable",
}
MALFORMED = "The server could not comply with the request since it is either malformed or otherwise incorrect."
NOT_FOUND = "The resource could not be found."


def failed(_cloud: "Cloud", request: Request, refusal: Refusal) -> Response:
    """Return Cinder's body of a refusal (``cinder/api/openstack/wsgi.py:Fault``)."""
    status, message = refusal.status, refusal.message
    if status == 401:
        error = {"code": 401, "title": "Unauthorized", "message": message}
        return Response(401, {"error": error}, {"WWW-Authenticate": f'Keystone uri="{request.base}/identity"'})
    if status == 404 and not message:
        from bfv.mockcloud.images import page

        return Response(404, page(404, NOT_FOUND), dict(HTML))
    body: Json = {"code": status, "message": message}
    if status == 413:
        body["retryAfter"] = refusal.headers.get("Retry-After", "0")
    return Response(status, {NAMES.get(status, "computeFault"): body}, dict(refusal.headers))


def forbidden(policy: str) -> Refusal:
    """Return Cinder's words for a rule that says no."""
    return Refusal(403, f"Policy doesn't allow {policy} to be performed.")


def accepted(status: int = 202) -> Response:
    """Return the empty answer of a DELETE: no JSON, and no id of Cinder's own."""
    return Response(status, None, dict(HTML))


def done(status: int = 202) -> Response:
    """Return the empty answer of an action."""
    return Response(status)


def invalid(text: str) -> Refusal:
    """Return ``InvalidVolume`` (``cinder/exception.py``)."""
    return Refusal(400, f"Invalid volume: {text}")


def bad_input(text: str) -> Refusal:
    """Return ``InvalidInput`` (``cinder/exception.py``)."""
    return Refusal(400, f"Invalid input received: {text}")


def missing(field: str, value: object, name: str) -> Refusal:
    """Return what the schema says of a field that is not there (``cinder/api/validation/validators.py``)."""
    return unfit(field, value, f"'{name}' is a required property")


def unfit(field: str, value: object, text: str) -> Refusal:
    """Return what the schema says of a value."""
    return Refusal(400, f"Invalid input for field/attribute {field}. Value: {value}. {text}")


def volume_of(cloud: "Cloud", request: Request, ident: str) -> Volume:
    """Return a volume that the caller may see: those of other projects do not exist for it."""
    found = cloud.volumes.get(ident)
    if found is None or not sees(request, found.project_id):
        raise Refusal(404, f"Volume {ident} could not be found.")
    return found


def snapshot_of(cloud: "Cloud", request: Request, ident: str) -> VolumeSnapshot:
    """Return a snapshot that the caller may see."""
    found = cloud.snapshots.get(ident)
    if found is None or not sees(request, found.project_id):
        raise Refusal(404, f"Snapshot {ident} could not be found.")
    return found


def sees(request: Request, project_id: str) -> bool:
    """Say whether the caller sees what belongs to a project."""
    return request.who.admin or request.who.project_id == project_id


def root(request: Request) -> str:
    """Return the address of Cinder as the caller wrote it: with its project or without."""
    scope = f"/{request.ids['_project']}" if "_project" in request.ids else ""
    return f"{request.base}/volume/v3{scope}"


def links(request: Request, kind: str, ident: str) -> list[Json]:
    """Return the two links of a thing."""
    own = root(request)
    return [
        {"rel": "self", "href": f"{own}/{kind}/{ident}"},
        {"rel": "bookmark", "href": f"{own.replace('/volume/v3', '/volume', 1)}/{kind}/{ident}"},
    ]
