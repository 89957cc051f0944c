# SPDX-License-Identifier: Apache-2.0
"""Finish or undo what a crash left open: every flow goes on where its last worker stopped. Safe to repeat."""

from dataclasses import dataclass

from bfv import dispatch
from bfv.journal import Intent
from bfv.migrate.run import CONVERTED
from bfv.parts import Parts


@dataclass(frozen=True)
class Repaired:
    """What became of an open intent: its phase now, and why it is still open if it is."""

    intent_id: str
    verb: str
    server_id: str
    phase: str
    open: bool
    reason: str | None


def repair(parts: Parts, *, dry_run: bool = False) -> list[Repaired]:
    """Take every open intent whose worker is gone and run it once; return what became of each.

    A converted server that only waits for purge or undo is nothing to be told of.

    With ``dry_run`` nothing is taken. One that is worked on elsewhere is told and left alone.
    """
    done = [_one(parts, intent, dry_run) for intent in parts.journal.opened()]
    return [each for each in done if each is not None]


def _one(parts: Parts, intent: Intent, dry_run: bool) -> Repaired | None:
    waits = intent.verb == CONVERTED and not intent.cancel
    if dry_run:
        return None if waits else _told(intent, "would be repaired")
    taken = parts.journal.take(intent.id)
    if taken is None:
        return None if waits else _told(intent, "another worker is on it")
    dispatch.run(parts, taken.id)
    after = parts.journal.get(intent.id)
    if not after.is_open:
        return _told(after, after.outcome)
    if after.owner == parts.journal.owner:
        parts.journal.release(after)
    last = parts.journal.history(after)[-1:]
    if waits and last and last[0].name != "left open":
        return None
    return _told(after, last[0].detail if last else None)


def _told(intent: Intent, reason: str | None) -> Repaired:
    return Repaired(intent.id, intent.verb, intent.server_id, intent.phase, intent.is_open, reason)
