# SPDX-License-Identifier: Apache-2.0
"""Glance v2: images, their bytes in the cells' Ceph, and who sees them."""

import html
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bfv.mockcloud import formats
from bfv.mockcloud.state import Image
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

UUID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
DISK_FORMATS = (None, "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS = (None, "ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
VISIBILITIES = ("community", "public", "private", "shared")
# glance/api/v2/images.py: what the body of a POST may set, and what it is without.
FIELDS: Json = {
    "name": None,
    "disk_format": None,
    "container_format": None,
    "visibility": "shared",
    "size": None,
    "virtual_size": None,
    "status": "queued",
    "checksum": None,
    "protected": False,
    "min_ram": 0,
    "min_disk": 0,
    "owner": None,
    "os_hidden": False,
    "os_hash_algo": None,
    "os_hash_value": None,
}
READ_ONLY = frozenset(
    (
        *("status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at"),
        *("direct_url", "self", "file", "schema", "stores"),
    )
)
METHODS = ("glance-direct", "web-download", "copy-image")
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    415: "Unsupported Media Type",
    416: "Request Range Not Satisfiable",
}
# webob/exc.py: the sentence before a detail.
EXPLANATIONS = {
    409: "There was a conflict when trying to complete your request.",
    416: "The Range requested is not available.",
}
UNAUTHORIZED = (
    "This server could not verify that you are authorized to access the document you requested. Either you supplied "
    "the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials "
    "required."
)


def page(status: int, message: str, more: str = "") -> str:
    """Return an error as Glance's pages have it (``webob/exc.py``)."""
    title = f"{status} {TITLES[status]}"
    text = html.escape(message) + "<br /><br />\n" + html.escape(more)
    body = f" <body>\n  <h1>{title}</h1>\n  {text}\n\n\n </body>\n"
    return f"<html>\n <head>\n  <title>{title}</title>\n </head>\n{body}</html>"


def failed(_cloud: "Cloud", request: Request, refusal: Refusal) -> Response:
    """Return Glance's body of a refusal."""
    headers = {"Content-Type": "text/html; charset=UTF-8", **refusal.headers}
    message, more = refusal.message or "The resource could not be found.", refusal.more
    if refusal.status == 401:
        message = UNAUTHORIZED
        headers["WWW-Authenticate"] = f'Keystone uri="{request.base}/identity"'
    return Response(refusal.status, page(refusal.status, message, more), headers)


def forbidden(policy: str) -> Refusal:
    """Return Glance's words for a rule that says no."""
    return Refusal(403, f"You are not authorized to complete {policy} action.")


def stamp(moment: Any) -> str:
    """Return a time as Glance writes it."""
    return str(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))


def view(image: Image) -> Json:
    """Return an image as JSON (``glance/api/v2/images.py:ResponseSerializer``)."""
    path = f"/v2/images/{image.id}"
    more: Json = {
        "id": image.id,
        "created_at": stamp(image.created_at),
        "updated_at": stamp(image.updated_at),
        "tags": image.tags,
        "self": path,
        "file": f"{path}/file",
        "schema": "/v2/schemas/image",
    }
    if image.stores and image.fields["status"] != "deactivated":
        more["stores"] = ",".join(image.stores)
    return {**image.properties, **image.fields, **more}


def visible(image: Image, request: Request) -> bool:
    """Say whether the caller may see an image (``glance/db/simple/api.py:is_image_visible``)."""
    who = request.who
    return (
        who.admin
        or image.fields["visibility"] in ("public", "community")
        or image.owner == who.project_id
        or (image.fields["visibility"] == "shared" and who.project_id in image.members)
    )


def get(cloud: "Cloud", request: Request, policy: str = "", missing: str = "") -> Image:
    """Return the image of a path; with ``policy`` only for who may change it."""
    ident = request.ids["id"]
    image = cloud.images.get(ident)
    if image is None or not visible(image, request):
        raise Refusal(404, missing or f"No image found with ID {ident}")
    if (
        policy
        and not request.who.admin
        and (image.owner != request.who.project_id or "member" not in request.who.roles)
    ):
        raise forbidden(policy)
    return image


def create(cloud: "Cloud", request: Request) -> Response:
    """Make an image without bytes."""
    body, who = request.json(), request.who
    if not who.roles & {"member", "admin"}:
        raise forbidden("add_image")
    for name in READ_ONLY & set(body):
        raise Refusal(403, f"Attribute '{name}' is read-only.")
    check(body)
    if body.get("visibility") == "public" and not who.admin:
        raise forbidden("publicize_image")
    owner = body.get("owner") or who.project_id
    if owner != who.project_id and not who.admin:
        text = f"You are not permitted to create images owned by '{owner}'"
        raise Refusal(403, "Access was denied to this resource.", more=text)
    ident = body.get("id") or str(uuid.uuid4())
    if ident in cloud.images:
        raise Refusal(409, f"Image ID {ident} already exists!")
    now = cloud.second()
    fields = {name: body.get(name, default) for name, default in FIELDS.items()} | {"owner": owner}
    own = set(FIELDS) | {"id", "tags"}
    properties = {name: value for name, value in body.items() if name not in own}
    cloud.images[ident] = image = Image(ident, owner, now, now, fields, properties, list(body.get("tags", ())))
    headers = {
        "Location": f"{request.base}/image/v2/images/{ident}",
        "OpenStack-image-import-methods": ",".join(METHODS),
        "OpenStack-image-store-ids": ",".join(cloud.stores),
    }
    return Response(201, view(image), headers)


