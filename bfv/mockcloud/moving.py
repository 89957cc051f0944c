# SPDX-License-Identifier: Apache-2.0
"""librbd's live migration in memory: an image that is opened in one pool while its bytes lie in another.

What the suite in ``tests/contract/pool`` saw of librbd 16.2, and no more. Reads and writes go to the target, which
shares the source's bytes until they are copied; here that is no work, so ``execute`` only says that it was done.
"""

import errno
from dataclasses import dataclass
from typing import Any

from bfv.mockcloud.librados import OSError
from bfv.mockcloud.rbd import Image, Pool

PREPARED, EXECUTED = 2, 4


@dataclass(eq=False)
class Moving:
    """The migration of an image: where it lay, and how far it is (``rbd_image_migration_state_t``)."""

    source: Image
    target: Image
    state: int = PREPARED


def prepare(source: Image, pool: Pool, name: str) -> None:
    """Let an image be opened in another pool; it is gone where it lay."""
    if source.watchers:
        raise OSError(errno.EBUSY, f"RBD image is busy (error migrating image {source.name!r})")
    if name in pool.images:
        raise OSError(errno.EEXIST, f"RBD image already exists (error migrating image {source.name!r})")
    target = pool.create(name, source.size)
    _hand_over(source, target)
    del source.pool.images[source.name]
    source.moving = target.moving = Moving(source, target)
    source.pool.moved.append(source)


def execute(image: Image) -> None:
    """Copy; once it is done librbd takes it for an invalid argument, as all that is no target of a migration."""
    moving = _of(image)
    if moving.state == EXECUTED:
        raise _invalid("error aborting migration")
    moving.state = EXECUTED


def commit(image: Image) -> None:
    """Remove what is left where it lay."""
    moving = _of(image)
    if moving.state != EXECUTED:
        raise _invalid("error aborting migration")
    moving.source.pool.moved.remove(moving.source)
    image.moving = None


def abort(image: Image) -> None:
    """Bring it back with what was written meanwhile, as large as it was; snapshots made meanwhile are gone."""
    moving = _of(image)
    target, source = moving.target, moving.source
    if target.watchers:
        raise OSError(errno.EBUSY, "RBD image is busy (error aborting migration)")
    target.snapshots = [each for each in target.snapshots if each.id in source.kept]
    size = source.size
    _hand_over(target, source)
    source.resize(size)
    del target.pool.images[target.name]
    source.pool.moved.remove(source)
    source.pool.images[source.name] = source
    source.moving = None


def status(image: Image) -> dict[str, Any]:
    """Tell how far it is."""
    moving = _of(image, "error getting migration status")
    return {"state": moving.state, "source_image_name": moving.source.name, "dest_image_name": moving.target.name}


def _hand_over(old: Image, new: Image) -> None:
    """Give all that an image holds to another, which has its snapshots, and so their clones, from now on."""
    new.size, new.parent, new.overlap, new.metadata = old.size, old.parent, old.overlap, dict(old.metadata)
    new.objects, new.snapshots = old.objects, old.snapshots
    for each in new.snapshots:
        each.image = new
    old.kept = [each.id for each in new.snapshots]
    old.parent, old.overlap, old.objects, old.snapshots = None, 0, {}, []


def _of(image: Image, words: str = "error aborting migration") -> Moving:
    if image.moving is None:
        raise _invalid(words)
    moving: Moving = image.moving
    return moving


def _invalid(words: str) -> OSError:
    return OSError(errno.EINVAL, f"RBD invalid argument ({words})")
