# SPDX-License-Identifier: Apache-2.0
"""What the schemas of bodies and queries are put together from (``nova/api/validation/parameter_types.py``)."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]

# The first microversion in which nova refuses what a query does not know, for most calls; else after all we serve.
STRICT, NEVER = 75, 1000
LARGEST = 0x7FFFFFFF
HOST = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-._]*$"}
PROJECT = {"type": "string", "minLength": 1, "maxLength": 255}
KEY = r"^[a-zA-Z0-9-_:. ]{1,255}$"
NUMBER = {"type": "string", "pattern": "^[0-9]{1,9}$"}


def object_of(required: tuple[str, ...] = (), /, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these properties and no other."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def integer(least: int, most: int = LARGEST) -> Json:
    """Return the schema of a number, which clients also write as a text."""
    return {"type": ["integer", "string"], "pattern": "^-?[0-9]{1,10}$", "minimum": least, "maximum": most}


def query_of(strict: int = STRICT, /, **names: Any) -> Callable[[int], Json]:
    """Return a query's schema: what it does not know is ignored, as in nova, until the microversion ``strict``."""

    def schema(version: int) -> Json:
        properties = {name: {"type": "array", "items": value} for name, value in names.items()}
        return {"type": "object", "properties": properties, "additionalProperties": version < strict}

    return schema


def action(name: str, /, **properties: Any) -> Callable[[int], Json]:
    """Return the schema of an action's body whose properties are all required, the same in all microversions."""
    schema = object_of((name,), **{name: object_of(tuple(properties), **properties)})
    return lambda _version: schema


def is_uuid(text: str) -> bool:
    """Return whether a part of a path is a UUID."""
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False
