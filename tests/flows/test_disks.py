# SPDX-License-Identifier: Apache-2.0
"""Servers with several disks: made together, each kept or deleted by its own word; of a failure nothing is left."""

import json
import threading
import uuid

import pytest

from bfv import BootRequest, DiskDevice, RootDevice
from bfv.errors import BadRequest, NotFound, Refused
from tests import sites
from tests.faultproxy import FaultProxy, hold
from tests.flows.test_boot import HOST, boot
from tests.flows.test_create_image import forget, images, snapshots
from tests.flows.test_driver_kill import repaired
from tests.flows.test_kill import boundaries, chosen

pytestmark = pytest.mark.usefixtures("nothing_left")


def blank(size=1, **words):
    return DiskDevice("blank", volume_size=size, **{"delete_on_termination": True, **words})


@pytest.fixture
def volume(site):
    key = site.volume()
    yield key
    site.drop_volume(key)


def of(site, server):
    """Return cinder's word on each volume of a server, in the order of its devices."""
    volumes = site.volumes()
    return [volumes[device.volume_id] for device in server.devices]


def test_disks_of_all_kinds_lie_in_one_cell_and_each_goes_or_stays_by_its_own_word(world, site, raw_image, volume):
    source = site.volume()
    snapshot = site.snapshot(source)
    disks = (
        blank(2, volume_type="fast", tag="db"),
        DiskDevice("volume", volume),
        DiskDevice("snapshot", snapshot, delete_on_termination=True),
        DiskDevice("image", raw_image, volume_size=3, delete_on_termination=True),
        blank(delete_on_termination=False),
    )
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, disks=disks)

        assert (server.status, server.task_state, server.cell) == ("BUILD", "spawning", "cell1")
        assert [device.device_name for device in server.devices] == [f"/dev/vd{letter}" for letter in "abcdef"]
        assert [device.source_type for device in server.devices] == [
            "image", "blank", "volume", "snapshot", "image", "blank"]  # fmt: skip
        found = of(site, server)
        assert {each["status"] for each in found} == {"reserved"}
        assert {each["os-vol-host-attr:host"] for each in found} == {site.backends["cell1"]}
        assert [each["size"] for each in found] == [1, 2, 1, 1, 3, 1]
        assert [each["volume_type"] for each in found] == ["cell1", "cell1-fast", *["cell1"] * 4]
        assert [device.volume_size for device in server.devices] == [1, 2, 1, 1, 3, 1]
        bound = {key: each["volume_id"] for key, each in site.attachments().items() if each["instance"] == server.id}
        assert bound == {device.attachment_id: device.volume_id for device in server.devices}
        assert len(cloud.connect(server.id, HOST)) == 6

        kept = cloud.delete(server.id).kept

        assert {line.split()[1] for line in kept} == {volume, server.devices[5].volume_id}
    left = site.volumes()
    assert {each for device in server.devices if (each := device.volume_id) in left} == {
        volume, server.devices[5].volume_id}  # fmt: skip
    site.drop_volume(server.devices[5].volume_id)
    site.drop_snapshot(snapshot)
    site.drop_volume(source)


def test_volumes_that_cannot_be_used_together_are_told_before_anything_is_made(world, site, raw_image, volume):
    far, theirs, large = site.volume("cell2"), site.volume(user="other"), site.upload(b"x" * 1024, min_disk=2)
    unknown = str(uuid.uuid4())
    cases = [
        ((DiskDevice("volume", theirs),), {}, NotFound, theirs),
        ((DiskDevice("volume", unknown),), {}, NotFound, unknown),
        ((DiskDevice("snapshot", unknown),), {}, NotFound, unknown),
        ((DiskDevice("image", unknown, volume_size=1),), {}, NotFound, unknown),
        (
            (DiskDevice("volume", volume), DiskDevice("volume", far)),
            {},
            BadRequest,
            "one cell: cell cell1 holds volume",
        ),
        ((DiskDevice("volume", far),), {"availability_zone": "cell1"}, BadRequest, "must be in cell cell2"),
        ((DiskDevice("volume", volume),) * 2, {}, BadRequest, "a volume is there twice"),
        ((blank(0),), {}, BadRequest, "needs a volume_size"),
        ((DiskDevice("image", large, volume_size=1),), {}, BadRequest, "needs 2 GiB"),
        ((blank(volume_type="gold"),), {}, BadRequest, "choose one of: default, fast"),
        ((blank(boot_index=2),), {}, BadRequest, "Boot sequence"),
        ((DiskDevice("blank", volume_size=1, destination_type="local"),), {}, BadRequest, "larger than"),
        ((DiskDevice("image", raw_image, destination_type="local"),), {}, BadRequest, "image to local"),
    ]
    with world.cloud() as cloud:
        for disks, words, error, told in cases:
            with pytest.raises(error, match=told):
                boot(cloud, raw_image, disks=disks, **words)
        server = boot(cloud, raw_image, disks=(DiskDevice("volume", volume),))
        with pytest.raises(BadRequest, match="is reserved, not available"):
            boot(cloud, raw_image, disks=(DiskDevice("volume", volume),))
        with pytest.raises(BadRequest, match="is reserved, not available"):
            boot(cloud, None, root=RootDevice("volume", volume))
        assert [each.id for each in cloud.servers()] == [server.id]
        cloud.delete(server.id)
    site.drop_volume(far, theirs)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{large}")


