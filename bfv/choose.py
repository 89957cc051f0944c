# SPDX-License-Identifier: Apache-2.0
"""Choose the cells for a server, best first. Pure, so that each rule is a row in a table of tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bfv.errors import BadRequest, NoRoom
from cells.types import Cell
from imagebackends.types import Target


@dataclass(frozen=True)
class Wish:
    """What a request asks of its cell. ``only`` is the one cell that holds what it boots from, and why."""

    availability_zone: str | None = None
    volume_type: str | None = None
    only: tuple[str, str] | None = None


@dataclass(frozen=True)
class Choice:
    """A cell to try, where its disks go, and why it stands here in the order."""

    cell: str
    target: Target
    why: str


def choose(cells: Sequence[Cell], targets: Sequence[Target], wish: Wish, servers: Mapping[str, int]) -> list[Choice]:
    """Return the cells that fit, fewest servers of the project first, then in configured order.

    ``servers`` counts the project's servers by cell name. Raises BadRequest for a zone or a volume
    type that no cell has, NoRoom when cells would fit but none may be used now.
    """
    usable = {cell.name for cell in cells if not cell.disabled and not cell.is_cell0}
    fitting = _fitting(targets, wish)
    open_targets = [target for target in fitting if target.cell in usable]
    if not open_targets:
        closed = ", ".join(sorted({target.cell for target in fitting}))
        raise NoRoom(f"No cell can take the server now: {closed} disabled or not mapped.")
    ordered = sorted(open_targets, key=lambda target: servers.get(target.cell, 0))
    return [Choice(target.cell, target, _why(target, wish, servers)) for target in ordered]


def _fitting(targets: Sequence[Target], wish: Wish) -> list[Target]:
    if not targets:
        raise NoRoom("No cell has storage: add a [cell:NAME] section for each cell to the configuration.")
    fitting = _of_tier(targets, wish.volume_type)
    if wish.availability_zone:
        zones = sorted({target.availability_zone or "-" for target in fitting})
        fitting = [target for target in fitting if target.availability_zone == wish.availability_zone]
        if not fitting:
            raise BadRequest(
                f"Availability zone {wish.availability_zone} has no cell with that storage; "
                f"choose one of: {', '.join(zones)}."
            )
    if wish.only:
        cell, why = wish.only
        fitting = [target for target in fitting if target.cell == cell]
        if not fitting:
            raise BadRequest(
                f"The server must be in cell {cell} ({why}), which does not fit the availability zone "
                "or volume type that was asked for."
            )
    return fitting


def _of_tier(targets: Sequence[Target], asked: str | None) -> list[Target]:
    wanted = asked or "default"
    fitting = [target for target in targets if wanted == target.tier]
    if asked and not fitting:
        fitting = [target for target in targets if wanted == target.volume_type]
    if not fitting:
        tiers = sorted({target.tier for target in targets})
        raise BadRequest(f"Volume type {wanted} is no tier of any cell; choose one of: {', '.join(tiers)}.")
    return fitting


def _why(target: Target, wish: Wish, servers: Mapping[str, int]) -> str:
    if wish.only:
        return wish.only[1]
    reasons = []
    if wish.availability_zone:
        reasons.append(f"in availability zone {wish.availability_zone}")
    if wish.volume_type:
        reasons.append(f"has volume type {wish.volume_type}")
    reasons.append(f"{servers.get(target.cell, 0)} servers of the project")
    return ", ".join(reasons)
