# SPDX-License-Identifier: Apache-2.0
"""Images that the operator wants warm: what the rules name, what is missing, and doing it.

An image that is uploaded or replaced is seen at the next look; one that is hidden in Glance (``os_hidden``), as a
replaced one should be, is named by no rule any more.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from bfv.errors import BadConfig, NotAllowed
from bfv.images import book, fleet, overview, warm
from bfv.images.places import Place
from bfv.images.standing import locked
from bfv.parts import Parts
from bfv.types import new_request_id
from imagebackends.types import Image, Target


@dataclass(frozen=True)
class Rule:
    """``kind`` id, name or property, and what it must be; ``cell`` None: everywhere."""

    kind: str
    value: str
    cell: str | None = None

    def names(self, image: Image) -> bool:
        """Say whether an image is meant."""
        if self.kind == "id":
            return image.id == self.value
        if self.kind == "name":
            return fnmatch.fnmatchcase(image.name, self.value)
        key, _, wanted = self.value.partition("=")
        return key in image.properties and str(image.properties[key]) == wanted


@dataclass(frozen=True)
class Planned:
    """An image in a cell: ``state`` as the map says, ``kind`` what it is or would be warm by, bytes to be copied.

    ``thrash``: cinder evicts it again and again, so it is left alone; its cache is too small.
    """

    image_id: str
    image: str
    cell: str
    state: str
    kind: str
    bytes: int


def rule(text: str, cells: Iterable[str]) -> Rule:
    """Return the rule that a text says. Raises BadConfig."""
    place, slash, rest = text.partition("/")
    kind, _, value = (rest if slash and ":" not in place else text).partition(":")
    cell = place if slash and ":" not in place else None
    if kind not in ("id", "name", "property") or not value or (kind == "property" and "=" not in value):
        raise BadConfig(f"[images] keep: {text} is none of id:UUID, name:PATTERN, property:NAME=VALUE.")
    if cell is not None and cell not in cells:
        raise BadConfig(f"[images] keep: {text} names cell {cell}; there are: {', '.join(cells)}.")
    return Rule(kind, value, cell)


def plan(parts: Parts) -> list[Planned]:
    """Return each image that a rule names, in each cell, and what would be done. Raises NotAllowed, MaybeRunning."""
    return [_planned(parts, image, target) for image, target in _wanted(parts)]


def keep(parts: Parts) -> list[fleet.Warmed]:
    """Warm what is missing, an image after the other, and return what came of each."""
    missing: dict[str, tuple[Image, list[Target]]] = {}
    for image, target in _wanted(parts):
        if not warm.stands(parts, image, target).is_warm and not _thrashes(parts, image, target):
            missing.setdefault(image.id, (image, []))[1].append(target)
    return [done for image, targets in missing.values() for done in fleet.over(parts, image, targets, lambda _: None)]


def _wanted(parts: Parts) -> list[tuple[Image, Target]]:
    rules = [rule(text, parts.conf.cells) for text in parts.conf.images.keep]
    if not rules:
        return []
    access = parts.rights.everywhere(new_request_id())
    if access is None:
        raise NotAllowed(warm.NEEDS_ADMIN)
    overview.check(parts)
    targets = [each for each in parts.targets if each.tier == "default"]
    return [
        (image, target)
        for image in parts.images.listed(access)
        if image.status == "active"
        for target in targets
        if any(each.cell in (None, target.cell) and each.names(image) for each in rules)
    ]


def _thrashes(parts: Parts, image: Image, target: Target) -> bool:
    return book.thrashes(book.of_image(parts.journal.database, image.id), target.cell, target.tier)


def _planned(parts: Parts, image: Image, target: Target) -> Planned:
    now = warm.stands(parts, image, target)
    place = (parts.places.places() or {}).get((target.cell, target.tier))
    kind = now.kind if now.is_warm else likely(parts, image, place)
    if not now.is_warm and _thrashes(parts, image, target):
        return Planned(image.id, image.name, target.cell, "thrash", "nothing", 0)
    return Planned(image.id, image.name, target.cell, now.state, kind, 0 if now.is_warm else image.size)


def likely(parts: Parts, image: Image, place: Place | None) -> str:
    """Return what a warm-up would try first, as far as is known without trying."""
    if place is None or place.encrypted or locked(image):
        return "nothing"
    glance = place.store is not None and image.disk_format == "raw"
    return next((each for each in parts.conf.images.sources if each != "glance" or glance), "nothing")
