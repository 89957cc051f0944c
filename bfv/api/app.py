# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: takes a request apart, asks whether it may be, calls its handler, puts the answer together.

In this order: request id, token, address, microversion, policy, body and query, handler. What fails first answers.
"""

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import falcon
import orjson

from bfv.api import bodies, faults, versions
from bfv.api.bodies import Schema
from bfv.api.call import Answer, Call, Route
from bfv.api.faults import Fault, Nowhere
from bfv.api.identity import Identity
from bfv.api.policies import Policy
from bfv.api.routes import ROUTES
from bfv.api.schemas import no_body
from bfv.cloud import Cloud
from bfv.types import Caller, new_request_id

LOG = logging.getLogger(__name__)

ROOT = "/v2.1"
OPEN = {"", "/", ROOT, f"{ROOT}/"}
REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A project id in the address, as catalogs of old have it.
PROJECT = re.compile(r"/v2\.1/([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(/.*)")
LOCAL, GLOBAL = "bfv.request_id", "bfv.global_request_id"
ERRORS = "application/json; charset=UTF-8"


class Application:
    """The Compute API over one ``Cloud``; call it as WSGI does."""

    def __init__(self, cloud: Cloud, routes: Sequence[Route] = ROUTES) -> None:
        self._open = _falcon(_Versions(cloud), ())
        identity = Identity(cloud.parts.conf)
        doors = _Doors(cloud, identity, Policy(cloud.parts.conf))
        self._guarded = identity.guard(_falcon(doors, routes))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request, with its id in the answer and one line in the log."""
        began, request_id = time.monotonic(), new_request_id()
        given = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        environ[LOCAL] = request_id
        environ[GLOBAL] = given if REQUEST_ID.fullmatch(given) else request_id
        environ["PATH_INFO"] = path = re.sub("/{2,}", "/", environ.get("PATH_INFO", ""))

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            LOG.info("%s %s %.0f ms", _line(environ, path), status[:3], 1000 * (time.monotonic() - began))
            own = [("x-openstack-request-id", request_id), ("x-compute-request-id", request_id)]
            return start_response(status, headers + own, *rest)

        is_open = path in OPEN or not path.startswith(f"{ROOT}/")
        answer: Iterable[bytes] = (self._open if is_open else self._guarded)(environ, start)
        return answer


def _line(environ: Mapping[str, Any], path: str) -> str:
    """Return what a log says of a request: no query, no header of the client's, nothing that would break the line."""
    asked = f"{environ['REQUEST_METHOD']} {path}".encode("unicode_escape").decode()
    known = "keystone.token_info" in environ
    who = [environ.get(name, "-") if known else "-" for name in ("HTTP_X_USER_ID", "HTTP_X_PROJECT_ID")]
    return f"{environ[LOCAL]} user {who[0]} project {who[1]} {asked}"


def _falcon(doors: Any, routes: Sequence[Route]) -> Any:
    app = falcon.App(middleware=[doors] if routes else [])
    # falcon has handlers of its own for its own errors.
    app.add_error_handler((Exception, falcon.HTTPError), doors.fail)
    for template, methods in _by_address(routes).items():
        app.add_route(f"{ROOT}{template}", _resource(doors, methods))
    app.add_sink(doors.elsewhere, "/")
    return app


def _by_address(routes: Sequence[Route]) -> dict[str, dict[str, list[Route]]]:
    found: dict[str, dict[str, list[Route]]] = {}
    for route in routes:
        found.setdefault(route.path, {}).setdefault(route.method, []).append(route)
    return found


def _resource(doors: "_Doors", methods: Mapping[str, list[Route]]) -> Any:
    """Return a resource in falcon's sense: an object with an ``on_get`` and so on."""

    def responder(routes: list[Route]) -> Any:
        return lambda _self, req, resp, **ids: doors.answer(routes, req, resp, ids)

    return type("Resource", (), {f"on_{name.lower()}": responder(routes) for name, routes in methods.items()})()


def _base(req: falcon.Request, cloud: Cloud) -> str:
    return str(cloud.parts.conf.api.public_endpoint or req.prefix).rstrip("/")


def _send(resp: falcon.Response, body: Any, code: int, headers: Mapping[str, str] | None = None) -> None:
    resp.status = code
    if body is not None:
        resp.data, resp.content_type = orjson.dumps(body), "application/json"
    for name, value in (headers or {}).items():
        resp.set_header(name, value)


