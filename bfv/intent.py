# SPDX-License-Identifier: Apache-2.0
"""The values of the journal; ``bfv.journal`` says what they mean and keeps them."""

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# These change the same attachments, the same guest or the same bytes, or look at them: while one of them is open, none
# of the others may begin.
_CHANGES = ("connect", "disconnect", "attach", "detach", "rebuild", "stop", "start", "reboot", "createImage",
            "migrate", "unmigrate")  # fmt: skip
SLOTS = dict.fromkeys(_CHANGES, "change")
FORWARD, UNWINDING, DONE, FAILED, CANCELLED = "forward", "unwinding", "done", "failed", "cancelled"


@dataclass(frozen=True)
class Intent:
    """One verb on one server. ``phase``: forward, unwinding, or how it ended: done, failed, cancelled."""

    id: str
    verb: str
    server_id: str
    project_id: str
    user_id: str
    request_id: str
    cell: str | None
    phase: str
    cancel: bool
    request: Mapping[str, Any]
    decision: Mapping[str, Any] | None
    outcome: str | None
    owner: str | None
    fence: int
    lease_until: dt.datetime | None
    created_at: dt.datetime
    closed_at: dt.datetime | None

    @property
    def is_open(self) -> bool:
        """Whether there is still something to do for it."""
        return self.closed_at is None


@dataclass(frozen=True)
class Object:
    """A thing outside that an intent has asked for; ``external_id`` is None until its id is known."""

    id: int
    kind: str
    role: str
    marker: str
    asked_at: dt.datetime
    external_id: str | None
    gone: bool
    spec: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind} {self.external_id or f'with marker {self.marker}'}"


@dataclass(frozen=True)
class Step:
    """A line of an intent's history."""

    name: str
    detail: str | None
    at: dt.datetime


def to_intent(row: Any) -> Intent:
    """Return an intent of its row."""
    return from_columns(zip(row._fields, row, strict=True))


def from_columns(columns: Iterable[tuple[str, Any]]) -> Intent:
    """Return an intent of the names and values of its columns, which a driver may have left as they are."""
    values = {key: value for key, value in columns if key != "slot"}
    decision = values["decision"]
    values |= {"request": json.loads(values["request"]), "decision": json.loads(decision) if decision else None,
               "cancel": bool(values["cancel"])}  # fmt: skip
    return Intent(**values)


def to_object(row: Any) -> Object:
    """Return an object of its row."""
    return Object(row.id, row.kind, row.role, row.marker, row.asked_at, row.external_id, row.gone, json.loads(row.spec))
