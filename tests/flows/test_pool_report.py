# SPDX-License-Identifier: Apache-2.0
"""What `bfv pool report` tells of nova's pool, on the mocked Ceph and on the real one; it changes nothing."""

import json
import re
import uuid

import pytest

import bfv
from bfv import cli
from bfv.cli import pool as words
from bfv.errors import BadRequest
from bfv.pool_report import report
from cells import hosts, servers
from cells.types import Host
from tests import sites

GIB = 1 << 30


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path, ceph=True)


@pytest.fixture
def made(world, site):
    """Return a maker of images in a cell's pool; all are removed."""
    names = []
    with world.cloud() as cloud:

        def make(name, cell="cell1", size=GIB):
            pool = cloud.parts.clusters.pools().of(cell)
            pool.create(name, size)
            names.append((cell, name))
            return pool

        yield make
        for cell, name in names:
            pool = cloud.parts.clusters.pools().of(cell)
            for each in pool.look(name).snapshots:
                pool.drop_snapshot(name, each.name)
            pool.remove(name)


@pytest.fixture
def row(world):
    """Return a maker of a server's row in a cell, by booting one, which is on a host then."""
    with world.cloud() as cloud:
        booted = []

        def make(image, cell="cell1", host="compute1"):
            request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone=cell)
            cloud.boot(request)
            booted.append(cloud.wait(request.server_id, 300).id)
            servers.update(cloud.parts.cells.named(cell), request.server_id, host=host)
            return request.server_id

        yield cloud, make
        for server_id in booted:
            try:
                cloud.delete(server_id)
            except bfv.errors.NotFound:
                continue


def of(found, names):
    """The report as far as it is of these images: others may use the lab's pool, too."""
    return {each.name: each for each in found.images if each.name in names}


def test_each_image_is_told_by_whose_it_is(row, made, raw_image):
    cloud, boot = row
    lives, dead, away = boot(raw_image), boot(raw_image), boot(raw_image, "cell2", "compute2")
    hosts.register(cloud.parts.cells.named("cell1"), Host("cell1", "compute1", "compute1"))
    hosts.register(cloud.parts.cells.named("cell1"), Host("cell1", "compute9", "compute9"))
    cloud.delete(dead)
    nobody, free, volume = str(uuid.uuid4()), f"bfv_p_{16 * 'a'}_{8 * 'b'}", f"volume-{uuid.uuid4()}"
    stranger = f"backup-{uuid.uuid4().hex[:8]}"
    kinds = {f"{lives}_disk.swap": "swap", f"{lives}_disk.eph0": "ephemeral", f"{lives}_disk.config": "config drive",
             f"{lives}_disk": "root", f"{lives}_disk.old": "other", f"{lives}_disk.local": "ephemeral",
             f"{lives}_disk.rescue": "rescue"}  # fmt: skip
    states = dict.fromkeys(kinds, "live") | {
        f"{dead}_disk": "deleted", f"{away}_disk": "elsewhere", f"{nobody}_disk": "nobody", free: "bfv",
        volume: "cinder", stranger: "stranger",
    }  # fmt: skip
    for name in states:
        pool = made(name)
    pool.snapshot(f"{lives}_disk", "nova-resize")

    found = report(cloud.parts, ["cell1"])[0]
    told = of(found, states)
    assert (found.cell, found.pool, found.down, found.database_down) == ("cell1", "vms", "", "")
    assert {name: each.state for name, each in told.items()} == states
    assert {name: told[name].kind for name in kinds} == kinds
    assert told[f"{lives}_disk"].snapshots == ("nova-resize",)
    assert {told[name].host for name in kinds} == {"compute1"}
    assert told[f"{lives}_disk"].size == GIB
    assert re.fullmatch(rf"server {sites.NAME} of project \w+, spawning, root is a volume", told[f"{lives}_disk"].whose)
    assert re.search(r"on compute1, deleted 20\d\d-\d\d-\d\d ", told[f"{dead}_disk"].whose)
    assert told[f"{away}_disk"].whose == f"server {away}, which is in cell2"
    assert told[f"{nobody}_disk"].whose == f"server {nobody}, which no database knows"
    by_host = {each.host: each for each in found.hosts}
    mine = by_host["compute1"]
    assert (mine.servers, mine.snapshots, mine.size, mine.can_go) == (1, 1, 7 * GIB, False)
    assert mine.counts == {"root": 1, "ephemeral": 2, "swap": 1, "config drive": 1, "rescue": 1, "other": 1}
    assert (by_host["compute9"].counts, by_host["compute9"].can_go) == ({}, True)
    assert found.counts["live"] == 7
    assert words._sum(found).endswith("images_type=rbd is needed on compute1")


