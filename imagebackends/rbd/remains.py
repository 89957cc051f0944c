# SPDX-License-Identifier: Apache-2.0
"""What cinder's rbd driver leaves in its pool for ever, and what of it can go without harm to anybody.

Each clone by volume or cache takes a snapshot `volume-ID.clone_snap` of its source, which since 2024.1 stays when the
clone goes; a source that has such a snapshot is renamed `volume-ID.deleted` instead of removed, and stays too
(``cinder/volume/drivers/rbd.py:_delete_volume`` returns before ``_delete_clone_parent_refs``).
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from imagebackends.errors import HasSnapshots, InUse, NotFound, Unsupported
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.types import Id, Image, SnapshotName

UUID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
VOLUME, SNAPSHOT = re.compile(rf"volume-{UUID}(\.deleted)?"), re.compile(rf"volume-{UUID}\.clone_snap")


@dataclass(frozen=True)
class Remain:
    """A snapshot (of ``image``) or an image that nothing needs; ``bytes`` that it holds itself, 0 of a snapshot."""

    pool: str
    image: str
    snapshot: str | None
    bytes: int

    def __str__(self) -> str:
        return f"{self.pool}/{self.image}{f'@{self.snapshot}' if self.snapshot else ''}"


def find(pool: Pool, exists: Callable[[str], bool]) -> list[Remain]:
    """Return what can go now, a snapshot before its image. ``exists`` says whether cinder knows a volume by its id.

    Looks at every volume of the pool. What is gone may free more: find again. Raises Unsupported for a cluster whose
    clones are of the first format, where a snapshot is not removed without its clones.
    """
    if not pool.cluster.clones_v2():
        raise Unsupported(
            "this cluster makes clones of the first format; set-require-min-compat-client mimic ends that"
        )
    images = {name: image for name in pool.names() if VOLUME.fullmatch(name) and (image := pool.find(name))}
    trashed = [image for each in pool.trashed() if (image := pool.find(Id(each.id)))]
    parents = {image.parent for image in (*images.values(), *trashed) if image.parent}
    known = set(images) | {image.name for image in trashed}
    found: list[Remain] = []
    for name, image in images.items():
        dead = _dead(pool, image, parents, known, exists)
        found += [Remain(pool.name, name, each, 0) for each in dead]
        match = VOLUME.fullmatch(name)
        if match and match[2] and len(dead) == len(image.snapshots) and not image.watchers and not exists(match[1]):
            found.append(Remain(pool.name, name, None, sum(e.length for e in pool.diff(name) if e.exists)))
    return found


def _dead(
    pool: Pool, image: Image, parents: Collection[SnapshotName], known: Collection[str], exists: Callable[[str], bool]
) -> list[str]:
    """Return the snapshots of an image that were taken for a clone which is no more, nor is being made."""
    named = [(each.name, match[1]) for each in image.snapshots if (match := SNAPSHOT.fullmatch(each.name))]
    if not named:
        return []
    if any(each.pool != pool.name or each.image not in known for each in pool.children(image.name)):
        # A clone that is not seen from here: nobody can say of which snapshot it is.
        return []
    return [
        snapshot
        for snapshot, volume_id in named
        # A volume that is being made has its snapshot before it has its image.
        if SnapshotName(pool.name, image.name, snapshot) not in parents and not exists(volume_id)
    ]


def remove(pool: Pool, remain: Remain) -> str | None:
    """Remove one; return why it was kept, if it was. What is gone already is no error."""
    try:
        if remain.snapshot is not None:
            pool.drop_snapshot(remain.image, remain.snapshot)
        else:
            pool.remove(remain.image)
    except NotFound:
        return None
    except (InUse, HasSnapshots) as error:
        return str(error)
    return None
