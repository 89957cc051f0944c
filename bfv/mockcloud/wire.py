# SPDX-License-Identifier: Apache-2.0
"""A call and its answer as values, and routing as a table: what both doors and all services speak."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from bfv.mockcloud.people import Context
    from bfv.mockcloud.state import Cloud

Json = dict[str, Any]


def request_id() -> str:
    """Return a new request id."""
    return f"req-{uuid.uuid4()}"


@dataclass
class Request:
    """One call; ``path`` is what follows the service's prefix, header names are lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    base: str
    target: str
    id: str = field(default_factory=request_id)
    ids: dict[str, str] = field(default_factory=dict)
    minor: int = 0
    caller: "Context | None" = None
    # What the compute service said where it had to be asked, by path.
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def who(self) -> "Context":
        """The caller, where the route has made sure that there is one."""
        assert self.caller is not None, "only routes that need a token ask for it"
        return self.caller

    @property
    def args(self) -> dict[str, str]:
        """The query's arguments, the last of each name."""
        return dict(self.query)

    def is_json(self) -> bool:
        """Say whether the body can be read as JSON."""
        try:
            json.loads(self.body)
        except ValueError:
            return False
        return True

    def json(self) -> Any:
        """Return the body's JSON, an empty object for anything else."""
        try:
            return json.loads(self.body or b"{}")
        except ValueError:
            return {}


def parse(method: str, url: str, headers: Mapping[str, str], body: bytes, base: str = "") -> Request:
    """Return the request of an address and its headers."""
    parts = urlsplit(url)
    lower = {name.lower(): value for name, value in headers.items()}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    query = parse_qsl(parts.query, keep_blank_values=True)
    return Request(method, parts.path, query, lower, body, base, target)


@dataclass
class Response:
    """One answer; ``body`` is JSON, bytes, text, or None for an empty one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """Return the body as it goes over the wire."""
        if self.body is None:
            return b""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body).encode()


class Refusal(Exception):
    """What a service says instead of doing it; each service has its own body for it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None, more: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.more = status, message, more
        self.headers = dict(headers or {})


Handler = Callable[["Cloud", Request], Response]


@dataclass(frozen=True)
class Route:
    """One line of a service's table: ``need`` is the role it takes, ``policy`` the rule's name in a refusal."""

    method: str
    path: str
    handler: Handler
    need: str = "reader"
    policy: str = ""
    since: int = 0


class Table:
    """Finds the route of a call."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes: dict[tuple[str, int], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))
            self._routes.setdefault((route.method, route.path.count("/")), []).append((pattern, route))

    def find(self, request: Request, path: str | None = None) -> Route | None:
        """Return the route and fill in the request's ``ids``, None where there is none."""
        path = request.path if path is None else path
        for pattern, route in self._routes.get((request.method, path.count("/")), ()):
            if match := pattern.fullmatch(path):
                request.ids.update(match.groupdict())
                return route
        return None
