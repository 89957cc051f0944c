# SPDX-License-Identifier: Apache-2.0
"""Calls of our own about images, which nova has not: how they stand in each cell, and having them warmed or deleted.

A caller is shown only images that Glance shows to it, and has warmed only its own, unless it is an admin.
"""

import dataclasses

from bfv.api import schemas
from bfv.api.call import Answer, Call, Json, Route


def index(call: Call) -> Answer:
    """Show how images stand in each cell."""
    names = [name for name in call.query.get("image", []) if name]
    lines = call.cloud.images.map(names, call.caller)
    return Answer({"image_sources": [_view(dataclasses.asdict(each)) for each in lines]})


def warm(call: Call) -> Answer:
    """Start to warm an image in some cells, or in all."""
    asked = call.body["warm"]
    done = call.cloud.images.warm(asked["image"], asked.get("cells"), call.caller, wait=False)
    return Answer({"warm": [dataclasses.asdict(each) for each in done]})


def _view(line: Json) -> Json:
    times = {name: line[name].isoformat() + "Z" if line[name] else None for name in ("made_at", "used_at")}
    return line | times


def delete(call: Call) -> Answer:
    """Delete an image, and name the snapshots that it named and that stay."""
    stay = call.cloud.images.delete(call.ids["image_id"], call.caller)
    return Answer({"image": {"id": call.ids["image_id"], "snapshots": [dataclasses.asdict(each) for each in stay]}})


def left(call: Call) -> Answer:
    """List the snapshots of the project whose images of servers are gone."""
    return Answer({"snapshots": [dataclasses.asdict(each) for each in call.cloud.images.left(call.caller)]})


ROUTES = (
    Route("GET", "/os-image-sources", index, "os-image-sources:index", query=schemas.images_query),
    Route("DELETE", "/bfv/images/{image_id}", delete, "bfv:images:delete", code=200),
    Route("GET", "/bfv/left-snapshots", left, "bfv:left-snapshots:index", query=schemas.no_query),
    Route("POST", "/os-image-sources", warm, "os-image-sources:warm", code=202, body=schemas.warm),
)
