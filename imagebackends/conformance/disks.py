# SPDX-License-Identifier: Apache-2.0
"""What the suites share: disks that are removed when a test ends, and waiting with an end."""

import contextlib
import dataclasses
import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import pytest

from imagebackends.backend import Backend
from imagebackends.errors import InUse, NotFound
from imagebackends.types import Access, Attachment, Disk, DiskSpec, Target

Value = TypeVar("Value")
HOUR, SECOND = dt.timedelta(hours=1), dt.timedelta(seconds=1)
PAUSE = 0.2


def new_id() -> str:
    """Return an id that nothing has yet."""
    return str(uuid.uuid4())


def long_ago() -> dt.datetime:
    """Return a time (UTC) before all that a test makes."""
    return dt.datetime.now(dt.UTC) - HOUR


def until(seconds: float, ask: Callable[[], Value], done: Callable[[Value], bool]) -> Value:
    """Ask again until the answer will do, and return it; the last answer is in the failure."""
    deadline = time.monotonic() + seconds
    while not done(answer := ask()):
        assert time.monotonic() < deadline, f"this did not change in {seconds:.0f} s: {answer}"
        time.sleep(PAUSE)
    return answer


@dataclasses.dataclass
class Disks:
    """Makes disks for one test and removes them, with what they are attached to."""

    backend: Backend
    access: Access
    target: Target
    image_id: str
    seconds: float
    made: list[str] = dataclasses.field(default_factory=list)

    def spec(self, **changes: Any) -> DiskSpec:
        """Return what a test asks for: 1 GiB of the image, with a marker of its own."""
        plain = DiskSpec(f"conformance-{new_id()[:8]}", 1, self.target, "image", self.image_id, new_id())
        return dataclasses.replace(plain, **changes)

    def create(self, spec: DiskSpec) -> Disk:
        """Ask for a disk that is removed when the test ends."""
        disk = self.backend.create(self.access, spec)
        self.made.append(disk.id)
        return disk

    def make(self, spec: DiskSpec | None = None) -> Disk:
        """Create a disk and wait until it can be used."""
        return self.settle(self.create(spec or self.spec()).id, "available")

    def settle(self, disk_id: str, status: str) -> Disk:
        """Wait until a disk is in a state, and return it."""
        return self.until(disk_id, lambda disk: disk.status == status)

    def until(self, disk_id: str, done: Callable[[Disk], bool]) -> Disk:
        """Wait until a disk is as it should be; one in ``error`` will never be."""

        def ask() -> Disk:
            disk = self.backend.get(self.access, disk_id)
            assert disk.status != "error", self.backend.explain(self.access, disk_id)
            return disk

        return until(self.seconds, ask, done)

    def is_gone(self, disk_id: str) -> bool:
        """Say whether ``get`` does not find a disk any more."""
        try:
            self.backend.get(self.access, disk_id)
        except NotFound:
            return True
        return False

    def remove(self, disk_id: str) -> None:
        """Let go of a disk, delete it and wait until it is gone; it may be half made or gone already."""

        def deleted() -> bool:
            with contextlib.suppress(InUse):
                self.backend.delete(self.access, disk_id)
            return self.is_gone(disk_id)

        for each in self.backend.attachments(self.access, disk_id=disk_id):
            self.backend.detach(self.access, each.id)
        with contextlib.suppress(NotFound):
            until(self.seconds, deleted, bool)


class Fixtures:
    """What all the suites share; all but ``disks`` may be overridden."""

    @pytest.fixture
    def late_seconds(self) -> float:
        """Return how late a disk whose answer was lost may come to be seen by ``find``."""
        return 10.0

    @pytest.fixture
    def ready_seconds(self) -> float:
        """Return how long a disk may take to be made or removed."""
        return 120.0

    @pytest.fixture
    def tick_seconds(self) -> float:
        """Return how far apart things must be made for their ages to differ; cinder keeps whole seconds."""
        return 1.1

    @pytest.fixture
    def connector(self) -> Mapping[str, Any]:
        """Return what a compute host tells of itself (os-brick)."""
        return {"host": "conformance", "ip": "127.0.0.1", "initiator": "iqn.1993-08.org.debian:01:conformance"}

    @pytest.fixture
    def disks(
        self, backend: Backend, access: Access, target: Target, image_id: str, ready_seconds: float
    ) -> Iterator[Disks]:
        """Return the maker of this test's disks."""
        disks = Disks(backend, access, target, image_id, ready_seconds)
        yield disks
        for disk_id in disks.made:
            disks.remove(disk_id)


def of_type(spec: DiskSpec, volume_type: str) -> DiskSpec:
    """Return a spec with another volume type."""
    return dataclasses.replace(spec, target=dataclasses.replace(spec.target, volume_type=volume_type))


def ids(attachments: list[Attachment]) -> list[str]:
    """Return the ids of attachments."""
    return [each.id for each in attachments]
