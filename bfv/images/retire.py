# SPDX-License-Identifier: Apache-2.0
"""The flow that removes a source of ours that no boot uses any more, once nothing descends from it.

Only Ceph tells what descends from it: cinder's rbd driver, asked to remove a volume under whose trashed snapshot clones
live, first copies all bytes into each of them (``cinder/volume/drivers/rbd.py:_flatten_children``), so it is not asked
before. The ids are the journal's and the row's; nothing is found by a name. A crash leaves an intent that ``repair``
finishes: each removal of what is gone already is no error.
"""

import datetime as dt
import uuid

from bfv import outside
from bfv.errors import Failed, HasSnapshots
from bfv.images import book, shared
from bfv.images.book import Source
from bfv.images.warm import NAMES
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from bfv.types import new_request_id, utcnow

VERB = "retire"


def rests(parts: Parts, source: Source) -> bool:
    """Say whether no boot that chose a source before it was retired can still ask for a clone of it."""
    timing = parts.timing
    longest = timing.late_answer + timing.clock_skew
    return source.turned_at is not None and utcnow() - source.turned_at > dt.timedelta(seconds=longest)


def begin(parts: Parts, source: Source) -> Intent:
    """Write the intent to remove a source, held by this process. Raises Exists, NotAllowed."""
    access = parts.rights.everywhere(new_request_id())
    assert access is not None, "who asks has looked with these rights"
    return parts.journal.open(
        VERB, str(uuid.uuid5(NAMES, f"source {source.id}")), project_id=access.project_id, user_id="-",
        request_id=access.request_id, cell=source.cell,
        request={"source": source.id, "volume": source.volume_id, "snapshot": source.snapshot_id},
    )  # fmt: skip


def run(parts: Parts, intent: Intent) -> None:
    """Remove the snapshot, the volume and the row. Raises MaybeRunning, Late, NotAllowed."""
    job = Job(parts, intent)
    try:
        if key := intent.request["snapshot"]:
            job.step("drop snapshot", key)
            shared.drop(job, key)
        if key := intent.request["volume"]:
            job.step("remove volume", key)
            outside.remove_volume(job, key)
    except (Failed, HasSnapshots) as error:
        job.close(FAILED, str(error))
        return
    book.forget(parts.journal.database, intent.request["source"])
    job.close(DONE)
