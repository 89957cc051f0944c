# SPDX-License-Identifier: Apache-2.0
"""The API as an OpenAPI 3.1 document, made of the data that serves it: routes, schemas, policies, microversions."""

import re
from collections.abc import Sequence
from typing import Any

from bfv.api import versions
from bfv.api.call import Json, Route
from bfv.api.policies import API

_FAULT = {
    "description": "What went wrong: one key, which names the kind of fault.",
    "content": {"application/json": {"schema": {"type": "object", "minProperties": 1}}},
}
_COMPONENTS = {
    "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
    "parameters": {
        "microversion": {
            "name": versions.HEADER,
            "in": "header",
            "description": f"`compute 2.{versions.MIN}` to `compute 2.{versions.MAX}`; without it 2.{versions.MIN}.",
            "schema": {"type": "string", "pattern": r"^compute 2\.[1-9][0-9]{0,2}$"},
        }
    },
    "responses": {"fault": _FAULT},
}


def document(routes: Sequence[Route], version: int) -> Json:
    """Return the document of a microversion: the calls that it has, with what they take in it."""
    paths: dict[str, dict[str, Json]] = {}
    grouped: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        if route.serves(version):
            grouped.setdefault((route.path, route.method.lower()), []).append(route)
    for (path, method), same in sorted(grouped.items(), key=lambda item: item[0]):
        paths.setdefault(path, {})[method] = _operation(same, version)
    return {
        "openapi": "3.1.0",
        "info": {"title": "bfv: the Compute API", "version": f"2.{version}"},
        "servers": [{"url": "/v2.1"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": _COMPONENTS,
    }


def _operation(routes: Sequence[Route], version: int) -> Json:
    """Return a call; routes that differ by the action in their body are one call to OpenAPI."""
    first = routes[0]
    found: Json = {
        "operationId": re.sub(r"\W+", "_", f"{first.method.lower()}{first.path}"),
        "summary": " / ".join(_summary(route) for route in routes),
        "tags": [first.path.split("/")[1]],
        "parameters": _parameters(first, version),
        "responses": {str(route.code): {"description": "Done, or accepted."} for route in routes},
        "x-openstack-policy": [f"{API}:{route.policy}" for route in routes],
    }
    found["responses"]["default"] = {"$ref": "#/components/responses/fault"}
    bodies = [route.body(version) for route in routes if route.body]
    if bodies:
        schema = bodies[0] if len(bodies) == 1 else {"oneOf": bodies}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def _summary(route: Route) -> str:
    return (route.handler.__doc__ or "").partition("\n")[0].rstrip(".")


def _parameters(route: Route, version: int) -> list[Json]:
    text = {"type": "string", "minLength": 1}
    found: list[Json] = [{"$ref": "#/components/parameters/microversion"}]
    found += [
        {"name": name, "in": "path", "required": True, "schema": text} for name in re.findall(r"{(\w+)}", route.path)
    ]
    properties: Any = route.query(version).get("properties", {}) if route.query else {}
    found += [{"name": name, "in": "query", "schema": schema} for name, schema in sorted(properties.items())]
    return found
