# SPDX-License-Identifier: Apache-2.0
"""The two backends as a comparison uses them: each with sessions and clients of its own, whose calls are counted."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

from keystoneauth1.session import Session

from bfv.compare.calls import Calls
from bfv.compare.values import BACKENDS, Cost
from bfv.errors import MaybeRunning, NotFound
from bfv.parts import Parts
from bfv.types import Caller, utcnow
from bfv.waits import Waits
from imagebackends.backend import Backend
from imagebackends.cinder.backend import CinderBackend
from imagebackends.http import make_session, told
from imagebackends.rbd.backend import RbdBackend
from imagebackends.types import Access

PAUSE = 0.1


@dataclasses.dataclass(frozen=True)
class Side:
    """A backend, and the parts with which the flows use it."""

    name: str
    backend: Backend
    parts: Parts
    calls: Calls
    session: Session

    def close(self) -> None:
        """End its connections."""
        if isinstance(self.backend, RbdBackend):
            self.backend.close()
        self.session.session.close()

    def timed(self, act: Callable[[], object]) -> Cost:
        """Do something, and return what it took."""
        before, began = self.calls.now(), time.perf_counter()
        act()
        return Cost(time.perf_counter() - began, self.calls.since(before))

    def take_snapshot(self, access: Access, disk_id: str, name: str) -> str:
        """Make a snapshot, wait until it can be used and return its id."""
        if isinstance(self.backend, RbdBackend):
            return self.backend.make_snapshot(access, disk_id, name).id
        assert isinstance(self.backend, CinderBackend), "there are two"
        with told(f"make a snapshot of volume {disk_id}", access):
            made = self.backend.clients.writes(access).volume_snapshots.create(disk_id, name=name).id
        _until(lambda: self._snapshot_is(access, made, "available"), self.parts.timing.volume, f"snapshot {made}")
        return str(made)

    def snapshots(self, access: Access, disk_id: str, name: str) -> list[str]:
        """Return the ids of the snapshots of a disk that bear a name."""
        if isinstance(self.backend, RbdBackend):
            return self.backend.snapshots_named(access, disk_id, name)
        assert isinstance(self.backend, CinderBackend), "there are two"
        with told(f"look for snapshots of volume {disk_id}", access):
            listed = self.backend.clients.reads(access).volume_snapshots.list(search_opts={"volume_id": disk_id})
        return [each.id for each in listed if each.name == name]

    def drop_snapshot(self, access: Access, snapshot_id: str) -> None:
        """Remove a snapshot, and wait until it is gone; one that is gone already is no error."""
        with contextlib.suppress(NotFound):
            if isinstance(self.backend, RbdBackend):
                self.backend.remove_snapshot(access, snapshot_id)
                return
            assert isinstance(self.backend, CinderBackend), "there are two"
            with told(f"delete snapshot {snapshot_id}", access):
                self.backend.clients.writes(access).volume_snapshots.delete(snapshot_id)
        _until(
            lambda: self._snapshot_is(access, snapshot_id, None), self.parts.timing.delete, f"snapshot {snapshot_id}"
        )

    def _snapshot_is(self, access: Access, snapshot_id: str, status: str | None) -> bool:
        backend: Any = self.backend
        try:
            return bool(backend.snapshot(access, snapshot_id).status == status)
        except NotFound:
            return status is None


def _until(done: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise MaybeRunning(f"The {what} was not done in {seconds:.0f} seconds.")
        time.sleep(PAUSE)


def side(parts: Parts, name: str) -> Side:
    """Return a side. Raises what ``Clusters.pools`` raises; ``close`` it."""
    calls, settings = Calls(), parts.clusters.settings
    session = make_session(settings)
    calls.of_session(session)
    backend: Backend
    if name == "rbd":
        backend = RbdBackend(settings, session, calls.of_bindings(parts.clusters.bindings))
    else:
        backend = CinderBackend(settings, session)
    timing = parts.timing
    waits = Waits(backend, timing.poll, timing.poll_max, timing.clock_skew)
    return Side(name, backend, dataclasses.replace(parts, backend=backend, waits=waits), calls, session)


@contextlib.contextmanager
def opened(parts: Parts, who: Caller) -> Iterator[dict[str, Side]]:
    """Have both sides, connected already, for as long as the block lasts. Raises what ``Clusters.pools`` raises."""
    parts.clusters.pools()
    access = parts.rights.beside(who)
    with contextlib.ExitStack() as stack:
        found = {name: side(parts, name) for name in BACKENDS}
        for each in found.values():
            stack.callback(each.close)
            # Version, token and connection are a process's, not a boot's.
            each.backend.look(access, (), utcnow())
        yield found
