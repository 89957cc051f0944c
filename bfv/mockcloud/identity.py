# SPDX-License-Identifier: Apache-2.0
"""Keystone v3: tokens, the catalog, and enough of projects, users and roles to make a test's own."""

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from bfv.mockcloud.people import Project, Token, User
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


AUTH = "The request you have made requires authentication."
MALFORMED = (
    "The server could not comply with the request since it is either malformed or otherwise incorrect. "
    "The client is assumed to be in error."
)
# keystone/catalog: type, name, path below our address.
CATALOG = (
    ("block-storage", "cinderv3", "/volume/v3"),
    ("identity", "keystone", "/identity/v3"),
    ("compute", "nova", "/compute/v2.1"),
    ("image", "glance", "/image"),
    ("network", "neutron", "/network"),
)
TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}


def failed(_cloud: "Cloud", request: Request, refusal: Refusal) -> Response:
    """Return Keystone's body of a refusal (``keystone/server/flask/application.py``)."""
    if refusal.status == 404 and not refusal.message:
        text = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n"
        text += "<p>The requested URL was not found on the server. If you entered the URL manually please check "
        return Response(404, text + "your spelling and try again.</p>\n", {"Content-Type": "text/html; charset=utf-8"})
    error = {"code": refusal.status, "message": refusal.message, "title": TITLES[refusal.status]}
    headers = dict(refusal.headers)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = f'Keystone uri="{request.base}/identity/v3"'
    return Response(refusal.status, {"error": error}, headers)


def forbidden(policy: str) -> Refusal:
    """Return Keystone's words for a rule that says no."""
    return Refusal(403, f"You are not authorized to perform the requested action: identity:{policy}.")


def version(request: Request) -> Json:
    """Return the version document (``keystone/api/discovery.py``)."""
    kind = "application/vnd.openstack.identity-v3+json"
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{request.base}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": kind}],
    }


def versions(_cloud: "Cloud", request: Request) -> Response:
    """List the versions: 300 with where the newest is."""
    body = {"versions": {"values": [version(request)]}}
    return Response(300, body, {"Location": f"{request.base}/identity/v3/"})


def version_3(_cloud: "Cloud", request: Request) -> Response:
    """Show version 3."""
    return Response(200, {"version": version(request)})


def catalog(cloud: "Cloud", base: str) -> list[Json]:
    """Return the catalog of a token."""
    elsewhere = {"compute": cloud.compute_url}
    return [
        {
            "endpoints": [
                {
                    "id": uuid.uuid5(uuid.NAMESPACE_URL, f"{kind} {interface}").hex,
                    "interface": interface,
                    "region_id": "RegionOne",
                    "url": elsewhere.get(kind) or base + path,
                    "region": "RegionOne",
                }
                for interface in ("admin", "internal", "public")
            ],
            "id": uuid.uuid5(uuid.NAMESPACE_URL, kind).hex,
            "type": kind,
            "name": name,
        }
        for kind, name, path in CATALOG
        if elsewhere.get(kind) != ""
    ]


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def _domain(cloud: "Cloud", domain_id: str) -> Json:
    return {"id": domain_id, "name": cloud.people.domains[domain_id].name}


def token_view(cloud: "Cloud", request: Request, token: Token) -> Json:
    """Return a token's document (``keystone/common/render_token.py``)."""
    user = token.user
    view: Json = {
        "methods": token.methods,
        "user": {
            "domain": _domain(cloud, user.domain_id),
            "id": user.id,
            "name": user.name,
            "password_expires_at": None,
        },
        "audit_ids": token.audit_ids,
        "expires_at": _time(token.expires),
        "issued_at": _time(token.issued),
    }
    if token.project is not None:
        project = token.project
        roles = cloud.people.context(token).roles
        view["project"] = {
            "domain": _domain(cloud, project.domain_id),
            "id": project.id,
            "name": project.name,
        }
        view["is_domain"] = False
        view["roles"] = [{"id": cloud.people.role_id(name), "name": name} for name in sorted(roles)]
        if "nocatalog" not in request.args:
            view["catalog"] = catalog(cloud, request.base)
    if token.credential is not None:
        made = token.credential
        view["application_credential"] = {
            "id": made.id,
            "name": made.name,
            "restricted": not made.unrestricted,
        }
    return {"token": view}


def create_token(cloud: "Cloud", request: Request) -> Response:
    """Authenticate (``keystone/api/auth.py``): by password, token or application credential."""
    body = request.json()
    if not isinstance(body, dict) or "auth" not in body:
        raise Refusal(400, f"Expecting to find auth in request body. {MALFORMED}")
    auth = body["auth"]
    if "identity" not in auth:
        raise Refusal(400, "'identity' is a required property")
    identity = auth["identity"]
    methods = identity.get("methods", [])
    token = None
    for method in methods:
        if method not in METHODS or method not in identity:
            raise Refusal(400, f"Expecting to find {method} in identity. {MALFORMED}")
        token = METHODS[method](cloud, identity[method], auth.get("scope"))
    if token is None:
        raise Refusal(401, AUTH)
    return Response(201, token_view(cloud, request, token), {"X-Subject-Token": token.id})


