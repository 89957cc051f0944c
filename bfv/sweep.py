# SPDX-License-Identifier: Apache-2.0
"""Remove what a boot left in a cell whose storage was silent, once it answers: the server is elsewhere meanwhile."""

from bfv import outside
from bfv.job import Job
from bfv.journal import DONE, Intent
from bfv.parts import Parts


def run(parts: Parts, intent: Intent) -> None:
    """Remove all that the intent has outside. Raises MaybeRunning, NotAllowed while it cannot be."""
    job = Job(parts, intent)
    kept = outside.release(job)
    for line in kept:
        job.tell("kept", line)
    job.close(DONE, "; ".join(kept) or None)