def test_a_volume_that_another_took_meanwhile_is_refused_at_once_and_the_server_never_was(
    world, site, raw_image, volume
):
    other, taken = site.volume(), []

    def take(_):
        body = {"attachment": {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4())}}
        taken.append(site.call("demo", "POST", f"{site.volume_url}/attachments", json=body).json()["attachment"]["id"])

    with FaultProxy(site.volume_url) as proxy:
        world.write_config(volume_url=proxy.url)
        # After the look that finds it free, and before it is reserved.
        proxy.on("GET", f"/volumes/{volume}$", take, nth=1)
        with world.cloud() as cloud:
            with pytest.raises(BadRequest, match=f"Invalid volume: .*{volume}"):
                boot(cloud, raw_image, disks=(DiskDevice("volume", other), DiskDevice("volume", volume)))

            assert cloud.servers() == []
            assert cloud.limits().used["instances"] == 0
            [intent] = cloud.parts.journal.of_verbs(["boot"])
            assert (intent.is_open, intent.phase) == (False, "cancelled")
            assert (site.volumes()[other]["status"], [*site.bound(volume)]) == ("available", taken)
            assert proxy.count("POST", "/volumes$") == 0
    site.call("demo", "DELETE", f"{site.volume_url}/attachments/{taken[0]}")
    site.drop_volume(other)


def test_a_volume_is_reserved_before_the_boot_is_accepted_and_once_though_the_answer_is_lost(
    world, site, raw_image, volume
):
    with FaultProxy(site.volume_url) as proxy:
        world.write_config(volume_url=proxy.url)
        proxy.rule("POST", "/attachments$", "lost after", nth=1)
        with world.cloud() as cloud:
            server = boot(cloud, raw_image, disks=(DiskDevice("volume", volume),))
            assert server.fault is None
            assert site.bound(volume) == {server.devices[1].attachment_id: server.id}
            cloud.delete(server.id)

            go = threading.Event()
            proxy.rule("POST", "/volumes$", hold(go, before=True))
            request = BootRequest(
                image=raw_image, flavor="tiny", name=sites.NAME, disks=(DiskDevice("volume", volume),)
            )
            cloud.boot(request)
            assert [*site.bound(volume).values()] == [request.server_id]
            go.set()
            assert cloud.wait(request.server_id, 120).fault is None
            cloud.delete(request.server_id)


def test_where_zones_are_kept_apart_volumes_of_another_zone_are_refused(world, site, raw_image, volume):
    world.config.write_text(world.config.read_text() + "[cinder]\ncross_az_attach = false\n")
    with world.cloud() as cloud:
        with pytest.raises(Refused, match="zone"):
            boot(cloud, raw_image, disks=(DiskDevice("volume", volume),), availability_zone="cell2")
        server = boot(cloud, raw_image, disks=(DiskDevice("volume", volume),))
        assert (server.cell, server.availability_zone) == ("cell1", "cell1")
        cloud.delete(server.id)


