# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on the way to a service and back, by rule: the calls of a test meet what a network does to them."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

# kind: (is it done, and when?, what does the caller get?)
KINDS: dict[str, tuple[str, str]] = {
    "lost_before": ("never", "nothing"),
    "lost_after": ("now", "nothing"),
    "lost_late": ("later", "nothing"),
    "late": ("now", "late"),
    "doubled": ("twice", "answer"),
    "status_before": ("never", "status"),
    "status_after": ("now", "status"),
}


class Lost(Exception):
    """The connection breaks: the caller gets no answer."""


@dataclass
class Rule:
    """Which calls meet a fault: method and path are regular expressions, of those the ``nth`` to ``nth + times - 1``.

    ``times`` 0 means all from the ``nth`` on; ``seconds`` is how late, ``status`` and ``body`` are what is answered.
    """

    kind: str
    method: str = ".*"
    path: str = ".*"
    nth: int = 1
    times: int = 1
    seconds: float = 0.0
    status: int = 503
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seen: int = 0
    hit: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of fault {self.kind!r}; there are {', '.join(KINDS)}")

    def meets(self, method: str, target: str) -> bool:
        """Count a call that fits and say whether it is one of those that fail."""
        if not (re.fullmatch(self.method, method) and re.search(self.path, target)):
            return False
        self.seen += 1
        if self.seen < self.nth or (self.times and self.seen >= self.nth + self.times):
            return False
        self.hit += 1
        return True


class Faults:
    """The rules of now; the first that meets a call decides."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(self, kind: str, **rule: Any) -> Rule:
        """Add a rule. Raises ValueError for one that makes no sense."""
        try:
            made = Rule(kind, **rule)
        except TypeError as error:
            raise ValueError(str(error)) from error
        self.rules.append(made)
        return made

    def clear(self) -> None:
        """Forget all rules."""
        self.rules.clear()

    def find(self, method: str, target: str) -> Rule | None:
        """Return the rule that a call meets, None if it goes well."""
        met = [rule for rule in self.rules if rule.meets(method, target)]
        return met[0] if met else None

    def view(self) -> list[Mapping[str, Any]]:
        """Return the rules as JSON."""
        return [asdict(rule) for rule in self.rules]
