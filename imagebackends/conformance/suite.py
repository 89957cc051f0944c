# SPDX-License-Identifier: Apache-2.0
"""What every backend must do."""

import contextlib
import dataclasses
import datetime as dt
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from imagebackends.backend import Backend
from imagebackends.conformance.abilities import ABILITIES
from imagebackends.conformance.disks import HOUR, SECOND, Disks, Fixtures, ids, long_ago, new_id, of_type, until
from imagebackends.errors import BadRequest, InUse, NotAllowed, NotFound
from imagebackends.types import Access, Found


class BackendConformance(Fixtures):
    """What every backend must do."""

    def test_a_disk_of_an_image_becomes_available(self, disks: Disks) -> None:
        """It has the size, name, image and project that were asked for, from the first answer on."""
        spec = disks.spec()
        asked = disks.create(spec)
        ready = disks.settle(asked.id, "available")

        assert ready.project_id == disks.access.project_id
        assert (ready.size, ready.name, ready.image_id, ready.servers) == (1, spec.name, disks.image_id, ())
        assert ready.volume_type == (spec.target.volume_type or ready.volume_type)
        assert ready.backend in (None, spec.target.backend or ready.backend)
        assert asked.size == ready.size
        assert abs(asked.created_at - ready.created_at) <= SECOND
        assert long_ago() < ready.created_at.replace(tzinfo=dt.UTC) < long_ago() + 2 * HOUR

    def test_a_blank_disk_has_no_image(self, disks: Disks) -> None:
        """It is as large as was asked for."""
        blank = disks.make(disks.spec(source="blank", source_id=None, size=2))

        assert (blank.size, blank.image_id, blank.snapshot_id) == (2, None, None)

    def test_a_lost_answer_is_found_by_its_marker(self, disks: Disks, late_seconds: float) -> None:
        """It is found while it is made and when it is ready, also by the second in which it was made."""
        spec, since = disks.spec(), long_ago()
        lost = disks.create(spec)

        found = until(late_seconds, lambda: disks.backend.find(disks.access, spec, since), lambda got: bool(got.disk))
        assert found.disk is not None
        assert (found.disk.id, found.copies) == (lost.id, ())
        ready = disks.settle(lost.id, "available")
        assert disks.backend.find(disks.access, spec, ready.created_at.replace(tzinfo=dt.UTC)) == Found(ready)

    def test_what_was_not_asked_for_does_not_count(self, disks: Disks, other_access: Access) -> None:
        """Users can write a marker too: everything else must be as it was asked for."""
        spec, access = disks.spec(), disks.access
        ready = disks.make(spec)
        strange = {
            "another marker": (access, dataclasses.replace(spec, marker=new_id()), long_ago()),
            "another size": (access, dataclasses.replace(spec, size=2), long_ago()),
            "another image": (access, dataclasses.replace(spec, source_id=new_id()), long_ago()),
            "a snapshot": (access, dataclasses.replace(spec, source="snapshot", source_id=new_id()), long_ago()),
            "no source": (access, dataclasses.replace(spec, source="blank", source_id=None), long_ago()),
            "another type": (access, of_type(spec, "no-such-type"), long_ago()),
            "older": (access, spec, ready.created_at.replace(tzinfo=dt.UTC) + SECOND),
            "another project's rights": (other_access, spec, long_ago()),
            "another project": (dataclasses.replace(access, project_id=other_access.project_id), spec, long_ago()),
        }
        counted = [why for why, asked in strange.items() if disks.backend.find(*asked) != Found(None)]

        assert counted == []
        assert disks.backend.find(access, spec, long_ago()) == Found(ready)

    def test_a_blank_disk_is_found_and_none_of_an_image_for_it(self, disks: Disks) -> None:
        """The source is part of what was asked for, also where there is none."""
        spec = disks.spec(source="blank", source_id=None)
        blank = disks.make(spec)

        assert disks.backend.find(disks.access, spec, long_ago()) == Found(blank)
        of_image = dataclasses.replace(spec, source="image", source_id=disks.image_id)
        assert disks.backend.find(disks.access, of_image, long_ago()) == Found(None)

    def test_a_disk_that_is_bound_to_a_server_does_not_count(self, disks: Disks) -> None:
        """It was adopted already."""
        spec = disks.spec()
        disks.backend.attach(disks.access, disks.make(spec).id, new_id())

        assert disks.backend.find(disks.access, spec, long_ago()) == Found(None)

    def test_of_several_the_oldest_is_it_and_the_younger_are_copies(self, disks: Disks, tick_seconds: float) -> None:
        """One that is too old to count is neither."""
        spec = disks.spec()
        made = []
        for _ in range(3):
            made.append(disks.make(spec))
            time.sleep(tick_seconds)
        oldest, middle, youngest = made

        assert disks.backend.find(disks.access, spec, long_ago()) == Found(oldest, (middle, youngest))
        since = middle.created_at.replace(tzinfo=dt.UTC)
        assert disks.backend.find(disks.access, spec, since) == Found(middle, (youngest,))

    def test_a_deleted_disk_is_gone(self, disks: Disks) -> None:
        """Get, look, find and delete all say so."""
        spec = disks.spec()
        disk = disks.make(spec)

        disks.backend.delete(disks.access, disk.id)

        until(disks.seconds, lambda: disks.is_gone(disk.id), bool)
        assert disks.backend.look(disks.access, [disk.id], long_ago()) == {}
        assert disks.backend.find(disks.access, spec, long_ago()) == Found(None)
        with pytest.raises(NotFound):
            disks.backend.delete(disks.access, disk.id)

    def test_an_unknown_id_is_not_found(self, backend: Backend, access: Access, connector: Mapping[str, Any]) -> None:
        """Only ``detach`` takes it as done."""
        for act in (backend.get, backend.delete):
            with pytest.raises(NotFound):
                act(access, new_id())
        with pytest.raises(NotFound):
            backend.attach(access, new_id(), new_id())
        with pytest.raises(NotFound):
            backend.connect(access, new_id(), connector)
        backend.detach(access, new_id())
        assert backend.attachments(access, disk_id=new_id()) == []
        assert backend.attachments(access, server_id=new_id()) == []

    def test_a_disk_is_reserved_for_one_server(self, disks: Disks) -> None:
        """Another server's attach and a deletion are InUse and change nothing."""
        backend, access, server_id = disks.backend, disks.access, new_id()
        disk = disks.make()

        made = backend.attach(access, disk.id, server_id)

        assert (made.disk_id, made.server_id, dict(made.connection)) == (disk.id, server_id, {})
        with pytest.raises(InUse):
            backend.attach(access, disk.id, new_id())
        with pytest.raises(InUse):
            backend.delete(access, disk.id)
        now = backend.get(access, disk.id)
        assert now.status == "reserved"
        assert ids(backend.attachments(access, disk_id=disk.id)) == [made.id]

    def test_attachments_are_found_by_disk_by_server_and_by_both(self, disks: Disks, tick_seconds: float) -> None:
        """One server has two disks here, another has one; the oldest comes first."""
        backend, access = disks.backend, disks.access
        one, two = new_id(), new_id()
        first, second, third = (disks.make().id for _ in range(3))
        made = []
        for disk, server in ((first, one), (second, one), (third, two)):
            made.append(backend.attach(access, disk, server).id)
            time.sleep(tick_seconds)

        assert ids(backend.attachments(access, server_id=one)) == made[:2]
        assert ids(backend.attachments(access, disk_id=third)) == made[2:]
        assert ids(backend.attachments(access, disk_id=second, server_id=one)) == [made[1]]
        assert backend.attachments(access, disk_id=third, server_id=one) == []

    def test_a_host_connects_completes_and_lets_go(self, disks: Disks, connector: Mapping[str, Any]) -> None:
        """Each step can be repeated, since any answer may be lost."""
        backend, access = disks.backend, disks.access
        disk = disks.make()
        made = backend.attach(access, disk.id, new_id())
        with pytest.raises(BadRequest):
            backend.connect(access, made.id, {key: value for key, value in connector.items() if key != "host"})

        first, second = (backend.connect(access, made.id, connector) for _ in range(2))
        assert (first.id, first.disk_id, first.connection) == (made.id, disk.id, second.connection)
        assert first.connection["driver_volume_type"]
        for _ in range(2):
            backend.complete(access, made.id)
        assert disks.settle(disk.id, "in-use").servers == (made.server_id,)
        for _ in range(2):
            backend.detach(access, made.id)

        assert disks.settle(disk.id, "available").servers == ()
        assert backend.attachments(access, disk_id=disk.id) == []

    def test_a_disk_in_use_is_reserved_again_for_its_server_alone(
        self, disks: Disks, connector: Mapping[str, Any]
    ) -> None:
        """As when its host lets go of it; the last attachment that goes frees it."""
        backend, access, server_id = disks.backend, disks.access, new_id()
        disk = disks.make()
        old = backend.attach(access, disk.id, server_id)
        backend.connect(access, old.id, connector)
        backend.complete(access, old.id)
        disks.settle(disk.id, "in-use")

        with pytest.raises(InUse):
            backend.attach(access, disk.id, new_id())
        new = backend.attach(access, disk.id, server_id)

        assert set(ids(backend.attachments(access, disk_id=disk.id))) == {old.id, new.id}
        backend.detach(access, old.id)
        assert ids(backend.attachments(access, disk_id=disk.id)) == [new.id]
        disks.settle(disk.id, "reserved")
        backend.detach(access, new.id)
        disks.settle(disk.id, "available")

    def test_disks_of_one_server_come_and_go_each_by_itself(self, disks: Disks, connector: Mapping[str, Any]) -> None:
        """A root and a data disk are bound at once; what is done to one is no matter to the other."""
        backend, access, server_id = disks.backend, disks.access, new_id()
        root, data = disks.make(), disks.make(disks.spec(source="blank", source_id=None, size=2))
        with ThreadPoolExecutor(2) as pool:
            bound = [*pool.map(lambda disk: backend.attach(access, disk.id, server_id), (root, data))]
        for each in bound:
            backend.connect(access, each.id, connector)
            backend.complete(access, each.id)
        for disk in (root, data):
            assert disks.settle(disk.id, "in-use").servers == (server_id,)

        backend.detach(access, bound[1].id)

        disks.settle(data.id, "available")
        assert disks.settle(root.id, "in-use").servers == (server_id,)
        assert ids(backend.attachments(access, server_id=server_id)) == [bound[0].id]
        other = backend.attach(access, data.id, new_id())
        backend.detach(access, other.id)

    def test_another_project_does_not_see_it(self, disks: Disks, other_access: Access) -> None:
        """It can neither read nor change a disk, nor its attachment."""
        backend, disk = disks.backend, disks.make()
        with pytest.raises(NotFound):
            backend.attach(other_access, disk.id, new_id())
        made = backend.attach(disks.access, disk.id, new_id())

        for act in (backend.get, backend.delete):
            with pytest.raises(NotFound):
                act(other_access, disk.id)
        assert backend.look(other_access, [disk.id], long_ago()) == {}
        assert backend.attachments(other_access, disk_id=disk.id) == []
        with contextlib.suppress(NotAllowed):
            backend.detach(other_access, made.id)
        assert ids(backend.attachments(disks.access, disk_id=disk.id)) == [made.id]

    def test_look_returns_the_disks_that_changed(self, disks: Disks) -> None:
        """It may return one that did not change, and never one that was not asked for."""
        backend, access = disks.backend, disks.access
        disk, other = disks.make(), disks.make()
        before = backend.get(access, disk.id).created_at.replace(tzinfo=dt.UTC)

        assert backend.look(access, [disk.id, new_id()], before) == {disk.id: disk}
        assert set(backend.look(access, [disk.id, other.id], before)) == {disk.id, other.id}
        assert backend.look(access, [], before) == {}
        changing = dt.datetime.now(dt.UTC)
        backend.attach(access, disk.id, new_id())
        assert backend.look(access, [disk.id], changing - SECOND)[disk.id].status == "reserved"

    def test_explain_has_words_or_none(self, disks: Disks) -> None:
        """Nobody relies on there being any."""
        assert isinstance(disks.backend.explain(disks.access, disks.make().id), str | None)
        assert isinstance(disks.backend.explain(disks.access, new_id()), str | None)

    def test_many_threads_use_one_backend(self, disks: Disks) -> None:
        """Each with an access of its own."""
        disk = disks.make()
        asking = [dataclasses.replace(disks.access, request_id=f"req-{new_id()}") for _ in range(8)]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda access: disks.backend.get(access, disk.id), asking)) == [disk] * 8

    def test_each_ability_that_is_declared_is_proven(self, backend: Backend) -> None:
        """One that is not declared has no method: callers ask with ``isinstance`` and readers with their eyes."""
        for ability, suite in ABILITIES.items():
            declared, proven = isinstance(backend, ability), isinstance(self, suite)
            assert declared == proven, f"declared {ability.__name__}: {declared}; inherits {suite.__name__}: {proven}"
            own: set[str] = set(getattr(ability, "__abstractmethods__", ())) & vars(ability).keys()
            present = sorted(name for name in own if hasattr(backend, name))
            assert declared or present == [], f"{present} without {ability.__name__}"
