# SPDX-License-Identifier: Apache-2.0
"""What Glance says of the fields of its answers: python-glanceclient, and with it nova, asks for it before an image.

Without the sentences that Glance describes each with (``glance/api/v2/images.py:get_base_properties``).
"""

from typing import TYPE_CHECKING

from bfv.mockcloud.images import CONTAINER_FORMATS, DISK_FORMATS, VISIBILITIES
from bfv.mockcloud.wire import Json, Refusal, Request, Response, Route

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

ID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
STATES = ("queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated")


def _text(most: int | None = None, **more: object) -> Json:
    return {"type": "string", **({"maxLength": most} if most else {}), **more}


def _or_null(field: Json) -> Json:
    return {**field, "type": ["null", field["type"]]}


def _read_only(field: Json) -> Json:
    return {**field, "readOnly": True}


def _links(**links: str) -> list[Json]:
    return [{"rel": rel, "href": f"{{{field}}}"} for rel, field in links.items()]


NUMBER: Json = {"type": "integer"}
FLAG: Json = {"type": "boolean"}
HASHES: Json = {"checksum": _text(32, minLength=32), "os_hash_algo": _text(64), "os_hash_value": _text(128)}
LOCATION: Json = {
    "type": "object",
    "properties": {
        "url": _text(255),
        "metadata": {"type": "object"},
        "validation_data": {"type": "object", "writeOnly": True, "additionalProperties": False, "properties": HASHES,
                            "required": ["os_hash_algo", "os_hash_value"]},
    },
    "required": ["url", "metadata"],
}  # fmt: skip
IMAGE: Json = {
    "name": "image",
    "properties": {
        "id": _text(pattern=ID),
        "name": _or_null(_text(255)),
        "status": _read_only(_text(enum=[*STATES])),
        "visibility": _text(enum=[*VISIBILITIES]),
        **dict.fromkeys(("protected", "os_hidden"), FLAG),
        "checksum": _read_only(_or_null(_text(32))),
        "os_hash_algo": _read_only(_or_null(_text(64))),
        "os_hash_value": _read_only(_or_null(_text(128))),
        "owner": _or_null(_text(255)),
        **dict.fromkeys(("size", "virtual_size"), _read_only(_or_null(NUMBER))),
        "container_format": _or_null(_text(enum=[*CONTAINER_FORMATS])),
        "disk_format": _or_null(_text(enum=[*DISK_FORMATS])),
        "tags": {"type": "array", "items": _text(255)},
        **dict.fromkeys(("min_ram", "min_disk"), NUMBER),
        **dict.fromkeys(
            ("created_at", "updated_at", "direct_url", "self", "file", "stores", "schema"), _read_only(_text())
        ),
        "locations": {"type": "array", "items": LOCATION},
    },
    "additionalProperties": _text(),
    "links": _links(self="self", enclosure="file", describedby="schema"),
}
MEMBER: Json = {
    "name": "member",
    "properties": {
        "image_id": _text(pattern=ID),
        "status": _text(enum=["pending", "accepted", "rejected"]),
        **dict.fromkeys(("member_id", "created_at", "updated_at"), _text()),
        "schema": _read_only(_text()),
    },
}
SCHEMAS: Json = {
    "image": IMAGE,
    "images": {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": IMAGE},
            **dict.fromkeys(("first", "next", "schema"), _text()),
        },
        "links": _links(first="first", next="next", describedby="schema"),
    },
    "member": MEMBER,
    "members": {
        "name": "members",
        "properties": {"members": {"type": "array", "items": MEMBER}, "schema": _text()},
        "links": _links(describedby="schema"),
    },
}


def show(_cloud: "Cloud", request: Request) -> Response:
    """Show one schema."""
    if request.ids["name"] not in SCHEMAS:
        raise Refusal(404, "")
    return Response(200, SCHEMAS[request.ids["name"]])


ROUTES: tuple[Route, ...] = (Route("GET", "/v2/schemas/{name}", show, "anybody"),)