@pytest.mark.parametrize("most", [1, 3])
def test_cinder_over_quota_among_several_disks_leaves_nothing_of_ours_and_all_of_the_users(
    world, site, raw_image, most
):
    theirs = site.volume(user="other")
    with world.cloud("other") as cloud:
        quota = f"{site.volume_url}/os-quota-sets/{cloud._caller().project_id}"
        site.call("admin", "PUT", quota, json={"quota_set": {"volumes": most + 1}})
        try:
            server = boot(cloud, raw_image, disks=(DiskDevice("volume", theirs, delete_on_termination=True),
                                                   *[blank()] * 4))  # fmt: skip
        finally:
            site.call("admin", "PUT", quota, json={"quota_set": {"volumes": -1}})
        assert server.status == "ERROR"
        assert "quota" in server.fault.details.lower()
        assert server.left_outside == ()
        assert {key for key in site.ours()[0] if key in site.volumes(user="other")} == {theirs}
        assert site.volumes()[theirs]["status"] == "available"
        cloud.delete(server.id)
    assert site.volumes()[theirs]["status"] == "available"
    site.drop_volume(theirs)


def test_a_disk_that_fails_takes_the_others_with_it(world, site, raw_image, volume):
    with world.cloud() as cloud:
        text = world.config.read_text()
        world.config.write_text(text.replace("fast:cell1-fast", "fast:lost").replace("fast:cell2-fast", ""))
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, disks=(blank(), blank(volume_type="fast"), DiskDevice("volume", volume)))
        assert server.status == "ERROR"
        assert "weighted backend" in server.fault.details
        assert (site.volumes()[volume]["status"], site.bound(volume)) == ("available", {})
        assert {device.volume_id for device in server.devices} == {None}
        cloud.delete(server.id)
    assert site.volumes()[volume]["status"] == "available"


def test_a_data_volume_with_snapshots_is_kept_and_told_and_the_others_go(world, site, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, disks=(blank(), blank()))
        cloud.connect(server.id, HOST)
        held = server.devices[1].volume_id
        snapshot = site.snapshot(held)
        [kept] = cloud.delete(server.id).kept
    assert held in kept
    assert snapshot in kept
    assert {device.volume_id for device in server.devices} & set(site.volumes()) == {held}
    site.drop_snapshot(snapshot)
    site.drop_volume(held)


def test_disks_are_asked_for_before_any_of_them_is_waited_for(world, site, tmp_path, raw_image):
    with FaultProxy(site.volume_url) as proxy:
        world.write_config(volume_url=proxy.url)
        with world.cloud() as cloud:
            server = boot(cloud, raw_image, disks=(blank(),) * 5)
            calls = [f"{call.method} {call.path.partition('?')[0].rpartition('/')[2]}" for call in proxy.calls]
            made = [at for at, call in enumerate(calls) if call == "POST volumes"]
            bound = [at for at, call in enumerate(calls) if call == "POST attachments"]
            looked = [at for at, call in enumerate(calls) if call == "GET detail"]
            assert (len(made), len(bound)) == (6, 6)
            assert made[-1] < looked[0] < bound[0]
            assert server.fault is None
            cloud.delete(server.id)


def test_an_image_of_several_disks_boots_with_all_of_them_in_their_cell(world, site, raw_image):
    with world.cloud() as cloud:
        first = boot(cloud, raw_image, disks=(blank(2, volume_type="fast"), blank()), availability_zone="cell2")
        cloud.connect(first.id, HOST)
        snapshots = [site.snapshot(device.volume_id) for device in first.devices]
        mapping = [{"source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot,
                    "boot_index": 0 if device.boot_index == 0 else None, "device_name": device.device_name,
                    "volume_size": device.volume_size, "delete_on_termination": True}
                   for device, snapshot in zip(first.devices, snapshots, strict=True)]  # fmt: skip
        image = site.upload(b"", user="demo", visibility="private", block_device_mapping=json.dumps(mapping))

        server = boot(cloud, image)

        assert (server.cell, server.fault) == ("cell2", None)
        found = of(site, server)
        assert [each["snapshot_id"] for each in found] == snapshots
        assert [each["size"] for each in found] == [1, 2, 1]
        assert [each["volume_type"] for each in found] == ["cell2", "cell2-fast", "cell2"]
        assert [device.device_name for device in server.devices] == ["/dev/vda", "/dev/vdb", "/dev/vdc"]
        with pytest.raises(BadRequest, match="must be in cell cell2"):
            boot(cloud, image, availability_zone="cell1")
        cloud.delete(server.id)
        for snapshot in snapshots:
            site.drop_snapshot(snapshot)
        cloud.delete(first.id)
    site.call("demo", "DELETE", f"{site.image_url}/v2/images/{image}")


