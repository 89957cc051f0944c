# SPDX-License-Identifier: Apache-2.0
"""The contract of an image backend: who makes, binds and removes root disks.

A backend is few methods that each do one outside act with somebody's ``Access``
and answer with a value or an error of ``imagebackends.errors``. What only some
backends can do is an ability, a small class of its own, that a caller asks for with
``isinstance``. The suite in ``imagebackends.conformance`` proves a backend.
"""

import abc
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from imagebackends.types import Access, Adoption, Attachment, Disk, DiskSpec, Found, Snapshot


class Backend(abc.ABC):
    """Makes, finds, binds and removes disks. All methods may be called by many threads."""

    @abc.abstractmethod
    def create(self, access: Access, spec: DiskSpec) -> Disk:
        """Ask once for a new disk and return it as it starts to be made.

        Raises Refused, NoRoom or Failed when nothing was made, and MaybeRunning when
        nobody can know: then ``find`` tells.
        """

    @abc.abstractmethod
    def find(self, access: Access, spec: DiskSpec, since: dt.datetime) -> Found:
        """Look for what a ``create`` of ``spec``, whose answer was lost, has left.

        A disk counts only if it carries ``spec.marker``, lies in ``access.project_id``,
        was made not before ``since`` (UTC), has the source, type and size of ``spec`` and
        is bound to no server; the oldest is it, younger ones are copies (users can read
        and write metadata). Raises MaybeRunning when the backend does not answer.
        """

    @abc.abstractmethod
    def get(self, access: Access, disk_id: str) -> Disk:
        """Return one disk. Raises NotFound, MaybeRunning."""

    @abc.abstractmethod
    def look(self, access: Access, disk_ids: Iterable[str], since: dt.datetime) -> dict[str, Disk]:
        """Return those of the disks that changed since then (UTC), by one list call.

        With ``access.everywhere`` disks of all projects are seen. One that is missing in
        the answer is unchanged or gone: ``get`` tells. Raises MaybeRunning.
        """

    @abc.abstractmethod
    def explain(self, access: Access, disk_id: str) -> str | None:
        """Return the backend's own words for what went wrong with a disk, if it has any."""

    @abc.abstractmethod
    def delete(self, access: Access, disk_id: str) -> None:
        """Ask for a disk to be removed; it is gone when ``get`` raises NotFound.

        Raises NotFound, HasSnapshots, InUse, NotAllowed, MaybeRunning.
        """

    @abc.abstractmethod
    def attach(self, access: Access, disk_id: str, server_id: str) -> Attachment:
        """Reserve a disk for a server, once. Raises InUse, NotFound, MaybeRunning.

        One that is in use is reserved again for its own server alone: so a host lets go of it and nobody else gets it
        in between. It is free when the last of its attachments is gone.
        """

    @abc.abstractmethod
    def attachments(
        self, access: Access, *, disk_id: str | None = None, server_id: str | None = None
    ) -> list[Attachment]:
        """Return the attachments of a disk, of a server, or of both, oldest first.

        With ``access.everywhere`` those of all projects.
        """

    @abc.abstractmethod
    def connect(self, access: Access, attachment_id: str, connector: Mapping[str, Any]) -> Attachment:
        """Give the host that ``connector`` describes what it needs to reach the disk; repeatable.

        ``connector`` needs a ``host``. Raises BadRequest, NotFound, MaybeRunning.
        """

    @abc.abstractmethod
    def complete(self, access: Access, attachment_id: str) -> None:
        """Say that the host uses the disk now; repeatable."""

    @abc.abstractmethod
    def detach(self, access: Access, attachment_id: str) -> None:
        """Release a disk from a server; repeatable, one that is gone is no error.

        Raises NotAllowed where only the compute service may do it (409 of cinder), MaybeRunning.
        """


class ForceDeletes(abc.ABC):
    """A backend that deletes a disk again whose deletion failed (``error_deleting``) only for an administrator."""

    @abc.abstractmethod
    def force_delete(self, access: Access, disk_id: str) -> None:
        """Ask for a disk to be removed whatever its status. Raises NotFound, NotAllowed, MaybeRunning."""


class Reimages(abc.ABC):
    """A backend that can write another image onto a reserved disk."""

    @abc.abstractmethod
    def reimage(self, access: Access, disk_id: str, image_id: str) -> None:
        """Start to overwrite a reserved disk with an image; repeatable, all its data is lost.

        Done when the disk is reserved again with that ``image_id``; ``error`` when it failed.
        Raises Unsupported, BadRequest, NotFound, MaybeRunning.
        """


class Snapshots(abc.ABC):
    """A backend whose disks have snapshots that a disk can be made of."""

    @abc.abstractmethod
    def snapshot(self, access: Access, snapshot_id: str) -> Snapshot:
        """Return one snapshot. Raises NotFound, MaybeRunning."""


class Warms(Snapshots):
    """A backend that can keep a snapshot of its own, of which disks of every project are cloned."""

    @abc.abstractmethod
    def take_snapshot(self, access: Access, disk_id: str, name: str, marker: str) -> Snapshot:
        """Ask once for a snapshot of a disk that is bound to nothing. Raises what ``create`` raises."""

    @abc.abstractmethod
    def find_snapshot(self, access: Access, disk_id: str, marker: str) -> Snapshot | None:
        """Return what a ``take_snapshot``, whose answer was lost, has left. Raises MaybeRunning."""

    @abc.abstractmethod
    def drop_snapshot(self, access: Access, snapshot_id: str) -> None:
        """Ask for a snapshot to be removed; it is gone when ``snapshot`` raises NotFound. Raises InUse, NotFound."""


class Adopts(abc.ABC):
    """A backend that takes an image which lies in its pool already, and gives it back; as an administrator."""

    @abc.abstractmethod
    def adopt(self, access: Access, what: Adoption) -> Disk:
        """Ask once for an image to become a disk of ``access.project_id``; done when it is ``available``.

        The image is renamed, nothing is copied. One that failed is in ``error`` or ``error_managing``: it must be
        disowned and never deleted, for its bytes may be the image's. Raises NotAllowed, BadRequest, OverQuota,
        MaybeRunning: then ``adopted`` tells.
        """

    @abc.abstractmethod
    def adopted(self, access: Access, marker: str) -> Disk | None:
        """Return the oldest disk of ``access.project_id`` that carries the marker of an adoption, in any state."""

    @abc.abstractmethod
    def disown(self, access: Access, disk_id: str) -> None:
        """Ask for a disk to be forgotten, its bytes left alone and under the disk's own name; repeatable.

        Done when ``get`` raises NotFound. Raises InUse while it is attached or has snapshots, NotAllowed, MaybeRunning.
        """

    @abc.abstractmethod
    def describe(self, access: Access, disk_id: str, image_metadata: Mapping[str, str]) -> None:
        """Write what a disk made of an image keeps of it, and that it can be booted; repeatable."""

    @abc.abstractmethod
    def snapshots_of(self, access: Access, disk_id: str) -> list[str]:
        """Return the ids of a disk's snapshots. Raises MaybeRunning."""
