# SPDX-License-Identifier: Apache-2.0
"""The one file that calls librados and librbd: an image is opened, one thing is done, it is closed.

Their calls cannot be interrupted, so each cluster has few threads of its own (a bulkhead: a hung cluster fills no
other's), the client's own time-outs are set so that a hung call ends, and nobody waits for one longer than that.
Errors are sorted by errno.
"""

import contextlib
import datetime as dt
import errno
import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from imagebackends.errors import BadRequest, InUse, MaybeRunning, NotFound, Refused, Unreachable
from imagebackends.rbd.bindings import Bindings
from imagebackends.rbd.errnos import ERRNOS, told
from imagebackends.rbd.types import Child, Extent, Id, Image, Locker, Snapshot, SnapshotName, Trashed
from imagebackends.types import Ceph

Value = TypeVar("Value")
Ref = str | Id
Piece = tuple[int, bytes]
THREADS = 4
BOOK = "bfv_claims"
# What a deadline leaves to a call that ends by its own time-out, so that its own words are heard.
MARGIN = 1.0
# include/rbd/features.h
FEATURES = (
    *("layering", "striping", "exclusive-lock", "object-map", "fast-diff", "deep-flatten", "journaling", "data-pool"),
    *("operations", "migrating", "non-primary"),
)
# include/rbd/librbd.h: rbd_image_migration_state_t
MIGRATION = {1: "preparing", 2: "prepared", 3: "executing", 4: "executed", 5: "error", 6: "aborting"}
TRASHED = 2  # rbd_snap_namespace_type_t: RBD_SNAP_NAMESPACE_TYPE_TRASH


class Cluster:
    """A connection to one Ceph, made when it is first needed; for all threads."""

    def __init__(self, ceph: Ceph, bindings: Bindings, silent: Callable[[str], None] | None = None) -> None:
        self.ceph, self.rados, self.rbd = ceph, bindings.rados, bindings.rbd
        self._silent = silent
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=f"ceph-{ceph.conf}")
        self._lock = threading.Lock()
        self._client: Any = None
        self._pools: dict[str, Any] = {}

    def call(self, act: str, work: Callable[[], Value]) -> Value:
        """Run a call on a thread of this cluster. Raises Unreachable after its time-out."""
        seconds = self.ceph.connect_timeout + self.ceph.timeout + MARGIN
        future = self._threads.submit(work)
        with self.told(act):
            try:
                return future.result(seconds)
            except TimeoutError as error:
                if isinstance(getattr(error, "errno", None), int):
                    raise
                future.cancel()
                raise Unreachable(f"{act}: Ceph ({self.ceph.conf}) gave no answer in {seconds:.0f} s") from error

    @contextlib.contextmanager
    def told(self, act: str) -> Iterator[None]:
        """Turn the errors of both libraries into ours, and tell who asked to be told that the cluster is silent."""
        try:
            with told(act):
                yield
        except Unreachable as error:
            if self._silent:
                self._silent(str(error))
            raise

    def pool(self, name: str) -> "Pool":
        """Return a pool; nothing is asked yet."""
        return Pool(self, name)

    @property
    def fsid(self) -> str:
        """The cluster's id."""
        return self.call("ask Ceph for its fsid", lambda: str(self._connected().get_fsid()))

    def monitors(self) -> list[tuple[str, str]]:
        """Return hosts and ports of the monitors, as ``nova/storage/rbd_utils.py:get_mon_addrs`` reads them."""
        # `addr` is the address of protocol 1, which every client speaks.
        addresses = (each["addr"].split("/")[0] for each in self._ask("mon dump")["mons"])
        pairs = (address.rpartition(":") for address in addresses)
        return [(host.strip("[]"), port) for host, _, port in pairs]

    def clones_v2(self) -> bool:
        """Say whether clients clone in the second format here: one where snapshots may go before their clones.

        ``rbd_default_clone_format`` is `auto` by default: v2 from ``require_min_compat_client`` mimic on.
        """
        return str(self._ask("osd dump")["require_min_compat_client"]) >= "mimic"

    def health(self) -> str:
        """Return the cluster's health: HEALTH_OK, HEALTH_WARN or HEALTH_ERR."""
        return str(self._ask("health")["status"])

    def _ask(self, command: str) -> Any:
        """Ask the monitors for something that any client may read."""
        words = json.dumps({"prefix": command, "format": "json"})
        act = f"ask Ceph for {command}"
        code, out, told_ = self.call(act, lambda: self._connected().mon_command(words, b""))
        if code:
            raise ERRNOS.get(-code, MaybeRunning)(f"{act}: {told_}")
        return json.loads(out)

    def close(self) -> None:
        """End the connection when the calls that run have ended."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for ioctx in self._pools.values():
            ioctx.close()
        if self._client is not None:
            self._client.shutdown()

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        # Whole seconds: librados refuses others as invalid.
        limit, connect = (str(math.ceil(each)) for each in (self.ceph.timeout, self.ceph.connect_timeout))
        options = {"client_mount_timeout": connect, "rados_osd_op_timeout": limit, "rados_mon_op_timeout": limit}
        # Under v1 a snapshot must be protected, and its image cannot go before its clones; v2 needs Mimic.
        options["rbd_default_clone_format"] = "2"
        try:
            client = self.rados.Rados(conffile=self.ceph.conf, rados_id=self.ceph.user, conf=options)
            client.connect()
        except self.rados.ObjectNotFound as error:
            # Never NotFound: what cannot be asked about is not gone.
            raise Refused(f"{self.ceph.conf}, or the key of client.{self.ceph.user}, is not there: {error}") from error
        return client

    def ioctx(self, pool: str) -> Any:
        """Return librados's handle of a pool; call it on a thread of this cluster. Raises Refused if there is none."""
        client = self._connected()
        with self._lock:
            if pool not in self._pools:
                try:
                    self._pools[pool] = client.open_ioctx(pool)
                except self.rados.ObjectNotFound as error:
                    raise Refused(f"Ceph ({self.ceph.conf}) has no pool {pool}: {error}") from error
            return self._pools[pool]


