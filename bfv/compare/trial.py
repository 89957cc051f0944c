# SPDX-License-Identifier: Apache-2.0
"""One boot of a comparison: an intent of its own, so that a crash at any line leaves nothing that `repair` misses.

What each line leaves when the process dies there: volume and attachment as in ``bfv.journal``, lines 4 to 7; the
snapshot is written down with a random name before it is asked for, and is looked for by that name among those of our
own disk. ``run`` only removes: a comparison that was cut off is not gone on with.
"""

import dataclasses
import uuid
from typing import Any

from bfv import outside
from bfv.compare.sides import Side
from bfv.compare.sides import side as open_side
from bfv.compare.values import Boot, Cost
from bfv.errors import NotFound
from bfv.job import Job
from bfv.journal import CANCELLED, DONE, Intent, Object
from bfv.parts import Parts
from bfv.types import Caller, new_request_id
from imagebackends.errors import StorageError
from imagebackends.types import Disk, DiskSpec, Image, Target

VERB = "compare"
CONNECTOR = {"host": "bfv-compare", "ip": "127.0.0.1", "initiator": "iqn.2024-01.bfv:compare"}


class Trial:
    """A boot through one side into one cell, and how it is taken down again; used by one thread."""

    def __init__(self, side: Side, who: Caller, cell: str, run: str) -> None:
        self.side, self.cell = side, cell
        server_id = str(uuid.uuid4())
        intent = side.parts.journal.open(
            VERB, server_id, project_id=who.project_id, user_id=who.user_id, request_id=new_request_id(),
            request={"backend": side.name, "run": run}, cell=cell,
        )  # fmt: skip
        side.parts.rights.keep(intent.id, dataclasses.replace(who, request_id=intent.request_id))
        self.job = Job(side.parts, intent)
        self.disk: Disk | None = None
        self.connection: dict[str, Any] = {}

    def boot(self, image: Image, size: int, target: Target) -> Boot:
        """Have a root disk of so many GiB ready, reserved and connected, and return what that took."""
        spec = DiskSpec(f"bfv-compare-{self.job.intent.server_id[:8]}", size, target, "image", image.id, "")
        # Not part of any boot: a process has its token for an hour.
        self.job.access.auth.get_token(self.side.parts.clusters.session)
        cost = self.side.timed(lambda: self._boot(spec))
        return Boot(cost.seconds, cost.calls)

    def _boot(self, spec: DiskSpec) -> None:
        job = self.job
        disk = outside.volume(job, "root", spec)
        self.disk = outside.wait_ready(job, disk, spec.size)
        outside.check_place(self.disk, spec.target)
        bound = outside.attachment(job, "root", disk.id)
        self.connection = dict(job.parts.backend.connect(job.access, bound.id, CONNECTOR).connection)

    def use(self) -> None:
        """Have cinder think that a guest runs: only now it takes snapshots of it."""
        thing = self.job.object("attachment", "root")
        assert thing is not None, "it was booted"
        assert thing.external_id is not None, "and its answer came"
        self.job.parts.backend.complete(self.job.access, thing.external_id)

    def snapshot(self) -> tuple[Cost, Cost]:
        """Make a snapshot of the disk and remove it again; return what each took."""
        assert self.disk is not None, "it was booted"
        job, disk_id = self.job, self.disk.id
        thing = job.ask("snapshot", "root", {"disk_id": disk_id})
        made = self.side.timed(lambda: job.know(thing, self.side.take_snapshot(job.access, disk_id, thing.marker)))
        return made, self.side.timed(lambda: self._drop(job.object("snapshot", "root")))

    def _drop(self, thing: Object | None) -> None:
        if thing is not None:
            _drop(self.side, self.job, thing)

    def delete(self) -> Cost:
        """Take all down until it is gone, and end the intent. Raises StorageError, and the intent stays open."""
        try:
            cost = self.side.timed(lambda: _release(self.side, self.job))
            self.job.close(DONE)
        except StorageError:
            self.side.parts.journal.release(self.job.intent)
            raise
        finally:
            self.side.parts.rights.forget(self.job.intent.id)
        return cost


def _release(side: Side, job: Job) -> None:
    for thing in job.objects():
        if thing.kind == "snapshot":
            _drop(side, job, thing)
    outside.release(job)


def _drop(side: Side, job: Job, thing: Object) -> None:
    """Remove a snapshot by its id, or by its name where its id was lost; both are ours alone."""
    try:
        found = (
            [thing.external_id]
            if thing.external_id
            else side.snapshots(job.access, thing.spec["disk_id"], thing.marker)
        )
    except NotFound:
        found = []
    for each in found:
        job.still_ours()
        side.drop_snapshot(job.access, each)
    job.gone(thing)


def run(parts: Parts, intent: Intent) -> None:
    """Remove what a comparison that was cut off has left. Raises MaybeRunning, NotAllowed, Failed while it cannot."""
    side = open_side(parts, intent.request["backend"])
    try:
        job = Job(side.parts, intent)
        _release(side, job)
        job.close(CANCELLED)
    finally:
        side.close()
