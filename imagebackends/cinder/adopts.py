# SPDX-License-Identifier: Apache-2.0
"""Images that become volumes and volumes that become images: cinder's manage and unmanage.

What cinder answers with 202 may fail afterwards, without a word to anybody but its log, and the image may bear the
volume's name by then (``cinder/volume/drivers/rbd.py:manage_existing`` renames first): so an adoption is looked at
until it is ``available``, and one that failed is disowned, never deleted.
"""

from collections.abc import Mapping

from imagebackends.backend import Adopts
from imagebackends.cinder.client import Clients, disk
from imagebackends.errors import BadRequest, InUse, NotFound
from imagebackends.http import told
from imagebackends.types import Access, Adoption, Disk

MARKER = "bfv_marker"


class CinderAdopts(Adopts):
    """Manage and unmanage, with anybody's ``Access``: cinder's policy gives both to administrators."""

    clients: Clients

    def adopt(self, access: Access, what: Adoption) -> Disk:
        """Send POST /os-volume-manage once; the volume is of the project that the token is scoped to."""
        target = what.target
        if not target.backend:
            raise BadRequest(f"Cell {target.cell} has no backend configured; nobody knows where {what.image} lies.")
        with told(f"manage {what.image} of {target.backend}", access):
            return disk(
                self.clients.writes(access).volumes.manage(
                    target.backend,
                    {"source-name": what.image},
                    name=what.name,
                    volume_type=target.volume_type,
                    availability_zone=target.availability_zone,
                    metadata={MARKER: what.marker},
                    bootable=True,
                )
            )

    def adopted(self, access: Access, marker: str) -> Disk | None:
        """Look for the marker by cinder's metadata filter, and check every match again here."""
        with told("look for a volume whose adoption was not answered", access):
            listed = self.clients.reads(access).volumes.list(search_opts={"metadata": {MARKER: marker}})
        matches = [each for each in map(disk, listed) if each.metadata.get(MARKER) == marker]
        ours = [each for each in matches if each.project_id == access.project_id]
        return min(ours, key=lambda each: (each.created_at, each.id), default=None)

    def disown(self, access: Access, disk_id: str) -> None:
        """Send os-unmanage; refused with 400 for a volume that is attached or has snapshots."""
        try:
            with told(f"unmanage volume {disk_id}", access):
                self.clients.writes(access).volumes.unmanage(disk_id)
        except NotFound:
            return
        except BadRequest as error:
            raise InUse(str(error), request_id=error.request_id) from error

    def describe(self, access: Access, disk_id: str, image_metadata: Mapping[str, str]) -> None:
        """Send os-set_image_metadata and os-set_bootable: manage writes neither from the image."""
        with told(f"describe volume {disk_id}", access):
            volumes = self.clients.writes(access).volumes
            if image_metadata:
                volumes.set_image_metadata(disk_id, dict(image_metadata))
            volumes.set_bootable(disk_id, True)

    def snapshots_of(self, access: Access, disk_id: str) -> list[str]:
        """Send GET /snapshots."""
        with told(f"look for snapshots of volume {disk_id}", access):
            listed = self.clients.reads(access).volume_snapshots.list(search_opts={"volume_id": disk_id})
        return [each.id for each in listed]