class Pool:
    """The images of one pool, by name or ``Id``. All methods raise Unreachable, and NotFound for what is not there."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def names(self) -> list[str]:
        """Return the names of all images."""
        return list(self._call("list the images", lambda: self._rbd.list(self._ioctx)))

    def look(self, image: Ref) -> Image:
        """Return all that is known of an image, opened for reading: so it is not watched by this."""
        return self._on(image, "look at", _image)

    def find(self, image: Ref) -> Image | None:
        """Return an image, or None."""
        try:
            return self.look(image)
        except NotFound:
            return None

    def create(self, name: str, size: int) -> None:
        """Make an empty image of so many bytes. Raises Exists, NoRoom."""
        self._call(f"create {name}", lambda: self._rbd.create(self._ioctx, name, size, old_format=False))

    def clone(self, parent: SnapshotName, name: str) -> None:
        """Make a clone (v2) of a snapshot of any pool of this cluster, its image's metadata too. Raises Exists."""

        def act() -> None:
            source = self.cluster.ioctx(parent.pool)
            # librbd refuses features 0; without the argument it takes the client's default.
            self._rbd.clone(source, parent.image, parent.snapshot, self._ioctx, name)

        self._call(f"clone {parent.pool}/{parent.image}@{parent.snapshot} as {name}", act)

    def resize(self, image: Ref, size: int) -> None:
        """Make an image so many bytes large; what lies behind is lost."""
        self._change(image, "resize", lambda handle: handle.resize(size))

    def rename(self, old: str, new: str) -> None:
        """Rename an image, which may be open. Raises Exists.

        Of several who rename at once each is told that it did, and the last one's name stays (librbd 16.2).
        """
        self._call(f"rename {old} to {new}", lambda: self._rbd.rename(self._ioctx, old, new))

    def remove(self, name: str) -> None:
        """Remove an image. Raises InUse while it is watched or locked, HasSnapshots also for those in the trash."""

        def act() -> None:
            self._open(name, write=False, lockable=True).close()
            self._rbd.remove(self._ioctx, name)

        self._call(f"remove {name}", act)

    def flatten(self, image: Ref) -> None:
        """Copy what a clone has of its parent, in the caller's thread, and forget the parent."""
        with self.cluster.told(f"flatten {self._named(image)}"), self._open(image, write=True, lockable=True) as handle:
            handle.flatten()

    def fill(self, image: Ref, chunks: Iterable[bytes]) -> int:
        """Write bytes from the start, leaving out zeros, in the caller's thread; return how many there were.

        The image must be new. It is watched as long as this lasts. Raises BadRequest for more than fits.
        """
        offset = 0
        with self.cluster.told(f"write {self._named(image)}"), self._open(image, write=True, lockable=True) as handle:
            size = handle.size()
            for chunk in chunks:
                if offset + len(chunk) > size:
                    # librbd writes what fits, and its error bears no errno.
                    raise BadRequest(f"{self._named(image)} has {size} bytes, and there are more to write")
                if chunk.count(0) < len(chunk):
                    handle.write(chunk, offset)
                offset += len(chunk)
            handle.flush()
        return offset

    def patch(self, image: Ref, pieces: Iterable[Piece]) -> int:
        """Write pieces of (offset, bytes), in the caller's thread; return how many bytes there were.

        A piece of zeros is discarded, so that the image stays sparse. It is watched as long as this lasts.
        """
        count = 0
        with told(f"write {self._named(image)}"), self._open(image, write=True, lockable=True) as handle:
            for offset, data in pieces:
                if data.count(0) == len(data):
                    handle.discard(offset, len(data))
                else:
                    handle.write(data, offset)
                count += len(data)
            handle.flush()
        return count

    def read(self, image: Ref, offset: int, length: int, snapshot: str | None = None) -> bytes:
        """Return bytes, of a snapshot if one is named."""
        reads = lambda handle: bytes(handle.read(offset, length))  # noqa: E731
        return self._on(image, "read", reads, snapshot=snapshot)

    def pieces(self, image: Ref, runs: Iterable[tuple[int, int]], snapshot: str | None = None) -> Iterator[Piece]:
        """Yield the bytes of runs of (offset, length), in the caller's thread, of a snapshot if one is named."""
        with told(f"read {self._named(image)}"), self._open(image, write=False, snapshot=snapshot) as handle:
            for offset, length in runs:
                yield offset, bytes(handle.read(offset, length))

    def diff(self, image: Ref, since: str | None = None, snapshot: str | None = None) -> list[Extent]:
        """Return what changed since a snapshot, None: all there is, its parent's too; up to a snapshot, None: now."""
        return self._on(image, "compare", lambda handle: _diff(handle, since), snapshot=snapshot)

    def changes(self, image: Ref, since: str | None = None, snapshot: str | None = None) -> list[Extent]:
        """Return what ``diff`` returns, in the caller's thread: of a large image that takes longer than a call may."""
        with told(f"compare {self._named(image)}"), self._open(image, write=False, snapshot=snapshot) as handle:
            return _diff(handle, since)

    def held(self, image: Ref) -> list[Extent]:
        """Return what an image holds itself, without what it has of its parent or keeps for snapshots."""
        found: list[Extent] = []

        def act(handle: Any) -> list[Extent]:
            tell = lambda *extent: found.append(Extent(*extent))  # noqa: E731
            handle.diff_iterate(0, handle.size(), None, tell, include_parent=False)
            return found

        return self._on(image, "look at what is held by", act)

    def snapshot(self, image: Ref, name: str) -> None:
        """Make a snapshot. Raises Exists."""
        self._change(image, f"make snapshot {name} of", lambda handle: handle.create_snap(name))

    def drop_snapshot(self, image: Ref, name: str) -> None:
        """Remove a snapshot, a protected one too; one with clones goes to the trash and with the last of them.

        Raises InUse for one that has clones of the first format.
        """

        def act(handle: Any) -> None:
            if handle.is_protected_snap(name):
                handle.unprotect_snap(name)
            handle.remove_snap(name)

        self._change(image, f"remove snapshot {name} of", act)

    def children(self, image: Ref) -> list[Child]:
        """Return the clones of all snapshots of an image, of all pools that this user may read."""
        listed = self._on(image, "list clones of", lambda handle: list(handle.list_children2()))
        return [Child(each["pool"], each["image"], each["id"], each["trash"]) for each in listed]

    def prepare_migration(self, image: str, to: "Pool", name: str | None = None) -> None:
        """Let an image be opened in another pool of this cluster, by its or another name; nothing is copied yet.

        There it has another id, and is read through the old one, which is nowhere to be seen and in the trash of this
        pool. Raises InUse while somebody has it open for writing, Exists.
        """

        def act() -> None:
            self._open(image, write=False, lockable=True).close()
            self._rbd.migration_prepare(self._ioctx, image, self.cluster.ioctx(to.name), name or image)

        self._call(f"prepare the migration of {image} to {to.name}", act)

    def migration(self, image: str) -> str | None:
        """Return how far the migration is whose target an image is (a value of ``MIGRATION``), None for none.

        Raises NotFound.
        """
        self.look(image)

        def act() -> str | None:
            try:
                return MIGRATION[self._rbd.migration_status(self._ioctx, image)["state"]]
            except Exception as error:
                if getattr(error, "errno", None) not in (errno.EINVAL, errno.ENOENT):
                    raise
                return None

        return self._call(f"look at the migration of {image}", act)

    def execute_migration(self, image: str) -> None:
        """Copy what the old image has, in the caller's thread; guests may run. May be repeated until it is executed."""
        with told(f"execute the migration of {self._named(image)}"):
            self._rbd.migration_execute(self._ioctx, image)

    def commit_migration(self, image: str) -> None:
        """Remove the old image of an executed migration, in the caller's thread; guests may run."""
        with told(f"commit the migration of {self._named(image)}"):
            self._rbd.migration_commit(self._ioctx, image)

    def abort_migration(self, image: str) -> None:
        """Bring an image back to where it came from, with all that was written since, in the caller's thread.

        Raises InUse while somebody has it open for writing.
        """
        with told(f"abort the migration of {self._named(image)}"):
            self._rbd.migration_abort(self._ioctx, image)

    def set_metadata(self, image: Ref, values: Mapping[str, str | None]) -> None:
        """Write keys, in this order; None removes one, which need not be there."""

        def act(handle: Any) -> None:
            for key, value in values.items():
                if value is not None:
                    handle.metadata_set(key, value)
                else:
                    with contextlib.suppress(KeyError):
                        handle.metadata_remove(key)

        self._on(image, "write metadata of", act, write=True)

    def break_lock(self, image: Ref, locker: Locker) -> None:
        """Take a lock from who holds it, and bar that client, with all it has open, from the cluster. Raises NotFound.

        Ceph's own fence (``rbd_blocklist_on_break_lock``): a guest that lives after all writes no more.
        """

        def act(handle: Any) -> None:
            if locker not in _lockers(handle):
                # librbd tells this as EINVAL.
                raise NotFound(f"{locker.client} holds no lock {locker.cookie} of {self._named(image)}")
            handle.break_lock(locker.client, locker.cookie)

        self._on(image, "break a lock of", act, write=True)

    def swap(self, key: str, old: str, new: str) -> None:
        """Change a key of the pool's own small book from one value to another; "" is none. Of several, one does.

        Raises Exists when the value is another than ``old``. The book is an object beside the images: librbd has
        nothing that only one of several clients can do to an image.
        """

        def act() -> None:
            rados, ioctx = self.cluster.rados, self._ioctx
            with rados.WriteOpCtx() as operation:
                # An absent key compares as an empty one, but only in an object that is there.
                operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
                operation.omap_cmp(key, old)
                if new:
                    ioctx.set_omap(operation, (key,), (new,))
                else:
                    ioctx.remove_omap_keys(operation, (key,))
                ioctx.operate_write_op(operation, BOOK)

        self._call(f"change {key} in {BOOK}", act)

    def value(self, key: str) -> str:
        """Return a key's value in the book, "" for none."""
        return self._book(lambda operation: self._ioctx.get_omap_vals_by_keys(operation, (key,))).get(key, "")

    def values(self, page: int = 1000) -> dict[str, str]:
        """Return the whole book, so many keys at a time."""
        found: dict[str, str] = {}

        def read(operation: Any) -> Any:
            return self._ioctx.get_omap_vals(operation, max(found, default=""), "", page)

        while rows := self._book(read):
            found |= rows
        return found

    def _book(self, read: Callable[[Any], Any]) -> dict[str, str]:
        def act() -> dict[str, str]:
            with self.cluster.rados.ReadOpCtx() as operation:
                rows, _ = read(operation)
                try:
                    self._ioctx.operate_read_op(operation, BOOK)
                except self.cluster.rados.ObjectNotFound:
                    return {}
                return {key: bytes(value).decode() for key, value in rows}

        return self._call(f"read {BOOK}", act)

    def trash(self, name: str) -> None:
        """Move an image to the trash, even one that is open: look at its watchers first."""
        self._call(f"move {name} to the trash", lambda: self._rbd.trash_move(self._ioctx, name, 0))

    def trashed(self) -> list[Trashed]:
        """Return what is in the trash."""
        listed = self._call("list the trash", lambda: list(self._rbd.trash_list(self._ioctx)))
        return [Trashed(each["id"], each["name"], each["deletion_time"]) for each in listed]

    def restore(self, id: str, name: str) -> None:
        """Take an image out of the trash. Raises Exists."""
        self._call(f"restore {name}", lambda: self._rbd.trash_restore(self._ioctx, id, name))

    def purge(self, id: str) -> None:
        """Remove an image that is in the trash. Raises HasSnapshots, InUse."""

        def act() -> None:
            self._open(Id(id), write=False, lockable=True).close()
            self._rbd.trash_remove(self._ioctx, id)

        self._call(f"purge {id}", act)

    @property
    def _ioctx(self) -> Any:
        return self.cluster.ioctx(self.name)

    @property
    def _rbd(self) -> Any:
        return self.cluster.rbd.RBD()

    def _named(self, image: Ref) -> str:
        return f"{self.name}/{image if isinstance(image, str) else f'(id {image.value})'}"

    def _open(self, image: Ref, *, write: bool, snapshot: str | None = None, lockable: bool = False) -> Any:
        which = {"name": image} if isinstance(image, str) else {"image_id": image.value}
        handle = self.cluster.rbd.Image(self._ioctx, snapshot=snapshot, read_only=not write, **which)
        # What needs the lock would wait for ever for one that was taken by hand, also of a client that is gone
        # (seen with librbd 16.2); those of librbd itself are handed over.
        held = [each for each in _lockers(handle) if not each.cookie.startswith("auto ")] if lockable else []
        if held:
            handle.close()
            raise InUse(
                f"{self._named(image)} is locked by {held[0].client} at {held[0].address} as {held[0].cookie}; "
                f"have it let go, or break the lock if it is dead (rbd lock rm)"
            )
        return handle

    def _call(self, act: str, work: Callable[[], Value]) -> Value:
        return self.cluster.call(f"{act} (pool {self.name})", work)

    def _change(self, image: Ref, verb: str, act: Callable[[Any], Value]) -> Value:
        return self._on(image, verb, act, write=True, lockable=True)

    def _on(self, image: Ref, verb: str, act: Callable[[Any], Value], *, write: bool = False, **how: Any) -> Value:
        def work() -> Value:
            with self._open(image, write=write, **how) as handle:
                return act(handle)

        return self.cluster.call(f"{verb} {self._named(image)}", work)


