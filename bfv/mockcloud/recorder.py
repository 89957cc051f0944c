# SPDX-License-Identifier: Apache-2.0
"""What was called, by whom and with which answer, so that a test can count and compare; never a token or a password."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

KEEP = 10_000
TOO_LONG = 64 * 1024
SECRET = frozenset({"password", "secret", "token"})


@dataclass(frozen=True)
class Call:
    """One call; ``status`` is None where the answer was lost, ``global_id`` is the id that the caller sent along."""

    number: int
    at: float
    service: str
    method: str
    path: str
    user: str | None
    project: str | None
    status: int | None
    fault: str | None
    request_id: str
    global_id: str | None
    beside: bool
    body: Any = None


class Recorder:
    """Keeps the last calls."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._count = 0

    def add(self, **values: Any) -> None:
        """Write a call down."""
        self._count += 1
        self.calls.append(Call(number=self._count, **values))
        del self.calls[:-KEEP]

    def find(self, method: str = ".*", path: str = ".*", service: str = ".*") -> list[Call]:
        """Return the calls whose method, path and service fit the regular expressions."""
        return [
            call
            for call in self.calls
            if re.fullmatch(method, call.method) and re.search(path, call.path) and re.fullmatch(service, call.service)
        ]

    def clear(self) -> None:
        """Forget the calls; their numbers go on."""
        self.calls.clear()

    def view(self, **wanted: str) -> list[dict[str, Any]]:
        """Return the calls that fit as JSON."""
        return [asdict(call) for call in self.find(**wanted)]


def readable(body: bytes, kind: str) -> Any:
    """Return a body as far as it may be kept: JSON without secrets, else its length."""
    if not body:
        return None
    if "json" in kind and len(body) < TOO_LONG:
        try:
            return _clean(json.loads(body))
        except ValueError:
            pass
    return {"bytes": len(body)}


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if key in SECRET else _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value
