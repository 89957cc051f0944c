# SPDX-License-Identifier: Apache-2.0
"""The records of a conversion on real services: a converted server beside one that booted from its volume."""

import dataclasses
import json
import uuid

import pytest
import requests
import sqlalchemy as sa

from bfv.errors import Conflict, Failed, NotFound
from bfv.migrate import records
from bfv.migrate.contract import Bound
from bfv.placement import disk_of
from bfv.types import new_request_id
from cells import encode, rootdisk, schema_cell, servers
from cells.rows import SATELLITES
from cells.schema_api import request_specs
from tests import sites
from tests.flows.test_boot import boot
from tests.flows.test_driver import DriverWorld

pytestmark = pytest.mark.usefixtures("nothing_left")


@dataclasses.dataclass(frozen=True)
class Act:
    id: str
    project_id: str
    request_id: str = dataclasses.field(default_factory=new_request_id)


class RecordsWorld(DriverWorld):
    """With the mocked cloud's placement, where there is one."""

    def write_config(self, **settings):
        super().write_config(**settings)
        if self.site.control_url:
            url = self.placement_url = requests.get(self.site.control_url, timeout=60).json()["placement_url"]
            with self.config.open("a") as file:
                file.write(f"\n[placement]\nendpoint_override = {url}\n")


class Allocations:
    """A provider of the mocked placement, and what servers are counted for there."""

    def __init__(self, site, url):
        self.site, self.url, self.provider = site, url, str(uuid.uuid4())
        self.call("POST", "/resource_providers", {"name": self.provider, "uuid": self.provider})
        self.give(DISK_GB=100, VCPU=9, MEMORY_MB=9999)

    def call(self, method, path, body=None):
        token = {"OpenStack-API-Version": "placement 1.28"}
        answer = self.site.call("admin", method, f"{self.url}{path}", json=body, headers=token)
        assert answer.ok, answer.text
        return answer.json() if answer.content else None

    def give(self, **totals):
        path = f"/resource_providers/{self.provider}"
        generation = self.call("GET", path)["generation"]
        self.call("PUT", f"{path}/inventories", {
            "resource_provider_generation": generation,
            "inventories": {kind: {"total": total} for kind, total in totals.items()}})  # fmt: skip

    def count(self, server_id, **amounts):
        now = self.of(server_id)
        self.call("PUT", f"/allocations/{server_id}", {
            "allocations": {self.provider: {"resources": amounts}}, "project_id": "p", "user_id": "u",
            "consumer_generation": now.get("consumer_generation")})  # fmt: skip

    def of(self, server_id):
        return self.call("GET", f"/allocations/{server_id}")


