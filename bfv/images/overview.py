# SPDX-License-Identifier: Apache-2.0
"""The map: each image in each place, as its next boot would find it, by what is written and by a look at the cloud.

What is written is checked here: a snapshot that somebody removed is broken from now on, and a source whose image is
gone is retired. What cinder's own cache holds is told by the names of its volumes, to admins alone.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bfv.errors import NotFound, StorageError
from bfv.images import book, warm
from bfv.images.book import BROKEN, RETIRED, WARM, Source
from bfv.images.places import Place
from bfv.images.standing import Standing, standing
from bfv.parts import Parts
from bfv.types import Caller, new_request_id
from imagebackends.backend import Warms
from imagebackends.rbd.pool import Cluster, Pool
from imagebackends.rbd.remains import SNAPSHOT
from imagebackends.survey import Cached
from imagebackends.types import Access, Image, Target


@dataclass(frozen=True)
class Line:
    """An image in a place; ``seconds`` that the next boot's volume will take, ``bytes`` of the image.

    Ceph tells, where it is configured, the ``clones`` of the volume that is the source, and the ``snapshots`` on it
    that cinder took for clones, of those that are gone too. None: not known.
    """

    image_id: str
    image: str
    cell: str
    tier: str
    state: str
    kind: str
    seconds: float
    bytes: int
    made_at: dt.datetime | None = None
    used_at: dt.datetime | None = None
    why: str = ""
    clones: int | None = None
    snapshots: int | None = None


def overview(
    parts: Parts, caller: Caller, wanted: Sequence[str] = (), clusters: Mapping[str, Cluster] | None = None
) -> list[Line]:
    """Return a line for each image that the caller sees, or that is wanted by id or name, in each place.

    Raises NotFound, BadRequest, MaybeRunning.
    """
    access = parts.rights.image(caller)
    images = [parts.images.find(access, each) for each in wanted] or parts.images.listed(access)
    check(parts)
    places, cached, running = parts.places.places(), _cached(parts), _running(parts)
    lines = []
    for image in images:
        sources = book.of_image(parts.journal.database, image.id)
        for target in parts.targets:
            place = (places or {}).get((target.cell, target.tier))
            now = _seen(parts, image, target, place, sources, cached)
            if warm.key(image.id, target) in running:
                now = Standing("warming", now.kind, now.seconds, now.source)
            line = _line(image, target, now)
            if now.is_warm and place and place.pool and target.cell in (clusters or {}):
                volume = now.source.volume_id if now.source else None
                volume = volume or _cached_volume(image, target, cached)
                line = _counted(line, (clusters or {})[target.cell].pool(place.pool), volume)
            lines.append(line)
    return lines


def _seen(parts: Parts, image: Image, target: Target, place: Place | None, sources: Sequence[Source],
          cached: Mapping[str, Sequence[Cached]]) -> Standing:  # fmt: skip
    """Return how an image stands, with what a look at cinder's own cache adds where nothing cheaper is there."""
    now = standing(image, target.cell, target.tier, place, sources)
    mine = [each for each in cached.get(target.backend or "", ()) if each.image_id == image.id]
    if now.kind == "cache" and not mine:
        return Standing("evicted", "download", now.source.made_seconds if now.source else now.seconds, now.source,
                        "cinder removed its image-volume")  # fmt: skip
    if now.is_warm or not mine:
        return now
    # An entry is of the image as it was when it was made (cinder/image/cache.py compares updated_at).
    if why := _broken(parts, target, mine[-1]):
        return Standing("evicted", "download", now.seconds, None, why)
    if mine[-1].created_at.isoformat() < image.updated_at.rstrip("Z"):
        return Standing("stale", "download", now.seconds, None, "the image was changed after cinder cached it")
    return Standing(WARM, "cache", 1.0, None, "filled by cinder itself")


