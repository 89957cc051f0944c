# SPDX-License-Identifier: Apache-2.0
"""Choose the cells for a server, best first, and a host in each. Pure, so that each rule is a row in a table of tests.

A cell that has hosts is judged by them, zone and room; one that has none registered (a library without compute
hosts) stays a candidate, and its zone is that of its storage.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bfv.errors import BadRequest, NoRoom
from bfv.fit import NOTHING, Fit, Needs, Placing, Size, fit
from bfv.types import utcnow
from cells.types import Cell, Host
from imagebackends.types import Target


@dataclass(frozen=True)
class Wish:
    """What a request asks of its place. ``only`` is the one cell that holds what it boots from, and why.

    ``volume_zone`` is the zone of a volume that is there already. ``only_hosts`` (None: any) and ``never_hosts`` are
    what the rule of its server group leaves. ``data_types`` are the volume types of the disks beside the root.
    """

    availability_zone: str | None = None
    volume_type: str | None = None
    data_types: tuple[str, ...] = ()
    only: tuple[str, str] | None = None
    volume_zone: str | None = None
    size: Size = NOTHING
    only_hosts: frozenset[str] | None = None
    never_hosts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Known:
    """What is known of the cells now.

    By cell name: the project's ``servers``, why it is ``down``, its ``hosts``, the ``seconds`` that its next boot will
    take. By host: ``zones`` and ``claimed``, see `bfv.fit.fit`. ``now`` is naive UTC.
    """

    cells: Sequence[Cell]
    targets: Sequence[Target]
    servers: Mapping[str, int] = field(default_factory=dict)
    down: Mapping[str, str] = field(default_factory=dict)
    hosts: Mapping[str, Sequence[Host]] = field(default_factory=dict)
    zones: Mapping[str, str] = field(default_factory=dict)
    claimed: Mapping[str, Size] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    placing: Placing = field(default_factory=Placing)
    now: dt.datetime = field(default_factory=utcnow)


@dataclass(frozen=True)
class Choice:
    """A cell to try, where its disks go, its best host (None: it has none), its zone, and why it stands here."""

    cell: str
    target: Target
    host: str | None
    availability_zone: str | None
    why: str


@dataclass(frozen=True)
class Chosen:
    """The cells to try, best first, never none; and why each other cell with that storage is left out."""

    choices: tuple[Choice, ...]
    why_not: Mapping[str, str]


@dataclass(frozen=True)
class _Fitting:
    target: Target
    found: Fit


def choose(known: Known, wish: Wish) -> Chosen:
    """Return the cells that fit: warm before cold, then fewest servers of the project, then most free memory, then in
    configured order.

    Raises BadRequest for a zone or a volume type that no cell has, NoRoom when cells would fit but none may be used
    now; its text counts hosts and names none, nor says why a cell is down: it is shown to users.
    """
    fitting: list[_Fitting] = []
    why_not: dict[str, str] = {}
    short: dict[str, str] = {}
    for target in _asked_for(known, wish):
        if reason := _closed(known, wish, target):
            why_not[target.cell], short[target.cell] = reason, reason.partition(": ")[0]
            continue
        found = _fit(known, wish, target)
        if found.hosts or not known.hosts.get(target.cell):
            fitting.append(_Fitting(target, found))
        else:
            why_not[target.cell], short[target.cell] = (
                f"no host fits: {found.tell(names=names)}" for names in (True, False)
            )
    if not fitting:
        told = "; ".join(f"{cell}: {reason}" for cell, reason in short.items())
        raise NoRoom(f"No cell can take the server now. {told}.")
    fitting.sort(
        key=lambda each: (
            _slowness(known.seconds.get(each.target.cell)),
            known.servers.get(each.target.cell, 0),
            -each.found.free_mb,
        )
    )
    return Chosen(tuple(_choice(known, wish, each) for each in fitting), why_not)


def _asked_for(known: Known, wish: Wish) -> list[Target]:
    """Return the targets whose storage and zones are those that are asked for. Raises BadRequest if there are none."""
    if not known.targets:
        raise NoRoom("No cell has storage: add a [cell:NAME] section for each cell to the configuration.")
    fitting = _of_tier(known.targets, wish.volume_type)
    for asked in wish.data_types:
        cells = {target.cell for target in _of_tier(known.targets, asked)}
        fitting = [target for target in fitting if target.cell in cells]
        if not fitting:
            raise BadRequest(f"No cell has volume type {asked} beside the others that were asked for.")
    zone = wish.availability_zone
    if zone and wish.volume_zone and zone != wish.volume_zone and not known.placing.cross_az_attach:
        # nova/compute/api.py:_validate_vol_az_for_create
        raise BadRequest(
            f"The volume is in availability zone {wish.volume_zone}, and servers may only use volumes of their own "
            f"zone; ask for that zone instead of {zone}, or for none."
        )
    if zone:
        zones = {each.cell: _zones(known, each) for each in fitting}
        fitting = [target for target in fitting if zone in zones[target.cell]]
        if not fitting:
            raise BadRequest(
                f"Availability zone {zone} has no cell with that storage; "
                f"choose one of: {', '.join(sorted(set().union(*zones.values())))}."
            )
    if wish.only:
        cell, why = wish.only
        fitting = [target for target in fitting if target.cell == cell]
        if not fitting:
            raise BadRequest(
                f"The server must be in cell {cell} ({why}), which does not fit the availability zone "
                "or volume type that was asked for: leave these out, or carry the data there by a backup."
            )
    return fitting


def target_of(targets: Sequence[Target], cell: str, asked: str | None) -> Target:
    """Return where a volume of a tier, or of a type that a tier leads to, goes in a cell. Raises BadRequest."""
    return _of_tier([target for target in targets if target.cell == cell], asked)[0]


def _of_tier(targets: Sequence[Target], asked: str | None) -> list[Target]:
    wanted = asked or "default"
    fitting = [target for target in targets if wanted == target.tier]
    if asked and not fitting:
        fitting = [target for target in targets if wanted == target.volume_type]
    if not fitting:
        tiers = sorted({target.tier for target in targets})
        raise BadRequest(f"Volume type {wanted} is no tier of any cell; choose one of: {', '.join(tiers)}.")
    return fitting


def _zones(known: Known, target: Target) -> set[str]:
    """Return the zones that a cell is in; what is not known now may be in any zone that there is."""
    default = known.placing.default_availability_zone
    if hosts := known.hosts.get(target.cell):
        return {known.zones.get(host.host, default) for host in hosts}
    storage = {target.availability_zone or "-"}
    return storage | {default, *known.zones.values()} if target.cell in known.down else storage


def _closed(known: Known, wish: Wish, target: Target) -> str | None:
    """Return why a cell as a whole cannot be used now."""
    cell = next((cell for cell in known.cells if cell.name == target.cell and not cell.is_cell0), None)
    if cell is None:
        return "not mapped"
    if cell.disabled:
        return "disabled"
    if target.cell in known.down:
        return f"down: {known.down[target.cell]}"
    if not known.hosts.get(target.cell):
        return _closed_without_hosts(known, wish, target)
    return None


def _closed_without_hosts(known: Known, wish: Wish, target: Target) -> str | None:
    zone = _volume_zone(known, wish, target)
    if zone and target.availability_zone and zone != target.availability_zone:
        return f"not in zone {zone} of the volumes"
    if wish.only_hosts is not None:
        return "the rule of the server group asks for a host, and it has none"
    return None


def _volume_zone(known: Known, wish: Wish, target: Target) -> str | None:
    """Return the zone that a host must be in for its volumes (nova/virt/block_device.py:check_availability_zone).

    A volume that is to be made will be in the zone of the cell's storage.
    """
    return None if known.placing.cross_az_attach else wish.volume_zone or target.availability_zone


def _fit(known: Known, wish: Wish, target: Target) -> Fit:
    needs = Needs(
        size=wish.size,
        availability_zone=wish.availability_zone,
        volume_zone=_volume_zone(known, wish, target),
        only=wish.only_hosts,
        never=wish.never_hosts,
    )
    hosts = known.hosts.get(target.cell, ())
    return fit(hosts, needs, known.zones, known.claimed, known.placing, known.now)


def _slowness(seconds: float | None) -> float:
    """Return a step that is equal for cells whose next boots take about equally long: it grows when that doubles.

    Below two seconds is equal; unknown is behind all that is known.
    """
    return float("inf") if seconds is None else int(max(seconds, 1.0)).bit_length()


def _choice(known: Known, wish: Wish, each: _Fitting) -> Choice:
    cell, found = each.target.cell, each.found
    host = found.hosts[0] if found.hosts else None
    zone = known.zones.get(host, known.placing.default_availability_zone) if host else each.target.availability_zone
    return Choice(cell, each.target, host, zone, _why(known, wish, each))


def _why(known: Known, wish: Wish, each: _Fitting) -> str:
    cell, found = each.target.cell, each.found
    reasons = [wish.only[1]] if wish.only else []
    if wish.availability_zone and not wish.only:
        reasons.append(f"in availability zone {wish.availability_zone}")
    if wish.volume_type and not wish.only:
        reasons.append(f"has volume type {wish.volume_type}")
    if not wish.only:
        if cell in known.seconds:
            reasons.append(f"about {known.seconds[cell]:.0f} s to boot")
        reasons.append(f"{known.servers.get(cell, 0)} servers of the project")
    if found.hosts:
        count = len(known.hosts[cell])
        left_out = f" ({found.tell(names=True)})" if found.left_out else ""
        reasons.append(f"{len(found.hosts)} of {count} hosts fit{left_out}")
    return ", ".join(reasons)
