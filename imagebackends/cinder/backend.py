# SPDX-License-Identifier: Apache-2.0
"""Root disks as cinder volumes: the main image backend."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from keystoneauth1.session import Session

from imagebackends.backend import Backend, ForceDeletes, Reimages, Warms
from imagebackends.cinder.adopts import MARKER, CinderAdopts
from imagebackends.cinder.client import REIMAGE, TIME_FILTER, Clients, attachment, disk
from imagebackends.errors import BadRequest, HasSnapshots, InUse, NotAllowed, NotFound, Unsupported
from imagebackends.http import Settings, make_session, told
from imagebackends.types import Access, Attachment, Disk, DiskSpec, Found, Snapshot

UNMADE = frozenset(("creating", "downloading", "error"))
BOUND = frozenset(("reserved", "attaching", "in-use", "detaching"))


class CinderBackend(CinderAdopts, Backend, ForceDeletes, Reimages, Warms):
    """Volumes and attachments of one cinder, with anybody's ``Access``."""

    def __init__(self, settings: Settings, session: Session | None = None) -> None:
        self.clients = Clients(settings, session or make_session(settings))

    def create(self, access: Access, spec: DiskSpec) -> Disk:
        """Send POST /volumes once."""
        with told(f"create a volume of {spec.size} GiB", access):
            return disk(
                self.clients.writes(access).volumes.create(
                    spec.size,
                    name=spec.name,
                    volume_type=spec.target.volume_type,
                    availability_zone=spec.target.availability_zone,
                    metadata={MARKER: spec.marker},
                    imageRef=spec.source_id if spec.source == "image" else None,
                    snapshot_id=spec.source_id if spec.source == "snapshot" else None,
                )
            )

    def find(self, access: Access, spec: DiskSpec, since: dt.datetime) -> Found:
        """Look for the marker by cinder's metadata filter, and check every match again here.

        A filter that the operator switched off gives the whole list or 400 (``cinder/api/common.py``).
        """
        with told("look for a volume whose creation was not answered", access):
            listed = [
                *map(disk, self.clients.reads(access).volumes.list(search_opts={"metadata": {MARKER: spec.marker}}))
            ]
        matches = [each for each in listed if each.metadata.get(MARKER) == spec.marker]
        ours = sorted((each for each in matches if _counts(each, access, spec, _utc(since))), key=_age)
        found = ours[0] if ours else None
        return Found(found, tuple(each for each in sorted(matches, key=_age) if found and _age(each) > _age(found)))

    def get(self, access: Access, disk_id: str) -> Disk:
        """Send GET /volumes/{id}."""
        with told(f"look at volume {disk_id}", access):
            return disk(self.clients.reads(access).volumes.get(disk_id))

    def look(self, access: Access, disk_ids: Iterable[str], since: dt.datetime) -> dict[str, Disk]:
        """Send one GET /volumes/detail for those that changed (``updated_at``, 3.60)."""
        wanted = set(disk_ids)
        query: dict[str, Any] = {"all_tenants": 1} if access.everywhere else {}
        if self.clients.version(access) >= TIME_FILTER:
            query["updated_at"] = f"gte:{_utc(since).isoformat(timespec='seconds')}"
        with told("look at the volumes that changed", access):
            listed = self.clients.reads(access).volumes.list(search_opts=query)
            return {each.id: disk(each) for each in listed if each.id in wanted}

    def explain(self, access: Access, disk_id: str) -> str | None:
        """Return the newest user message about a volume (``cinder/message/message_field.py``)."""
        with told(f"ask why volume {disk_id} failed", access):
            messages = self.clients.reads(access).messages.list(search_opts={"resource_uuid": disk_id})
        newest = max(messages, key=lambda each: each.created_at, default=None)
        return newest.user_message if newest else None

    def delete(self, access: Access, disk_id: str) -> None:
        """Send DELETE /volumes/{id}; cinder's 400 says both that snapshots exist and that it is busy."""
        try:
            with told(f"delete volume {disk_id}", access):
                self.clients.writes(access).volumes.delete(disk_id)
        except BadRequest as error:
            with told(f"look for snapshots of volume {disk_id}", access):
                listed = self.clients.reads(access).volume_snapshots.list(search_opts={"volume_id": disk_id})
            if listed:
                names = ", ".join(each.id for each in listed)
                raise HasSnapshots(
                    f"Volume {disk_id} has snapshots ({names}); delete them first, then the volume.",
                    request_id=error.request_id,
                ) from error
            raise InUse(str(error), request_id=error.request_id) from error

    def force_delete(self, access: Access, disk_id: str) -> None:
        """Send os-force_delete; a plain DELETE of ``error_deleting`` is a 400 (cinder/volume/api.py:API.delete)."""
        with told(f"force volume {disk_id} to be deleted", access):
            self.clients.writes(access).volumes.force_delete(disk_id)

    def attach(self, access: Access, disk_id: str, server_id: str) -> Attachment:
        """Send POST /attachments without a connector: the volume is reserved."""
        try:
            with told(f"reserve volume {disk_id}", access):
                return attachment(self.clients.writes(access).attachments.create(disk_id, None, server_id))
        except BadRequest as error:
            # cinder/volume/api.py:_attachment_reserve: a wrong state is 400 "Invalid volume".
            raise InUse(str(error), request_id=error.request_id) from error

    def attachments(
        self, access: Access, *, disk_id: str | None = None, server_id: str | None = None
    ) -> list[Attachment]:
        """Send GET /attachments/detail."""
        query = {"volume_id": disk_id, "instance_id": server_id, "all_tenants": 1 if access.everywhere else None}
        with told("look at attachments", access):
            listed = self.clients.reads(access).attachments.list(
                detailed=True,
                search_opts={key: value for key, value in query.items() if value},
                sort="created_at:asc",
            )
        found = map(attachment, listed)
        return [
            each
            for each in found
            if disk_id in (None, each.disk_id) and (server_id is None or server_id == each.server_id)
        ]

    def connect(self, access: Access, attachment_id: str, connector: Mapping[str, Any]) -> Attachment:
        """Send PUT /attachments/{id}."""
        if not connector.get("host"):
            # cinder/volume/manager.py formats connector[host] into a lock's name: without it 500.
            raise BadRequest("A connector names its host.")
        with told(f"connect attachment {attachment_id} to host {connector['host']}", access):
            return attachment(self.clients.writes(access).attachments.update(attachment_id, dict(connector)))

    def complete(self, access: Access, attachment_id: str) -> None:
        """Send os-complete (3.44)."""
        with told(f"complete attachment {attachment_id}", access):
            self.clients.writes(access).attachments.complete(attachment_id)

    def detach(self, access: Access, attachment_id: str) -> None:
        """Send DELETE /attachments/{id}."""
        try:
            with told(f"delete attachment {attachment_id}", access):
                self.clients.writes(access).attachments.delete(attachment_id)
        except NotFound:
            return
        except InUse as error:
            # cinder/volume/api.py:attachment_deletion_allowed (OSSA-2023-003).
            raise NotAllowed(
                f"{error}: cinder lets only the compute service do this; the service user needs the role `service`.",
                request_id=error.request_id,
            ) from error

    def reimage(self, access: Access, disk_id: str, image_id: str) -> None:
        """Send os-reimage (3.68) with ``reimage_reserved``."""
        if self.clients.version(access) < REIMAGE:
            raise Unsupported("This cinder cannot write an image onto a volume; 3.68 (Zed) can.")
        try:
            with told(f"write image {image_id} onto volume {disk_id}", access):
                self.clients.writes(access).volumes.reimage(disk_id, image_id, reimage_reserved=True)
        except BadRequest as error:
            raise InUse(str(error), request_id=error.request_id) from error

    def snapshot(self, access: Access, snapshot_id: str) -> Snapshot:
        """Send GET /snapshots/{id}."""
        with told(f"look at snapshot {snapshot_id}", access):
            return _snapshot(self.clients.reads(access).volume_snapshots.get(snapshot_id))

    def take_snapshot(self, access: Access, disk_id: str, name: str, marker: str) -> Snapshot:
        """Send POST /snapshots once."""
        with told(f"take a snapshot of volume {disk_id}", access):
            made = self.clients.writes(access).volume_snapshots.create(disk_id, name=name, metadata={MARKER: marker})
            return _snapshot(made)

    def find_snapshot(self, access: Access, disk_id: str, marker: str) -> Snapshot | None:
        """Send GET /snapshots/detail for the volume, and look for the marker here."""
        with told(f"look for a snapshot of volume {disk_id} whose creation was not answered", access):
            listed = self.clients.reads(access).volume_snapshots.list(search_opts={"volume_id": disk_id})
        return next((_snapshot(each) for each in listed if (each.metadata or {}).get(MARKER) == marker), None)

    def drop_snapshot(self, access: Access, snapshot_id: str) -> None:
        """Send DELETE /snapshots/{id}."""
        try:
            with told(f"delete snapshot {snapshot_id}", access):
                self.clients.writes(access).volume_snapshots.delete(snapshot_id)
        except BadRequest as error:
            raise InUse(str(error), request_id=error.request_id) from error


