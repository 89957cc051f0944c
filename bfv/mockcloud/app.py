# SPDX-License-Identifier: Apache-2.0
"""From a call to an answer: which service, whose token, which version, which fault on the way. Both doors end here."""

import re
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bfv.mockcloud import (
    actions,
    attachments,
    backends,
    block,
    callbacks,
    compute,
    control,
    credentials,
    directory,
    identity,
    imagedata,
    images,
    imageschemas,
    manage,
    messages,
    network,
    placement,
    quotas,
    sharing,
    snapshots,
    volumes,
)
from bfv.mockcloud.faults import KINDS, Lost, Rule
from bfv.mockcloud.people import Context
from bfv.mockcloud.recorder import readable
from bfv.mockcloud.wire import Refusal, Request, Response, Route, Table

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

CINDER = (
    *volumes.ROUTES,
    *actions.ROUTES,
    *manage.ROUTES,
    *attachments.ROUTES,
    *snapshots.ROUTES,
    *messages.ROUTES,
    *quotas.ROUTES,
    *backends.ROUTES,
)
PROJECT = re.compile("[0-9a-f]{32}")
MICROVERSION = re.compile(r"3\.(\d+)")
# Glance does not look at a service token (measured); Cinder refuses a bad one, whatever is asked.
STRICT = frozenset({"volume"})


@dataclass(frozen=True)
class Service:
    """One service: its routes, its words for a refusal, and for a rule that says no."""

    table: Table
    failed: Callable[["Cloud", Request, Refusal], Response]
    forbidden: Callable[[str], Refusal]


def _no(_policy: str) -> Refusal:
    return Refusal(403, "Not allowed.")


SERVICES = {
    "identity": Service(
        Table((*identity.ROUTES, *credentials.ROUTES, *directory.ROUTES)), identity.failed, identity.forbidden
    ),
    "image": Service(
        Table((*sharing.ROUTES, *images.ROUTES, *imagedata.ROUTES, *imageschemas.ROUTES)),
        images.failed,
        images.forbidden,
    ),
    "volume": Service(Table(CINDER), block.failed, block.forbidden),
    "network": Service(Table(network.ROUTES), network.failed, _no),
    "compute": Service(Table(compute.ROUTES), compute.failed, _no),
    "placement": Service(Table(placement.ROUTES), placement.failed, _no),
    "_mock": Service(Table(control.ROUTES), control.failed, _no),
}


class App:
    """Answers calls over one cloud."""

    def __init__(self, cloud: "Cloud") -> None:
        self.cloud = cloud

    def answer(self, request: Request) -> Response:
        """Answer a call. Raises Lost where a fault breaks the connection."""
        name, _, rest = request.path.lstrip("/").partition("/")
        request.path = f"/{rest}" if rest or request.path.endswith("/") else ""
        service = SERVICES.get(name)
        if service is None:
            return Response(404, {"error": "the services are under " + ", ".join(f"/{each}" for each in SERVICES)})
        if name == "_mock":
            with self.cloud.lock:
                self.cloud.pace.run()
                return self._guarded(name, service, request)
        return self._on_the_way(name, service, request)

    def _on_the_way(self, name: str, service: Service, request: Request) -> Response:
        """Answer a call as far as the faults let it through."""
        with self.cloud.lock:
            rule = self.cloud.faults.find(request.method, request.target)
        if rule is None:
            return self._record(name, request, self._effect(name, service, request), None)
        effect, reply = KINDS[rule.kind]
        again = replace(request, ids={})
        response: Response | None = None
        if effect in ("now", "twice"):
            response = self._effect(name, service, request)
        if effect == "twice":
            response = self._effect(name, service, again)
        if effect == "later":
            with self.cloud.lock:
                self.cloud.pace.after(rule.seconds, again.id, lambda: self._late(name, service, again))
        if reply == "nothing" or (response is None and reply != "status"):
            self._record(name, request, None, rule)
            raise Lost(rule.kind)
        if reply == "status":
            response = Response(rule.status, rule.body, dict(rule.headers))
        if reply == "late":
            time.sleep(rule.seconds)
        assert response is not None, "each kind of fault has an answer by now"
        return self._record(name, request, response, rule)

    def _effect(self, name: str, service: Service, request: Request) -> Response:
        told: dict[str, callbacks.Told] = {}
        while True:
            try:
                with self.cloud.lock:
                    self.cloud.pace.run()
                    response = self._guarded(name, service, replace(request, ids={}, told=told))
                    self.cloud.pace.run()
                    return response
            except callbacks.Unasked as unasked:
                told[unasked.question.path] = callbacks.send(self.cloud, unasked.question)

    def _late(self, name: str, service: Service, request: Request) -> None:
        try:
            self._guarded(name, service, request)
        except callbacks.Unasked:
            # The lock is ours, and the compute service must be asked without it.
            threading.Thread(target=self._effect, args=(name, service, request), daemon=True).start()

    def _guarded(self, name: str, service: Service, request: Request) -> Response:
        """Find the route and answer; refusals become the service's own words."""
        try:
            return _headers(name, request, self._routed(name, service, request))
        except Refusal as refusal:
            return _headers(name, request, service.failed(self.cloud, request, refusal))
        except callbacks.Unasked:
            raise
        except Exception as error:
            traceback.print_exc()
            return Response(500, {"error": f"the mocked cloud does not understand this call: {error!r}"})

    def _routed(self, name: str, service: Service, request: Request) -> Response:
        path = request.path
        if name == "volume":
            path = _cinder_path(request)
        route = service.table.find(request, path)
        if route is None or route.need:
            request.caller = self._caller(name, request, route)
        if name == "volume" and request.caller is not None:
            _scope(request)
            request.path = path
        if route is None:
            raise Refusal(404, "")
        if request.minor < route.since:
            raise Refusal(404, block.NOT_FOUND)
        if not allowed(route, request):
            raise service.forbidden(route.policy)
        return route.handler(self.cloud, request)

    def _caller(self, name: str, request: Request, route: Route | None) -> Context | None:
        """Return who calls (keystonemiddleware/auth_token). Raises 401."""
        if name == "volume" and request.path in ("", "/") and route is not None:
            return None
        people = self.cloud.people
        token = people.valid(request.headers.get("x-auth-token"))
        if token is None and name == "identity" and route is None:
            return None
        if token is None:
            raise Refusal(401, identity.AUTH)
        beside = False
        if (given := request.headers.get("x-service-token")) and name in STRICT:
            service = people.valid(given)
            if service is None or "service" not in people.context(service).roles:
                raise Refusal(401, identity.AUTH)
            beside = True
        return people.context(token, beside)

    def _record(self, name: str, request: Request, response: Response | None, rule: Rule | None) -> Response:
        token = self.cloud.people.tokens.get(request.headers.get("x-auth-token", ""))
        with self.cloud.lock:
            self.cloud.recorder.add(
                at=self.cloud.clock.seconds(),
                service=name,
                method=request.method,
                path=request.target,
                user=token.user.name if token else None,
                project=token.project.name if token and token.project else None,
                status=response.status if response else None,
                fault=rule.kind if rule else None,
                request_id=request.id,
                global_id=request.headers.get("x-openstack-request-id"),
                beside="x-service-token" in request.headers,
                body=readable(request.body, request.headers.get("content-type", "")),
            )
        return response or Response()


