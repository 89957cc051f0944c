# SPDX-License-Identifier: Apache-2.0
"""The mocked cells' Ceph as the module ``rbd`` shows it: what calls librbd runs on it unchanged.

``Bindings(cloud)`` has both modules as attributes. There is what the suite in ``tests/contract/pool`` compares with
the real ones (16.2), and no more.
"""

import datetime as dt
import errno
import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import librados, moving
from bfv.mockcloud import rbd as bytes_of
from bfv.mockcloud.librados import Ioctx, OSError

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud

FEATURES = 61  # layering, exclusive-lock, object-map, fast-diff, deep-flatten: the client's default
OPERATIONS, MIGRATING = 256, 512
USER, TRASH = 0, 2


class Bindings:
    """Both modules, over the cells of one cloud."""

    def __init__(self, cloud: "Cloud") -> None:
        self.rados = librados.module(cloud)
        self.rbd = SimpleNamespace(RBD=RBD, Image=Image, OSError=OSError)


def _locked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do one call at a time, as all doors of the cloud do, but wait for a silent cell without hindering them."""

    def call(self: Any, *args: Any, **options: Any) -> Any:
        first: Ioctx = self.ioctx if isinstance(self, Image) else args[0]
        first.client.answer()
        with first.client.cloud.lock:
            return function(self, *args, **options)

    return call


def _get(pool: bytes_of.Pool, name: str) -> bytes_of.Image:
    if name not in pool.images:
        raise OSError(errno.ENOENT, f"RBD image not found ({name})")
    return pool.images[name]


def _in_trash(pool: bytes_of.Pool, id: str) -> bytes_of.Image:
    for image in pool.trash:
        if image.id == id:
            return image
    raise OSError(errno.ENOENT, f"RBD image not found ({id} in the trash)")


def _free(pool: bytes_of.Pool, name: str) -> None:
    if name in pool.images:
        raise OSError(errno.EEXIST, f"RBD image already exists ({name})")


def _removable(image: bytes_of.Image) -> None:
    # librbd/image/PreRemoveRequest.cc: snapshots first, those in the trash too, then locks and watchers.
    if image.snapshots:
        raise OSError(errno.ENOTEMPTY, "RBD image has snapshots (error removing image)")
    if image.moving or image.watchers or (image.locker and not image.locker[1].startswith("auto ")):
        raise OSError(errno.EBUSY, "RBD image is busy (error removing image)")


class RBD:
    """What is done to images by name."""

    @_locked
    def list(self, ioctx: Ioctx) -> list[str]:
        """Return the names, sorted by their bytes."""
        return sorted(ioctx.pool.images)

    @_locked
    def create(self, ioctx: Ioctx, name: str, size: int, *, old_format: bool) -> None:  # noqa: ARG002
        """Make an empty image."""
        _free(ioctx.pool, name)
        ioctx.pool.create(name, size)

    @_locked
    def clone(self, p_ioctx: Ioctx, p_name: str, p_snapname: str, c_ioctx: Ioctx, c_name: str) -> None:
        """Make a clone of format 2, with its parent's metadata."""
        parent = _get(p_ioctx.pool, p_name)
        snapshot = _snapshot(parent, p_snapname)
        _free(c_ioctx.pool, c_name)
        c_ioctx.pool.clone(snapshot, c_name).metadata.update(parent.metadata)

    @_locked
    def rename(self, ioctx: Ioctx, src: str, dest: str) -> None:
        """Rename an image."""
        _get(ioctx.pool, src)
        _free(ioctx.pool, dest)
        ioctx.pool.rename(src, dest)

    @_locked
    def remove(self, ioctx: Ioctx, name: str) -> None:
        """Remove an image that has no snapshot and that nobody has open."""
        _removable(_get(ioctx.pool, name))
        ioctx.pool.remove(name)

    @_locked
    def trash_move(self, ioctx: Ioctx, name: str, _delay: int) -> None:
        """Move an image to the trash, whoever has it open."""
        ioctx.pool.trash.append(_get(ioctx.pool, name))
        del ioctx.pool.images[name]

    @_locked
    def trash_list(self, ioctx: Ioctx) -> Iterator[dict[str, Any]]:
        """Return what is in the trash; the bindings of 16.2 stumble over a migration's source there."""
        if ioctx.pool.moved:
            raise IndexError("list index out of range")
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        return iter([{"id": each.id, "name": each.name, "deletion_time": now} for each in ioctx.pool.trash])

    @_locked
    def trash_restore(self, ioctx: Ioctx, image_id: str, name: str) -> None:
        """Take an image out of the trash."""
        image = _in_trash(ioctx.pool, image_id)
        _free(ioctx.pool, name)
        ioctx.pool.trash.remove(image)
        image.name = name
        ioctx.pool.images[name] = image

    @_locked
    def trash_remove(self, ioctx: Ioctx, image_id: str) -> None:
        """Remove an image that is in the trash."""
        image = _in_trash(ioctx.pool, image_id)
        _removable(image)
        ioctx.pool.trash.remove(image)
        image.detach()

    @_locked
    def migration_prepare(self, ioctx: Ioctx, name: str, dest_ioctx: Ioctx, dest_name: str) -> None:
        """Let an image be opened in another pool of its cluster."""
        moving.prepare(_get(ioctx.pool, name), dest_ioctx.pool, dest_name)

    @_locked
    def migration_status(self, ioctx: Ioctx, name: str) -> dict[str, Any]:
        """Tell how far a migration is."""
        return moving.status(_get(ioctx.pool, name))

    @_locked
    def migration_execute(self, ioctx: Ioctx, name: str) -> None:
        """Copy what the source has."""
        moving.execute(_get(ioctx.pool, name))

    @_locked
    def migration_commit(self, ioctx: Ioctx, name: str) -> None:
        """Remove the source."""
        moving.commit(_get(ioctx.pool, name))

    @_locked
    def migration_abort(self, ioctx: Ioctx, name: str) -> None:
        """Bring the image back."""
        moving.abort(_get(ioctx.pool, name))


