# SPDX-License-Identifier: Apache-2.0
"""Where each conversion is, as the journal tells it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from bfv.journal import Intent
from bfv.migrate import wave
from bfv.migrate.run import CONVERTED
from bfv.parts import Parts

VERBS = ("migrate", CONVERTED, "unmigrate", "purge")
ENDED = {
    ("migrate", "failed"): "failed", ("migrate", "cancelled"): "cancelled", (CONVERTED, "done"): "deleted",
    ("unmigrate", "done"): "undone", ("unmigrate", "failed"): "converted", ("purge", "done"): "purged",
}  # fmt: skip
UNDER_WAY = {"migrate": "under way", "unmigrate": "being undone", "purge": "being purged"}


@dataclass(frozen=True)
class State:
    """One conversion: under way, failed, converted, settled (ready for purge), undone, purged, deleted, ..."""

    server_id: str
    name: str
    wave: str | None
    way: str | None
    state: str
    volume_id: str | None
    since: dt.datetime
    why: str | None = None


def read(parts: Parts, server_ids: Sequence[str]) -> list[State]:
    """Return the last word on each server that was ever begun, by server; of these alone if any are named."""
    last: dict[str, Intent] = {}
    for intent in parts.journal.of_verbs(VERBS):
        # An open one has the last word: an undo that was given up leaves the server converted.
        if not server_ids or intent.server_id in server_ids:
            held = last.get(intent.server_id)
            last[intent.server_id] = held if held is not None and held.is_open else intent
    return [_state(parts, last[key]) for key in sorted(last)]


def _state(parts: Parts, intent: Intent) -> State:
    plan = intent.request["plan"]
    volumes = [each.external_id for each in parts.journal.objects(intent) if each.kind == "volume"]
    why = intent.outcome if not intent.is_open else wave.why_open(parts, intent)
    return State(
        server_id=intent.server_id,
        name=plan["name"],
        wave=intent.request.get("wave"),
        way=plan["way"],
        state=_word(parts, intent),
        volume_id=volumes[0] if volumes else None,
        since=intent.closed_at or intent.created_at,
        why=why,
    )


def _word(parts: Parts, intent: Intent) -> str:
    if not intent.is_open:
        return ENDED.get((intent.verb, intent.phase), intent.phase)
    if intent.verb == CONVERTED:
        return "settled" if wave.has_settled(parts, intent) else "converted"
    return UNDER_WAY[intent.verb]
