# SPDX-License-Identifier: Apache-2.0
"""Keystone v3's application credentials (``keystone/api/users.py``)."""

import secrets
import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud.identity import forbidden, links
from bfv.mockcloud.people import Credential, implied
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def _own(request: Request, policy: str) -> None:
    if request.ids["user"] != request.who.user.id and not request.who.admin:
        raise forbidden(policy)


def _credential_view(cloud: "Cloud", request: Request, made: Credential, secret: bool = False) -> Json:
    roles = [
        {"id": cloud.people.role_id(name), "name": name, "domain_id": None, "description": None}
        | {"options": {"immutable": True}}
        for name in sorted(made.roles)
    ]
    view = {
        "id": made.id,
        "name": made.name,
        "description": made.description,
        "user_id": made.user_id,
        "project_id": made.project_id,
        "system": None,
        "expires_at": None,
        "unrestricted": made.unrestricted,
        "roles": roles,
        "links": {"self": f"{request.base}/identity/v3/application_credentials/{made.id}"},
    }
    return view | ({"secret": made.secret} if secret else {})


def create_credential(cloud: "Cloud", request: Request) -> Response:
    """Make an application credential (``keystone/api/users.py``)."""
    _own(request, "create_application_credential")
    body, who, people = request.json()["application_credential"], request.who, cloud.people
    names = {each.get("name") or people.roles.get(each.get("id", "")) for each in body.get("roles") or ()}
    roles = implied({name for name in names if name}) or who.roles
    if not roles <= who.roles:
        text = "Invalid application credential: Cannot create an application credential with unassigned role"
        raise Refusal(400, text)
    if any(each.name == body["name"] and each.user_id == who.user.id for each in people.credentials.values()):
        text = f"store application_credential - Duplicate entry found with name {body['name']}."
        raise Refusal(409, f"Conflict occurred attempting to {text}")
    made = Credential(
        id=uuid.uuid4().hex,
        name=body["name"],
        user_id=who.user.id,
        project_id=who.project_id,
        secret=body.get("secret") or secrets.token_urlsafe(64),
        roles=roles,
        description=body.get("description"),
        unrestricted=body.get("unrestricted"),
    )
    people.credentials[made.id] = made
    return Response(201, {"application_credential": _credential_view(cloud, request, made, secret=True)})


def list_credentials(cloud: "Cloud", request: Request) -> Response:
    """List a user's application credentials."""
    _own(request, "list_application_credentials")
    mine = [each for each in cloud.people.credentials.values() if each.user_id == request.ids["user"]]
    view = [_credential_view(cloud, request, each) for each in mine]
    return Response(200, {"application_credentials": view, "links": links(request)})


def _credential(cloud: "Cloud", request: Request, policy: str) -> Credential:
    _own(request, policy)
    found = cloud.people.credentials.get(request.ids["id"])
    if found is None:
        raise Refusal(404, f"Could not find Application Credential: {request.ids['id']}.")
    return found


def show_credential(cloud: "Cloud", request: Request) -> Response:
    """Show an application credential."""
    found = _credential(cloud, request, "get_application_credential")
    return Response(200, {"application_credential": _credential_view(cloud, request, found)})


def delete_credential(cloud: "Cloud", request: Request) -> Response:
    """Delete an application credential; its tokens count no more."""
    del cloud.people.credentials[_credential(cloud, request, "delete_application_credential").id]
    return Response(204)


OWN = "/v3/users/{user}/application_credentials"
ROUTES: tuple[Route, ...] = (
    Route("POST", OWN, create_credential, "anybody"),
    Route("GET", OWN, list_credentials, "anybody"),
    Route("GET", OWN + "/{id}", show_credential, "anybody"),
    Route("DELETE", OWN + "/{id}", delete_credential, "anybody"),
)
