# SPDX-License-Identifier: Apache-2.0
"""The life of a conversion: planned, run, told, undone or purged; by each way, from words to bytes."""

from tests.migrate.disks import LENGTH, WRITTEN


def gone(cloud, key, volume):
    """Return whether nothing of a server and its volume is in either pool, or in its trash."""
    pools = (cloud.pool, cloud.new)
    there = [each for pool in pools for each in (*pool.names(), *(trashed.name for trashed in pool.trashed()))]
    return not [each for each in there if key in each or volume in each]


def test_a_server_goes_and_comes_back_bit_for_bit(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    rows, bytes_before = cloud.rows(key), cloud.pool.read(f"{key}_disk", 0, LENGTH)
    image = cloud.pool.look(f"{key}_disk")

    [plan] = cloud.migrate("plan", "--server", key, *cloud.choice)
    assert (plan["way"], plan["refusals"], plan["gib"]) == (cloud.way, [], 1)
    assert plan["adopt"] == (cloud.adopt or "manage")
    assert cloud.rows(key) == rows
    [done] = cloud.migrate("run", "--server", key, *cloud.choice)

    assert (done["state"], done["reason"]) == ("converted", None)
    root = cloud.root(key)
    volume = cloud.site.volumes()[root.volume_id]
    assert (volume["status"], volume["size"], volume["bootable"]) == ("in-use", 1, "true")
    assert volume["os-vol-tenant-attr:tenant_id"] == cloud.project
    assert volume["volume_image_metadata"]["image_id"] == image_id
    assert cloud.new.read(f"volume-{root.volume_id}", 0, LENGTH) == bytes_before
    assert cloud.pool.find(f"{key}_disk") is None
    with cloud.cloud() as own:
        assert own.server(key).left_outside == ()
    [state] = cloud.migrate("status", key)
    assert (state["state"], state["volume_id"]) == ("settled", root.volume_id)

    cloud.migrate("undo", key)

    assert cloud.rows(key) == rows
    back = cloud.pool.look(f"{key}_disk")
    assert (back.id, back.size, back.parent, back.snapshots) == (image.id, image.size, image.parent, image.snapshots)
    assert cloud.pool.read(f"{key}_disk", 0, LENGTH) == bytes_before
    assert root.volume_id not in cloud.site.volumes()
    assert cloud.opened() == []
    assert [each["state"] for each in cloud.migrate("status", key)] == ["undone"]


def test_what_a_guest_wrote_comes_back_with_its_disk(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    before = cloud.pool.read(f"{key}_disk", 0, LENGTH)
    cloud.convert(key)
    cloud.ran(key)

    cloud.migrate("undo", key)

    assert cloud.root(key).destination_type == "local"
    now = cloud.pool.read(f"{key}_disk", 0, LENGTH)
    assert (now[5:10], now[WRITTEN : WRITTEN + 5]) == (b"guest", b"guest")
    assert (now[:5], now[10:WRITTEN], now[WRITTEN + 5 :]) == (before[:5], before[10:WRITTEN], before[WRITTEN + 5 :])
    assert cloud.opened() == []


def test_purge_ends_it_and_says_what_is_left(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    before = cloud.pool.read(f"{key}_disk", 0, LENGTH)
    others = {name: cloud.pool.names() for name in [key]}[key]
    cloud.convert(key)
    volume = f"volume-{cloud.root(key).volume_id}"

    cloud.migrate("purge", key)

    assert cloud.new.read(volume, 0, LENGTH) == before
    image = cloud.new.look(volume)
    assert (image.snapshots, "migrating" in image.features) == ((), False)
    assert [each for each in cloud.pool.names() if key in each] == []
    assert set(others) - set(cloud.pool.names()) == {f"{key}_disk"}
    assert cloud.state(key) == ["purged"]
    assert "there is no way back" in cloud.migrate("undo", key, expect=1)


def test_a_disk_of_no_whole_gib_grows_and_shrinks_again(cloud, image_id):
    size = (1 << 30) + 4096
    key = cloud.server(image_id, size=size)

    cloud.convert(key)

    volume = cloud.root(key).volume_id
    assert cloud.site.volumes()[volume]["size"] == 2
    assert cloud.new.look(f"volume-{volume}").size == 2 << 30
    cloud.migrate("undo", key)
    assert cloud.pool.look(f"{key}_disk").size == size


def test_a_server_that_nova_deletes_meanwhile_leaves_nothing(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    cloud.convert(key)
    volume = cloud.root(key).volume_id
    cloud.deleted_by_nova(key)

    cloud.run("repair", user="bfv")

    assert volume not in cloud.site.volumes()
    assert gone(cloud, key, volume)
    assert (cloud.opened(), cloud.state(key)) == ([], ["deleted"])


def test_a_server_that_its_owner_deletes_here_leaves_nothing(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    cloud.convert(key)
    volume = cloud.root(key).volume_id

    cloud.run("delete", key)

    assert volume not in cloud.site.volumes()
    assert gone(cloud, key, volume)
    assert cloud.opened() == []
