# SPDX-License-Identifier: Apache-2.0
"""Glance v2 around an image: versions, members, tags, deactivation, and copies in other stores."""

import uuid
from typing import TYPE_CHECKING

from bfv.mockcloud import formats
from bfv.mockcloud.images import EXPLANATIONS, METHODS, forbidden, get, stamp
from bfv.mockcloud.state import Image, Member
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

VERSIONS = (
    "2.15",
    "2.13",
    "2.12",
    "2.11",
    "2.10",
    "2.9",
    "2.8",
    "2.17",
    "2.7",
    "2.6",
    "2.5",
    "2.4",
    "2.3",
    "2.2",
)
CURRENT = "2.17"
HTML = {"Content-Type": "text/html; charset=UTF-8"}


def versions(_cloud: "Cloud", request: Request) -> Response:
    """List the versions, without a token; the root says 300 (``glance/api/versions.py``)."""
    links = [{"rel": "self", "href": f"{request.base}/image/v2/"}]
    rows = [
        {"id": f"v{each}", "status": "CURRENT" if each == CURRENT else "SUPPORTED", "links": links}
        for each in (*VERSIONS, "2.1", "2.0")
    ]
    return Response(200 if request.path == "/versions" else 300, {"versions": rows})


def _member(image: Image, member: Member) -> Json:
    return {
        "member_id": member.id,
        "image_id": image.id,
        "status": member.status,
        "created_at": stamp(member.created_at),
        "updated_at": stamp(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def add_member(cloud: "Cloud", request: Request) -> Response:
    """Share an image with a project."""
    image = get(cloud, request, "add_member")
    if image.fields["visibility"] != "shared":
        raise Refusal(403, "Only shared images have members.")
    ident, now = request.json()["member"], cloud.second()
    if ident in image.members:
        raise Refusal(409, f"Member {ident} is duplicated for image {image.id}")
    image.members[ident] = made = Member(ident, now, now)
    return Response(200, _member(image, made))


def list_members(cloud: "Cloud", request: Request) -> Response:
    """List the projects that an image is shared with; each of them sees itself alone."""
    image = get(cloud, request, missing=f"Image {request.ids['id']} not found.")
    own = request.who.admin or image.owner == request.who.project_id
    shown = [each for each in image.members.values() if own or each.id == request.who.project_id]
    return Response(200, {"members": [_member(image, each) for each in shown], "schema": "/v2/schemas/members"})


def _found(cloud: "Cloud", request: Request, policy: str = "") -> tuple[Image, Member]:
    image = get(cloud, request, policy)
    member = image.members.get(request.ids["member"])
    if member is None:
        raise Refusal(404, f"{request.ids['member']} not found in the member list of the image {image.id}.")
    return image, member


def show_member(cloud: "Cloud", request: Request) -> Response:
    """Show a member."""
    return Response(200, _member(*_found(cloud, request)))


def update_member(cloud: "Cloud", request: Request) -> Response:
    """Accept or reject: a thing of the member alone."""
    image, member = _found(cloud, request)
    if member.id != request.who.project_id and not request.who.admin:
        raise forbidden("modify_member")
    status = request.json().get("status")
    if status not in ("pending", "accepted", "rejected"):
        text = 'Incorrect request: Status must be "pending", "accepted" or "rejected".'
        raise Refusal(400, text)
    member.status, member.updated_at = status, cloud.second()
    return Response(200, _member(image, member))


def remove_member(cloud: "Cloud", request: Request) -> Response:
    """Share no more."""
    image, member = _found(cloud, request, "delete_member")
    del image.members[member.id]
    return Response(204)


def add_tag(cloud: "Cloud", request: Request) -> Response:
    """Add a tag."""
    image = get(cloud, request, "modify_image")
    if request.ids["tag"] not in image.tags:
        image.tags.append(request.ids["tag"])
    image.updated_at = cloud.second()
    return Response(204, None, dict(HTML))


def remove_tag(cloud: "Cloud", request: Request) -> Response:
    """Remove a tag."""
    image = get(cloud, request, "modify_image")
    if request.ids["tag"] not in image.tags:
        raise Refusal(404, "The resource could not be found.")
    image.tags.remove(request.ids["tag"])
    image.updated_at = cloud.second()
    return Response(204, None, dict(HTML))


def _turn(cloud: "Cloud", request: Request, policy: str, old: str, new: str) -> Response:
    image = get(cloud, request, policy)
    if image.fields["status"] not in (old, new):
        text = f"Image status transition from {image.fields['status']} to {new} is not allowed"
        raise Refusal(403, text)
    image.fields["status"] = new
    image.updated_at = cloud.second()
    return Response(204, None, dict(HTML))


def deactivate(cloud: "Cloud", request: Request) -> Response:
    """Keep an image from being used; its owner may (``glance/policies/image.py``), and twice is fine."""
    return _turn(cloud, request, "deactivate", "active", "deactivated")


def reactivate(cloud: "Cloud", request: Request) -> Response:
    """Let an image be used again."""
    return _turn(cloud, request, "reactivate", "deactivated", "active")


def stores(cloud: "Cloud", _request: Request) -> Response:
    """List the stores, the default marked."""
    rows: list[Json] = [{"id": each, "description": f"images pool of {each}'s Ceph"} for each in cloud.stores]
    rows[0]["default"] = "true"
    return Response(200, {"stores": rows})


def stores_detail(cloud: "Cloud", request: Request) -> Response:
    """List the stores with where they are (``glance/api/v2/discovery.py:get_stores_detail``): an admin's right."""
    if not request.who.admin:
        raise forbidden("stores_info_detail")
    rows: list[Json] = [
        {
            "id": each,
            "description": f"images pool of {each}'s Ceph",
            "type": "rbd",
            "properties": {
                "chunk_size": 4194304,
                "pool": "images",
                "thin_provisioning": True,
                "fsid": cloud.cells[each].cluster.fsid,
            },
            "weight": 0,
        }
        for each in cloud.stores
    ]
    rows[0]["default"] = "true"
    return Response(200, {"stores": rows})


def methods(_cloud: "Cloud", _request: Request) -> Response:
    """List the ways to import."""
    body = {"description": "Import methods available.", "type": "array", "value": list(METHODS)}
    return Response(200, {"import-methods": body})


def copy(cloud: "Cloud", request: Request) -> Response:
    """Copy an image to other stores (method copy-image): an admin's right, and itself a change of the image."""
    image, body = get(cloud, request), request.json()
    if not request.who.admin:
        raise forbidden("copy_image")
    if image.properties.get(TASK):
        raise Refusal(409, EXPLANATIONS[409], more="Image has active task")
    wanted = cloud.stores if body.get("all_stores") else body.get("stores", ())
    for store in wanted:
        if store not in cloud.stores:
            raise Refusal(409, f"Store for image {image.id} not found: Store {store} not found")
        if store in image.stores and not body.get("all_stores"):
            raise Refusal(400, f"Image is already present at store '{store}'")
    # The task's id is the lock of the image (``glance/api/v2/images.py:import_image``).
    image.properties |= {TASK: str(uuid.uuid4()), IMPORTING: ",".join(wanted), FAILED: ""}
    image.updated_at = cloud.second()

    def act() -> None:
        if image.id not in cloud.images:
            return
        for store in wanted:
            if store not in image.stores:
                formats.store(cloud.cells[store], image.id, formats.read(cloud.cells[image.stores[0]], image.id))
                image.stores.append(store)
        del image.properties[TASK]
        image.properties[IMPORTING] = ""
        image.updated_at = cloud.second()

    cloud.pace.later("copying", image.id, act)
    return Response(202, None, dict(HTML))


TASK, IMPORTING, FAILED = "os_glance_import_task", "os_glance_importing_to_stores", "os_glance_failed_import"
IMAGE = "/v2/images/{id}"
ROUTES: tuple[Route, ...] = (
    Route("GET", "", versions, ""),
    Route("GET", "/", versions, ""),
    Route("GET", "/versions", versions, ""),
    Route("GET", "/v2/info/stores", stores),
    Route("GET", "/v2/info/stores/detail", stores_detail),
    Route("GET", "/v2/info/import", methods),
    Route("GET", IMAGE + "/members", list_members),
    Route("POST", IMAGE + "/members", add_member),
    Route("GET", IMAGE + "/members/{member}", show_member),
    Route("PUT", IMAGE + "/members/{member}", update_member),
    Route("DELETE", IMAGE + "/members/{member}", remove_member),
    Route("PUT", IMAGE + "/tags/{tag}", add_tag),
    Route("DELETE", IMAGE + "/tags/{tag}", remove_tag),
    Route("POST", IMAGE + "/actions/deactivate", deactivate),
    Route("POST", IMAGE + "/actions/reactivate", reactivate),
    Route("POST", IMAGE + "/import", copy),
)
