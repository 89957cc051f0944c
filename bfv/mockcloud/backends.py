# SPDX-License-Identifier: Apache-2.0
"""What Cinder tells of itself: versions, types, pools, services and zones."""

import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud import listing, volumejobs, volumes
from bfv.mockcloud.block import accepted, root
from bfv.mockcloud.state import VolumeType
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

# cinder/volume/volume_types.py: what those who are no admins see of a type.
VISIBLE = ("RESKEY:availability_zones", "multiattach", "replication_enabled")


def versions(_cloud: "Cloud", request: Request) -> Response:
    """List the versions: without a token 300, with one below /v3 200."""
    kind = "application/vnd.openstack.volume+json;version=3"
    row: Json = {
        "id": "v3.0",
        "status": "CURRENT",
        "version": "3.71",
        "min_version": "3.0",
        "updated": "2023-08-31T00:00:00Z",
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{request.base}/volume/v3/"},
        ],
        "media-types": [{"base": "application/json", "type": kind}],
    }
    return Response(200 if request.caller else 300, {"versions": [row]})


def _type(request: Request, kind: VolumeType, access: bool = True) -> Json:
    specs = kind.extra_specs
    if not request.who.admin:
        specs = {name: value for name, value in specs.items() if name in VISIBLE}
    body: Json = {
        "id": kind.id,
        "name": kind.name,
        "is_public": kind.is_public,
        "description": kind.description,
        "extra_specs": specs,
    }
    if request.who.admin:
        body["qos_specs_id"] = None
    return body | ({"os-volume-type-access:is_public": kind.is_public} if access else {})


def types(cloud: "Cloud", request: Request) -> Response:
    """List the types that the caller may use."""
    wanted = listing.filters(request, "volume_type")
    public = wanted.pop("is_public", "None" if request.who.admin else "True").lower()
    rows = [
        each
        for each in cloud.types.values()
        if public in ("none", str(each.is_public).lower()) and (each.is_public or request.who.admin)
    ]
    rows = [each for each in rows if listing.fits(vars(each), wanted)]
    shown, more, _ = listing.page(request, rows, getattr, "volume_type")
    return Response(200, {"volume_types": [_type(request, each) for each in shown], **more})


def _find(cloud: "Cloud", request: Request) -> VolumeType:
    ident = request.ids["id"]
    found = cloud.types.get(ident)
    if found is None or not (found.is_public or request.who.admin):
        raise Refusal(404, f"Volume type {ident} could not be found.")
    return found


def show_type(cloud: "Cloud", request: Request) -> Response:
    """Show a type; ``default`` is the type of those who name none."""
    if request.ids["id"] == "default":
        kind = next(each for each in cloud.types.values() if each.name == cloud.settings.cells[0])
        return Response(200, {"volume_type": _type(request, kind, access=False)})
    return Response(200, {"volume_type": _type(request, _find(cloud, request))})


def create_type(cloud: "Cloud", request: Request) -> Response:
    """Make a type."""
    body = request.json()["volume_type"]
    if any(each.name == body["name"] for each in cloud.types.values()):
        raise Refusal(409, f"Volume Type {body['name']} already exists.")
    public = body.get("os-volume-type-access:is_public", True)
    kind = VolumeType(
        id=str(uuid.uuid4()),
        name=body["name"],
        created_at=cloud.second(),
        extra_specs=dict(body.get("extra_specs") or {}),
        is_public=public,
        description=body.get("description"),
    )
    cloud.types[kind.id] = kind
    shown = _type(request, kind)
    del shown["qos_specs_id"]
    return Response(200, {"volume_type": shown})


def delete_type(cloud: "Cloud", request: Request) -> Response:
    """Delete a type that no volume has."""
    kind = _find(cloud, request)
    if any(each.type_id == kind.id for each in cloud.volumes.values()):
        raise Refusal(400, "Target volume type is still in use.")
    del cloud.types[kind.id]
    return accepted()


def show_encryption(cloud: "Cloud", request: Request) -> Response:
    """Show how a type encrypts, if it does (``cinder/db/sqlalchemy/api.py:volume_type_encryption_get``)."""
    return Response(200, _find(cloud, request).encryption)


def encrypt(cloud: "Cloud", request: Request) -> Response:
    """Have volumes of a type be encrypted; here that is told, and done to none."""
    kind, given = _find(cloud, request), request.json()
    if kind.encryption:
        raise Refusal(400, f"Volume type encryption for type {kind.id} already exists.")
    # Its database adds the ids to what was given, and that is the answer.
    told = {**given["encryption"], "volume_type_id": kind.id, "encryption_id": str(uuid.uuid4())}
    rest = dict.fromkeys(("provider", "cipher", "key_size", "control_location", "updated_at", "deleted_at"))
    kind.encryption = {**rest, **told, "created_at": volumes.stamp(cloud.second()), "deleted": False}
    return Response(200, {"encryption": told})


