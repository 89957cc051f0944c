# SPDX-License-Identifier: Apache-2.0
"""Glance v2: an image's bytes, in and out, and where they are."""

import hashlib
from typing import TYPE_CHECKING

from bfv.mockcloud import formats
from bfv.mockcloud.images import forbidden, get, nothing
from bfv.mockcloud.state import Image
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


def upload(cloud: "Cloud", request: Request) -> Response:
    """Take an image's bytes, look at their format and keep them in the default store."""
    image = get(cloud, request, "upload_image")
    kind = request.headers.get("content-type")
    if kind != "application/octet-stream":
        text = "The request media type ${CONTENT_TYPE} is not supported by this server.\n"
        raise Refusal(415, text, more=f"Invalid content type {kind}")
    for name in ("disk_format", "container_format"):
        if image.fields[name] is None:
            raise Refusal(400, f"Property {name} must be set prior to saving data.")
    if image.fields["status"] != "queued":
        raise Refusal(409, f"Image status transition from {image.fields['status']} to saving is not allowed")
    data = request.body
    image.fields |= {
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha256",
        "os_hash_value": hashlib.sha256(data).hexdigest(),
    }
    image.stores = [cloud.stores[0]]
    image.updated_at = cloud.second()
    if trouble := formats.trouble(image.fields["disk_format"], data):
        text = f"The request media type {kind} is not supported by this server.\n"
        raise Refusal(415, text, more=trouble)
    virtual = formats.virtual_size(image.fields["disk_format"], data)
    image.fields |= {"size": len(data), "virtual_size": virtual, "status": "active"}
    formats.store(cloud.cells[cloud.stores[0]], image.id, data)
    return nothing()


def download(cloud: "Cloud", request: Request) -> Response:
    """Give an image's bytes."""
    image = get(cloud, request)
    if image.fields["status"] == "deactivated" and not request.who.admin:
        raise Refusal(403, "The requested image has been deactivated. Image data download is forbidden.")
    if image.fields["status"] == "queued":
        return Response(204)
    headers = {"Content-Type": "application/octet-stream", "Content-MD5": image.fields["checksum"]}
    return Response(200, formats.read(cloud.cells[image.stores[0]], image.id), headers)


def locations(cloud: "Cloud", request: Request) -> Response:
    """Tell services where the bytes are (2.17)."""
    if not request.who.roles & {"admin", "service"}:
        get(cloud, request)
        raise forbidden("fetch_image_location")
    image = get(cloud, request)
    known: list[Json] = [] if image.fields["status"] == "queued" else [where(cloud, image, s) for s in image.stores]
    return Response(200, known)


def where(cloud: "Cloud", image: Image, store: str) -> Json:
    """Return one location (``glance_store/_drivers/rbd.py:StoreLocation``)."""
    return {
        "url": f"rbd://{cloud.cells[store].cluster.fsid}/images/{image.id}/snap",
        "metadata": {"store": store},
    }


ROUTES: tuple[Route, ...] = (
    Route("PUT", "/v2/images/{id}/file", upload, "anybody"),
    Route("GET", "/v2/images/{id}/file", download, "anybody"),
    Route("GET", "/v2/images/{id}/locations", locations, "anybody"),
)
