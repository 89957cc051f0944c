# SPDX-License-Identifier: Apache-2.0
"""What really lies in the two Ceph clusters after boots: parents, bytes, and what is left when the servers are gone."""

import hashlib
import json
import os
import subprocess

import pytest

from tests import sites
from tests.flows.test_boot import boot

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
MIB = 1 << 20


@pytest.fixture(scope="module")
def site():
    return sites.lab()


@pytest.fixture
def world(site, tmp_path):
    return sites.World(site, tmp_path)


def rbd(cell, *words):
    env = sites.lab_environment()
    done = subprocess.run(["rbd", "-c", env[f"LAB_{cell.upper()}_CEPH_CONF"], *words], capture_output=True, check=True)
    return done.stdout


def info(cell, volume_id):
    return json.loads(rbd(cell, "info", "--format", "json", f"volumes/volume-{volume_id}"))


def listing(cell):
    return set(rbd(cell, "ls", "volumes").decode().split())


def left(cell, volume_ids):
    """Return what a pool still holds of these volumes."""
    return {name for name in listing(cell) for volume_id in volume_ids if volume_id in name}


def head(cell, volume_id, size):
    """Return the digest of a volume's first bytes."""
    conf = sites.lab_environment()[f"LAB_{cell.upper()}_CEPH_CONF"]
    words = ["rbd", "-c", conf, "export", "--no-progress", f"volumes/volume-{volume_id}", "-"]
    export = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with export:
        data = export.stdout.read(size)
        export.kill()
    return hashlib.sha256(data).hexdigest()


def test_the_first_cell_clones_from_glance_and_the_second_downloads_once_and_then_clones_from_cinders_cache(
    site, world
):
    data = os.urandom(24 * MIB)
    image = site.upload(data)
    downloads = sites.downloads(image)
    with world.cloud() as cloud:
        servers = {cell: [boot(cloud, image, availability_zone=cell) for _ in range(3)] for cell in ("cell1", "cell2")}
        volumes = {cell: [server.devices[0].volume_id for server in found] for cell, found in servers.items()}

        for volume in volumes["cell1"]:
            assert info("cell1", volume)["parent"]["pool"] == "images"
            assert info("cell1", volume)["parent"]["image"] == image
        first, *later = volumes["cell2"]
        assert "parent" not in info("cell2", first)
        cached = {info("cell2", volume)["parent"]["image"] for volume in later}
        assert len(cached) == 1
        [cache_volume] = cached
        assert site.call("admin", "GET", f"{site.volume_url}/volumes/{cache_volume[7:]}").json()["volume"]["name"] == (
            f"image-{image}"
        )
        assert sites.downloads(image) - downloads == 1

        for cell, found in volumes.items():
            for volume in found:
                assert info(cell, volume)["size"] == 1 << 30
                assert head(cell, volume, len(data)) == hashlib.sha256(data).hexdigest()

        for found in servers.values():
            for server in found:
                assert cloud.delete(server.id).kept == ()
    assert left("cell1", volumes["cell1"]) == set()
    # What cinder keeps for its cache: the image-volume, and the first volume, whose clone it is: it renames a deleted
    # parent (cinder/volume/drivers/rbd.py:delete_volume).
    assert left("cell2", volumes["cell2"]) == {f"volume-{first}.deleted"}
    assert cache_volume in listing("cell2")
    site.call("admin", "DELETE", f"{site.volume_url}/volumes/{cache_volume[7:]}")
    site.settle(cache_volume[7:], None)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")


@pytest.mark.parametrize("cell", ["cell1", "cell2"])
def test_a_qcow2_image_boots_with_its_cost_told_and_its_bytes_converted(site, world, tmp_path, cell):
    data = os.urandom(8 * MIB)
    (tmp_path / "raw").write_bytes(data)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", tmp_path / "raw", tmp_path / "qcow2"], check=True)
    image = site.upload((tmp_path / "qcow2").read_bytes(), disk_format="qcow2")
    with world.cloud() as cloud:
        server = boot(cloud, image, availability_zone=cell)

        assert "qcow2, not raw" in server.decision.notes[0]
        volume = server.devices[0].volume_id
        assert head(cell, volume, len(data)) == hashlib.sha256(data).hexdigest()
        cloud.delete(server.id)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")


@pytest.mark.parametrize("cell", ["cell1", "cell2"])
def test_a_rebuild_leaves_the_new_images_bytes_on_the_same_volume(site, world, cell):
    first, second = os.urandom(8 * MIB), os.urandom(8 * MIB)
    images = [site.upload(data) for data in (first, second)]
    with world.cloud() as cloud:
        server = boot(cloud, images[0], availability_zone=cell)
        volume = server.devices[0].volume_id
        assert head(cell, volume, len(first)) == hashlib.sha256(first).hexdigest()

        cloud.rebuild(server.id, images[1])
        assert cloud.wait(server.id, 300).fault is None

        assert head(cell, volume, len(second)) == hashlib.sha256(second).hexdigest()
        cloud.delete(server.id)
    for image in images:
        site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")


def test_a_volume_that_somebody_watches_goes_back_to_available_and_is_told_as_kept(site, world):
    """Cinder answers 202, meets ImageBusy, and sets the volume back without a word (cinder/volume/manager.py)."""
    image = site.upload(os.urandom(4 * MIB))
    with world.cloud() as cloud:
        server = boot(cloud, image, availability_zone="cell1")
        volume = server.devices[0].volume_id
        conf = sites.lab_environment()["LAB_CELL1_CEPH_CONF"]
        words = ["rbd", "-c", conf, "watch", f"volumes/volume-{volume}"]
        # It watches until its standard input ends.
        watcher = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            sites.until(lambda: b"client" in rbd("cell1", "status", f"volumes/volume-{volume}"))
            kept = cloud.delete(server.id).kept
            assert site.volumes()[volume]["status"] == "available"
        finally:
            watcher.kill()
            watcher.communicate()
        assert len(kept) == 1
        assert volume in kept[0]
        assert cloud.servers() == []
    sites.until(lambda: b"client" not in rbd("cell1", "status", f"volumes/volume-{volume}"), 90)
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{volume}")
    site.settle(volume, None, seconds=120)
    site.call("admin", "DELETE", f"{site.image_url}/v2/images/{image}")