def allowed(route: Route, request: Request) -> bool:
    """Say whether the caller has the role that a route needs; an admin has all."""
    if route.need in ("", "anybody"):
        return True
    return request.who.admin or route.need in request.who.roles


def _cinder_path(request: Request) -> str:
    """Read the microversion and return the path below /v3 and its project (``cinder/api/openstack/wsgi.py``)."""
    if request.path in ("", "/"):
        return ""
    first, _, rest = request.path.lstrip("/").partition("/")
    if first != "v3":
        return "?"
    request.minor = _minor(request)
    if request.body and not request.is_json():
        raise Refusal(400, "Malformed request body")
    head, slash, tail = rest.partition("/")
    if PROJECT.fullmatch(head) and slash:
        request.ids["_project"] = head
        rest = tail
    return f"/{rest}"


def _minor(request: Request) -> int:
    """Return the microversion that a call asks for. Raises 400, 406."""
    asked = request.headers.get("openstack-api-version", "")
    words = dict(part.split()[:2] for part in asked.split(",") if len(part.split()) >= 2)
    version = words.get("volume", "3.0")
    if version == "latest":
        return block.NEWEST
    match = MICROVERSION.fullmatch(version)
    if match is None and not re.fullmatch(r"\d+\.\d+", version):
        text = f"API Version String {version} is of invalid format. Must be of format MajorNum.MinorNum."
        raise Refusal(400, text)
    if match is None or int(match[1]) > block.NEWEST:
        text = f"Version {version} is not supported by the API. Minimum is 3.0 and maximum is 3.{block.NEWEST}."
        raise Refusal(406, text)
    return int(match[1])


def _scope(request: Request) -> None:
    """Refuse a project in the path that is not the token's, an admin's too."""
    if request.ids.get("_project", request.who.project_id) != request.who.project_id:
        raise Refusal(400, "Malformed request url")


def _headers(name: str, request: Request, response: Response) -> Response:
    """Add what each answer of a service carries."""
    if response.body is not None and not isinstance(response.body, str | bytes):
        response.headers.setdefault("Content-Type", "application/json")
    if name != "image" or response.status != 401:
        response.headers.setdefault("x-openstack-request-id", request.id)
    if name == "identity":
        response.headers.setdefault("Vary", "X-Auth-Token")
    if name == "volume" and response.status != 401:
        _cinder_headers(request, response)
    return response


def _cinder_headers(request: Request, response: Response) -> None:
    """Add Cinder's own: the microversion, and its request id where it does not answer as plain HTML."""
    html = response.headers.get("Content-Type", "").startswith("text/html")
    if not html:
        response.headers["Content-Type"] = "application/json"
        response.headers["x-compute-request-id"] = request.id
    if html and response.status == 404:
        return
    if response.status == 300:
        minor = f"3.{block.NEWEST}"
    else:
        asked = re.search(r"volume\s+(\S+)", request.headers.get("openstack-api-version", ""))
        minor = asked[1] if asked and response.status == 406 else f"3.{request.minor}"
    if response.status == 400 and not request.minor and request.headers.get("openstack-api-version"):
        return
    response.headers["OpenStack-API-Version"] = f"volume {minor}"
    response.headers["Vary"] = "OpenStack-API-Version"
