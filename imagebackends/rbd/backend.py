# SPDX-License-Identifier: Apache-2.0
"""Root disks in nova's own pool, as its rbd image backend keeps them. Deprecated: ``docs/why-volumes.md`` says why."""

import contextlib
import dataclasses
import datetime as dt
import functools
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keystoneauth1.session import Session

from imagebackends.backend import Backend, Snapshots
from imagebackends.errors import BadRequest, Exists, HasSnapshots, InUse, MaybeRunning, NotFound, StorageError
from imagebackends.http import Settings, make_session
from imagebackends.rbd import bindings as binding
from imagebackends.rbd import cleaning, disks
from imagebackends.rbd.disks import GIB, Claim, Key, Own
from imagebackends.rbd.pool import Pool
from imagebackends.rbd.pools import Pools, together
from imagebackends.rbd.sources import Fetches, Sources
from imagebackends.rbd.types import Id, Image, SnapshotName
from imagebackends.rbd.types import Snapshot as Held
from imagebackends.types import Access, Attachment, Disk, DiskSpec, Found, Snapshot

LOG = logging.getLogger(__name__)
DEPRECATED = (
    "The image backend rbd is deprecated and will be removed: use the backend cinder, "
    "and move servers there with `bfv migrate plan`."
)
EPHEMERALS = 100


@functools.cache
def _warn() -> None:
    """Say once in a process that this backend goes."""
    LOG.warning(DEPRECATED)
    warnings.warn(DEPRECATED, DeprecationWarning, stacklevel=3)


