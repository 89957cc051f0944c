# SPDX-License-Identifier: Apache-2.0
"""What each cell's storage can do for images, learned from cinder and Glance with the service user's rights.

Read once and again after ``images_fresh`` seconds: stores, pools and types change with the operator's configuration.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bfv.errors import StorageError
from bfv.rights import Rights
from bfv.types import new_request_id
from imagebackends.backend import Backend
from imagebackends.cinder.backend import CinderBackend
from imagebackends.survey import Survey
from imagebackends.types import Target

# Seconds before services that did not answer are asked again.
AGAIN = 5.0


@dataclass(frozen=True)
class Place:
    """A target's abilities. ``store`` is Glance's on the same Ceph; ``encrypted`` volumes come of downloads alone."""

    target: Target
    store: str | None = None
    pool: str | None = None
    encrypted: bool = False


Places = Mapping[tuple[str, str], Place]


class Known:
    """Tells the places, to many threads; None where the rights do not suffice or the services do not answer."""

    def __init__(self, rights: Rights, backend: Backend, targets: Sequence[Target], fresh: float,
                 cache_project: str | None = None) -> None:  # fmt: skip
        self._rights, self._backend, self._targets, self._fresh = rights, backend, targets, fresh
        self._cache_project = cache_project
        self._lock = threading.Lock()
        self._found: Places | None = None
        self._at = 0.0

    def places(self) -> Places | None:
        """Return the places by cell and tier."""
        with self._lock:
            fresh = self._fresh if self._found is not None else min(self._fresh, AGAIN)
            if not self._at or time.monotonic() - self._at > fresh:
                self._found, self._at = self._look(), time.monotonic()
            return self._found

    def survey(self) -> Survey | None:
        """Return what asks as an administrator, None without the rights. Raises MaybeRunning, NotAllowed, BadConfig."""
        access = self._rights.everywhere(new_request_id())
        if access is None or not isinstance(self._backend, CinderBackend):
            return None
        return Survey(self._backend.clients, access, self._cache_project)

    def _look(self) -> Places | None:
        try:
            survey = self.survey()
            if survey is None:
                return None
            pools, stores = survey.pools(), {each.fsid: each.id for each in survey.stores() if each.fsid}
            kinds = {each.volume_type for each in self._targets if each.volume_type}
            encrypted = survey.encrypted(kinds)
        except StorageError:
            return None
        found = {}
        for target in self._targets:
            pool = next((each for each in pools if each.name == target.backend), None)
            store = stores.get(pool.fsid) if pool and pool.fsid else None
            found[target.cell, target.tier] = Place(
                target, store, pool.rbd_pool if pool else None, target.volume_type in encrypted
            )
        return found
