# SPDX-License-Identifier: Apache-2.0
"""What a test in any language reaches under /_mock: faults, pace, clock, recorder, cells, bytes and reset."""

from typing import TYPE_CHECKING, Any

from bfv.mockcloud import remote
from bfv.mockcloud.rbd import Image
from bfv.mockcloud.state import STORAGE, Cell
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def failed(_cloud: "Cloud", _request: Request, refusal: Refusal) -> Response:
    """Return a refusal as JSON."""
    return Response(
        refusal.status, {"error": refusal.message or "there is nothing here; GET /_mock tells what there is"}
    )


def describe(cloud: "Cloud", base: str) -> Json:
    """Return where the cloud is and who may do what in it."""
    auth = {
        "auth_url": f"{base}/identity/v3",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    people = {"admin": ("admin", "labadmin"), "demo": ("demo", "labdemo"), "other": ("other", "labdemo")}
    people["bfv"] = ("service", "labsvc")
    return {
        "mocked": True,
        "auth_url": auth["auth_url"],
        "image_url": f"{base}/image",
        "volume_url": f"{base}/volume/v3",
        "network_url": f"{base}/network",
        "compute_url": f"{base}/compute/v2.1",
        "placement_url": f"{base}/placement",
        "control_url": f"{base}/_mock",
        "region": "RegionOne",
        "domains": {each.name.lower(): each.id for each in cloud.people.domains.values()},
        "projects": {each.name: each.id for each in cloud.people.projects.values()},
        "backends": {cell.name: cell.backend for cell in cloud.cells.values()},
        "fsids": {cell.name: cell.cluster.fsid for cell in cloud.cells.values()},
        "internal_project": cloud.internal_project,
        "clouds": {
            f"mock-{user}": {
                "auth": {**auth, "username": user, "password": password, "project_name": project},
                "region_name": "RegionOne",
                "identity_api_version": 3,
                "volume_api_version": 3,
            }
            for user, (project, password) in people.items()
        },
    }


def show(cloud: "Cloud", request: Request) -> Response:
    """Tell where everything is: the server is ready once this answers."""
    return Response(200, describe(cloud, request.base))


def reset(cloud: "Cloud", _request: Request) -> Response:
    """Make everything new."""
    cloud.reset()
    return Response(204)


def calls(cloud: "Cloud", request: Request) -> Response:
    """Return the calls that fit ``method``, ``path`` and ``service``, and how many they are; DELETE forgets all."""
    if request.method == "DELETE":
        cloud.recorder.clear()
        return Response(204)
    wanted = {name: value for name, value in request.args.items() if name in ("method", "path", "service")}
    found = cloud.recorder.view(**wanted)
    return Response(200, {"calls": found, "count": len(found)})


def faults(cloud: "Cloud", request: Request) -> Response:
    """Return the rules; POST adds one or a list of them, DELETE forgets all."""
    if request.method == "DELETE":
        cloud.faults.clear()
        return Response(204)
    if request.method == "POST":
        given = request.json()
        for rule in given if isinstance(given, list) else [given]:
            try:
                cloud.faults.add(rule.pop("kind", ""), **rule)
            except ValueError as error:
                raise Refusal(400, str(error)) from error
    return Response(200, {"faults": cloud.faults.view()})


def pace(cloud: "Cloud", request: Request) -> Response:
    """Return the rules and what waits; PUT replaces the rules."""
    if request.method == "PUT":
        cloud.pace.set(request.json())
    rules = {name: vars(rule) for name, rule in cloud.pace.rules.items()}
    jobs = [{"what": job.what, "of": job.of, "due": job.due, "looks": job.looks} for job in cloud.pace.jobs]
    return Response(200, {"rules": rules, "jobs": jobs})


def clock(cloud: "Cloud", request: Request) -> Response:
    """Return the time; POST {"hold": true}, {"release": true} or {"advance": seconds} sets the clock."""
    given = request.json() if request.method == "POST" else {}
    if given.get("hold"):
        cloud.clock.hold()
    if given.get("release"):
        cloud.clock.release()
    if "advance" in given:
        cloud.clock.advance(float(given["advance"]))
    cloud.pace.run()
    return Response(200, {"now": cloud.clock.now().isoformat(), "held": cloud.clock.held})


def _cell(cloud: "Cloud", request: Request) -> Cell:
    found = cloud.cells.get(request.ids["cell"])
    if found is None:
        raise Refusal(404, f"there is no cell {request.ids['cell']}")
    return found


def cell(cloud: "Cloud", request: Request) -> Response:
    """Return a cell's storage; PUT changes it.

    {"storage": "up", "hangs" or "down"}, {"full": true}, {"health": "HEALTH_ERR"}; {"cached": false} when Cinder's
    image-volume cache is off.
    """
    found = _cell(cloud, request)
    if request.method == "PUT":
        given = request.json()
        if given.get("storage", "up") not in STORAGE:
            raise Refusal(400, f"a storage is {', '.join(STORAGE)}")
        found.storage = given.get("storage", found.storage)
        found.full = bool(given.get("full", found.full))
        found.cached = bool(given.get("cached", found.cached))
        found.health = given.get("health", found.health)
        cloud.pace.run()
    view = {"name": found.name, "storage": found.storage, "full": found.full, "cached": found.cached}
    return Response(200, {**view, "health": found.health, "backend": found.backend, "fsid": found.cluster.fsid})


def _image_view(image: Image) -> Json:
    return {
        "name": image.name,
        "size": image.size,
        "used": image.used,
        "parent": image.parent_name(),
        "overlap": image.overlap,
        "snapshots": [{"name": each.name, "trashed": each.trashed} for each in image.snapshots],
    }


def pool(cloud: "Cloud", request: Request) -> Response:
    """List a pool's images and its trash."""
    found = _cell(cloud, request).cluster.pools.get(request.ids["pool"])
    if found is None:
        raise Refusal(404, f"there is no pool {request.ids['pool']}")
    body: Json = {"images": [_image_view(each) for each in found.images.values()]}
    return Response(200, {**body, "trash": [_image_view(each) for each in found.trash]})


def _image(cloud: "Cloud", request: Request) -> Image:
    found = _cell(cloud, request).cluster.pools.get(request.ids["pool"])
    image = found.images.get(request.ids["image"]) if found else None
    if image is None:
        raise Refusal(404, f"there is no image {request.ids['image']} in pool {request.ids['pool']}")
    return image


def image(cloud: "Cloud", request: Request) -> Response:
    """Show an image of a pool."""
    return Response(200, _image_view(_image(cloud, request)))


def data(cloud: "Cloud", request: Request) -> Response:
    """Return an image's bytes from ``offset``, ``length`` of them; PUT writes there, as a guest would."""
    found, args = _image(cloud, request), request.args
    offset = int(args.get("offset", 0))
    if request.method == "PUT":
        found.write(offset, request.body)
        return Response(204)
    kind = {"Content-Type": "application/octet-stream"}
    return Response(200, found.read(offset, int(args.get("length", found.size - offset))), kind)


def nova_attachments(cloud: "Cloud", request: Request) -> Response:
    """Tell what Nova would say of a volume: PUT or DELETE {server, volume, attachment}."""
    given: dict[str, Any] = request.json()
    key = (given["server"], given["volume"])
    if request.method == "PUT":
        cloud.nova.attachments[key] = given["attachment"]
    else:
        cloud.nova.attachments.pop(key, None)
    return Response(200, {})


def nova_events(cloud: "Cloud", request: Request) -> Response:
    """Return the events that Cinder sent to Nova; DELETE forgets them."""
    found = list(cloud.nova.events)
    if request.method == "DELETE":
        cloud.nova.events.clear()
    return Response(200, found)


def nova_fault(cloud: "Cloud", request: Request) -> Response:
    """Make Nova fail with a status, 0 ends that."""
    cloud.nova.fault = request.json()["status"]
    return Response(200, {})


def compute(cloud: "Cloud", request: Request) -> Response:
    """Have the catalog name another compute service: PUT {"url": "http://..."}, or null for none."""
    cloud.compute_url = request.json()["url"]
    return Response(200, {"url": cloud.compute_url})


RBD = "/rbd/{cell}/{pool}"
ROUTES: tuple[Route, ...] = (
    Route("GET", "", show, ""),
    Route("GET", "/", show, ""),
    Route("POST", "/reset", reset, ""),
    Route("GET", "/calls", calls, ""),
    Route("DELETE", "/calls", calls, ""),
    Route("GET", "/faults", faults, ""),
    Route("POST", "/faults", faults, ""),
    Route("DELETE", "/faults", faults, ""),
    Route("GET", "/pace", pace, ""),
    Route("PUT", "/pace", pace, ""),
    Route("GET", "/clock", clock, ""),
    Route("POST", "/clock", clock, ""),
    Route("GET", "/cells/{cell}", cell, ""),
    Route("PUT", "/cells/{cell}", cell, ""),
    Route("GET", RBD, pool, ""),
    Route("GET", RBD + "/{image}", image, ""),
    Route("GET", RBD + "/{image}/data", data, ""),
    Route("PUT", RBD + "/{image}/data", data, ""),
    Route("GET", "/ceph/{cell}", remote.call, ""),
    Route("POST", "/ceph/{cell}", remote.call, ""),
    Route("PUT", "/compute", compute, ""),
    Route("PUT", "/compute/attachments", nova_attachments, ""),
    Route("DELETE", "/compute/attachments", nova_attachments, ""),
    Route("GET", "/compute/events", nova_events, ""),
    Route("DELETE", "/compute/events", nova_events, ""),
    Route("PUT", "/compute/fault", nova_fault, ""),
)
