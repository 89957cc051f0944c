# SPDX-License-Identifier: Apache-2.0
"""What people ask of images: warm them, see how they stand, keep some warm, look whether all is ready for it."""

from collections.abc import Callable, Mapping, Sequence

from bfv.check import Line
from bfv.engine import Engine
from bfv.images import check as ready
from bfv.images import discard, fleet, janitor, keep, left, overview
from bfv.parts import Parts
from bfv.turns import Turns
from bfv.types import Caller
from imagebackends.rbd.pool import Cluster


class Images:
    """The verbs; ``caller`` is who asks where nobody is named."""

    def __init__(self, parts: Parts, engine: Engine, caller: Callable[[], Caller]) -> None:
        self._parts, self._engine, self._caller = parts, engine, caller

    def warm(self, image: str, cells: Sequence[str] | None = None, caller: Caller | None = None, *,
             tiers: Sequence[str] = ("default",), wait: bool = True,
             progress: Callable[[fleet.Warmed], None] = lambda _: None) -> list[fleet.Warmed]:  # fmt: skip
        """Make the cheapest source of an image exist in these cells, None: all, before its first boot; repeatable.

        Returns what came of each, at once unless ``wait``. Raises NotFound, BadRequest, NotAllowed for another
        project's image, MaybeRunning.
        """
        found = fleet.find(self._parts, caller or self._caller(), image)
        places = fleet.targets(self._parts, cells, tiers)
        # What is written as warm may be gone or broken since.
        overview.check(self._parts, found.id)
        if wait:
            return fleet.over(self._parts, found, places, progress)
        started = [fleet.start(self._parts, found, each) for each in places]
        for _, intent in started:
            if intent is not None:
                self._engine.submit(intent.id, f"{intent.verb} {intent.cell}")
        return [told for told, _ in started]

    def map(self, images: Sequence[str] = (), caller: Caller | None = None, *,
                  count: bool = False) -> list[overview.Line]:  # fmt: skip
        """Return how these images, or all that the caller sees, stand in each cell. Raises NotFound, MaybeRunning.

        With ``count`` the Ceph of each cell that has a ``ceph_conf`` is asked for clones and snapshots.
        """
        clusters = self._clusters() if count else {}
        return overview.overview(self._parts, caller or self._caller(), images, clusters)

    def delete(self, image: str, caller: Caller | None = None) -> list[discard.Left]:
        """Delete an image by id or name, and return the snapshots of disks that it named and that stay.

        Raises NotFound, Refused, Failed where it stays itself; MaybeRunning.
        """
        who = caller or self._caller()
        intent = discard.begin(self._parts, who, image)
        Turns(self._parts, self._engine).run_taken(intent, who)
        return discard.left(self._parts, self._parts.rights.image(who), intent)

    def left(self, caller: Caller | None = None) -> list[discard.Left]:
        """Return the snapshots of the caller's project that images of its servers named which are gone."""
        who = caller or self._caller()
        return left.look(self._parts, self._parts.rights.image(who), who.project_id)

    def plan(self) -> list[keep.Planned]:
        """Return what the rules for images that are kept warm name, and what is missing. Raises NotAllowed."""
        return keep.plan(self._parts)

    def keep(self) -> list[fleet.Warmed]:
        """Warm what is missing of these, and return what came of it. Raises NotAllowed, MaybeRunning."""
        return keep.keep(self._parts)

    def check(self, projects: Sequence[str] = ()) -> list[Line]:
        """Return what each source of images needs of the operator, a line for each thing."""
        return ready.check(self._parts, self._clusters(), projects)

    def janitor(self, *, dry_run: bool = False) -> list[janitor.Swept]:
        """Remove what nothing needs from the pools of the cells that have a ``ceph_conf``. Raises NotAllowed."""
        return janitor.sweep(self._parts, self._clusters(), dry_run=dry_run)

    def _clusters(self) -> Mapping[str, Cluster]:
        """Return the clusters of those cells that name one."""
        clusters = self._parts.clusters
        return clusters.pools().clusters if clusters.settings.ceph else {}
