# SPDX-License-Identifier: Apache-2.0
"""What conversions rely on when cinder deletes a volume whose image is not as cinder left it: the same on both grounds.

All of it is ``cinder/volume/drivers/rbd.py:_delete_volume``.
"""

import pytest

from imagebackends.rbd.types import Id
from tests import sites
from tests.migrate import disks
from tests.migrate.test_kill import repaired


def delete(ground, volume_id):
    site = ground.site
    assert site.call("admin", "DELETE", f"{site.volume_url}/volumes/{volume_id}").status_code == 202
    site.settle(volume_id, None)


def test_with_a_snapshot_that_cinder_does_not_know_the_image_goes_to_the_trash_and_stays(ground):
    pool, volume_id = ground.pool("volumes"), ground.site.volume()
    pool.snapshot(f"volume-{volume_id}", "not-cinders")

    delete(ground, volume_id)

    assert pool.find(f"volume-{volume_id}") is None
    [left] = [each for each in pool.trashed() if volume_id in each.name]
    pool.drop_snapshot(Id(left.id), "not-cinders")
    pool.purge(left.id)


def test_without_an_image_the_volume_goes_without_a_word(ground):
    volume_id = ground.site.volume()
    ground.pool("volumes").remove(f"volume-{volume_id}")

    delete(ground, volume_id)


def test_while_librbd_migrates_it_the_volume_comes_back_to_available(ground):
    pool, site, volume_id = ground.pool("volumes"), ground.site, ground.site.volume()
    name = f"volume-{volume_id}"
    pool.remove(name)
    ground.pool("vms").create(f"{name}-old", 1 << 30)
    ground.pool("vms").prepare_migration(f"{name}-old", pool, name)

    assert site.call("admin", "DELETE", f"{site.volume_url}/volumes/{volume_id}").status_code == 202
    site.settle(volume_id, "available")

    assert pool.migration(name) == "prepared"
    pool.abort_migration(name)
    assert ground.pool("vms").look(f"{name}-old").size == 1 << 30
    ground.pool("vms").remove(f"{name}-old")
    delete(ground, volume_id)


def test_a_service_user_without_the_right_to_manage_is_told_so_before_anything_is_made(cloud, image_id):
    key = cloud.server(image_id)
    rows, images = cloud.rows(key), cloud.pool.names()
    cloud.write_config(service_user="bfv-plain")
    for words in (("plan", "--server", key), ("run", "--server", key)):
        done = cloud.victim(["none", "0", "cli", "migrate", *words], user="bfv")
        assert done.returncode == 1
        assert "give the service user the role admin" in done.stderr.replace("\n", " "), words
    assert (cloud.rows(key), cloud.pool.names(), cloud.opened()) == (rows, images, [])


@pytest.fixture
def beforehand(ground, tmp_path):
    """A cloud whose volumes are made before the disks go."""
    made = disks.Cloud(ground, tmp_path, "placeholder-live")
    yield made
    made.clean()


def test_a_volume_whose_image_cinder_made_before_it_died_goes_again_with_it(beforehand, image_id):
    cloud, site = beforehand, beforehand.site
    key = cloud.server(image_id)
    rows, images = cloud.rows(key), cloud.new.names()
    died = cloud.victim(["after", "1", "migrate", key], user="bfv")
    assert died.returncode == -9, died.stderr
    [volume_id] = [each for each, told in site.volumes().items() if (told["name"] or "").startswith(sites.NAME)]
    site.settle(volume_id, "available")
    assert cloud.new.find(f"volume-{volume_id}") is not None
    reset = {"os-reset_status": {"status": "error"}}
    site.call("admin", "POST", f"{site.volume_url}/volumes/{volume_id}/action", json=reset).raise_for_status()

    repaired(cloud)

    site.settle(volume_id, None)
    assert (cloud.new.names(), cloud.rows(key)) == (images, rows)
    assert cloud.pool.find(f"{key}_disk") is not None
    cloud.convert(key)
    assert cloud.state(key) == ["settled"]
