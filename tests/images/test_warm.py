# SPDX-License-Identifier: Apache-2.0
"""An image is warmed in a cell once, by whoever comes first, and all boots are clones of that."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import bfv
from bfv.images import book
from bfv.images.standing import fingerprint
from tests import sites
from tests.images.conftest import qcow2, snapshots, volumes


def request(image, **how):
    return bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone="cell2", **how)


def booted(cloud, image, count=1, **how):
    """Boot servers at once and return them when all are ready."""
    asked = [request(image, **how) for _ in range(count)]
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(cloud.boot, asked))
    done = [cloud.wait(each.server_id, 300) for each in asked]
    assert [each.task_state for each in done] == ["spawning"] * count, done[0].fault
    return done


def remove(cloud, servers):
    for server in servers:
        cloud.delete(server.id)


def root(site, server):
    return site.volumes()[server.devices[0].volume_id]


def ours(site, image):
    return [each for each in volumes(site, image) if each["name"].startswith("bfv-image-")]


@pytest.fixture(autouse=True)
def nothing_left(site):
    before = site.ours()
    yield
    assert site.ours() == before


def test_an_image_that_was_warmed_boots_from_the_shared_snapshot(world, site, make_image):
    image = make_image()
    with world.cloud("admin") as cloud:
        [done] = cloud.images.warm(image, ["cell2"])
        assert (done.state, done.kind, done.why) == ("made", "snapshot", "")
        [again] = cloud.warm(image, ["cell2"])
        assert (again.state, again.kind) == ("hit", "snapshot")
    with world.cloud("demo") as cloud:
        assert cloud.decide(request(image)).sources["cell2"] == "warm: snapshot, about 1 s"
        [server] = booted(cloud, image)
        [kept] = ours(site, image)
        [snapshot] = snapshots(site, kept["id"])
        volume = root(site, server)
        assert volume["snapshot_id"] == snapshot["id"]
        assert volume["os-vol-tenant-attr:tenant_id"] == server.project_id
        assert (volume["bootable"], volume["volume_image_metadata"]["image_id"]) == ("true", image)
        [line] = [each for each in cloud.images.map([image]) if (each.cell, each.tier) == ("cell2", "default")]
        assert (line.state, line.kind) == ("warm", "snapshot")
        assert line.used_at is not None
        remove(cloud, [server])


def test_a_storm_on_a_cold_cell_makes_one_source_and_all_are_its_clones(world, site, make_image):
    image = make_image()
    with world.cloud() as cloud:
        servers = booted(cloud, image, 8)
        [kept] = ours(site, image)
        [snapshot] = snapshots(site, kept["id"])
        assert {root(site, server)["snapshot_id"] for server in servers} == {snapshot["id"]}
        remove(cloud, servers)


@pytest.fixture
def sourced(site, tmp_path):
    def make(sources, **settings):
        return sites.World(site, tmp_path, sources=sources, **settings)

    return make


def test_a_copy_of_glances_in_the_cells_own_ceph_is_cloned(sourced, site, make_image):
    image = make_image()
    world = sourced("glance,snapshot")
    with world.cloud("admin") as cloud:
        done = {each.cell: each for each in cloud.images.warm(image)}
        assert (done["cell1"].state, done["cell1"].kind) == ("hit", "glance")
        assert (done["cell2"].state, done["cell2"].kind) == ("made", "glance")
    assert ours(site, image) == []
    with world.cloud() as cloud:
        [server] = booted(cloud, image)
        assert root(site, server)["snapshot_id"] is None
        # Nothing was downloaded: cinder's cache holds none.
        assert volumes(site, image) == []
        remove(cloud, [server])


def test_cinders_cache_is_filled_by_a_volume_that_is_thrown_away(sourced, site, make_image):
    image = make_image()
    world = sourced("cache")
    with world.cloud("admin") as cloud:
        [done] = cloud.images.warm(image, ["cell2"])
        assert (done.state, done.kind, done.why) == ("made", "cache", "")
        assert [each["name"] for each in volumes(site, image)] == [f"image-{image}"]
        [line] = [each for each in cloud.images.map([image]) if (each.cell, each.tier) == ("cell2", "default")]
        assert (line.state, line.kind) == ("warm", "cache")
        [gone] = volumes(site, image)
        site.call("admin", "DELETE", f"{site.volume_url}/volumes/{gone['id']}")
        site.settle(gone["id"], None)
        [line] = [each for each in cloud.images.map([image]) if (each.cell, each.tier) == ("cell2", "default")]
        assert (line.state, line.kind) == ("evicted", "download")


def test_what_a_cell_cannot_do_is_told_and_the_next_source_is_made(sourced, site, make_image):
    image = make_image(qcow2(4 << 20), disk_format="qcow2")
    world = sourced("glance,snapshot")
    with world.cloud("admin") as cloud:
        [done] = cloud.images.warm(image, ["cell2"])
        assert (done.state, done.kind) == ("made", "snapshot")
        assert done.why == "converted from qcow2, once for this cell"
    world.write_config(sources="glance")
    other = make_image(qcow2(4 << 20), disk_format="qcow2")
    with world.cloud("admin") as cloud:
        [done] = cloud.images.warm(other, ["cell2"])
        assert done.state == "failed"
        assert "only raw images" in done.why
        assert cloud.parts.journal.opened() == []


def test_a_snapshot_that_somebody_removed_costs_no_boot_and_is_made_anew(world, site, make_image):
    image = make_image()
    with world.cloud() as cloud:
        servers = booted(cloud, image)
        [kept] = ours(site, image)
        [snapshot] = snapshots(site, kept["id"])
        site.drop_snapshot(snapshot["id"])
        # Cinder removes a parent's volume only by copying it into all that hangs on it; so the first goes first.
        remove(cloud, servers)
        site.call("admin", "DELETE", f"{site.volume_url}/volumes/{kept['id']}")
        site.settle(kept["id"], None)
        [server] = booted(cloud, image)
        assert root(site, server)["snapshot_id"] is None
        [row] = book.of_image(cloud.parts.journal.database, image)
        assert (row.state, row.reason) == ("broken", "its snapshot is gone")
        [again] = booted(cloud, image)
        assert root(site, again)["snapshot_id"] == snapshots(site, ours(site, image)[0]["id"])[0]["id"]
        remove(cloud, [server, again])


def test_a_warm_source_widens_nobodys_rights(world, site, make_image):
    """Each boot asks Glance with its user's own token, whatever would serve it."""
    image = make_image(user="demo", visibility="private")
    with world.cloud("demo") as cloud:
        [done] = cloud.images.warm(image, ["cell2"])
        assert (done.state, done.kind) == ("made", "snapshot")
    with world.cloud("other") as cloud:
        for act in (
            lambda: cloud.boot(request(image)),
            lambda: cloud.images.warm(image),
            lambda: cloud.images.map([image]),
        ):
            with pytest.raises(bfv.errors.NotFound):
                act()
        assert image not in {each.image_id for each in cloud.images.map()}
    path = f"{site.image_url}/v2/images/{image}"
    assert site.call("demo", "POST", f"{path}/actions/deactivate").status_code == 204
    with world.cloud("demo") as cloud:
        with pytest.raises(bfv.errors.BadRequest, match="deactivated"):
            cloud.boot(request(image))
        with pytest.raises(bfv.errors.BadRequest, match="deactivated"):
            cloud.images.warm(image)
    assert site.call("admin", "DELETE", path).status_code == 204
    with world.cloud("demo") as cloud, pytest.raises(bfv.errors.NotFound):
        cloud.boot(request(image))
    with world.cloud("admin") as cloud:
        cloud.images.map()
        [row] = book.of_image(cloud.parts.journal.database, image)
        assert (row.state, row.reason) == ("retired", "its image was deleted")