def test_an_image_of_a_server_has_all_its_disks_and_one_that_fails_leaves_none(world, site, raw_image):
    disks = (blank(2, volume_type="fast", tag="db"), blank(device_name="/dev/sdx"))
    with world.cloud() as cloud:
        first = boot(cloud, raw_image, disks=disks, availability_zone="cell2")
        cloud.connect(first.id, HOST)
        quota = f"{site.volume_url}/os-quota-sets/{first.project_id}"
        used = site.call("admin", "GET", f"{quota}?usage=true").json()["quota_set"]["snapshots"]["in_use"]
        site.call("admin", "PUT", quota, json={"quota_set": {"snapshots": used + 2}})
        try:
            with pytest.raises(Refused, match=r"(?i)quota|snapshotlimit"):
                cloud.create_image(first.id, sites.NAME)
            cloud.wait(first.id, 300)
        finally:
            site.call("admin", "PUT", quota, json={"quota_set": {"snapshots": -1}})
        assert images(site) == {}
        assert [snapshots(site, device.volume_id) for device in first.devices] == [[], [], []]

        image = cloud.create_image(first.id, sites.NAME)
        cloud.wait(first.id, 300)
        copy = boot(cloud, image)

        assert (copy.cell, copy.fault) == ("cell2", None)
        assert [(device.device_name, device.tag, device.volume_size) for device in copy.devices] == [
            ("/dev/vda", None, 1), ("/dev/vdb", "db", 2), ("/dev/sdx", None, 1)]  # fmt: skip
        assert [each["volume_type"] for each in of(site, copy)] == ["cell2", "cell2-fast", "cell2"]
        cloud.delete(copy.id)
        forget(site, image)
        cloud.delete(first.id)


def whole(world, site, server_id, volume):
    """Assert that a server has all of its disks or nothing is there but the user's volume; return it, None if gone."""
    with world.cloud() as cloud:
        assert cloud.parts.journal.opened(server_id) == []
        try:
            server = cloud.server(server_id)
        except NotFound:
            server = None
    ours = site.ours()[0] - {volume}
    if server is None or server.status == "ERROR":
        assert ours == set()
        assert (site.volumes()[volume]["status"], site.bound(volume)) == ("available", {})
        return server
    assert len(server.devices) == 4
    assert ours == {device.volume_id for device in server.devices} - {volume}
    for device in server.devices:
        assert site.bound(device.volume_id) == {device.attachment_id: server_id}
    return server


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("verb", "full"),
    [
        pytest.param("boot", False, id="boot-sample"),
        pytest.param("boot", True, id="boot-all", marks=pytest.mark.full),
        pytest.param("delete", True, id="delete-all", marks=pytest.mark.full),
    ],
)
def test_a_process_that_is_killed_with_several_disks_leaves_all_or_nothing(
    site, tmp_path, raw_image, volume, verb, full
):
    world = sites.World(site, tmp_path, late_answer=sites.on_its_way(site))
    blanks = {"source_type": "blank", "volume_size": 1, "delete_on_termination": True}
    image = {"source_type": "image", "uuid": raw_image, "volume_size": 1, "delete_on_termination": True}
    disks = json.dumps([{"source_type": "volume", "uuid": volume}, blanks, image])

    def words(server_id):
        if verb == "boot":
            return ["boot", raw_image, server_id, disks]
        done = world.victim(["none", "0", "boot", raw_image, server_id, disks])
        assert done.returncode == 0, done.stderr
        return ["delete", server_id]

    def gone(server_id):
        with world.cloud() as cloud:
            cloud.delete(server_id)

    first = str(uuid.uuid4())
    found = boundaries(world, *words(first))
    if verb == "boot":
        gone(first)
    for kind, number in chosen(found, full)[: None if full else 3]:
        server_id = str(uuid.uuid4())
        died = world.victim([kind, str(number), *words(server_id)])
        assert died.returncode == -9, (kind, number, died.stderr)

        repaired(world)

        if whole(world, site, server_id, volume) is not None:
            gone(server_id)
        assert (site.volumes()[volume]["status"], site.ours()[0]) == ("available", {volume}), (kind, number)