def _image(handle: Any) -> Image:
    bits = handle.features()
    return Image(
        id=handle.id(),
        name=handle.get_name(),
        size=handle.size(),
        created_at=_utc(handle.create_timestamp()),
        features=frozenset(name for bit, name in enumerate(FEATURES) if bits & 1 << bit),
        parent=_parent(handle),
        snapshots=tuple(
            Snapshot(each["id"], each["name"], each["size"], each["namespace"] == TRASHED)
            for each in handle.list_snaps()
        ),
        watchers=tuple(each["addr"] for each in handle.watchers_list()),
        lockers=_lockers(handle),
        metadata=dict(handle.metadata_list()),
    )


def _diff(handle: Any, since: str | None) -> list[Extent]:
    found: list[Extent] = []
    handle.diff_iterate(0, handle.size(), since, lambda *extent: found.append(Extent(*extent)))
    return found


def _parent(handle: Any) -> SnapshotName | None:
    try:
        spec = handle.get_parent_image_spec()
    except Exception as error:
        if getattr(error, "errno", None) != errno.ENOENT:
            raise
        return None
    return SnapshotName(spec["pool_name"], spec["image_name"], spec["snap_name"])


def _lockers(handle: Any) -> tuple[Locker, ...]:
    # Without a lock the answer is a list, else a dictionary.
    found = handle.list_lockers() or {"lockers": []}
    return tuple(Locker(*each) for each in found["lockers"])


def _utc(when: dt.datetime) -> dt.datetime:
    return when.replace(tzinfo=None, microsecond=0)
