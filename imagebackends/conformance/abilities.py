# SPDX-License-Identifier: Apache-2.0
"""What a backend must do that declares an ability."""

import dataclasses

import pytest

from imagebackends.backend import Backend, Reimages, Snapshots, Warms
from imagebackends.conformance.disks import Disks, Fixtures, ids, long_ago, new_id, until
from imagebackends.errors import HasSnapshots, NotFound, Refused
from imagebackends.types import Access, Found, SourceKind


class ReimagesConformance(Fixtures):
    """What a backend that declares ``Reimages`` must do; needs the fixture ``other_image_id``."""

    def test_another_image_is_written_onto_a_reserved_disk(self, disks: Disks, other_image_id: str) -> None:
        """It stays reserved for its server, and the same can be asked for again."""
        backend, access, server_id = disks.backend, disks.access, new_id()
        assert isinstance(backend, Reimages)
        disk = disks.make()
        made = backend.attach(access, disk.id, server_id)

        for _ in range(2):
            backend.reimage(access, disk.id, other_image_id)
            after = disks.until(disk.id, lambda disk: (disk.status, disk.image_id) == ("reserved", other_image_id))
            assert after.size == disk.size
        assert ids(backend.attachments(access, disk_id=disk.id, server_id=server_id)) == [made.id]

    def test_neither_an_unknown_disk_nor_an_unknown_image_is_written(self, disks: Disks, other_image_id: str) -> None:
        """The disk keeps its bytes."""
        backend, access = disks.backend, disks.access
        assert isinstance(backend, Reimages)
        with pytest.raises(NotFound):
            backend.reimage(access, new_id(), other_image_id)
        disk = disks.make()
        backend.attach(access, disk.id, new_id())

        with pytest.raises((NotFound, Refused)):
            backend.reimage(access, disk.id, new_id())
        now = backend.get(access, disk.id)
        assert (now.status, now.image_id) == ("reserved", disks.image_id)


class SnapshotsConformance(Fixtures):
    """What a backend that declares ``Snapshots`` must do; needs ``snapshot_id``, one of a disk that is not attached."""

    def test_a_snapshot_is_seen_by_its_project_alone(
        self, backend: Backend, access: Access, other_access: Access, snapshot_id: str
    ) -> None:
        """An unknown one is not found either."""
        assert isinstance(backend, Snapshots)
        found = backend.snapshot(access, snapshot_id)

        assert (found.id, found.status, found.project_id) == (snapshot_id, "available", access.project_id)
        assert found.size == backend.get(access, found.volume_id).size
        with pytest.raises(NotFound):
            backend.snapshot(access, new_id())
        with pytest.raises(NotFound):
            backend.snapshot(other_access, snapshot_id)

    def test_a_disk_of_a_snapshot_is_made_and_found(self, disks: Disks, snapshot_id: str) -> None:
        """It is another's neither by image nor by another snapshot."""
        backend, access = disks.backend, disks.access
        assert isinstance(backend, Snapshots)
        size = backend.snapshot(access, snapshot_id).size
        spec = disks.spec(source="snapshot", source_id=snapshot_id, size=size)
        disk = disks.make(spec)

        assert disk.snapshot_id == snapshot_id
        assert backend.find(access, spec, long_ago()) == Found(disk)
        others: dict[SourceKind, str | None] = {"image": disks.image_id, "snapshot": new_id(), "blank": None}
        for source, source_id in others.items():
            other = dataclasses.replace(spec, source=source, source_id=source_id)
            assert backend.find(access, other, long_ago()) == Found(None), source

    def test_a_disk_that_has_snapshots_is_kept(self, backend: Backend, access: Access, snapshot_id: str) -> None:
        """The error says which."""
        assert isinstance(backend, Snapshots)
        disk = backend.get(access, backend.snapshot(access, snapshot_id).volume_id)

        with pytest.raises(HasSnapshots, match=snapshot_id):
            backend.delete(access, disk.id)
        assert backend.get(access, disk.id) == disk


class WarmsConformance(SnapshotsConformance):
    """What a backend that declares ``Warms`` must do."""

    def test_a_snapshot_is_taken_found_again_and_dropped(self, disks: Disks) -> None:
        """One whose answer was lost is found by its marker alone, and a disk can be made of it."""
        backend, access = disks.backend, disks.access
        assert isinstance(backend, Warms)
        disk, marker = disks.make(), new_id()
        assert backend.find_snapshot(access, disk.id, marker) is None

        taken = backend.take_snapshot(access, disk.id, "conformance", marker)

        assert (taken.volume_id, taken.size) == (disk.id, disk.size)
        seconds = disks.seconds
        until(seconds, lambda: backend.snapshot(access, taken.id), lambda found: found.status == "available")
        found = backend.find_snapshot(access, disk.id, marker)
        assert found is not None
        assert found.id == taken.id
        assert backend.find_snapshot(access, disk.id, new_id()) is None
        clone = disks.make(disks.spec(source="snapshot", source_id=taken.id, size=disk.size))
        assert clone.snapshot_id == taken.id
        disks.remove(clone.id)

        backend.drop_snapshot(access, taken.id)

        def gone() -> bool:
            try:
                backend.snapshot(access, taken.id)
            except NotFound:
                return True
            return False

        until(seconds, gone, lambda done: done)
        with pytest.raises(NotFound):
            backend.drop_snapshot(access, taken.id)
        with pytest.raises(NotFound):
            backend.take_snapshot(access, new_id(), "conformance", new_id())


ABILITIES: dict[type, type[Fixtures]] = {
    Reimages: ReimagesConformance,
    Snapshots: SnapshotsConformance,
    Warms: WarmsConformance,
}
