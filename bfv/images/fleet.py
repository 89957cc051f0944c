# SPDX-License-Identifier: Apache-2.0
"""Warm an image in many cells at once: each place's own flow, a few at a time, copies before all else.

A copy into another store changes the image's ``updated_at``, by which cinder's caches go stale everywhere: so the cells
that Glance serves come first, and what is warmed after them stays warm.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bfv.errors import BadRequest, Late, LeaseLost, MaybeRunning, NotAllowed, StorageError
from bfv.images import warm
from bfv.images.places import Place
from bfv.images.standing import remark
from bfv.journal import DONE, Intent
from bfv.parts import Parts
from bfv.types import Caller
from cells.errors import Exists
from imagebackends.types import Image, Target

PAUSE = 0.2


@dataclass(frozen=True)
class Warmed:
    """What came of a place: ``hit`` it was warm, ``made``, ``warming`` it goes on, ``failed``; bytes of the image."""

    cell: str
    tier: str
    state: str
    kind: str
    seconds: float
    bytes: int
    why: str = ""


Progress = Callable[[Warmed], None]


def find(parts: Parts, caller: Caller, name: str) -> Image:
    """Return an image that the caller may have warmed: its project's own, or any for an admin. Raises NotAllowed."""
    image = parts.images.find(parts.rights.image(caller), name)
    if "admin" not in caller.roles and image.owner != caller.project_id:
        raise NotAllowed(f"Image {image.id} is another project's; only its owner or an admin may have it warmed.")
    if image.status != "active":
        raise BadRequest(f"Image {image.id} is {image.status}, not active; wait for its upload or have it reactivated.")
    return image


def targets(parts: Parts, cells: Sequence[str] | None, tiers: Sequence[str]) -> list[Target]:
    """Return the places that are named. Raises BadRequest for one that is not configured."""
    if stray := set(cells or ()) - {each.cell for each in parts.targets}:
        raise BadRequest(
            f"Cell {', '.join(sorted(stray))} is not configured; there are: {', '.join(parts.conf.cells)}."
        )
    found = [each for each in parts.targets if each.tier in tiers and (not cells or each.cell in cells)]
    if not found:
        known = ", ".join(sorted({each.tier for each in parts.targets}))
        raise BadRequest(f"Tier {', '.join(tiers)} is in none of these cells; there are: {known}.")
    return found


def over(parts: Parts, image: Image, places: Sequence[Target], progress: Progress) -> list[Warmed]:
    """Warm an image in these places and return what came of each, told as it happens."""
    serves = parts.places.places() or {}
    first = [each for each in places if _copies(parts, image, serves.get((each.cell, each.tier)))]
    done: dict[Target, Warmed] = {}

    def one(target: Target) -> None:
        done[target] = _one(parts, image, target, progress)
        progress(done[target])

    with ThreadPoolExecutor(parts.conf.images.parallel, thread_name_prefix="bfv-warm") as pool:
        for group in (first, [each for each in places if each not in first]):
            list(pool.map(one, group))
    return [done[each] for each in places]


def start(parts: Parts, image: Image, target: Target) -> tuple[Warmed, Intent | None]:
    """Write the intent of a warm-up for others to run; None where the place is warm, or one runs already."""
    now = warm.stands(parts, image, target)
    if now.is_warm:
        return Warmed(target.cell, target.tier, "hit", now.kind, 0.0, image.size), None
    told = Warmed(target.cell, target.tier, "warming", "", 0.0, image.size)
    try:
        return told, warm.begin(parts, image.id, target)
    except Exists:
        return told, None


def _copies(parts: Parts, image: Image, place: Place | None) -> bool:
    kinds = parts.conf.images.sources
    return bool(kinds and kinds[0] == "glance" and place and place.store and image.disk_format == "raw")


def _one(parts: Parts, image: Image, target: Target, progress: Progress) -> Warmed:
    began = time.monotonic()
    try:
        told, intent = start(parts, image, target)
        if told.state == "hit":
            return told
        progress(told)
        if intent is not None:
            _run(parts, intent)
        ended = _end_of(parts, image, target)
    except StorageError as error:
        return Warmed(target.cell, target.tier, "failed", "", time.monotonic() - began, image.size, str(error))
    seconds = time.monotonic() - began
    if ended.is_open:
        steps = parts.journal.history(ended)
        why = (steps[-1].detail if steps else None) or "its outcome is not known yet"
        return Warmed(target.cell, target.tier, "warming", "", seconds, image.size, f"{why}; `bfv repair` goes on")
    if ended.phase == DONE:
        kind = str(ended.outcome)
        return Warmed(target.cell, target.tier, "made", kind, seconds, image.size, remark(image, kind))
    return Warmed(target.cell, target.tier, "failed", "", seconds, image.size, str(ended.outcome))


def _run(parts: Parts, intent: Intent) -> None:
    try:
        warm.run(parts, intent)
    except LeaseLost:
        return
    except (MaybeRunning, Late) as error:
        parts.journal.update(intent, "left open", str(error))
    finally:
        parts.journal.release(intent)


def _end_of(parts: Parts, image: Image, target: Target) -> Intent:
    """Return the last warm-up of a place once nobody works on it, or after its patience."""
    timing = parts.timing
    deadline = time.monotonic() + timing.volume + timing.volume_per_gib * max(1, -(-image.size // (1 << 30)))
    while True:
        last = parts.journal.of_server(warm.key(image.id, target))[-1]
        if not last.is_open or last.owner is None or time.monotonic() > deadline:
            return last
        time.sleep(PAUSE)
