# SPDX-License-Identifier: Apache-2.0
"""How a server's root disk becomes a volume, and what stands against it: pure, of facts that were read before."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bfv.migrate.contract import Facts
from imagebackends.rbd.types import Image
from imagebackends.types import Target

GIB = 1024**3
RENAME, LIVE, CLONE, COPY = "rename", "live", "clone", "copy"
WAYS = (RENAME, LIVE, CLONE, COPY)
MANAGE, PLACEHOLDER = "manage", "placeholder"
ADOPTED = {
    MANAGE: "cinder manages it",
    PLACEHOLDER: "it takes the place of a volume that cinder made for its owner while it ran,",
}
STEPS = {
    RENAME: ("{adopt} where it lies: a rename",),
    LIVE: (
        "librbd opens it in {pool}, its bytes stay behind",
        "{adopt} there",
        "behind the running guest: bytes are copied, then compared with a snapshot made before the guest's first write",
        "purge removes what is left in {old}",
    ),
    CLONE: (
        "a snapshot of it is cloned into {pool}",
        "{adopt}",
        "behind the running guest: the clone is flattened and compared with the old disk",
        "purge removes the old disk and its snapshot",
    ),
    COPY: (
        "while it runs: its bytes are copied to the other cluster, then what changed meanwhile",
        "while it is off: what changed since, compared by checksums",
        "{adopt}",
        "purge removes the old disk",
    ),
}


@dataclass(frozen=True)
class Place:
    """Where the root disks of a cell lie and where they go; ``reach`` is the cell whose ceph.conf leads to the target.

    ``why_not`` says what keeps all disks of the cell from going there, with what lifts it.
    """

    cell: str
    pool: str
    fsid: str = ""
    target: Target | None = None
    target_fsid: str = ""
    target_pool: str = ""
    reach: str | None = None
    why_not: str | None = None
    adopt: str = MANAGE

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways there are, the best first."""
        if self.fsid != self.target_fsid:
            return (COPY,)
        return (RENAME,) if self.pool == self.target_pool else (LIVE, CLONE)


@dataclass(frozen=True)
class Quota:
    """What a project may still have in cinder, None unlimited; ``gigabytes`` in GiB."""

    volumes: int | None = None
    gigabytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What is to be done for one server, JSON all through; ``size`` in bytes as it is now, ``gib`` as the volume's.

    ``copied`` and ``copied_later`` are bytes at most while it is off, and behind its running guest; ``space`` what more
    the target holds until purge. ``off`` is the expected time in seconds that storage work takes while it is off.
    """

    server_id: str
    name: str
    project_id: str
    user_id: str
    cell: str
    host: str | None
    running: bool
    way: str | None = None
    image: str = ""
    pool: str = ""
    size: int = 0
    gib: int = 0
    parent: str | None = None
    reach: str = ""
    target_pool: str = ""
    target: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    copied: int = 0
    copied_later: int = 0
    space: int = 0
    off: float = 0.0
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    adopt: str = MANAGE

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Plan":
        """Return the plan that ``dataclasses.asdict`` gave, read from JSON."""
        lists = {key: tuple(data[key]) for key in ("steps", "refusals", "notes", "unproven")}
        return cls(**{**data, **lists})

    def goes_to(self) -> Target:
        """Return where its volume goes."""
        return Target(**self.target)


def plan(facts: Facts, image: Image | None, clones: bool, place: Place, way: str | None = None) -> Plan:
    """Return a server's plan; ``clones`` says that its image has clones, ``way`` asks for one of several."""
    base = _base(facts, place)
    refusals = [*facts.refusals]
    if place.why_not:
        refusals.append(place.why_not)
    name = root_name(facts.server_id)
    if image is None:
        if not facts.is_volume_backed:
            refusals.append(f"There is no image {place.pool}/{name}: its root disk is not on nova's rbd backend.")
        return dataclasses.replace(base, refusals=tuple(refusals))
    chosen = _choose(place, way, image)
    refusals += [*_of_image(image, clones, running=not facts.is_off)]
    if chosen is None:
        known = ", ".join(place.ways)
        refusals.append(f"The way {way} does not lead from {place.pool} to {place.target_pool}; those are: {known}.")
        return dataclasses.replace(base, refusals=tuple(refusals))
    return _filled(base, image, chosen, place, refusals)


