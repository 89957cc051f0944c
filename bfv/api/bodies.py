# SPDX-License-Identifier: Apache-2.0
"""Bodies and queries as they come in: read within bounds, then checked by a schema that speaks nova's words."""

import datetime as dt
import functools
import uuid
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

import orjson
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from bfv.api.faults import Fault

Schema = Callable[[int], Mapping[str, Any]]
# nova's osapi_max_request_body_size; a body of ours is never deep.
MAX_BODY, MAX_DEPTH, MAX_WORDS = 114_688, 16, 1024
SECRET = {"adminPass", "user_data"}
FORMATS = FormatChecker(formats=["ipv4", "ipv6"])
FORMATS.checks("uuid", ValueError)(lambda text: bool(uuid.UUID(text)))
FORMATS.checks("date-time", ValueError)(lambda text: bool(dt.datetime.fromisoformat(text)))


def read(stream: BinaryIO, length: int | None, content_type: str | None, *, optional: bool = False) -> Any:
    """Return a JSON body; ``length`` None is one of unknown length, and None one that is ``optional`` and not there.

    Raises Fault 400, 413, 415.
    """
    if optional and length == 0:
        return None
    if content_type and content_type.partition(";")[0].strip().lower() != "application/json":
        raise Fault(415, "Unsupported Content-Type")
    if length is not None and length > MAX_BODY:
        raise Fault(413, "Request is too large.")
    data = stream.read(MAX_BODY + 1 if length is None else length)
    if len(data) > MAX_BODY:
        raise Fault(413, "Request is too large.")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Fault(400, "Malformed request body") from error
    if not isinstance(body, dict) or _deeper(body, MAX_DEPTH):
        raise Fault(400, "Malformed request body")
    return body


def query(text: str) -> dict[str, list[str]]:
    """Return a query's arguments, each with all its values in order. Raises Fault 400."""
    found: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100):
            found.setdefault(name, []).append(value)
    except ValueError as error:
        raise Fault(400, "Malformed query string") from error
    return found


def check(schema: Schema, version: int, value: Any, what: str = "field/attribute") -> None:
    """Raise Fault 400 unless a body, or a query, fits a schema (``nova/api/validation/validators.py``)."""
    error = next(_validator(schema, version).iter_errors(value), None)
    if error is not None:
        raise Fault(400, _told(error, what))


@functools.lru_cache(maxsize=512)
def _validator(schema: Schema, version: int) -> Any:
    return Draft202012Validator(schema(version), format_checker=FORMATS)


def _told(error: ValidationError, what: str) -> str:
    names = [name for name in error.absolute_path if isinstance(name, str)]
    if SECRET.intersection(names):
        return f"Invalid input for {what} {names[-1]}."
    if not error.absolute_path:
        return str(error.message)[:MAX_WORDS]
    # In a query each name has a list of values; nova names the name.
    path = names[-1] if what.startswith("query") and names else error.absolute_path[-1]
    shown = _hidden(error.instance)
    reason = error.message.replace(repr(error.instance), repr(shown))
    return f"Invalid input for {what} {path}. Value: {shown}. {reason}"[:MAX_WORDS]


def _hidden(value: Any) -> Any:
    """Return a value without what is secret in it."""
    if isinstance(value, dict):
        return {name: "***" if name in SECRET else _hidden(item) for name, item in value.items()}
    return value


def _deeper(value: Any, most: int) -> bool:
    """Return whether a value is nested deeper than so many levels."""
    level = [value]
    for _ in range(most):
        level = [item for each in level for item in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