def test_who_has_an_image_open_is_told(world, made, site, clusters_of):
    with world.cloud() as cloud:
        name = f"{uuid.uuid4()}_disk"
        made(name)
        with clusters_of(name):
            [image] = of(report(cloud.parts, ["cell1"])[0], {name}).values()
            assert [each.split(":")[0] for each in image.open_at] == ["127.0.0.1"]
        assert of(report(cloud.parts, ["cell1"])[0], {name})[name].open_at == ()


@pytest.fixture
def clusters_of(world):
    """Return what a guest is to Ceph: an image that is open for writing."""
    with world.cloud() as other:
        cluster = other.parts.clusters.pools().clusters["cell1"]

        def opened(name):
            ioctx = cluster.call("open", lambda: cluster.ioctx("vms"))
            return cluster.rbd.Image(ioctx, name)

        yield opened


def test_with_its_database_down_nothing_of_a_cell_is_an_orphan(world, made, site):
    server_id = str(uuid.uuid4())
    made(f"{server_id}_disk")
    (world.home / "cell1.db").rename(world.home / "away.db")
    (world.home / "cell1.db").write_text("This is no database.\n" * 100)
    try:
        with world.cloud() as cloud:
            found, other = report(cloud.parts)
            assert of(found, {f"{server_id}_disk"})[f"{server_id}_disk"].state == "unknown"
            assert found.database_down
            assert found.hosts == []
            assert "is not known" in words._sum(found)
            assert (other.cell, other.database_down) == ("cell2", "")
    finally:
        (world.home / "away.db").replace(world.home / "cell1.db")


def test_with_its_ceph_silent_the_other_cells_are_told(world, site):
    with world.cloud() as cloud:
        assert [each.down for each in report(cloud.parts)] == ["", ""]
        with site.silent("cell1"):
            first, second = report(cloud.parts)
        assert (first.cell, first.images, second.down) == ("cell1", (), "")
        assert "(pool vms)" in first.down
        assert list(cloud.parts.storage.down()) == ["cell1"]


def test_a_cell_without_a_ceph_conf_is_refused(world):
    with world.cloud() as cloud, pytest.raises(BadRequest, match="cell9 has no ceph"):
        report(cloud.parts, ["cell9"])


@pytest.mark.parametrize("site", [pytest.param("lab", marks=pytest.mark.lab)], indirect=True)
def test_the_verb_tells_an_operator(world, made, capsys):
    """A process of its own does not reach the mocked Ceph."""
    server_id = str(uuid.uuid4())
    made(f"{server_id}_disk.swap")

    told = world.run("pool", "report", "cell1", user="admin")
    assert re.search(rf"nobody +{server_id}_disk.swap +swap +1.0", told)
    assert "images_type=rbd can go on every host" in told
    [found] = json.loads(world.run("--json", "pool", "report", "cell1", user="admin"))
    assert server_id in {each["server_id"] for each in found["images"]}
    assert cli.main(["--config-file", str(world.config), "pool", "report", "cell9"]) == 1
    assert "cell9" in capsys.readouterr().err