def _base(facts: Facts, place: Place) -> Plan:
    return Plan(facts.server_id, facts.name, facts.project_id, facts.user_id, place.cell, facts.host, not facts.is_off,
                notes=facts.notes)  # fmt: skip


def _filled(base: Plan, image: Image, way: str, place: Place, refusals: Sequence[str]) -> Plan:
    later = image.size if way in (LIVE, CLONE) else 0
    notes = [*base.notes]
    if image.size % GIB:
        notes.append(f"It grows from {image.size} bytes to {gib_of(image.size)} GiB: cinder counts whole ones.")
    secret = f"that host {base.host}'s hypervisor knows the secret of cinder's backend: its first server decides"
    return dataclasses.replace(
        base,
        way=way,
        image=image.name,
        pool=place.pool,
        size=image.size,
        gib=gib_of(image.size),
        parent=f"{image.parent.pool}/{image.parent.image}" if image.parent else None,
        reach=place.reach or place.cell,
        target_pool=place.target_pool,
        target=dataclasses.asdict(place.target) if place.target else {},
        steps=tuple(
            each.format(pool=place.target_pool, old=place.pool, adopt=ADOPTED[place.adopt]) for each in STEPS[way]
        ),
        copied_later=later,
        # Of a copy the last change alone; how much that is nobody knows before.
        copied=0,
        space=image.size if way != RENAME else 0,
        # Measured, see docs/benchmarks.md: flat in size but for a copy's last change.
        off=1.0,
        refusals=tuple(refusals),
        notes=tuple(notes),
        unproven=(secret,) if base.host else (),
        adopt=place.adopt,
    )


def gib_of(size: int) -> int:
    """Return bytes as the whole GiB that they need."""
    return max(1, math.ceil(size / GIB))


def root_name(server_id: str) -> str:
    """Return the name of a server's root disk (``nova/virt/libvirt/imagebackend.py:Rbd``)."""
    return f"{server_id}_disk"


def _choose(place: Place, way: str | None, image: Image) -> str | None:
    if way is not None:
        return way if way in place.ways else None
    best = place.ways[0]
    # librbd's live migration and journaling do not go together.
    return CLONE if best == LIVE and "journaling" in image.features else best


def _of_image(image: Image, clones: bool, *, running: bool) -> Iterator[str]:
    """Yield what stands against moving an image, each with what lifts it."""
    named = [each.name for each in image.snapshots if not each.trashed]
    if "nova-resize" in named:
        yield "Its disk has nova's snapshot nova-resize: confirm or revert the resize."
    elif named:
        yield f"Its disk has snapshots that cinder would not know ({', '.join(named)}): remove them (rbd snap rm)."
    if clones:
        yield "Its disk has clones: flatten or remove them."
    if "migrating" in image.features:
        yield "Its disk is in the middle of another migration of librbd: commit or abort that (rbd migration)."
    if "non-primary" in image.features:
        yield "Its disk is the mirror of another cluster's: promote it, and disable mirroring."
    if not running:
        yield from opened(image)


def opened(image: Image) -> Iterator[str]:
    """Yield why an image of a server that is off may not be moved: somebody has it open, or had it and died."""
    if image.watchers:
        yield f"Its disk is open at {', '.join(image.watchers)} though it is off: end what has it open."
    elif image.lockers:
        who = image.lockers[0]
        yield f"Its disk is locked by {who.client} at {who.address}, which is gone: break the lock (rbd lock rm)."


def within(plans: Sequence[Plan], quotas: Mapping[str, Quota]) -> list[Plan]:
    """Refuse those plans that go past what their projects may still have in cinder; the first ones fit."""
    left = {key: [each.volumes, each.gigabytes] for key, each in quotas.items()}
    found = []
    for each in plans:
        rest = left.get(each.project_id, [None, None])
        words = None
        if each.way and not each.refusals:
            words = _fit(each, rest)
        found.append(dataclasses.replace(each, refusals=(*each.refusals, words)) if words else each)
    return found


def _fit(each: Plan, rest: list[int | None]) -> str | None:
    needs = (1, each.gib)
    for name, need, have in zip(("volumes", "gigabytes"), needs, rest, strict=True):
        if have is not None and need > have:
            return f"Cinder's quota of project {each.project_id} has {have} {name} left, {need} are needed: raise it."
    rest[:] = [None if have is None else have - need for need, have in zip(needs, rest, strict=True)]
    return None
