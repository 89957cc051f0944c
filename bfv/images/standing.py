# SPDX-License-Identifier: Apache-2.0
"""From what the next boot of an image comes in a place, and what it will take. Pure, no I/O."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from bfv.images.book import RETIRED, WARM, Source
from bfv.images.places import Place
from imagebackends.types import Image

# Before anything was measured: what a clone takes, and a download's bytes in a second, on modest hardware.
CLONE, RATE = 1.0, 50e6


@dataclass(frozen=True)
class Standing:
    """``state``: warm, stale, retired, evicted, cold or unknown; ``seconds`` that the next boot's volume will take."""

    state: str
    kind: str
    seconds: float
    source: Source | None = None
    why: str = ""

    @property
    def is_warm(self) -> bool:
        """Whether the next boot is a clone."""
        return self.state == WARM

    def tell(self) -> str:
        """Return it in words, for the decision."""
        return f"{self.state}: {self.kind}, about {max(self.seconds, 1):.0f} s"


def fingerprint(image: Image) -> str:
    """Return what changes exactly when volumes of an image would be others: its bytes, and what they keep of it.

    Cinder's own cache goes by ``updated_at``, which a tag or a copy to another store changes as well
    (``cinder/image/cache.py:_should_update_entry``); a volume keeps the image's properties and these of its fields
    (``cinder/volume/flows/manager/create_volume.py``).
    """
    kept = (image.digest, image.name, image.disk_format, image.container_format, image.min_disk, image.min_ram)
    text = json.dumps([*kept, sorted((key, str(value)) for key, value in image.properties.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def version(image: Image, kind: str) -> str:
    """Return the version of an image that a source of a kind must have."""
    return fingerprint(image) if kind == "snapshot" else image.updated_at


def in_glance(image: Image, place: Place | None) -> bool:
    """Say whether cinder clones Glance's own copy there (``cinder/volume/drivers/rbd.py:_is_cloneable``)."""
    return bool(
        place and place.store in image.stores and place.store and image.disk_format == "raw" and not locked(image)
    )


def locked(image: Image) -> bool:
    """Say whether an image is encrypted: its volumes are copies, each with a key of its own."""
    return bool(image.properties.get("cinder_encryption_key_id"))


def remark(image: Image, kind: str) -> str:
    """Return what making a source of an image takes beside copying its bytes; nothing where Glance copies it."""
    words = []
    if kind != "glance" and image.disk_format != "raw":
        words.append(f"converted from {image.disk_format}, once for this cell")
    if "img_signature" in image.properties:
        # cinder/volume/flows/manager/create_volume.py:_create_from_image_cache_or_download alone looks at it.
        looked = "cinder verified its signature, unless verify_glance_signatures is off"
        words.append("nobody looks at its signature" if kind == "glance" else looked)
    return "; ".join(words)


def standing(image: Image, cell: str, tier: str, place: Place | None, sources: Iterable[Source]) -> Standing:
    """Return how an image stands in a place, the cheapest source first; ``place`` None: not known."""
    mine = [each for each in sources if (each.cell, each.tier) == (cell, tier)]
    measured = [each for each in mine if each.made_seconds]
    download = measured[-1].made_seconds if measured else CLONE + image.size / RATE
    if place is not None and place.encrypted:
        return Standing("cold", "download", download, why="volumes of an encrypted type are never cloned")
    if in_glance(image, place):
        source = next((each for each in reversed(mine) if each.kind == "glance"), None)
        return Standing(WARM, "glance", _clone(source), source, f"Glance's store {place.store if place else ''}")
    for kind in ("snapshot", "cache"):
        for each in reversed(mine):
            if (each.kind, each.state, each.version) == (kind, WARM, version(image, kind)):
                return Standing(WARM, kind, _clone(each), each)
    for each in reversed(mine):
        if each.kind == "glance":
            continue
        state = {WARM: "stale", RETIRED: "retired"}.get(each.state, "evicted")
        return Standing(state, "download", download, each, each.reason or "the image was changed since")
    return Standing("unknown" if place is None else "cold", "download", download)


def _clone(source: Source | None) -> float:
    return source.clone_seconds if source and source.clone_seconds is not None else CLONE
