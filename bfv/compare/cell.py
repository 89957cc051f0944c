# SPDX-License-Identifier: Apache-2.0
"""The boots of one cell through both sides, in turns, so that what else goes on there hits both alike."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bfv.compare import disks
from bfv.compare.copies import Copies, Copy
from bfv.compare.sides import Side
from bfv.compare.trial import Trial
from bfv.compare.values import Boot, Cost, Series, State
from bfv.errors import StorageError
from bfv.types import Caller
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.types import Target

GIB = 1024**3
Tell = Callable[[str], None]


class _Row:
    """What is gathered of one side."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.boots: dict[State, list[Boot]] = {"cold": [], "warm": []}
        self.trials: list[Trial] = []
        self.deletes: list[Cost] = []
        self.snapshots: list[tuple[Cost, Cost]] = []
        self.looks: list[disks.Found | None] = []
        self.per_minute: float | None = None
        self.equal: bool | None = None
        self.unread = self.why = ""


class CellTrials:
    """Compares in one cell; what cannot be removed afterwards is in ``left``."""

    def __init__(self, sides: Mapping[str, Side], who: Caller, copies: Copies, target: Target, cluster: Cluster,
                 size: int, tell: Tell) -> None:  # fmt: skip
        self._who, self._copies, self._target, self._cluster = who, copies, target, cluster
        self._size, self._tell = size, tell
        self._rows = [_Row(side) for side in sides.values()]
        self.left: list[str] = []

    def run(self, cold: Sequence[Copy], warm: Copy, count: int) -> list[Series]:
        """Boot each of ``cold`` once and ``warm`` ``count`` times, then as many at once; return the two series."""
        try:
            for copy in cold:
                self._in_turn("cold", copy, len(self._rows[0].trials))
            if not cold:
                self._in_turn(None, warm, 0)
            for number in range(count):
                self._in_turn("warm", warm, number)
            for row in self._rows:
                self._weigh(row, cold, warm)
                self._snapshots(row)
        finally:
            for row in self._rows:
                self._delete(row)
        for row in self._rows:
            self._storm(row, warm, count)
        return [self._series(row, count) for row in self._rows]

    def _in_turn(self, state: State | None, copy: Copy, number: int) -> None:
        for row in self._rows if number % 2 else reversed(self._rows):
            if row.why:
                continue
            self._tell(f"{self._target.cell}: {row.side.name}, {state or 'first'} boot")
            try:
                boot = self._boot(row, copy)
            except StorageError as error:
                row.why = str(error)
                continue
            if state:
                row.boots[state].append(boot)

    def _boot(self, row: _Row, copy: Copy) -> Boot:
        trial = Trial(row.side, self._who, self._target.cell, self._copies.run)
        row.trials.append(trial)
        boot = trial.boot(copy.image, self._size, self._target)
        trial.use()
        found = disks.look(self._cluster, trial.connection)
        row.looks.append(found)
        if found is None:
            return boot
        # A warm disk is a clone of what cinder has cached, and that is a clone of the cold one.
        for other in (found.parent or "", *found.clones):
            if row.side.name == "cinder" and other.startswith("volume-"):
                self._copies.cached(self._target.cell, other.removeprefix("volume-"), copy)
        fetched = 0 if found.parent else copy.image.size
        return Boot(boot.seconds, boot.calls, found.parent is not None, fetched, found.held, found.objects)

    def _weigh(self, row: _Row, cold: Sequence[Copy], warm: Copy) -> None:
        """Compare the bytes of each cold disk, and of one warm one."""
        of = [*cold, warm] if cold else [warm]
        for trial, copy, found in zip(row.trials, of, row.looks, strict=False):
            if copy.image.disk_format != "raw":
                row.unread = f"the image is {copy.image.disk_format}, and cinder converted it"
                return
            if found is None:
                row.unread = f"client.{self._cluster.ceph.user} may not read {trial.connection['name']}"
                return
            try:
                how = disks.differs(self._cluster, trial.connection, copy.image, copy.sha256, self._size * GIB)
            except StorageError as error:
                row.unread = str(error)
                return
            row.equal = row.equal is not False and not how
            row.unread = row.unread or how

    def _snapshots(self, row: _Row) -> None:
        for trial in row.trials if not row.why else ():
            try:
                row.snapshots.append(trial.snapshot())
            except StorageError as error:
                row.why = str(error)
                return

    def _delete(self, row: _Row) -> None:
        for trial in row.trials:
            self._tell(f"{self._target.cell}: {row.side.name}, delete")
            if (cost := self._remove(trial)) is not None:
                row.deletes.append(cost)

    def _remove(self, trial: Trial) -> Cost | None:
        try:
            return trial.delete()
        except StorageError as error:
            self.left.append(f"cell {trial.cell}, {trial.side.name}: {error}; `bfv repair` removes it")
            return None

    def _storm(self, row: _Row, copy: Copy, count: int) -> None:
        if row.why:
            return
        self._tell(f"{self._target.cell}: {row.side.name}, {count} boots at once")
        trials = [Trial(row.side, self._who, self._target.cell, self._copies.run) for _ in range(count)]
        with ThreadPoolExecutor(count) as threads:
            began = time.perf_counter()
            asked = [threads.submit(trial.boot, copy.image, self._size, self._target) for trial in trials]
            errors = [each.exception() for each in asked]
            seconds = time.perf_counter() - began
            list(threads.map(self._remove, trials))
        row.trials += trials
        wrong = [each for each in errors if each]
        if any(not isinstance(each, StorageError) for each in wrong):
            raise wrong[0]
        row.why = f"{len(wrong)} of {count} boots at once failed: {wrong[0]}" if wrong else ""
        row.per_minute = 60 * (count - len(wrong)) / seconds

    def _series(self, row: _Row, count: int) -> Series:
        found = [each for each in row.looks if each]
        return Series(
            backend=row.side.name,
            cell=self._target.cell,
            boots=row.boots,
            deletes=row.deletes,
            snapshots=[made for made, _ in row.snapshots],
            snapshot_deletes=[gone for _, gone in row.snapshots],
            storm=count,
            per_minute=row.per_minute,
            held=sum(each.held for each in found) if found and len(found) == len(row.looks) else None,
            disks=len(row.looks),
            bytes_equal=row.equal,
            unread=row.unread,
            why=row.why,
        )

    def kept(self) -> list[str]:
        """Return what cinder has only renamed, since it made clones of it for its cache: it never removes that."""
        cinder = [each for row in self._rows if row.side.name == "cinder" for each in row.trials if each.connection]
        if not cinder:
            return []
        pool, _ = disks.place(self._cluster, cinder[0].connection)
        names = [disks.place(self._cluster, each.connection)[1] for each in cinder]
        names += [f"volume-{volume}" for cell, volume in self._copies.volumes if cell == self._target.cell]
        return [line for name in names for line in self._renamed(pool, f"{name}.deleted")]

    def _renamed(self, pool: Pool, name: str) -> list[str]:
        try:
            if pool.find(name) is None:
                return []
            mib = math.ceil(sum(each.length for each in pool.held(name)) / 2**20)
        except StorageError:
            return []
        return [
            f"cell {self._target.cell}: cinder keeps {pool.name}/{name}, {mib} MiB, for good: it cloned it for its "
            "cache; `rbd snap purge` and `rbd rm` remove it, clones first"
        ]