@pytest.fixture(scope="module")
def world(site, tmp_path_factory):
    return RecordsWorld(site, tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def allocations(world, site):
    return Allocations(site, world.placement_url) if site.control_url else None


@pytest.fixture(scope="module")
def cloud(world):
    with world.cloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def genuine(cloud, raw_image, allocations):
    """A server that booted from its volume, off."""
    server = boot(cloud, raw_image, flavor="big", availability_zone="nova")
    cloud.stop(server.id)
    server = cloud.wait(server.id, 300)
    if allocations:
        allocations.count(server.id, VCPU=1, MEMORY_MB=128)
    yield server
    cloud.delete(server.id)


def database_of(cloud, server_id):
    return cloud.parts.cells.of(cloud.parts.registry.mapping(server_id).cell)


@pytest.fixture
def local(cloud, genuine, raw_image, allocations):
    """The same server as nova's rbd backend would have it: its root is a local disk."""
    parts, database = cloud.parts, database_of(cloud, genuine.id)
    twin = servers.get(database, genuine.id)
    (root,) = twin.devices
    made = dataclasses.replace(
        twin, uuid=str(uuid.uuid4()), image_ref=raw_image, display_name=f"{sites.NAME}-local",
        system_metadata={**twin.system_metadata, "image_base_image_ref": raw_image},
        devices=(dataclasses.replace(root, uuid=str(uuid.uuid4()), destination_type="local", volume_id=None,
                                     volume_size=None, volume_type=None, attachment_id=None, connection_info=None),),
    )  # fmt: skip
    spec = parts.registry.request_spec(twin.uuid)
    spec["nova_object.data"] |= {"instance_uuid": made.uuid, "is_bfv": False}
    parts.registry.map_server(made.uuid, made.project_id, made.user_id, spec)
    parts.registry.assign(made.uuid, parts.registry.mapping(twin.uuid).cell)
    servers.insert(database, made)
    if allocations:
        allocations.count(made.uuid, VCPU=1, MEMORY_MB=128, DISK_GB=2)
    yield made
    if allocations:
        allocations.call("DELETE", f"/allocations/{made.uuid}")


@pytest.fixture
def bound(cloud, site, local, genuine, raw_image):
    """A volume of the same image, attached to the server's host."""
    parts = cloud.parts
    like = site.volumes()[genuine.devices[0].volume_id]
    body = {key: like[key] for key in ("size", "volume_type", "availability_zone", "metadata")}
    made = site.call("demo", "POST", f"{site.volume_url}/volumes", json={"volume": {
        **body, "name": f"{sites.NAME}-of-local", "imageRef": raw_image}})  # fmt: skip
    volume_id = made.json()["volume"]["id"]
    site.settle(volume_id, "available")
    access = parts.rights.storage(Act("test", local.project_id))
    attachment = parts.backend.attach(access, volume_id, local.uuid)
    host = records.connector(parts, database_of(cloud, local.uuid), local.uuid)
    attached = parts.backend.connect(access, attachment.id, host)
    parts.backend.complete(access, attachment.id)
    yield Bound(parts.backend.get(access, volume_id), attachment.id, attached.connection)
    parts.backend.detach(access, attachment.id)
    site.settle(volume_id, "available")
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{volume_id}")
    site.settle(volume_id, None)


def taken(cloud, local):
    """Return the snapshot as the journal gives it back."""
    data = records.before(cloud.parts, database_of(cloud, local.uuid), local.uuid).to_dict()
    return records.snapshot(json.loads(json.dumps(data)))


def dump(cloud, server_id):
    """Return every row of a server in both databases."""
    found = []
    with database_of(cloud, server_id).reader() as conn:
        for table in (schema_cell.instances, *SATELLITES):
            column = table.c.uuid if table is schema_cell.instances else table.c.instance_uuid
            found += [tuple(row) for row in conn.execute(sa.select(table).where(column == server_id))]
    with cloud.parts.api.reader() as conn:
        query = sa.select(request_specs).where(request_specs.c.instance_uuid == server_id)
        return [*found, *(tuple(row) for row in conn.execute(query))]


def convert(cloud, local, bound):
    snapshot = taken(cloud, local)
    records.switch(database_of(cloud, local.uuid), snapshot, bound)
    records.after(cloud.parts, snapshot, bound)
    return snapshot


def test_a_converted_server_differs_from_a_genuine_one_in_ids_names_and_times_alone(cloud, local, bound, genuine):
    different = {each.where for each in records.compare(cloud.parts, local.uuid, genuine.id)}
    assert {"instances[0].image_ref", "block_device_mapping[0].destination_type", "volumes[0].status",
            "instance_system_metadata.image_base_image_ref", "block_device_mapping[0].connection_info",
            "request_spec.nova_object.data.is_bfv"} <= different  # fmt: skip
    convert(cloud, local, bound)
    assert records.compare(cloud.parts, local.uuid, genuine.id) == []


def test_a_server_comes_back_to_the_bit_and_all_may_be_repeated(cloud, local, bound, allocations):
    database, rows = database_of(cloud, local.uuid), dump(cloud, local.uuid)
    snapshot = convert(cloud, local, bound)
    switched = dump(cloud, local.uuid)
    assert records.is_switched(database, snapshot) is True
    records.switch(database, snapshot, bound)
    records.after(cloud.parts, snapshot, bound)
    assert dump(cloud, local.uuid) == switched != rows
    if allocations:
        assert disk_of(allocations.of(local.uuid)) == 0
    for _ in range(2):
        records.restore(cloud.parts, database, snapshot, bound.volume.id)
        assert dump(cloud, local.uuid) == rows
        assert records.is_switched(database, snapshot) is False
    if allocations:
        now, before = allocations.of(local.uuid), dict(snapshot.allocation)
        assert now.pop("consumer_generation") > before.pop("consumer_generation")
        assert {key: each["resources"] for key, each in now["allocations"].items()} == {
            key: each["resources"] for key, each in before["allocations"].items()
        }


def test_a_crash_between_the_systems_is_finished_by_calling_again(cloud, local, bound, genuine):
    snapshot = taken(cloud, local)
    records.switch(database_of(cloud, local.uuid), snapshot, bound)
    assert records.compare(cloud.parts, local.uuid, genuine.id)
    rootdisk.switch_spec(cloud.parts.api, local.uuid)
    records.after(cloud.parts, snapshot, bound)
    assert records.compare(cloud.parts, local.uuid, genuine.id) == []


def test_what_changed_is_told_as_a_conflict(cloud, local, bound):
    database, snapshot = database_of(cloud, local.uuid), taken(cloud, local)
    servers.update(database, local.uuid, task_state="powering-on")
    with pytest.raises(Conflict, match="powering-on"):
        records.switch(database, snapshot, bound)
    servers.update(database, local.uuid, task_state=None)
    records.switch(database, snapshot, bound)
    with pytest.raises(Conflict, match="not another"):
        records.restore(cloud.parts, database, snapshot, "another")


def test_a_server_that_is_gone_is_told_as_such(cloud, local, bound):
    database, snapshot = database_of(cloud, local.uuid), taken(cloud, local)
    servers.destroy(database, local.uuid)
    assert records.is_switched(database, snapshot) is None
    for act in (
        lambda: records.before(cloud.parts, database, local.uuid),
        lambda: records.switch(database, snapshot, bound),
        lambda: records.restore(cloud.parts, database, snapshot),
        lambda: records.connector(cloud.parts, database, local.uuid),
        lambda: records.compare(cloud.parts, local.uuid, local.uuid),
        lambda: records.compare(cloud.parts, str(uuid.uuid4()), local.uuid),
    ):
        with pytest.raises(NotFound):
            act()


def test_the_facts_are_those_of_its_rows(cloud, local, genuine):
    found = records.facts(cloud.parts, database_of(cloud, local.uuid), server_ids=[local.uuid, genuine.id])
    told = {each.server_id: (each.is_volume_backed, each.is_off, each.root_gb, each.refusals) for each in found}
    assert told == {local.uuid: (False, True, 2, ()), genuine.id: (True, True, 2, ())}


def test_the_image_of_a_volume_is_told_by_glance_and_then_by_the_request_spec(cloud, site, local, bound, raw_image):
    snapshot = taken(cloud, local)
    told = records.image_metadata(cloud.parts, snapshot)
    genuine = site.volumes()[bound.volume.id]["volume_image_metadata"]
    # What cinder finds out while it copies: whether the image is signed.
    assert {**told, "signature_verified": "False"} == {"signature_verified": "False", **genuine}

    image = {"id": str(uuid.uuid4()), "name": "gone", "min_disk": 1, "disk_format": "raw", "size": 7,
             "properties": {"os_distro": "tux"}}  # fmt: skip
    spec = json.loads(snapshot.request_spec)
    spec["nova_object.data"]["image"] = encode.image_primitive(image)
    rows = {**snapshot.rows, "instances": [{**snapshot.rows["instances"][0], "image_ref": image["id"]}]}
    forgotten = dataclasses.replace(snapshot, rows=rows, request_spec=json.dumps(spec))
    assert records.image_metadata(cloud.parts, forgotten) == {
        "image_id": image["id"], "image_name": "gone", "min_disk": "1", "disk_format": "raw", "size": "7",
        "os_distro": "tux"}  # fmt: skip
    assert records.image_metadata(cloud.parts, dataclasses.replace(forgotten, request_spec=None)) == {}


# Placement


# The lab has none; a real one is behind the nova of `tests/realnova`.
mocked = pytest.mark.parametrize("site", ["mock"], indirect=True)


@pytest.fixture
def counted(local, allocations):
    return lambda: disk_of(allocations.of(local.uuid))


@mocked
def test_what_ephemeral_and_swap_disks_are_counted_for_stays(cloud, local, bound, allocations, counted):
    allocations.count(local.uuid, VCPU=1, MEMORY_MB=128, DISK_GB=7)
    snapshot = convert(cloud, local, bound)
    assert counted() == 5
    records.restore(cloud.parts, database_of(cloud, local.uuid), snapshot)
    assert counted() == 7


@mocked
def test_an_allocation_that_nova_made_anew_is_left_alone(cloud, local, bound, allocations, counted):
    snapshot = taken(cloud, local)
    records.switch(database_of(cloud, local.uuid), snapshot, bound)
    allocations.count(local.uuid, VCPU=2, MEMORY_MB=128, DISK_GB=9)
    records.after(cloud.parts, snapshot, bound)
    assert counted() == 9


@mocked
def test_a_disk_that_its_host_has_no_room_for_any_more_is_told(cloud, local, bound, allocations, counted):
    snapshot = convert(cloud, local, bound)
    allocations.give(DISK_GB=1, VCPU=9, MEMORY_MB=9999)
    with pytest.raises(Failed, match="Unable to allocate inventory"):
        records.restore(cloud.parts, database_of(cloud, local.uuid), snapshot)
    assert counted() == 0
    allocations.give(DISK_GB=100, VCPU=9, MEMORY_MB=9999)


@mocked
def test_a_disk_on_a_shared_provider_goes_and_comes_back_there(cloud, site, local, bound, world, allocations, counted):
    shared = Allocations(site, world.placement_url)
    now = allocations.of(local.uuid)
    allocations.call("PUT", f"/allocations/{local.uuid}", {**now, "allocations": {
        allocations.provider: {"resources": {"VCPU": 1, "MEMORY_MB": 128}},
        shared.provider: {"resources": {"DISK_GB": 2}}}})  # fmt: skip
    snapshot = convert(cloud, local, bound)
    assert list(allocations.of(local.uuid)["allocations"]) == [allocations.provider]
    records.restore(cloud.parts, database_of(cloud, local.uuid), snapshot)
    assert allocations.of(local.uuid)["allocations"][shared.provider]["resources"] == {"DISK_GB": 2}


@mocked
def test_a_change_between_reading_and_writing_is_met_by_reading_again(cloud, site, local, bound, world, counted):
    rule = {"kind": "status_before", "method": "PUT", "path": "/placement/allocations/", "status": 409, "times": 2,
            "body": {"errors": [{"code": "placement.concurrent_update", "detail": "generation"}]}}  # fmt: skip
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    convert(cloud, local, bound)
    assert counted() == 0
