# SPDX-License-Identifier: Apache-2.0
"""A conversion in the hands of a worker: its plan, its pools, and what the journal knows of it.

The journal holds four objects of each, from the moment before the act that makes it: *records*, all rows as they
were; *image*, the old disk by librbd's id, which outlives renames; *volume*; *attachment*. Whoever goes on after a
crash looks where the old id lies now, and does what is missing.
"""

from functools import cached_property
from typing import Any

from bfv.job import Job
from bfv.journal import Object
from bfv.migrate import records
from bfv.migrate.contract import Snapshot
from bfv.migrate.plan import PLACEHOLDER, Plan
from cells.database import Database
from imagebackends.backend import Adopts
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.types import Id, Image

ROOT = "root"


class Move:
    """One server's conversion, or its undoing; what writes raises LeaseLost when another worker has it."""

    def __init__(self, job: Job) -> None:
        self.job, self.parts = job, job.parts
        self.plan = Plan.from_dict(job.intent.request["plan"])

    @property
    def server_id(self) -> str:
        """The server."""
        return self.job.intent.server_id

    @property
    def database(self) -> Database:
        """The database of its cell."""
        return self.job.cell_database

    @cached_property
    def old(self) -> Pool:
        """The pool where nova keeps its disk."""
        return self.parts.clusters.pool(self.plan.cell, self.plan.pool)

    @cached_property
    def new(self) -> Pool:
        """The pool of the cinder backend that its volume goes to."""
        return self.parts.clusters.pool(self.plan.reach, self.plan.target_pool)

    @property
    def by_placeholder(self) -> bool:
        """Whether cinder makes the volume and its image gives way to the disk; else cinder manages the disk."""
        return self.plan.adopt == PLACEHOLDER

    @property
    def new_name(self) -> str:
        """The name by which the target's pool gets the disk: cinder's, or its own until cinder renames it."""
        return f"volume-{self.volume_id}" if self.by_placeholder else self.plan.image

    @property
    def backend(self) -> Any:
        """The volume service, which can adopt (checked when it was planned)."""
        assert isinstance(self.parts.backend, Adopts), "checked when it was planned"
        return self.parts.backend

    @property
    def snapshot(self) -> Snapshot | None:
        """All rows as they were, None before they were read."""
        thing = self.job.object("records", "before")
        return records.snapshot(thing.spec) if thing else None

    def is_switched(self) -> bool | None:
        """Return whether the server's root is a volume now, None if the server is gone."""
        before = self.snapshot
        return records.is_switched(self.database, before) if before else False

    @property
    def image(self) -> Object | None:
        """The old disk as it was: name, size and id, None before it was looked at."""
        return self.job.object("image", ROOT)

    @property
    def volume(self) -> Object | None:
        """The volume, None before it was asked for."""
        return self.job.object("volume", ROOT)

    @property
    def volume_id(self) -> str | None:
        """The volume's id, None before it is known."""
        return self.volume.external_id if self.volume else None

    def lies(self, pool: Pool) -> Image | None:
        """Return the old disk if it lies in a pool, by whatever name."""
        assert self.image is not None, "it was looked at before it was moved"
        return pool.find(Id(str(self.image.external_id)))