def _snapshot(found: Any) -> Snapshot:
    project = getattr(found, "os-extended-snapshot-attributes:project_id", None)
    return Snapshot(found.id, found.volume_id, found.size, found.status, project, found.metadata or {})


def _utc(when: dt.datetime) -> dt.datetime:
    """Return a time as cinder tells one: in UTC, without saying so, in whole seconds."""
    return (when.astimezone(dt.UTC) if when.tzinfo else when).replace(tzinfo=None, microsecond=0)


def _age(found: Disk) -> tuple[dt.datetime, str]:
    return found.created_at, found.id


def _counts(found: Disk, access: Access, spec: DiskSpec, since: dt.datetime) -> bool:
    """Say whether a volume with the right marker can be the one that was asked for."""
    # Not known while it is made (cinder/volume/flows/manager/create_volume.py writes it at the end).
    same_image = found.image_id == spec.source_id or (found.image_id is None and found.status in UNMADE)
    return (
        found.project_id == access.project_id
        and found.created_at >= since
        and found.size == spec.size
        and spec.target.volume_type in (None, found.volume_type)
        # A volume that is only reserved names no server (cinder/api/v3/views/volumes.py:_get_attachments).
        and not found.servers
        and found.status not in BOUND
        and found.snapshot_id == (spec.source_id if spec.source == "snapshot" else None)
        and (spec.source == "snapshot" or same_image)
    )