def show_specs(cloud: "Cloud", request: Request) -> Response:
    """Show a type's extra specs, as far as the caller sees them."""
    return Response(200, {"extra_specs": _type(request, _find(cloud, request))["extra_specs"]})


def set_specs(cloud: "Cloud", request: Request) -> Response:
    """Add to a type's extra specs."""
    given = request.json()["extra_specs"]
    _find(cloud, request).extra_specs.update(given)
    return Response(200, {"extra_specs": given})


def pools(cloud: "Cloud", request: Request) -> Response:
    """List the backends' pools, with ``detail`` how full they are and which Ceph they are on."""
    rows: list[Json] = []
    for cell in cloud.cells.values():
        row: Json = {"name": cell.backend}
        if request.args.get("detail", "").lower() in ("1", "true"):
            own = [each.size for each in cloud.volumes.values() if each.host == cell.backend]
            row["capabilities"] = {
                "vendor_name": "Open Source",
                "driver_version": "1.3.0",
                "storage_protocol": "ceph",
                "total_capacity_gb": cell.capacity_gb,
                "free_capacity_gb": volumejobs.free_gb(cell),
                "reserved_percentage": 0,
                "multiattach": True,
                "thin_provisioning_support": True,
                "max_over_subscription_ratio": "20.0",
                "location_info": f"{cell.name}:/etc/ceph/{cell.name}.conf:{cell.cluster.fsid}:cinder:volumes",
                "backend_state": "up",
                "qos_support": True,
                "volume_backend_name": cell.name,
                "replication_enabled": False,
                "allocated_capacity_gb": sum(own),
                "filter_function": None,
                "goodness_function": None,
                "timestamp": cloud.clock.now().isoformat(),
            }
        rows.append(row)
    return Response(200, {"pools": rows})


def services(cloud: "Cloud", request: Request) -> Response:
    """List the services; they say up though their Ceph is gone, as the real ones do."""
    first = next(iter(cloud.cells.values()))
    beat = cloud.second().strftime("%Y-%m-%dT%H:%M:%S.%f")
    common = {
        "status": "enabled",
        "state": "up",
        "updated_at": beat,
        "cluster": None,
        "disabled_reason": None,
    }
    rows: list[Json] = [{"binary": "cinder-scheduler", "host": first.host, "zone": first.name, **common}]
    for cell in cloud.cells.values():
        row: Json = {
            "binary": "cinder-volume",
            "host": f"{cell.host}@{cell.name}",
            "zone": cell.name,
            **common,
        }
        row |= {"backend_state": "up"} if request.minor >= 49 else {}
        rows.append(row | {"replication_status": "disabled", "active_backend_id": None, "frozen": False})
    wanted = {name: value for name, value in request.args.items() if name in ("binary", "host")}
    rows = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return Response(200, {"services": rows})


def zones(cloud: "Cloud", _request: Request) -> Response:
    """List the zones: one for each cell."""
    rows = [{"zoneName": cell, "zoneState": {"available": True}} for cell in cloud.cells]
    return Response(200, {"availabilityZoneInfo": rows})


def resource_filters(cloud: "Cloud", _request: Request) -> Response:
    """List what may be filtered by."""
    return Response(200, listing.resource_filters(cloud))


def extensions(_cloud: "Cloud", request: Request) -> Response:
    """List no extensions: clients ask, and do without."""
    return Response(200, {"extensions": []}, {"Content-Location": f"{root(request)}/extensions"})


TYPE = "volume_extension:type"
ROUTES: tuple[Route, ...] = (
    Route("GET", "/", versions, "anybody"),
    Route("GET", "", versions, "anybody"),
    Route("GET", "/types", types, "anybody"),
    Route("POST", "/types", create_type, "admin", f"{TYPE}_create"),
    Route("GET", "/types/{id}", show_type, "anybody"),
    Route("DELETE", "/types/{id}", delete_type, "admin", f"{TYPE}_delete"),
    Route("GET", "/types/{id}/encryption", show_encryption, "admin", "volume_extension:volume_type_encryption:get"),
    Route("POST", "/types/{id}/encryption", encrypt, "admin", "volume_extension:volume_type_encryption:create"),
    Route("GET", "/types/{id}/extra_specs", show_specs, "anybody"),
    Route("POST", "/types/{id}/extra_specs", set_specs, "admin", "volume_extension:types_extra_specs:create"),
    Route("GET", "/scheduler-stats/get_pools", pools, "admin", "scheduler_extension:scheduler_stats:get_pools"),
    Route("GET", "/os-services", services, "admin", "volume_extension:services:index"),
    Route("GET", "/os-availability-zone", zones, "anybody"),
    Route("GET", "/resource_filters", resource_filters, "anybody", since=33),
    Route("GET", "/extensions", extensions, "anybody"),
)
