# SPDX-License-Identifier: Apache-2.0
"""Compare both backends in one cell after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from bfv.compare.cell import GIB, CellTrials, Tell
from bfv.compare.copies import Copies
from bfv.compare.sides import opened
from bfv.compare.values import Comparison, Series
from bfv.errors import BadRequest
from bfv.parts import Parts
from bfv.types import Caller
from imagebackends.types import Image


@dataclass(frozen=True)
class Plan:
    """What to compare: an image by name or id, in these cells or (empty) in all that name their Ceph.

    ``count`` boots are warm, one after the other and then at once; ``cold`` of them are each of a fresh copy of the
    image, 0: none is made, and the first boot of each is left out.
    """

    image: str
    cells: Sequence[str] = ()
    count: int = 5
    cold: int = 1


def compare(parts: Parts, who: Caller, plan: Plan, tell: Tell = lambda _: None) -> Comparison:
    """Boot, measure and remove; ``tell`` is called with what is being done.

    What goes wrong in one cell with one backend is in its series. Raises NotFound, BadRequest, NotAllowed,
    Unsupported, MaybeRunning when nothing could be compared.
    """
    cells = _cells(parts, plan)
    image = parts.images.find(parts.rights.image(who), plan.image)
    size = _size(parts, image)
    series: list[Series] = []
    left: list[str] = []
    with opened(parts, who) as sides:
        copies = Copies(parts, who)
        done: list[CellTrials] = []
        try:
            tell(f"copy image {image.name or image.id}")
            cold = [copies.make(image) for _ in range(plan.cold)]
            warm = cold[-1] if cold else copies.read(image)
            for cell in cells:
                target, cluster = parts.target(cell, "default"), parts.clusters.pools().clusters[cell]
                done.append(CellTrials(sides, who, copies, target, cluster, size, tell))
                series += done[-1].run(cold, warm, plan.count)
        finally:
            left += [line for each in done for line in each.left]
            left += [f"{line}; `bfv repair` removes it" for line in copies.remove()]
        kept = [line for each in done for line in each.kept()]
    return Comparison(image.id, image.name, image.size, image.disk_format, size, series, left, kept)


def _cells(parts: Parts, plan: Plan) -> list[str]:
    if plan.count < 1 or plan.cold < 0:
        raise BadRequest("At least one boot is compared: --count 1, --cold 0 or more.")
    pools = parts.clusters.pools()
    cells = list(dict.fromkeys(plan.cells)) or list(pools.clusters)
    for cell in cells:
        pools.of(cell)
        parts.target(cell, "default")
    return cells


def _size(parts: Parts, image: Image) -> int:
    """As a boot decides it (``bfv.decide``) for a flavor without a root disk, in GiB."""
    largest = max(image.size, image.virtual_size or 0)
    return max(1, -(-largest // GIB), image.min_disk, parts.rules.min_size)
