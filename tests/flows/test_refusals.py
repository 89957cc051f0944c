# SPDX-License-Identifier: Apache-2.0
"""What cannot be is told at once, in words that say what to do, and leaves nothing behind."""

import uuid

import pytest

import bfv
from bfv import errors
from tests import sites
from tests.flows.test_boot import boot

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_unknown_names(world, raw_image):
    with world.cloud() as cloud:
        with pytest.raises(errors.NotFound, match="Flavor huge could not be found"):
            boot(cloud, raw_image, flavor="huge")
        with pytest.raises(errors.NotFound, match="no-such-image"):
            boot(cloud, "no-such-image")
        with pytest.raises(errors.NotFound):
            boot(cloud, str(uuid.uuid4()))
        with pytest.raises(errors.NotFound, match="could not be found"):
            cloud.delete(str(uuid.uuid4()))
        assert cloud.servers() == []


def test_images_that_are_not_active_or_not_the_users_own(world, site, raw_image):
    queued = site.upload(None)
    private = site.upload(b"x" * 1024, user="other", visibility="private")
    sleeping = site.upload(b"x" * 1024)
    site.call("admin", "POST", f"{site.image_url}/v2/images/{sleeping}/actions/deactivate")
    with world.cloud() as cloud:
        with pytest.raises(errors.BadRequest, match="is queued, not active"):
            boot(cloud, queued)
        with pytest.raises(errors.BadRequest, match="is deactivated"):
            boot(cloud, sleeping)
        with pytest.raises(errors.NotFound):
            boot(cloud, private)
        assert cloud.servers() == []
    with world.cloud("other") as cloud:
        cloud.delete(boot(cloud, private).id)
    for image in (queued, private, sleeping):
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")


def test_a_root_that_is_too_small_is_refused_before_anything_is_asked_of_cinder(world, site):
    large = site.upload(b"x" * 1024, min_disk=3)
    with world.cloud() as cloud:
        with pytest.raises(errors.BadRequest, match="needs 3 GiB"):
            boot(cloud, None, root=bfv.RootDevice(source_type="image", uuid=large, volume_size=2))
        server = boot(cloud, large)
        assert server.devices[0].volume_size == 3
        cloud.delete(server.id)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{large}")


def test_cinder_over_quota_ends_as_error_with_its_reason_and_nothing_outside(world, site, raw_image):
    with world.cloud("other") as cloud:
        project = cloud._caller().project_id
        quota = f"{site.volume_url}/os-quota-sets/{project}"
        site.call("admin", "PUT", quota, json={"quota_set": {"volumes": 0}})
        try:
            server = boot(cloud, raw_image)
        finally:
            site.call("admin", "PUT", quota, json={"quota_set": {"volumes": -1}})
        assert server.status == "ERROR"
        assert "quota" in server.fault.details.lower()
        assert server.left_outside == ()
        assert cloud.delete(server.id).kept == ()
        assert cloud.servers() == []


def test_a_type_without_a_backend_shows_cinders_own_words_and_the_next_cell_is_tried(world, site, raw_image):
    text = world.config.read_text().replace("volume_type = cell1\n", "volume_type = lost\n")
    world.config.write_text(text)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        assert (server.status, server.cell) == ("BUILD", "cell2")
        steps = [step for _, steps in cloud.history(server.id) for step in steps if step.name == "no room"]
        assert "weighted backend" in steps[0].detail
        cloud.delete(server.id)

        failed = boot(cloud, raw_image, availability_zone="cell1")
        assert failed.status == "ERROR"
        assert "weighted backend" in failed.fault.details
        cloud.delete(failed.id)


def test_a_volume_that_lands_on_another_backend_than_its_cells_is_an_error(world, site, raw_image):
    text = world.config.read_text().replace(f"backend = {site.backends['cell1']}", "backend = lab@elsewhere#pool")
    world.config.write_text(text)
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, availability_zone="cell1")
        assert server.status == "ERROR"
        assert f"landed on {site.backends['cell1']} instead of lab@elsewhere#pool" in server.fault.details
        cloud.delete(server.id)


