# SPDX-License-Identifier: Apache-2.0
"""What cinder's driver leaves for ever in its pool is found and removed, and nothing that anybody needs."""

import subprocess
import time

import pytest

from bfv.images import book, janitor, overview
from imagebackends.rbd import remains
from imagebackends.rbd.types import SnapshotName
from tests import sites
from tests.images.conftest import snapshots, volumes
from tests.images.test_warm import booted, ours, remove


@pytest.fixture
def pool(cluster):
    return cluster.pool("volumes")


def create(site, image):
    body = {"size": 1, "name": sites.NAME, "volume_type": "cell2", "availability_zone": "cell2", "imageRef": image}
    made = site.call("demo", "POST", f"{site.volume_url}/volumes", json={"volume": body}).json()["volume"]["id"]
    return site.settle(made, "available")["id"]


def delete(site, volume_id):
    site.call("admin", "DELETE", f"{site.volume_url}/volumes/{volume_id}")
    site.settle(volume_id, None)


def swept(world, cluster, **how):
    with world.cloud("admin") as cloud:
        return {each.what: each for each in janitor.sweep(cloud.parts, {"cell2": cluster}, **how)}


def test_remains_of_cinders_cache_go_and_its_clones_live_on(world, site, make_image, cluster, pool):
    image = make_image()
    first, *clones = (create(site, image) for _ in range(4))
    [cached] = [each["id"] for each in volumes(site, image)]
    content = pool.read(f"volume-{clones[0]}", 0, 1 << 20)
    for each in (first, *clones[1:]):
        delete(site, each)
    # Known of the real driver: the snapshot of each clone stays, and so does the first volume, under another name.
    names = pool.names()
    assert f"volume-{first}.deleted" in names
    dead = [f"volumes/volume-{cached}@volume-{each}.clone_snap" for each in clones[1:]]

    with world.cloud("admin") as cloud:
        found = overview.overview(cloud.parts, cloud._caller(), [image], {"cell2": cluster})
        [line] = [each for each in found if (each.cell, each.tier) == ("cell2", "default")]
        assert (line.state, line.kind, line.clones, line.snapshots) == ("warm", "cache", 1, 3)

    listed = swept(world, cluster, dry_run=True)

    assert {listed[each].state for each in dead} == {"found"}
    assert f"volumes/volume-{cached}@volume-{clones[0]}.clone_snap" not in listed
    assert f"volumes/volume-{first}.deleted" not in listed
    assert len(pool.look(f"volume-{cached}").snapshots) == 3

    done = swept(world, cluster)

    assert {done[each].state for each in dead} == {"removed"}
    assert [each.name for each in pool.look(f"volume-{cached}").snapshots] == [f"volume-{clones[0]}.clone_snap"]
    assert pool.look(f"volume-{clones[0]}").parent.image == f"volume-{cached}"
    assert pool.read(f"volume-{clones[0]}", 0, 1 << 20) == content
    # Cinder's cache serves as before.
    another = create(site, image)
    assert pool.look(f"volume-{another}").parent.image == f"volume-{cached}"
    for each in (another, clones[0], cached):
        delete(site, each)

    done = swept(world, cluster)

    assert done[f"volumes/volume-{first}.deleted"].state == "removed"
    assert done[f"volumes/volume-{first}.deleted"].bytes >= 4 << 20
    mine = (first, cached, another, *clones)
    assert [name for name in pool.names() if any(each in name for each in mine)] == []


def test_a_snapshot_whose_clone_is_being_made_stays(site, make_image, pool):
    """Cinder takes the snapshot before there is a clone; who is asked then sees one without any."""
    image = make_image()
    volume = create(site, image)
    making = "01234567-89ab-4def-8123-456789abcdef"
    pool.snapshot(f"volume-{volume}", f"volume-{making}.clone_snap")
    mine = lambda known: [  # noqa: E731
        each.snapshot for each in remains.find(pool, known) if each.image == f"volume-{volume}"
    ]

    assert mine(lambda _: True) == []
    assert mine(lambda key: key != making) == [f"volume-{making}.clone_snap"]

    pool.drop_snapshot(f"volume-{volume}", f"volume-{making}.clone_snap")
    delete(site, volume)