class _Versions:
    """What may be read without a token: which versions there are."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def elsewhere(self, req: falcon.Request, resp: falcon.Response) -> None:
        base = _base(req, self._cloud)
        if req.path not in OPEN:
            _send(resp, versions.choices(base, req.path), 300)
        elif req.path.startswith(ROOT):
            told = versions.told(versions.negotiate(req.headers))
            _send(resp, versions.one_version(base), 200, told)
        else:
            _send(resp, versions.all_versions(base), 200)

    def fail(self, _req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any) -> None:
        _fail(resp, faults.of(error))


class _Doors:
    """Everything behind a token."""

    def __init__(self, cloud: Cloud, identity: Identity, policy: Policy) -> None:
        self._cloud, self._identity, self._policy = cloud, identity, policy

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Find out who calls, and take a project's id out of the address."""
        if req.path.endswith("/"):
            # falcon would take what follows the slash, nothing, for an id.
            raise Nowhere
        req.context.caller = caller = self._identity.caller(req.env, req.env[GLOBAL], req.env[LOCAL])
        found = PROJECT.fullmatch(req.path)
        if found:
            req.context.project, req.path = found[1], f"{ROOT}{found[2]}"
            if found[1] != caller.project_id:
                req.context.version = versions.negotiate(req.headers)
                raise Fault(400, f"Malformed request URL: URL's project_id '{found[1]}' doesn't match Context's "
                                 f"project_id '{caller.project_id}'")  # fmt: skip

    def elsewhere(self, _req: falcon.Request, _resp: falcon.Response) -> None:
        """Answer where no route is."""
        raise Nowhere

    def answer(self, routes: list[Route], req: falcon.Request, resp: falcon.Response, ids: dict[str, str]) -> None:
        """Answer a request to an address that has routes."""
        req.context.version = version = versions.negotiate(req.headers)
        caller: Caller = req.context.caller
        route, body = _route(routes, req, version)
        self._policy.check(route.policy, caller)
        query = _checked(route, version, body, bodies.query(req.query_string))
        path = req.path.removeprefix(ROOT)
        call = Call(self._cloud, self._policy, caller, version, ids, query, body, _base(req, self._cloud), path)
        made: Answer = route.handler(call)
        _send(resp, made.body, made.code or route.code, {**versions.told(version), **made.headers})

    def fail(self, req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any) -> None:
        """Answer with what an error becomes."""
        caller: Caller | None = getattr(req.context, "caller", None)
        if isinstance(error, falcon.HTTPMethodNotAllowed):
            error = Fault(405, "The method is not allowed here.", dict(error.headers or {}))
        elif isinstance(error, falcon.HTTPError):
            error = Fault(error.status_code, error.title or "The request cannot be read.")
        fault = faults.of(error, admin=caller is not None and "admin" in caller.roles)
        version = getattr(req.context, "version", None)
        _fail(resp, fault, versions.told(version) if version is not None else {})


def _fail(resp: falcon.Response, fault: Fault, told: Mapping[str, str] | None = None) -> None:
    _send(resp, fault.body(), fault.code, {**(told or {}), **fault.headers})
    resp.content_type = ERRORS


def _route(routes: list[Route], req: falcon.Request, version: int) -> tuple[Route, Any]:
    """Return the route that a request is for, and the body. Raises Fault, Nowhere where the microversion has it not."""
    body: Any = _body(req, optional=routes[0].body is no_body) if any(route.body for route in routes) else None
    if routes[0].action is not None:
        if len(body) != 1:
            raise Fault(400, "Malformed request body")
        action = next(iter(body))
        routes = [route for route in routes if route.action == action]
        if not routes:
            raise Fault(400, f"There is no such action: {action[:255]}")
    for route in routes:
        if route.serves(version):
            return route, body
    raise Nowhere


def _body(req: falcon.Request, *, optional: bool) -> Any:
    # falcon bounds a stream by its Content-Length, which a chunked one has not; the server ends that itself.
    chunked = "chunked" in (req.get_header("Transfer-Encoding") or "").lower()
    stream: Any = req.env["wsgi.input"] if chunked else req.bounded_stream
    return bodies.read(stream, None if chunked else req.content_length or 0, req.content_type, optional=optional)


def _checked(route: Route, version: int, body: Any, query: dict[str, list[str]]) -> dict[str, list[str]]:
    """Check body and query by the route's schemas and return the query. Raises Fault 400."""
    if route.body:
        bodies.check(route.body, version, body)
    schema: Schema | None = route.query
    if schema:
        bodies.check(schema, version, query, "query parameters")
    return query
