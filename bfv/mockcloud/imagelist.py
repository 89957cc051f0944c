# SPDX-License-Identifier: Apache-2.0
"""Glance's list: filters, order and pages (``glance/api/v2/images.py:RequestDeserializer.index``)."""

from typing import TYPE_CHECKING, Any

from bfv.mockcloud.images import VISIBILITIES, view, visible
from bfv.mockcloud.state import Image
from bfv.mockcloud.wire import Refusal, Request

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

SORT_KEYS = ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at")
PAGING = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir"})
LISTS = frozenset({"id", "name", "status", "container_format", "disk_format"})


def find(cloud: "Cloud", request: Request) -> list[Image]:
    """Return the images that a list shows, from the marker on."""
    args = request.args
    if "limit" in args and not args["limit"].isdigit():
        raise Refusal(
            400,
            "limit param must be positive" if args["limit"][:1] == "-" else "limit param must be an integer",
        )
    if args.get("visibility", VISIBILITIES[0]) not in (*VISIBILITIES, "all"):
        raise Refusal(400, f"Invalid visibility value: {args['visibility']}")
    key, reverse = _order(args)
    rows = [image for image in cloud.images.values() if _wanted(image, request)]
    rows.sort(key=lambda image: (view(image)[key] is not None, view(image)[key], image.id), reverse=reverse)
    if "marker" not in args:
        return rows
    ids = [image.id for image in rows]
    if args["marker"] not in ids:
        raise Refusal(400, f"No image found with ID {args['marker']}")
    return rows[ids.index(args["marker"]) + 1 :]


def _order(args: dict[str, str]) -> tuple[str, bool]:
    key, _, direction = args.get("sort", "").partition(":")
    key = key.partition(",")[0] or args.get("sort_key", "created_at")
    if key not in SORT_KEYS:
        text = f"Invalid sort key: {key}. It must be one of the following: {', '.join(SORT_KEYS)}."
        raise Refusal(400, text)
    return key, (direction.partition(",")[0] or args.get("sort_dir", "desc")) != "asc"


def _wanted(image: Image, request: Request) -> bool:
    args, who = request.args, request.who
    if not visible(image, request) or not _offered(image, args, who.project_id, who.admin):
        return False
    shown = view(image)
    for name, value in request.query:
        if name in PAGING or name in ("visibility", "member_status"):
            continue
        if not _fits(shown, name, value):
            return False
    return True


def _offered(image: Image, args: dict[str, str], project_id: str, admin: bool) -> bool:
    """Leave out what is shared but not accepted, of a community, or hidden, unless it is asked for."""
    kind = image.fields["visibility"]
    wanted = args.get("visibility")
    mine = image.owner == project_id
    if wanted not in (None, "all", kind):
        return False
    if str(image.fields["os_hidden"]).lower() != args.get("os_hidden", "false").lower():
        return False
    if mine or admin or kind == "public":
        return True
    if kind == "community":
        return wanted in ("community", "all")
    status = args.get("member_status", "accepted")
    return status == "all" or image.members[project_id].status == status


def _fits(shown: dict[str, Any], name: str, value: str) -> bool:
    if name == "tag":
        return value in shown["tags"]
    if name == "os_hidden":
        return True
    if name in ("size_min", "size_max"):
        size = shown["size"] or 0
        return size >= int(value) if name == "size_min" else size <= int(value)
    if name in LISTS and value.startswith("in:"):
        return str(shown[name]) in [part.strip('"') for part in value[3:].split(",")]
    if name in ("protected",):
        return str(shown[name]).lower() == value.lower()
    return str(shown.get(name)) == value
