# SPDX-License-Identifier: Apache-2.0
"""Keystone's projects, users, roles and assignments: what a test needs to make a tenant of its own."""

import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud.identity import catalog, forbidden, links
from bfv.mockcloud.people import DEFAULT, Project, User
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def _project(request: Request, project: Project) -> Json:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": project.domain_id,
        "description": project.description,
        "enabled": project.enabled,
        "parent_id": project.domain_id,
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{request.base}/identity/v3/projects/{project.id}"},
    }


def _user(request: Request, user: User) -> Json:
    view: Json = {"id": user.id, "name": user.name, "domain_id": user.domain_id, "enabled": True}
    if user.default_project_id is not None:
        view["default_project_id"] = user.default_project_id
    url = f"{request.base}/identity/v3/users/{user.id}"
    return view | {"password_expires_at": None, "options": {}, "links": {"self": url}}


def _role(cloud: "Cloud", request: Request, name: str) -> Json:
    ident = cloud.people.role_id(name)
    url = f"{request.base}/identity/v3/roles/{ident}"
    return {
        "id": ident,
        "name": name,
        "domain_id": None,
        "description": None,
        "options": {"immutable": True},
        "links": {"self": url},
    }


def _listed(request: Request, key: str, rows: list[Json]) -> Response:
    """Return a list filtered by the query's plain arguments."""
    wanted = {name: value for name, value in request.args.items() if name in ("name", "domain_id", "enabled")}
    found = [row for row in rows if all(str(row.get(name)) == value for name, value in wanted.items())]
    return Response(200, {key: found, "links": links(request)})


def own_projects(cloud: "Cloud", request: Request) -> Response:
    """List the projects in which a user has a role."""
    user = cloud.people.users[request.ids.get("user", request.who.user.id)]
    if user.id != request.who.user.id and not request.who.admin:
        raise forbidden("list_user_projects")
    found = [each for each in cloud.people.projects.values() if cloud.people.role_names(user, each)]
    return Response(200, {"projects": [_project(request, each) for each in found], "links": links(request)})


def own_domains(_cloud: "Cloud", request: Request) -> Response:
    """List the domains that the caller may have a token for: none."""
    return Response(200, {"domains": [], "links": links(request)})


def own_system(_cloud: "Cloud", request: Request) -> Response:
    """List the system roles of the caller: none."""
    return Response(200, {"system": [], "links": {"self": links(request)["self"]}})


def list_projects(cloud: "Cloud", request: Request) -> Response:
    """List all projects."""
    return _listed(request, "projects", [_project(request, each) for each in cloud.people.projects.values()])


def show_project(cloud: "Cloud", request: Request) -> Response:
    """Show a project: one's own, an admin any."""
    found = cloud.people.projects.get(request.ids["id"])
    if not request.who.admin and (found is None or found.id != request.who.project_id):
        raise forbidden("get_project")
    if found is None:
        raise Refusal(404, f"Could not find project: {request.ids['id']}.")
    return Response(200, {"project": _project(request, found)})


def create_project(cloud: "Cloud", request: Request) -> Response:
    """Make a project."""
    body = request.json()["project"]
    domain_id = body.get("domain_id") or DEFAULT
    same = (each for each in cloud.people.projects.values() if (each.name, each.domain_id) == (body["name"], domain_id))
    if next(same, None) is not None:
        text = "store project - it is not permitted to have two projects with either the same name or same id in the "
        text += f"same domain: name is {body['name']}, project id {uuid.uuid4().hex}."
        raise Refusal(409, f"Conflict occurred attempting to {text}")
    made = cloud.people.add_project(body["name"], domain_id, body.get("description") or "")
    return Response(201, {"project": _project(request, made)})


def delete_project(cloud: "Cloud", request: Request) -> Response:
    """Delete a project; what it owns elsewhere stays."""
    if cloud.people.projects.pop(request.ids["id"], None) is None:
        raise Refusal(404, f"Could not find project: {request.ids['id']}.")
    cloud.people.grants = {each for each in cloud.people.grants if each[1] != request.ids["id"]}
    return Response(204)


def list_users(cloud: "Cloud", request: Request) -> Response:
    """List all users."""
    return _listed(request, "users", [_user(request, each) for each in cloud.people.users.values()])


def show_user(cloud: "Cloud", request: Request) -> Response:
    """Show a user: oneself, an admin anybody."""
    found = cloud.people.users.get(request.ids["id"])
    if request.ids["id"] != request.who.user.id and not request.who.admin:
        raise forbidden("get_user")
    if found is None:
        raise Refusal(404, f"Could not find user: {request.ids['id']}.")
    return Response(200, {"user": _user(request, found)})


