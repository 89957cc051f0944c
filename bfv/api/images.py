# SPDX-License-Identifier: Apache-2.0
"""Calls of our own about images, which nova has not: how they stand in each cell, and having them warmed.

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


ROUTES = (
    Route("GET", "/os-image-sources", index, "os-image-sources:index", query=schemas.images_query),
    Route("POST", "/os-image-sources", warm, "os-image-sources:warm", code=202, body=schemas.warm),
)