def test_a_server_of_another_project_is_not_there(world, raw_image):
    with world.cloud() as cloud, world.cloud("other") as others:
        server = boot(cloud, raw_image)
        for act in (others.server, others.delete, lambda key: others.rebuild(key, raw_image)):
            with pytest.raises(errors.NotFound):
                act(server.id)
        assert others.servers() == []
        cloud.delete(server.id)


def test_a_delete_while_it_is_built_leaves_nothing(world, site, raw_image):
    with world.cloud() as cloud:
        server_id = str(uuid.uuid4())
        cloud.boot(bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME, server_id=server_id))
        assert cloud.server(server_id).status == "BUILD"

        assert cloud.delete(server_id).kept == ()

        with pytest.raises(errors.NotFound):
            cloud.server(server_id)
        assert cloud.parts.registry.find_mapping(server_id) is None
        assert [intent.phase for intent in cloud.parts.journal.of_server(server_id)] == ["cancelled", "done"]


def test_the_command_line_says_what_is_wrong_in_one_sentence(world):
    assert "Flavor huge could not be found" in world.run("boot", "x", "--flavor", "huge", "--name", "vm", expect=1)
    assert "--root banana" in world.run("boot", "--root", "banana", "--flavor", "tiny", "--name", "vm", expect=1)


def test_a_volume_that_is_not_made_in_time_ends_the_boot_and_is_removed_when_it_can_be(site, tmp_path, raw_image):
    world = sites.World(site, tmp_path, volume_timeout=0.1, per_gib=0)
    with world.cloud() as cloud:
        with site.silent("cell1"), site.silent("cell2"):
            server_id = str(uuid.uuid4())
            cloud.boot(bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME, server_id=server_id))
            sites.until(lambda: cloud.server(server_id).status == "ERROR")
        server = cloud.wait(server_id, 300)
        assert "was still" in server.fault.details
        # Both cells were tried: what was begun in the first is removed beside it.
        sites.until(lambda: cloud.parts.journal.opened() == [])
        assert cloud.server(server.id).left_outside == ()
        cloud.delete(server.id)


def test_the_id_of_a_deleted_server_is_taken(world, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.delete(server.id)
        with pytest.raises(errors.BadRequest, match="choose another"):
            boot(cloud, raw_image, server_id=server.id)


def test_a_volume_of_another_project_is_never_touched_with_the_service_users_wider_rights(world, site, raw_image):
    """The service user is an administrator in the project, who reaches the volumes of all."""
    with world.cloud("other") as others, world.cloud() as cloud:
        theirs, mine = boot(others, raw_image), boot(cloud, raw_image)
        device = mine.devices[0]
        from cells import servers as rows

        database = cloud.parts.cells.named(mine.cell)
        rows.update_device(database, device.uuid, volume_id=theirs.devices[0].volume_id)
        with world.cloud("admin") as admin:
            admin.delete(mine.id)

        assert site.volumes()[theirs.devices[0].volume_id]["status"] == "reserved"
        others.delete(theirs.id)
        site.call("admin", "DELETE", f"{site.volume_url}/volumes/{device.volume_id}")
        site.settle(device.volume_id, None)


def test_what_cannot_be_done_to_a_server_that_is_gone_leaves_nothing_open(world, raw_image):
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.delete(server.id)
        acts = [
            lambda: cloud.connect(server.id, {"host": "host1"}),
            lambda: cloud.disconnect(server.id),
            lambda: cloud.rebuild(server.id, raw_image),
        ]
        for act in acts:
            with pytest.raises(errors.NotFound):
                act()
        assert cloud.parts.journal.opened() == []


def test_a_root_device_without_a_source_is_refused(world, raw_image):
    with world.cloud() as cloud, pytest.raises(errors.BadRequest, match="needs the id"):
        boot(cloud, raw_image, root=bfv.RootDevice(source_type="image", destination_type="local"))