def create_user(cloud: "Cloud", request: Request) -> Response:
    """Make a user."""
    body = request.json()["user"]
    domain_id = body.get("domain_id") or DEFAULT
    if any((each.name, each.domain_id) == (body["name"], domain_id) for each in cloud.people.users.values()):
        text = f"Conflict occurred attempting to store user - Duplicate entry found with name {body['name']}"
        raise Refusal(409, f"{text} at domain ID {domain_id}.")
    project_id = body.get("default_project_id")
    made = cloud.people.add_user(body["name"], domain_id, body.get("password") or "", project_id)
    return Response(201, {"user": _user(request, made)})


def delete_user(cloud: "Cloud", request: Request) -> Response:
    """Delete a user; its tokens count no more."""
    if cloud.people.users.pop(request.ids["id"], None) is None:
        raise Refusal(404, f"Could not find user: {request.ids['id']}.")
    cloud.people.grants = {each for each in cloud.people.grants if each[0] != request.ids["id"]}
    return Response(204)


def list_roles(cloud: "Cloud", request: Request) -> Response:
    """List the roles."""
    return _listed(request, "roles", [_role(cloud, request, name) for name in sorted(cloud.people.roles.values())])


def _grant(cloud: "Cloud", request: Request) -> tuple[str, str, str]:
    ids, people = request.ids, cloud.people
    for kind, things in (("project", people.projects), ("user", people.users), ("role", people.roles)):
        if kind in ids and ids[kind] not in things:
            raise Refusal(404, f"Could not find {kind}: {ids[kind]}.")
    return ids["user"], ids.get("project") or ids["domain"], people.roles[ids["role"]]


def add_grant(cloud: "Cloud", request: Request) -> Response:
    """Give a user a role in a project; a role that it has already is fine."""
    cloud.people.grants.add(_grant(cloud, request))
    return Response(204)


def remove_grant(cloud: "Cloud", request: Request) -> Response:
    """Take a role away."""
    grant = _grant(cloud, request)
    if grant not in cloud.people.grants:
        raise Refusal(404, "Could not find role assignment with role.")
    cloud.people.grants.discard(grant)
    return Response(204)


def add_inherited(cloud: "Cloud", request: Request) -> Response:
    """Give a user a role in every project of a domain."""
    cloud.people.inherited.add(_grant(cloud, request))
    return Response(204)


def remove_inherited(cloud: "Cloud", request: Request) -> Response:
    """Take an inherited role away."""
    cloud.people.inherited.discard(_grant(cloud, request))
    return Response(204)


def list_domains(cloud: "Cloud", request: Request) -> Response:
    """List the domains."""
    rows: list[Json] = [
        {"id": each.id, "name": each.name, "description": "", "enabled": True, "tags": [], "options": {}}
        | {"links": {"self": f"{request.base}/identity/v3/domains/{each.id}"}}
        for each in cloud.people.domains.values()
    ]
    return _listed(request, "domains", rows)


def list_services(cloud: "Cloud", request: Request) -> Response:
    """List the services of the catalog."""
    rows: list[Json] = [
        {"id": each["id"], "type": each["type"], "name": each["name"], "enabled": True}
        | {"links": {"self": f"{request.base}/identity/v3/services/{each['id']}"}}
        for each in catalog(cloud, request.base)
    ]
    return _listed(request, "services", rows)


INHERIT = "/v3/OS-INHERIT/domains/{domain}/users/{user}/roles/{role}/inherited_to_projects"
GRANT = "/v3/projects/{project}/users/{user}/roles/{role}"
ROUTES: tuple[Route, ...] = (
    Route("GET", "/v3/auth/projects", own_projects, "anybody"),
    Route("GET", "/v3/auth/domains", own_domains, "anybody"),
    Route("GET", "/v3/auth/system", own_system, "anybody"),
    Route("GET", "/v3/users/{user}/projects", own_projects, "anybody"),
    Route("GET", "/v3/projects", list_projects, "admin", "list_projects"),
    Route("POST", "/v3/projects", create_project, "admin", "create_project"),
    Route("GET", "/v3/projects/{id}", show_project, "anybody"),
    Route("DELETE", "/v3/projects/{id}", delete_project, "admin", "delete_project"),
    Route("GET", "/v3/users", list_users, "admin", "list_users"),
    Route("POST", "/v3/users", create_user, "admin", "create_user"),
    Route("GET", "/v3/users/{id}", show_user, "anybody"),
    Route("DELETE", "/v3/users/{id}", delete_user, "admin", "delete_user"),
    Route("GET", "/v3/roles", list_roles, "admin", "list_roles"),
    Route("GET", "/v3/domains", list_domains, "admin", "list_domains"),
    Route("GET", "/v3/services", list_services, "admin", "list_services"),
    Route("PUT", GRANT, add_grant, "admin", "create_grant"),
    Route("DELETE", GRANT, remove_grant, "admin", "revoke_grant"),
    Route("PUT", INHERIT, add_inherited, "admin", "create_grant"),
    Route("DELETE", INHERIT, remove_inherited, "admin", "revoke_grant"),
)
