# SPDX-License-Identifier: Apache-2.0
"""A minimal Neutron: networks, subnets and ports that can be made, found and removed, so that clients find one."""

import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

# neutron/db/models: what a thing is without being told.
DEFAULTS: dict[str, Json] = {
    "networks": {
        "name": "",
        "admin_state_up": True,
        "status": "ACTIVE",
        "shared": False,
        "mtu": 1500,
        "subnets": [],
    },
    "subnets": {
        "name": "",
        "network_id": None,
        "ip_version": 4,
        "cidr": None,
        "enable_dhcp": True,
        "gateway_ip": None,
    },
    "ports": {
        "name": "",
        "network_id": None,
        "device_id": "",
        "device_owner": "",
        "status": "DOWN",
        "fixed_ips": [],
    },
}


def failed(_cloud: "Cloud", _request: Request, refusal: Refusal) -> Response:
    """Return Neutron's body of a refusal."""
    kind = {401: "Unauthorized", 404: "NotFound"}.get(refusal.status, "BadRequest")
    message = refusal.message or "The resource could not be found."
    return Response(refusal.status, {"NeutronError": {"type": kind, "message": message, "detail": ""}})


def versions(_cloud: "Cloud", request: Request) -> Response:
    """List the versions."""
    links = [{"rel": "self", "href": f"{request.base}/network/v2.0/"}]
    return Response(200, {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})


def _kind(request: Request) -> str:
    if request.ids["kind"] not in DEFAULTS:
        raise Refusal(404, "")
    return request.ids["kind"]


def listed(cloud: "Cloud", request: Request) -> Response:
    """List things of a kind; a user sees its own and what is shared."""
    kind = _kind(request)
    rows = [
        row
        for row in cloud.network.get(kind, {}).values()
        if (request.who.admin or row["project_id"] == request.who.project_id or row.get("shared"))
        and all(str(row.get(name)) == value for name, value in request.args.items() if name in row)
    ]
    return Response(200, {kind: rows})


def create(cloud: "Cloud", request: Request) -> Response:
    """Make a thing."""
    kind = _kind(request)
    own: Json = {
        "id": str(uuid.uuid4()),
        "project_id": request.who.project_id,
        "tenant_id": request.who.project_id,
    }
    row = DEFAULTS[kind] | request.json().get(kind[:-1], {}) | own
    if "network_id" in row and row["network_id"] not in cloud.network.get("networks", {}):
        raise Refusal(404, f"Network {row['network_id']} could not be found.")
    cloud.network.setdefault(kind, {})[row["id"]] = row
    if kind == "subnets":
        network = cloud.network["networks"][row["network_id"]]
        network["subnets"] = [*network["subnets"], row["id"]]
    return Response(201, {kind[:-1]: row})


def _find(cloud: "Cloud", request: Request) -> Json:
    kind = _kind(request)
    row = cloud.network.get(kind, {}).get(request.ids["id"])
    if row is None or not (request.who.admin or row["project_id"] == request.who.project_id or row.get("shared")):
        raise Refusal(404, f"{kind[:-1].capitalize()} {request.ids['id']} could not be found.")
    return row


def show(cloud: "Cloud", request: Request) -> Response:
    """Show a thing."""
    return Response(200, {_kind(request)[:-1]: _find(cloud, request)})


def update(cloud: "Cloud", request: Request) -> Response:
    """Change a thing."""
    row = _find(cloud, request)
    row.update(request.json().get(_kind(request)[:-1], {}))
    return Response(200, {_kind(request)[:-1]: row})


def delete(cloud: "Cloud", request: Request) -> Response:
    """Remove a thing."""
    del cloud.network[_kind(request)][_find(cloud, request)["id"]]
    return Response(204)


ROUTES: tuple[Route, ...] = (
    Route("GET", "", versions, ""),
    Route("GET", "/", versions, ""),
    Route("GET", "/v2.0/{kind}", listed, "anybody"),
    Route("POST", "/v2.0/{kind}", create, "anybody"),
    Route("GET", "/v2.0/{kind}/{id}", show, "anybody"),
    Route("PUT", "/v2.0/{kind}/{id}", update, "anybody"),
    Route("DELETE", "/v2.0/{kind}/{id}", delete, "anybody"),
)
