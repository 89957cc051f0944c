# SPDX-License-Identifier: Apache-2.0
"""Which servers are known to be deleted for good, so that no page asks for them twice.

``queued_for_delete`` says that a delete was accepted, not that it was done, so every mapping with that flag may be a
server that nova still shows, and only its cell can tell. Most are deleted, ten times as many as live where nobody
archives. A row that was seen deleted never comes back (what a restore brings back was deleted softly, by its vm_state;
a move between cells removes the row that it leaves: ``nova/conductor/tasks/cross_cell_migrate.py``), so a cell has to
be asked about each only once. Where there is no row at all, archived or never written, one may still be written.
"""

import threading
import time
from collections.abc import Iterable

_TOLD = 8


class Graves:
    """The ids of mappings whose rows were seen deleted; at most ``most`` of them (70 MiB), then it starts anew.

    Those without a row count as deleted for ``patience`` seconds.
    """

    def __init__(self, most: int = 1_000_000, patience: float = 60.0) -> None:
        self._most, self._patience = most, patience
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._missed: set[int] = set()
        self._missed_until = 0.0
        # What was told since anything changed: who lists the same servers again asks the same again.
        self._told: dict[frozenset[int], frozenset[int]] = {}

    def add(self, deleted: Iterable[int], missing: Iterable[int] = ()) -> None:
        """Remember that the rows of these mappings are deleted, and that those have none."""
        with self._lock:
            self._age()
            self._seen.update(deleted)
            self._missed.update(missing)
            self._told = {}

    def without(self, mapping_ids: frozenset[int]) -> frozenset[int]:
        """Return those of these mappings whose rows may be alive."""
        with self._lock:
            self._age()
            if mapping_ids not in self._told:
                self._told = {} if len(self._told) >= _TOLD else self._told
                self._told[mapping_ids] = mapping_ids - self._seen - self._missed
            return self._told[mapping_ids]

    def _age(self) -> None:
        if len(self._seen) > self._most:
            self._seen, self._told = set(), {}
        if time.monotonic() >= self._missed_until or len(self._missed) > self._most:
            self._missed, self._missed_until = set(), time.monotonic() + self._patience
            self._told = {}