def check(body: Json) -> None:
    """Refuse what Glance's schema refuses (``glance/api/v2/images.py:get_base_properties``)."""
    for name, allowed in (
        ("disk_format", DISK_FORMATS),
        ("container_format", CONTAINER_FORMATS),
        ("visibility", VISIBILITIES),
    ):
        if name in body and body[name] not in allowed:
            raise _mismatch(f"{body[name]!r} is not one of {list(allowed)!r}")
    if "id" in body and not UUID.fullmatch(str(body["id"])):
        raise _mismatch(f"{body['id']!r} does not match the pattern of an id")
    if not isinstance(body.get("name"), str | None):
        raise _mismatch(f"{body['name']!r} is not of type 'null', 'string'")
    for name, value in body.items():
        if name not in FIELDS and name not in ("id", "tags") and not isinstance(value, str):
            raise _mismatch(f"{value!r} is not of type 'string'")


def _mismatch(text: str) -> Refusal:
    return Refusal(400, f"Provided object does not match schema 'image': {text}")


def show(cloud: "Cloud", request: Request) -> Response:
    """Show an image."""
    return Response(200, view(get(cloud, request)))


def delete(cloud: "Cloud", request: Request) -> Response:
    """Delete an image; bytes that clones hang on go to the trash (``glance_store/_drivers/rbd.py``)."""
    ident = request.ids["id"]
    image = get(cloud, request, "delete_image", f"Failed to find image {ident} to delete")
    if image.fields["protected"]:
        raise Refusal(403, f"Image {ident} is protected and cannot be deleted.")
    for store in image.stores:
        formats.remove(cloud.cells[store], ident)
    del cloud.images[ident]
    return nothing()


def nothing() -> Response:
    """Return an empty answer, HTML as all of Glance's."""
    return Response(204, None, {"Content-Type": "text/html; charset=UTF-8"})


def update(cloud: "Cloud", request: Request) -> Response:
    """Change an image by a JSON patch."""
    image = get(cloud, request, "modify_image")
    for step in request.json():
        name = step["path"].strip("/")
        if name in READ_ONLY or name == "id":
            raise Refusal(403, f"Attribute '{name}' is read-only.")
        if name in ("disk_format", "container_format") and image.fields["status"] != "queued":
            raise Refusal(403, f"Attribute {name} can be only replaced for a queued image.")
        _patch(image, step["op"], name, step.get("value"), request)
    image.updated_at = cloud.second()
    return Response(200, view(image))


def _patch(image: Image, operation: str, name: str, value: Any, request: Request) -> None:
    if name in FIELDS or name == "tags":
        check({name: value} if name != "tags" else {})
        if (name, value) == ("visibility", "public") and not request.who.admin:
            raise forbidden("publicize_image")
        if name == "tags":
            image.tags = list(value)
        else:
            image.fields[name] = value
        if name == "owner":
            image.owner = value
    elif operation == "remove":
        if image.properties.pop(name, None) is None:
            raise Refusal(409, EXPLANATIONS[409], more=f"Property {name} does not exist.")
    elif operation == "replace" and name not in image.properties:
        raise Refusal(409, EXPLANATIONS[409], more=f"Property {name} does not exist.")
    else:
        image.properties[name] = value


def listed(cloud: "Cloud", request: Request) -> Response:
    """List images; see ``imagelist``."""
    from bfv.mockcloud import imagelist

    args = [(name, value) for name, value in request.query if name != "marker"]
    found = imagelist.find(cloud, request)
    limit = int(request.args.get("limit", 25))
    rows = found[:limit]
    first = "/v2/images" + (f"?{urlencode(args)}" if args else "")
    body: Json = {"images": [view(each) for each in rows], "first": first, "schema": "/v2/schemas/images"}
    if rows and len(rows) == limit:
        body["next"] = f"/v2/images?{urlencode([*args, ('marker', rows[-1].id)])}"
    return Response(200, body)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/v2/images", listed, "anybody"),
    Route("POST", "/v2/images", create, "anybody"),
    Route("GET", "/v2/images/{id}", show, "anybody"),
    Route("PATCH", "/v2/images/{id}", update, "anybody"),
    Route("DELETE", "/v2/images/{id}", delete, "anybody"),
)
