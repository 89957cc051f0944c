# SPDX-License-Identifier: Apache-2.0
"""Which flow runs an intent, and what becomes of it when the outcome is not known yet."""

import logging
from collections.abc import Callable

from bfv import delete, probe, sweep
from bfv.compare import copies, trial
from bfv.errors import CellDown, LeaseLost, MaybeRunning, StorageError
from bfv.images import discard, retire, warm
from bfv.journal import Intent
from bfv.migrate import job as wave_job
from bfv.migrate import rehearsal
from bfv.parts import Parts
from bfv.types import utcnow

LOG = logging.getLogger(__name__)

FLOWS: dict[str, Callable[[Parts, Intent], None]] = {
    **delete.STOPPABLE,
    "delete": delete.run,
    "probe": probe.run,
    "sweep": sweep.run,
    warm.VERB: warm.run,
    retire.VERB: retire.run,
    discard.VERB: discard.run,
    trial.VERB: trial.run,
    copies.COPIES: copies.run,
    rehearsal.VERB: rehearsal.run,
    wave_job.VERB: wave_job.run,
}


def run(parts: Parts, intent_id: str) -> float | None:
    """Run an intent that this process holds; return the seconds after which to run it again, if any.

    An intent that cannot go on here is let go of: it stays open for ``repair`` or the owner's DELETE.
    """
    intent = parts.journal.get(intent_id)
    if not intent.is_open or intent.owner != parts.journal.owner:
        parts.rights.forget(intent.id)
        return None
    try:
        FLOWS[intent.verb](parts, intent)
    except LeaseLost:
        LOG.warning("server %s: another worker has its %s now", intent.server_id, intent.verb)
    except (MaybeRunning, CellDown) as error:
        age = (utcnow() - intent.created_at).total_seconds()
        LOG.warning("server %s: outcome of its %s is not known yet: %s", intent.server_id, intent.verb, error)
        if age < parts.timing.give_up:
            return parts.timing.ask_again
        _let_go(parts, intent, str(error))
    except StorageError as error:
        # Rights that are missing, or something that cannot be removed now: it stays open and says why.
        _let_go(parts, intent, str(error))
    except Exception as error:
        # An error of ours: the intent must not stay with a worker that does nothing for it.
        LOG.exception("server %s: its %s met an error of bfv", intent.server_id, intent.verb)
        _let_go(parts, intent, f"{type(error).__name__}: {error}")
    parts.rights.forget(intent.id)
    return None


def _let_go(parts: Parts, intent: Intent, reason: str) -> None:
    try:
        parts.journal.release(parts.journal.update(intent, "left open", reason))
    except LeaseLost:
        return
    LOG.error("server %s: its %s stays open: %s", intent.server_id, intent.verb, reason)
