# SPDX-License-Identifier: Apache-2.0
"""The life of a conversion: planned, run, told, undone or purged; by each way, from words to bytes."""

def test_a_server_goes_and_comes_back_bit_for_bit(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    rows, bytes_before = cloud.rows(key), cloud.pool.read(f"{key}_disk", 0, 17 << 20)
    image = cloud.pool.look(f"{key}_disk")

    [plan] = cloud.migrate("plan", "--server", key, *cloud.choice)
    assert (plan["way"], plan["refusals"], plan["gib"]) == (cloud.way, [], 1)
    assert cloud.rows(key) == rows
    [done] = cloud.migrate("run", "--server", key, *cloud.choice)

    assert (done["state"], done["reason"]) == ("converted", None)
    root = cloud.root(key)
    volume = cloud.site.volumes()[root.volume_id]
    assert (volume["status"], volume["size"], volume["bootable"]) == ("in-use", 1, "true")
    assert volume["os-vol-tenant-attr:tenant_id"] == cloud.project
    assert volume["volume_image_metadata"]["image_id"] == image_id
    assert cloud.new.read(f"volume-{root.volume_id}", 0, 17 << 20) == bytes_before
    assert cloud.pool.find(f"{key}_disk") is None
    [state] = cloud.migrate("status", key)
    assert (state["state"], state["volume_id"]) == ("settled", root.volume_id)

    cloud.migrate("undo", key)

    assert cloud.rows(key) == rows
    back = cloud.pool.look(f"{key}_disk")
    assert (back.id, back.size, back.parent, back.snapshots) == (image.id, image.size, image.parent, image.snapshots)
    assert cloud.pool.read(f"{key}_disk", 0, 17 << 20) == bytes_before
    assert root.volume_id not in cloud.site.volumes()
    assert cloud.opened() == []
    assert [each["state"] for each in cloud.migrate("status", key)] == ["undone"]