def test_an_image_that_is_shared_no_more_is_refused_though_it_is_warm(world, site, make_image):
    image, other = make_image(user="demo", visibility="shared"), site.caller("other")
    members = f"{site.image_url}/v2/images/{image}/members"
    assert site.call("demo", "POST", members, json={"member": other.project_id}).status_code == 200
    with world.cloud("demo") as cloud:
        assert cloud.images.warm(image, ["cell2"])[0].state == "made"
    with world.cloud("other") as cloud:
        [server] = booted(cloud, image)
        assert root(site, server)["snapshot_id"]
        with pytest.raises(bfv.errors.NotAllowed, match="another project's"):
            cloud.images.warm(image)
        remove(cloud, [server])
        assert site.call("demo", "DELETE", f"{members}/{other.project_id}").status_code == 204
        with pytest.raises(bfv.errors.NotFound):
            cloud.boot(request(image))


def test_only_an_images_owner_or_an_admin_has_it_warmed(world, make_image):
    image = make_image()
    with world.cloud("demo") as cloud, pytest.raises(bfv.errors.NotAllowed, match="another project's"):
        cloud.images.warm(image)


@pytest.mark.timeout(300)
def test_many_processes_make_one_source(world, site, make_image):
    image = make_image()
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda _: world.run("--json", "image", "warm", image, "--cell", "cell2", "--wait",
                                                 user="admin"), range(2)))  # fmt: skip
    assert all('"snapshot"' in each for each in told), told
    assert len(ours(site, image)) == 1
    shown = world.run("image", "map", image, user="admin")
    assert "snapshot" in shown


def test_a_source_is_as_large_as_its_image_asks_and_boots_may_be_larger(world, site, make_image):
    image = make_image(min_disk=2)
    with world.cloud() as cloud:
        [server] = booted(cloud, image)
        wider = bfv.RootDevice(source_type="image", uuid=image, volume_size=3, delete_on_termination=True)
        [large] = booted(cloud, None, root=wider)
        [kept] = ours(site, image)
        assert [each["size"] for each in (kept, root(site, server), root(site, large))] == [2, 2, 3]
        assert root(site, server)["snapshot_id"] == root(site, large)["snapshot_id"] is not None
        remove(cloud, [server, large])


def test_a_cell_where_the_image_is_warm_comes_before_one_that_would_take_long(world, make_image):
    image = make_image(qcow2(4 << 20), disk_format="qcow2")
    with world.cloud() as cloud:
        database, seen = cloud.parts.journal.database, cloud.parts.images.find(cloud.parts.rights.image(
            cloud._caller()), image)  # fmt: skip
        assert cloud.decide(bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME)).cells[0] == "cell1"
        common = {"image_id": image, "tier": "default", "kind": "snapshot", "version": fingerprint(seen), "bytes": 1}
        for cell in ("cell1", "cell2"):
            book.add(database, **common, cell=cell, volume_id=cell, snapshot_id=cell, made_seconds=30.0)
        [first, _] = book.of_image(database, image)
        book.turn(database, [first.id], book.BROKEN, "a test says so")

        decision = cloud.decide(bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME))

        assert decision.cells == ("cell2", "cell1")
        assert decision.sources == {
            "cell1": "evicted: download, about 30 s",
            "cell2": "warm: snapshot, about 1 s",
        }
        assert "about 30 s to boot" in decision.cell_why["cell1"]