def _cached_volume(image: Image, target: Target, cached: Mapping[str, Sequence[Cached]]) -> str | None:
    mine = [each.volume_id for each in cached.get(target.backend or "", ()) if each.image_id == image.id]
    return mine[-1] if mine else None


def _counted(line: Line, pool: Pool, volume_id: str | None) -> Line:
    """Return a line with what Ceph tells of the volume that is its source."""
    name = f"volume-{volume_id}"
    try:
        seen = pool.find(name) if volume_id and line.kind != "glance" else None
        if seen is None:
            return line
        taken = sum(SNAPSHOT.fullmatch(each.name) is not None for each in seen.snapshots)
        return dataclasses.replace(line, clones=len(pool.children(name)), snapshots=taken)
    except StorageError:
        return line


def check(parts: Parts, image: str | None = None) -> None:
    """Look whether the sources that are written as warm are there, and turn those that are not; needs an admin.

    Of one image, or of all.
    """
    access, backend = parts.rights.everywhere(new_request_id()), parts.backend
    if access is None or not isinstance(backend, Warms):
        return
    sources = [each for each in book.all_of(parts.journal.database, WARM) if image in (None, each.image_id)]
    for source in sources:
        if source.kind == "snapshot" and (why := _trouble(backend, access, source)):
            book.turn(parts.journal.database, [source.id], BROKEN, why)
    _check_cache(parts, [source for source in sources if source.kind == "cache"])
    for image_id in {source.image_id for source in sources}:
        if _gone(parts, access, image_id):
            ids = [source.id for source in sources if source.image_id == image_id]
            book.turn(parts.journal.database, ids, RETIRED, "its image was deleted")


def _check_cache(parts: Parts, sources: Sequence[Source]) -> None:
    if not sources:
        return
    targets, cached = {(each.cell, each.tier): each for each in parts.targets}, _cached(parts)
    for source in sources:
        target = targets.get((source.cell, source.tier))
        if target is None or target.backend not in cached:
            continue
        mine = [each for each in cached[target.backend] if each.image_id == source.image_id]
        why = "cinder removed its image-volume" if not mine else _broken(parts, target, mine[-1])
        if why:
            book.turn(parts.journal.database, [source.id], BROKEN, why)


def _broken(parts: Parts, target: Target, volume: Cached) -> str | None:
    """Return why an image-volume serves nobody, as far as cinder, and Ceph where it is configured, tell."""
    if volume.status == "error":
        return f"image-volume {volume.volume_id} is broken"
    place = (parts.places.places() or {}).get((target.cell, target.tier))
    if target.cell not in parts.clusters.cells or place is None or place.pool is None:
        return None
    try:
        if parts.clusters.pool(target.cell, place.pool).find(f"volume-{volume.volume_id}") is None:
            return f"image-volume {volume.volume_id} has no bytes"
    except StorageError:
        pass
    return None


def _trouble(backend: Warms, access: Access, source: Source) -> str | None:
    try:
        status = backend.snapshot(access, str(source.snapshot_id)).status
    except NotFound:
        status = "gone"
    except StorageError:
        return None
    return None if status == "available" else f"its snapshot is {status}"


def _gone(parts: Parts, access: Access, image_id: str) -> bool:
    try:
        parts.images.get(access, image_id)
    except NotFound:
        return True
    except StorageError:
        return False
    return False


def _cached(parts: Parts) -> dict[str, list[Cached]]:
    try:
        survey = parts.places.survey()
        backends = {target.backend for target in parts.targets if target.backend}
        return {backend: survey.cached(backend) for backend in backends} if survey else {}
    except StorageError:
        return {}


def _running(parts: Parts) -> set[str]:
    return {intent.server_id for intent in parts.journal.opened(verb=warm.VERB)}


def _line(image: Image, target: Target, now: Standing) -> Line:
    source = now.source
    return Line(image.id, image.name, target.cell, target.tier, now.state, now.kind, round(now.seconds, 2), image.size,
                source.made_at if source else None, source.used_at if source else None, now.why)  # fmt: skip
