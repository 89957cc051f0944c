# SPDX-License-Identifier: Apache-2.0
"""What a handler gets and gives: one request with all that was checked about it, and what is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bfv.api.bodies import Schema
from bfv.api.policies import Policy
from bfv.cloud import Cloud
from bfv.types import Caller

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A request that may be answered; ``version`` is the minor number, ``base`` the URL before /v2.1 in links."""

    cloud: Cloud
    policy: Policy
    caller: Caller
    version: int
    ids: Mapping[str, str]
    query: Mapping[str, list[str]]
    body: Any
    base: str
    path: str
    # Of rules that were asked: one is asked for each server of a list, and oslo.policy looks at files each time.
    _allowed: dict[str, bool] = field(default_factory=dict, init=False, repr=False)

    def allows(self, rule: str) -> bool:
        """Return whether the policy lets the caller do something beside the call itself."""
        if rule not in self._allowed:
            self._allowed[rule] = self.policy.allows(rule, self.caller)
        return self._allowed[rule]

    def check(self, rule: str, **whose: str) -> None:
        """Raise Fault 403 unless the policy lets the caller do it to what is of a ``project_id`` or a ``user_id``."""
        self.policy.check(rule, self.caller, **whose)

    @property
    def is_admin(self) -> bool:
        """Whether the caller is an admin."""
        return "admin" in self.caller.roles

    def asked(self, name: str) -> str | None:
        """Return an argument of the query, the first of several."""
        return self.query.get(name, [None])[0]

    def url(self, path: str) -> str:
        """Return the URL of a path below /v2.1."""
        return f"{self.base}/v2.1{path}"


@dataclass(frozen=True)
class Answer:
    """What a handler answers; ``code`` None is the route's."""

    body: Json | None = None
    code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """A call of the API as data. ``action`` is the key of the body where many share a path."""

    method: str
    path: str
    handler: Callable[[Call], Answer]
    policy: str
    code: int = 200
    body: Schema | None = None
    query: Schema | None = None
    action: str | None = None
    since: int = 1
    until: int | None = None

    def serves(self, version: int) -> bool:
        """Return whether the call is there in a microversion."""
        return self.since <= version and (self.until is None or version <= self.until)