def _snapshot(image: bytes_of.Image, name: str) -> bytes_of.Snapshot:
    try:
        return image.find(name)
    except bytes_of.RbdError as error:
        raise OSError(errno.ENOENT, f"RBD image not found ({error})") from error


class Image:
    """An open image; one that is open for writing is watched, and its first change takes the lock."""

    cookies = itertools.count(140071164470576, 16)

    def __init__(
        self,
        ioctx: Ioctx,
        name: str | None = None,
        snapshot: str | None = None,
        read_only: bool = False,
        image_id: str | None = None,
    ) -> None:
        self.ioctx, self.read_only, self.cookie = ioctx, read_only, next(self.cookies)
        self.watch = (ioctx.client.address, str(ioctx.client.number), str(self.cookie))
        self._open(name, image_id, snapshot)

    @_locked
    def _open(self, name: str | None, image_id: str | None, snapshot: str | None) -> None:
        pool = self.ioctx.pool
        # By its id one in the trash opens, too.
        known = [*pool.images.values(), *pool.trash] if image_id else pool.images.values()
        found = [each for each in known if image_id in (None, each.id) and name in (None, each.name)]
        if not found:
            raise OSError(errno.ENOENT, f"RBD image not found (error opening image {name or image_id})")
        self.image = found[0]
        self.at = _snapshot(self.image, snapshot) if snapshot else None
        if not self.read_only:
            self.image.watchers.append(self.watch)

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it and of the lock; that one is barred or its cell silent is no hindrance."""
        if self.watch in self.image.watchers:
            self.image.watchers.remove(self.watch)
        if self.image.locker and self.image.locker[1] == f"auto {self.cookie}":
            self.image.locker = None

    def _change(self) -> None:
        if self.read_only or self.at:
            raise OSError(errno.EROFS, f"RBD read-only image ({self.image.name})")
        if self.image.locker is None or self.image.locker[1].startswith("auto "):
            # The lock is cooperative: who writes asks for it and gets it.
            self.image.locker = (f"client.{self.ioctx.client.number}", f"auto {self.cookie}", self.ioctx.client.address)

    @_locked
    def id(self) -> str:
        """Return the id."""
        return self.image.id

    @_locked
    def get_name(self) -> str:
        """Return the name."""
        return self.image.name

    @_locked
    def size(self) -> int:
        """Return the size in bytes."""
        return (self.at or self.image).size

    @_locked
    def features(self) -> int:
        """Return the feature bits; clone v2 adds "operations" to both ends."""
        related = self.image.parent or any(map(self.ioctx.client.cell.cluster.children, self.image.snapshots))
        return FEATURES | (OPERATIONS if related else 0) | (MIGRATING if self.image.moving else 0)

    @_locked
    def create_timestamp(self) -> dt.datetime:
        """Return when it was made, in UTC."""
        return self.image.created_at.replace(tzinfo=None, microsecond=0)

    @_locked
    def get_parent_image_spec(self) -> dict[str, str]:
        """Return the parent."""
        parent = (self.at or self.image).parent
        if parent is None:
            raise OSError(errno.ENOENT, "RBD image not found (error getting parent info)")
        name = parent.trash_name if parent.trashed else parent.name
        return {"pool_name": parent.image.pool.name, "image_name": parent.image.name, "snap_name": name}

    @_locked
    def list_snaps(self) -> Iterator[dict[str, Any]]:
        """Return the snapshots, those in the trash too."""
        return iter(
            [
                {
                    "id": each.id,
                    "size": each.size,
                    "name": each.trash_name if each.trashed else each.name,
                    "namespace": TRASH if each.trashed else USER,
                }
                for each in self.image.snapshots
            ]
        )

    @_locked
    def list_children2(self) -> Iterator[dict[str, Any]]:
        """Return the clones."""
        cluster = self.ioctx.client.cell.cluster
        found = [clone for each in self.image.snapshots for clone in cluster.children(each)]
        return iter(
            [
                {"pool": each.pool.name, "image": each.name, "id": each.id, "trash": each in each.pool.trash}
                for each in found
            ]
        )

    @_locked
    def watchers_list(self) -> Iterator[dict[str, Any]]:
        """Return those who have it open for writing."""
        return iter(
            [{"addr": addr, "id": int(number), "cookie": int(cookie)} for addr, number, cookie in self.image.watchers]
        )

    @_locked
    def list_lockers(self) -> dict[str, Any] | list[Any]:
        """Return who holds the lock; an empty list where nobody does."""
        if self.image.locker is None:
            return []
        return {"tag": "internal", "exclusive": True, "lockers": [self.image.locker]}

    @_locked
    def lock_exclusive(self, cookie: str) -> None:
        """Take the lock by hand."""
        if self.image.locker:
            raise OSError(errno.EBUSY, "RBD image is busy (error acquiring exclusive lock on image)")
        self.image.locker = (f"client.{self.ioctx.client.number}", cookie, self.ioctx.client.address)

    @_locked
    def break_lock(self, client: str, cookie: str) -> None:
        """Take a lock from who holds it, and bar that client."""
        if self.image.locker is None or self.image.locker[:2] != (client, cookie):
            raise OSError(errno.EINVAL, "RBD invalid argument (error unlocking image)")
        self.ioctx.client.cell.cluster.blocklist.add(self.image.locker[2])
        self.image.locker = None

    @_locked
    def create_snap(self, name: str) -> None:
        """Make a snapshot."""
        self._change()
        if any(each.name == name and not each.trashed for each in self.image.snapshots):
            raise OSError(errno.EEXIST, f"RBD image already exists (error creating snapshot {name})")
        self.image.snapshot(name)

    @_locked
    def remove_snap(self, name: str) -> None:
        """Remove a snapshot."""
        self._change()
        if _snapshot(self.image, name).protected:
            raise OSError(errno.EBUSY, f"RBD image is busy (error removing snapshot {name})")
        self.image.remove_snapshot(name)

    @_locked
    def is_protected_snap(self, name: str) -> bool:
        """Say whether a snapshot may not be removed."""
        return _snapshot(self.image, name).protected

    @_locked
    def protect_snap(self, name: str) -> None:
        """Have a snapshot not removed."""
        self._change()
        _snapshot(self.image, name).protected = True

    @_locked
    def unprotect_snap(self, name: str) -> None:
        """Let a snapshot be removed; clones of the second format do not mind."""
        self._change()
        _snapshot(self.image, name).protected = False

    @_locked
    def resize(self, size: int) -> None:
        """Grow or shrink."""
        self._change()
        self.image.resize(size)

    @_locked
    def read(self, offset: int, length: int) -> bytes:
        """Return bytes."""
        size = (self.at or self.image).size
        if offset > size:
            raise OSError(errno.EINVAL, f"RBD invalid argument (error reading {self.image.name} {offset}~{length})")
        return self._view().read(offset, length)

    def _view(self) -> bytes_of.Image:
        """Return the image as it is or was: a snapshot is read through an image of its bytes."""
        at, image = self.at, self.image
        return bytes_of.Image(image.pool, "", at.size, at.objects, [], at.parent, at.overlap) if at else image

    @_locked
    def write(self, data: bytes, offset: int) -> int:
        """Write bytes."""
        self._change()
        try:
            self.image.write(offset, data)
        except bytes_of.RbdError as error:
            raise OSError(errno.EINVAL, f"RBD invalid argument ({error})") from error
        return len(data)

    @_locked
    def discard(self, offset: int, length: int) -> None:
        """Make bytes zeros."""
        self._change()
        self.image.discard(offset, length)

    @_locked
    def flush(self) -> None:
        """All is written already."""

    @_locked
    def flatten(self) -> None:
        """Copy what the parent has."""
        self._change()
        if self.image.parent is None:
            raise OSError(errno.EINVAL, f"RBD invalid argument (error flattening {self.image.name})")
        self.image.flatten()

    def diff_iterate(
        self,
        offset: int,
        length: int,
        since: str | None,
        tell: Callable[[int, int, bool], Any],
        include_parent: bool = True,
    ) -> None:
        """Tell of each object that differs, from its start to its last byte, as librbd tells of one that is new."""
        for extent in self._diff(offset, length, since, include_parent):
            tell(*extent)

    @_locked
    def _diff(self, offset: int, length: int, since: str | None, include_parent: bool) -> list[tuple[int, int, bool]]:
        now = self._view()
        before = _snapshot(self.image, since) if since else None
        found = []
        for number in range(offset // bytes_of.OBJECT, -(-(offset + length) // bytes_of.OBJECT)):
            start = number * bytes_of.OBJECT
            new = bytes_of.object_of(now.objects, now.parent if include_parent else None, now.overlap, number)
            old = before.read(number) if before else None
            if new is not old and new != old:
                found.append((start, len(new or old or b""), new is not None))
        return found

    @_locked
    def metadata_list(self) -> Iterator[tuple[str, str]]:
        """Return keys and values, sorted by key."""
        return iter(sorted(self.image.metadata.items()))

    @_locked
    def metadata_set(self, key: str, value: str) -> None:
        """Set a key."""
        if self.read_only:
            raise OSError(errno.EROFS, f"RBD read-only image ({self.image.name})")
        self.image.metadata[key] = value

    @_locked
    def metadata_remove(self, key: str) -> None:
        """Remove a key."""
        if key not in self.image.metadata:
            raise KeyError(f"no metadata {key!r} for image {self.image.name!r}")
        del self.image.metadata[key]
