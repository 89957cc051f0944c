# SPDX-License-Identifier: Apache-2.0
"""What administrators do to volumes behind a server's back is found by `bfv repair`, told, and changed by nobody."""

import pytest

from bfv import DiskDevice, VolumeRequest
from bfv.types import new_request_id
from tests.flows.test_boot import HOST, boot

pytestmark = pytest.mark.usefixtures("nothing_left")


def told(cloud, server):
    """Return what is told of a server's volumes."""
    found = cloud.strays()
    assert found.down == {}
    return {stray.volume_id: stray.what for stray in found.found if stray.server_id == server.id}


def reset(site, volume_id, status):
    body = {"os-reset_status": {"status": status}}
    done = site.call("admin", "POST", f"{site.volume_url}/volumes/{volume_id}/action", json=body)
    assert done.status_code == 202, done.text


def test_volumes_that_were_force_detached_reset_or_deleted_are_told_and_nothing_is_changed(world, site, raw_image):
    blank = DiskDevice("blank", volume_size=1, delete_on_termination=True)
    detached, gone = site.volume(), site.volume()
    with world.cloud() as cloud:
        server = boot(cloud, raw_image, disks=(blank, DiskDevice("volume", detached), DiskDevice("volume", gone)),
                      availability_zone="cell1")  # fmt: skip
        assert told(cloud, server) == {}
        cloud.connect(server.id, HOST)
        assert told(cloud, server) == {}
        _, freed, loose, lost = cloud.server(server.id).devices
        reset(site, freed.volume_id, "available")
        for device in (loose, lost):
            site.call("admin", "DELETE", f"{site.volume_url}/attachments/{device.attachment_id}").raise_for_status()
        site.drop_volume(gone)

        found = told(cloud, server)

        assert set(found) == {freed.volume_id, detached, gone}
        assert "its state was reset, and others can take it" in found[freed.volume_id]
        assert f"its attachment {loose.attachment_id} is gone" in found[detached]
        assert f"volume {gone} is gone in cinder" in found[gone]
        assert len(cloud.server(server.id).devices) == 4
        words = world.run("repair", user="bfv", expect=1)
        assert all(what in words for what in found.values())
        assert f"bfv detach {server.id} {detached}" in words

        reset(site, freed.volume_id, "in-use")
        for volume_id in (detached, gone):
            cloud.detach_volume(server.id, volume_id)
        cloud.disconnect(server.id)
        cloud.attach_volume(server.id, VolumeRequest(detached))

        assert told(cloud, server) == {}
        cloud.delete(server.id)
    site.drop_volume(detached)


def test_a_connection_that_was_made_once_more_when_all_was_done_is_told_and_set_right(world, site, raw_image):
    """As by a request whose answer was lost, and that comes late."""
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        cloud.connect(server.id, HOST)
        [device] = cloud.server(server.id).devices
        access = cloud.parts.rights.everywhere(new_request_id())
        cloud.parts.backend.connect(access, device.attachment_id, HOST)
        assert site.volumes()[device.volume_id]["status"] == "attaching"

        assert f"bfv disconnect {server.id}" in told(cloud, server)[device.volume_id]
        cloud.disconnect(server.id)
        assert site.volumes()[device.volume_id]["status"] == "reserved"
        cloud.connect(server.id, HOST)

        assert site.volumes()[device.volume_id]["status"] == "in-use"
        assert told(cloud, server) == {}
        cloud.delete(server.id)


def test_a_service_user_that_may_not_look_everywhere_says_so(site, tmp_path, raw_image):
    from tests import sites

    world = sites.World(site, tmp_path, service_user="bfv-plain")
    with world.cloud() as cloud:
        found = cloud.strays()
    assert found.found == ()
    assert "may not see the volumes of all projects" in found.down["all"]