class RbdBackend(Backend, Snapshots):
    """Disks in the pools of all configured cells; whose a disk is, is checked here, since Ceph knows no projects."""

    def __init__(
        self, settings: Settings, session: Session | None = None, bindings: binding.Bindings | None = None
    ) -> None:
        if not settings.ceph:
            raise BadRequest("The image backend rbd is off: name the ceph.conf of each cell that has it.")
        _warn()
        self.pools = Pools(settings, bindings or binding.load(settings.ceph_python))
        self._sources = Sources(settings, session or make_session(settings))
        self._fetches = Fetches(self._sources)

    def close(self) -> None:
        """End the connections when what runs has ended."""
        self._fetches.close()
        self.pools.close()

    def create(self, access: Access, spec: DiskSpec) -> Disk:
        """Clone where the bytes are in this cell's Ceph, else make it empty and fetch them behind the answer."""
        pool = self.pools.of(spec.target.cell)
        name = disks.free_name(access.project_id, spec.marker)
        image, origin, parent = None, None, None
        if spec.source == "image":
            image = self._sources.check(access, spec)
            origin, parent = image.id, self._sources.parent(access, image, pool.cluster)
        elif spec.source == "snapshot":
            origin, parent = self._origin(access, spec)
        with _undone(pool, name):
            self._make(pool, name, parent, spec.size, disks.described(access, spec, origin))
            if image is None or parent:
                pool.set_metadata(name, {disks.STATE: disks.READY})
            made = pool.look(name)
        if image and not parent:
            self._fetches.start(access, image, pool, Id(made.id))
        return disks.disk(Own(spec.target.cell, pool, made, None))

    def _make(
        self, pool: Pool, name: str, parent: SnapshotName | None, size: int, told: Mapping[str, str | None]
    ) -> None:
        if parent is None:
            pool.create(name, size * GIB)
            pool.set_metadata(name, told)
        else:
            pool.clone(parent, name)
            pool.set_metadata(name, told)
            pool.resize(name, size * GIB)

    def _origin(self, access: Access, spec: DiskSpec) -> tuple[str | None, SnapshotName]:
        """Return the image whose bytes a snapshot has, and the snapshot by name."""
        key = self.pools.key(spec.source_id or "", "s")
        own = self.pools.own(access, key)
        snapshot = _snapshot(own.image, key)
        if own.cell != spec.target.cell:
            raise BadRequest(f"Snapshot {key} is not in cell {spec.target.cell}, and a clone cannot leave its cluster.")
        if spec.size * GIB < snapshot.size:
            raise BadRequest(f"Snapshot {key} has {snapshot.size} bytes, more than the {spec.size} GiB asked for.")
        return own.image.metadata.get(disks.SOURCE), SnapshotName(own.pool.name, own.image.name, snapshot.name)

    def find(self, access: Access, spec: DiskSpec, since: dt.datetime) -> Found:
        """List the pool's names, of which those with this marker tell it."""
        cell, pool = spec.target.cell, self.pools.of(spec.target.cell)
        start = disks.free_prefix(access.project_id, spec.marker)
        images = [each for each in map(pool.find, (name for name in pool.names() if name.startswith(start))) if each]
        marked = [Own(cell, pool, image, Claim.read(pool.value(image.id))) for image in images]
        marked.sort(key=lambda own: (own.image.created_at, own.image.id))
        since = (since.astimezone(dt.UTC) if since.tzinfo else since).replace(tzinfo=None, microsecond=0)
        ours = [own for own in marked if disks.counts(own, access, spec, since)]
        if not ours:
            return Found(None)
        return Found(disks.disk(ours[0]), tuple(map(disks.disk, marked[marked.index(ours[0]) + 1 :])))

    def get(self, access: Access, disk_id: str) -> Disk:
        """Open the image for reading."""
        return disks.disk(self.pools.own(access, self.pools.key(disk_id)))

    def look(self, access: Access, disk_ids: Iterable[str], since: dt.datetime) -> dict[str, Disk]:  # noqa: ARG002
        """Open each image, since Ceph tells no changes; several at once."""

        def one(disk_id: str) -> Disk | None:
            try:
                return self.get(access, disk_id)
            except NotFound:
                return None

        found = together(one, set(disk_ids))
        return {each.id: each for each in found if each}

    def explain(self, access: Access, disk_id: str) -> str | None:
        """Return what was written onto a disk whose image could not be fetched."""
        try:
            return self.pools.own(access, self.pools.key(disk_id)).image.metadata.get(disks.WHY)
        except NotFound:
            return None

    def delete(self, access: Access, disk_id: str) -> None:
        """Remove a disk that is nobody's, that nobody has open, and that has no snapshots; repeat what broke off."""
        key = self.pools.key(disk_id)
        own = self.pools.own(access, key)
        if own.server:
            raise InUse(f"Disk {disk_id} belongs to server {own.server}; detach it first.")
        names = [str(Key(key.cell, key.image, "s", str(each.id))) for each in own.image.snapshots if not each.trashed]
        if names:
            raise HasSnapshots(f"Disk {disk_id} has snapshots ({', '.join(names)}); delete them first.")
        claim = str(own.claim or self._claim(own, ""))
        try:
            # Its name may have changed until it was claimed.
            cleaning.remove(own.pool, own.pool.look(own.id))
        except NotFound:
            LOG.info("Disk %s is gone already.", disk_id)
        except MaybeRunning:
            raise
        except StorageError:
            own.pool.swap(own.image.id, claim, "")
            raise
        with contextlib.suppress(Exists):
            own.pool.swap(own.image.id, claim, "")

    def _claim(self, own: Own, server_id: str) -> Claim:
        """Have a disk for a server, or "" to delete it. Raises InUse when somebody has it."""
        claim = Claim.new(server_id)
        self._swap(own, "", str(claim))
        return claim

    def attach(self, access: Access, disk_id: str, server_id: str) -> Attachment:
        """Claim a disk, and give its image the name that nova gives a server's."""
        key, server = self.pools.key(disk_id), disks.server_name(server_id).removesuffix("_disk")
        own = self.pools.own(access, key)
        status = disks.disk(own).status
        if status == "in-use" and own.server == server:
            return self._reserve_again(own, key)
        if status != "available":
            raise InUse(f"Disk {disk_id} is {status}, and only an available one can be attached.")
        claim = self._claim(own, server)
        try:
            own = self.pools.own(access, key)
        except NotFound:
            # Deleted between the first look and the claim.
            own.pool.swap(own.image.id, str(claim), "")
            raise
        own.pool.set_metadata(own.id, {disks.HOST: None, disks.USED: None})
        self._name(own)
        return Attachment(str(Key(key.cell, key.image, "a", claim.token)), key.disk, server, "reserved")

    def _reserve_again(self, own: Own, key: Key) -> Attachment:
        """Bind a disk to the server that uses it once more, for when its host lets go of it."""
        if own.claim is None or own.claim.next:
            raise InUse(f"Disk {own.image.id} is reserved once more already.")
        claim = dataclasses.replace(own.claim, next=disks.new_token())
        self._swap(own, str(own.claim), str(claim))
        return Attachment(str(Key(key.cell, key.image, "a", claim.next)), key.disk, claim.server, "reserved")

    def _swap(self, own: Own, before: str, after: str) -> None:
        try:
            own.pool.swap(own.image.id, before, after)
        except Exists as error:
            raise InUse(f"Disk {own.image.id} is another server's, or being deleted, since just now.") from error

    def _name(self, own: Own) -> None:
        """Give a server's disk the first name that is free: of its root, or of an ephemeral disk. Repeatable."""
        root = f"{own.server}_disk"
        names = (root, *(f"{root}.eph{number}" for number in range(EPHEMERALS)))
        if own.image.name in names:
            return
        for name in names:
            with contextlib.suppress(Exists):
                own.pool.rename(own.image.name, name)
                return
        raise InUse(f"Server {own.server} has {EPHEMERALS} disks already.")

    def attachments(
        self, access: Access, *, disk_id: str | None = None, server_id: str | None = None
    ) -> list[Attachment]:
        """Look at one disk, or into the books of all cells: with one down, nobody knows a server's disks."""
        if disk_id is not None:
            try:
                found = [self.pools.own(access, self.pools.key(disk_id))]
            except NotFound:
                return []
        else:
            found = self.pools.of_server(access, server_id)
        found.sort(key=lambda own: own.claim.at if own.claim else "")
        bound = [each for own in found for each in self._attached(own)]
        return [each for each in bound if server_id in (None, each.server_id)]

    def _attached(self, own: Own) -> list[Attachment]:
        bound = disks.attachments(own)
        if not bound or disks.HOST not in own.image.metadata:
            return bound
        return [dataclasses.replace(bound[0], connection=disks.connection(own)), *bound[1:]]

    def connect(self, access: Access, attachment_id: str, connector: Mapping[str, Any]) -> Attachment:
        """Write down the host, and tell it name and monitors."""
        if not connector.get("host"):
            raise BadRequest("A connector names its host.")
        own, _ = self._bound(access, attachment_id)
        self._name(own)
        own.pool.set_metadata(own.id, {disks.HOST: str(connector["host"])})
        own, bound = self._bound(access, attachment_id)
        return dataclasses.replace(bound, connection=disks.connection(own))

    def complete(self, access: Access, attachment_id: str) -> None:
        """Write down that the disk is in use."""
        own, _ = self._bound(access, attachment_id)
        own.pool.set_metadata(own.id, {disks.USED: "yes"})

    def detach(self, access: Access, attachment_id: str) -> None:
        """Take the server's name from the image, and then its claim; only its host's, where it is bound once more."""
        with contextlib.suppress(NotFound, Exists):
            own, bound = self._bound(access, attachment_id)
            claim, first = own.claim, bound == disks.attachments(own)[0]
            if first:
                own.pool.set_metadata(own.id, {disks.HOST: None, disks.USED: None})
            if claim and claim.next:
                left = dataclasses.replace(claim, token=claim.next if first else claim.token, next="")
                own.pool.swap(own.image.id, str(claim), str(left))
                return
            if not disks.is_free(own.image):
                free = disks.free_name(disks.project(own.image) or "", own.image.metadata.get(disks.MARKER, ""))
                own.pool.rename(own.image.name, free)
            own.pool.swap(own.image.id, str(own.claim), "")

    def _bound(self, access: Access, attachment_id: str) -> tuple[Own, Attachment]:
        """Return what an attachment binds. Raises NotFound once the disk is another server's, or nobody's."""
        own = self.pools.own(access, self.pools.key(attachment_id, "a"))
        for bound in disks.attachments(own):
            if bound.id == attachment_id:
                return own, bound
        raise NotFound(f"Attachment {attachment_id} could not be found.")

    def resize(self, access: Access, disk_id: str, size: int) -> None:
        """Grow a disk to so many GiB, also under a guest. Raises BadRequest for fewer than it has."""
        own = self.pools.own(access, self.pools.key(disk_id))
        if size * GIB < own.image.size:
            raise BadRequest(f"Disk {disk_id} has {own.image.size} bytes and does not shrink to {size} GiB.")
        own.pool.resize(own.id, size * GIB)

    def snapshot(self, access: Access, snapshot_id: str) -> Snapshot:
        """Look for it among those of its disk; one in the trash is gone."""
        key = self.pools.key(snapshot_id, "s")
        image = self.pools.own(access, key).image
        size = _snapshot(image, key).size
        return Snapshot(snapshot_id, key.disk, -(-size // GIB), "available", disks.project(image))

    def make_snapshot(self, access: Access, disk_id: str, name: str) -> Snapshot:
        """Make a snapshot of a disk, as its bytes are in Ceph: a guest must have written them. Raises Exists."""
        key = self.pools.key(disk_id)
        own = self.pools.own(access, key)
        own.pool.snapshot(own.id, name)
        [made] = [each for each in own.pool.look(own.id).snapshots if each.name == name]
        return self.snapshot(access, str(Key(key.cell, key.image, "s", str(made.id))))

    def snapshots_named(self, access: Access, disk_id: str, name: str) -> list[str]:
        """Return the id of the snapshot of a disk that bears a name, or nothing. Raises NotFound for no such disk."""
        key = self.pools.key(disk_id)
        held = self.pools.own(access, key).image.snapshots
        return [
            str(Key(key.cell, key.image, "s", str(each.id))) for each in held if each.name == name and not each.trashed
        ]

    def remove_snapshot(self, access: Access, snapshot_id: str) -> None:
        """Remove a snapshot; disks that were made of it keep their bytes. Raises NotFound."""
        key = self.pools.key(snapshot_id, "s")
        own = self.pools.own(access, key)
        own.pool.drop_snapshot(own.id, _snapshot(own.image, key).name)

    def clean(self, cell: str, server_id: str) -> list[str]:
        """Remove all that a server has in nova's pool and return the names; the caller has checked whose it is.

        Raises InUse and HasSnapshots before anything is removed.
        """
        return cleaning.clean(self.pools.of(cell), server_id)


@contextlib.contextmanager
def _undone(pool: Pool, name: str) -> Iterator[None]:
    """Remove what was made of a disk when the rest fails: an error that is no MaybeRunning promises that none is."""
    try:
        yield
    except MaybeRunning:
        raise
    except StorageError as error:
        try:
            pool.remove(name)
        except NotFound:
            pass
        except StorageError as left:
            raise MaybeRunning(f"{error}; and what was made of it is still there: {left}") from error
        raise


def _snapshot(image: Image, key: Key) -> Held:
    """Return a snapshot of an image by its id; one in the trash is gone. Raises NotFound."""
    for each in image.snapshots:
        if str(each.id) == key.rest and not each.trashed:
            return each
    raise NotFound(f"Snapshot {key} could not be found.")