def test_cinder_asked_too_soon_copies_a_source_into_all_its_clones(site, make_image, pool):
    """Why a retired source is kept: the driver flattens what descends from a volume that it is told to remove."""
    source = create(site, make_image())
    snapshot = site.snapshot(source, user="admin")
    body = {"size": 1, "name": sites.NAME, "snapshot_id": snapshot}
    made = site.call("admin", "POST", f"{site.volume_url}/volumes", json={"volume": body}).json()["volume"]["id"]
    site.settle(made, "available")
    for each in pool.look(f"volume-{source}").snapshots:
        # Cinder's own cache has cloned it as well, and would have it renamed and kept.
        if each.name.endswith(".clone_snap"):
            pool.drop_snapshot(f"volume-{source}", each.name)
    site.drop_snapshot(snapshot)
    assert pool.look(f"volume-{made}").parent.image == f"volume-{source}"
    before = pool.read(f"volume-{made}", 0, 1 << 20)

    delete(site, source)

    clone = pool.look(f"volume-{made}")
    assert clone.parent is None
    assert pool.read(f"volume-{made}", 0, 1 << 20) == before
    delete(site, made)


@pytest.fixture
def clones_v1():
    """Clients of the lab's cell2 clone in the first format, whose parents are protected and cannot go before clones."""
    ceph = ["ceph", "-c", sites.lab_environment()["LAB_CELL2_CEPH_CONF"], "config"]
    option = ["client", "rbd_default_clone_format"]
    subprocess.run([*ceph, "set", *option, "1"], check=True, timeout=60)
    yield
    subprocess.run([*ceph, "rm", *option], check=True, timeout=60)


@pytest.mark.parametrize("place", [pytest.param("lab", marks=pytest.mark.lab)], indirect=True)
def test_with_clones_of_the_first_format_a_snapshot_is_enough_to_copy_a_source_into_all_of_them(
    site, make_image, pool, clones_v1
):
    source = create(site, make_image())
    snapshot = site.snapshot(source, user="admin")
    body = {"size": 1, "name": sites.NAME, "snapshot_id": snapshot}
    made = site.call("admin", "POST", f"{site.volume_url}/volumes", json={"volume": body}).json()["volume"]["id"]
    site.settle(made, "available")
    assert pool.look(f"volume-{made}").parent == SnapshotName("volumes", f"volume-{source}", f"snapshot-{snapshot}")
    before = pool.read(f"volume-{made}", 0, 1 << 20)

    site.call("admin", "DELETE", f"{site.volume_url}/snapshots/{snapshot}")

    sites.until(lambda: pool.look(f"volume-{made}").parent is None)
    # Copied, the driver still finds it busy unless it may try again (rados_connection_retries); asked again it goes.
    sites.until(lambda: site._snapshot(snapshot).json().get("snapshot", {}).get("status") != "deleting")
    site.drop_snapshot(snapshot)
    assert pool.read(f"volume-{made}", 0, 1 << 20) == before
    for each in (made, source):
        delete(site, each)


def test_a_retired_source_is_kept_until_nothing_descends_from_it(site, tmp_path, make_image, cluster):
    world = sites.World(site, tmp_path, sources="snapshot", warm_on_boot=True, late_answer=0, clock_skew=0)
    image = make_image()
    with world.cloud() as cloud:
        [server] = booted(cloud, image)
        [source] = book.of_image(cloud.parts.journal.database, image)
        book.turn(cloud.parts.journal.database, [source.id], book.RETIRED, "a test says so")
        time.sleep(0.1)
        [kept] = ours(site, image)
        what = f"source of image {image} (volume {kept['id']})"

        told = swept(world, cluster)[what]

        assert (told.state, "descend" in told.why) == ("kept", True)
        with world.cloud("admin") as admin:
            blind = {each.what: each for each in janitor.sweep(admin.parts, {})}
        assert (blind[what].state, "ceph_conf" in blind[what].why) == ("kept", True)
        assert len(snapshots(site, kept["id"])) == 1
        remove(cloud, [server])
        # What cinder's own cache has cloned of it.
        for each in volumes(site, image):
            if each["name"] == f"image-{image}":
                delete(site, each["id"])

        assert swept(world, cluster)[what].state == "removed"

        assert ours(site, image) == []
        assert book.of_image(cloud.parts.journal.database, image) == []