def _named(cloud: "Cloud", things: dict[str, Any], wanted: Json) -> Any:
    """Find a user or project by id, or by name and domain."""
    if wanted.get("id"):
        return things.get(wanted["id"])
    domain = wanted.get("domain") or {}
    for thing in things.values():
        names = (thing.domain_id, cloud.people.domains[thing.domain_id].name)
        if thing.name == wanted.get("name") and (domain.get("id") or domain.get("name")) in names:
            return thing
    return None


def _scope(cloud: "Cloud", user: User, scope: Any) -> Project | None:
    """Return the project of a token: that of the scope, else the user's own if it has a role there."""
    people = cloud.people
    if isinstance(scope, dict) and "project" in scope:
        project: Project | None = _named(cloud, dict(people.projects), scope["project"])
        if project is None or not people.role_names(user, project):
            raise Refusal(401, AUTH)
        return project
    if isinstance(scope, dict) and scope:
        raise Refusal(401, AUTH)
    project = people.projects.get(user.default_project_id or "")
    if scope == "unscoped" or project is None or not people.role_names(user, project):
        return None
    return project


def _by_password(cloud: "Cloud", given: Json, scope: Any) -> Token:
    wanted = given.get("user", {})
    user = _named(cloud, dict(cloud.people.users), wanted)
    if user is None or user.password != wanted.get("password"):
        raise Refusal(401, AUTH)
    return cloud.people.issue(user, _scope(cloud, user, scope), ["password"])


def _by_token(cloud: "Cloud", given: Json, scope: Any) -> Token:
    old = cloud.people.valid(given.get("id"))
    if old is None:
        raise Refusal(404, "Could not recognize Fernet token")
    project = _scope(cloud, old.user, scope) if scope else old.project
    return cloud.people.issue(old.user, project, ["token", *old.methods], old.audit_ids, old.credential)


def _by_credential(cloud: "Cloud", given: Json, _scope: Any) -> Token:
    people = cloud.people
    found = people.credentials.get(given.get("id", ""))
    if found is None and "name" in given:
        user = _named(cloud, dict(people.users), given.get("user", {}))
        mine = (each for each in people.credentials.values() if user is not None and each.user_id == user.id)
        found = next((each for each in mine if each.name == given["name"]), None)
    if found is None:
        raise Refusal(404, f"Could not find Application Credential: {given.get('id')}.")
    if found.secret != given.get("secret"):
        raise Refusal(401, AUTH)
    user, project = people.users[found.user_id], people.projects[found.project_id]
    return people.issue(user, project, ["application_credential"], credential=found)


METHODS = {"password": _by_password, "token": _by_token, "application_credential": _by_credential}


def _subject(cloud: "Cloud", request: Request, policy: str) -> Token:
    """Return the token that a call is about; a user may ask of its own, the services of all."""
    subject = request.headers.get("x-subject-token")
    if subject is None:
        raise forbidden(policy)
    token = cloud.people.valid(subject)
    if token is None:
        known = subject in cloud.people.tokens
        raise Refusal(404, "Failed to validate token" if known else "Could not recognize Fernet token")
    if token.user.id != request.who.user.id and not request.who.roles & {"admin", "service"}:
        raise forbidden(policy)
    return token


def show_token(cloud: "Cloud", request: Request) -> Response:
    """Validate a token."""
    token = _subject(cloud, request, "validate_token")
    return Response(200, token_view(cloud, request, token), {"X-Subject-Token": token.id})


def revoke_token(cloud: "Cloud", request: Request) -> Response:
    """Revoke a token: it stays known, and counts no more."""
    _subject(cloud, request, "revoke_token").expires = 0
    return Response(204)


def show_catalog(cloud: "Cloud", request: Request) -> Response:
    """Show the catalog of the caller's token."""
    url = f"{request.base}/identity/v3/auth/catalog"
    return Response(200, {"catalog": catalog(cloud, request.base), "links": {"self": url}})


def links(request: Request) -> Json:
    """Return the links of a list."""
    return {"next": None, "self": f"{request.base}{request.target}", "previous": None}


ROUTES: tuple[Route, ...] = (
    Route("GET", "", versions, ""),
    Route("GET", "/", versions, ""),
    Route("GET", "/v3", version_3, ""),
    Route("GET", "/v3/", version_3, ""),
    Route("POST", "/v3/auth/tokens", create_token, ""),
    Route("GET", "/v3/auth/tokens", show_token, "anybody"),
    Route("HEAD", "/v3/auth/tokens", show_token, "anybody"),
    Route("DELETE", "/v3/auth/tokens", revoke_token, "anybody"),
    Route("GET", "/v3/auth/catalog", show_catalog, "anybody"),
)
