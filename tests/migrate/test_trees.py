# SPDX-License-Identifier: Apache-2.0
"""Disks exactly as nova's backend makes them, of 1 to 20 GiB, go and come back with every byte; on the real Ceph alone.

Also while its storage or cinder's volume service goes away in the middle. The short run takes one tree and one fault by
BFV_SEED, `-m full` takes all.
"""

import contextlib
import os
import random
import subprocess
import sys

import pytest

from bfv.migrate import verify
from imagebackends.rbd.types import SnapshotName
from tests import sites
from tests.migrate import conftest

GIB, MIB = 1 << 30, 1 << 20
SPAN = 64 << 10
CHOICE = random.Random(conftest.SEED)
pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("ground", ["lab"], indirect=True),
]


def scattered(size, count=12):
    """Yield pieces all over a disk, its first and last bytes among them."""
    places = {0, size - SPAN, *(CHOICE.randrange(size // SPAN) * SPAN for _ in range(count))}
    for place in places:
        yield place, os.urandom(SPAN)


def imported(cloud, image_id, size):
    """Of another cluster, or qcow2: the image's bytes are imported flat (``imagebackend.py:Rbd.import_file``)."""
    key = cloud.server(image_id, data=[os.urandom(MIB)], size=size)
    cloud.pool.patch(f"{key}_disk", scattered(size))
    return key


def cloned(cloud, image_id, size):
    """Of an image in the same cluster: a clone of its snapshot, grown to the flavor's size (``Rbd.clone``)."""
    key = cloud.server(image_id, parent=image_id, size=size)
    cloud.pool.patch(f"{key}_disk", scattered(size))
    return key


def of_a_clone(cloud, image_id, size):
    """Of an image that is itself a clone of another's: three deep, as images of volumes are in Glance's pool."""
    images = cloud.ground.pool("images")
    middle = f"{sites.NAME}-middle-{size // GIB}"
    if images.find(middle) is None:
        images.clone(SnapshotName("images", image_id, "snap"), middle)
        images.patch(middle, [(MIB, os.urandom(SPAN))])
        images.snapshot(middle, "snap")
    key = cloud.server(image_id, parent=middle, size=size)
    cloud.pool.patch(f"{key}_disk", scattered(size))
    return key


def snapshotted(cloud, image_id, size):
    """Once snapshotted by nova's createImage, which takes its snapshot away again (``Rbd.direct_snapshot``)."""
    key = cloned(cloud, image_id, size)
    disk, images, taken = f"{key}_disk", cloud.ground.pool("images"), f"{sites.NAME}-taken"
    cloud.pool.snapshot(disk, "taken")
    images.clone(SnapshotName("vms", disk, "taken"), taken)
    images.flatten(taken)
    images.remove(taken)
    assert "snapshots that cinder would not know" in cloud.migrate("plan", "--server", key)[0]["refusals"][0]
    cloud.pool.drop_snapshot(disk, "taken")
    return key


TREES = {"imported": imported, "cloned": cloned, "of-a-clone": of_a_clone, "snapshotted": snapshotted}
CASES = [(tree, gib) for tree in TREES for gib in (1, 4, 20)]
SAMPLED = random.Random(f"{conftest.SEED} trees").choice(CASES)
FAULTS = ["osd", "cinder"]
SAMPLED_FAULT = random.Random(f"{conftest.SEED} faults").choice(FAULTS)


def sampled(cases, chosen):
    return [pytest.param(each, marks=[] if each == chosen else [pytest.mark.full], id=str(each)) for each in cases]


@pytest.fixture(autouse=True)
def no_images_left(ground):
    yield
    images = ground.pool("images")
    for name in images.names():
        if name.startswith(f"{sites.NAME}-"):
            for each in images.look(name).snapshots:
                if not each.trashed:
                    images.drop_snapshot(name, each.name)
            images.remove(name)


@pytest.mark.parametrize("case", sampled(CASES, SAMPLED))
def test_a_tree_goes_comes_back_and_goes_for_good_with_every_byte(cloud, image_id, case):
    tree, gib = case
    key = TREES[tree](cloud, image_id, gib * GIB)
    disk = f"{key}_disk"
    before, image = verify.digest(cloud.pool, disk), cloud.pool.look(disk)

    cloud.convert(key)

    volume = f"volume-{cloud.root(key).volume_id}"
    assert verify.digest(cloud.new, volume) == before
    assert cloud.new.look(volume).size == gib * GIB
    changes = list(scattered(gib * GIB, 3))
    cloud.ran(key)
    cloud.new.patch(volume, changes)
    written = verify.digest(cloud.new, volume)
    cloud.migrate("undo", key)
    back = cloud.pool.look(disk)
    assert verify.digest(cloud.pool, disk) == written != before
    assert (back.id, back.size, back.parent) == (image.id, gib * GIB, image.parent)

    cloud.convert(key)
    cloud.migrate("purge", key)

    volume = f"volume-{cloud.root(key).volume_id}"
    assert verify.digest(cloud.new, volume) == written
    assert [name for name in cloud.pool.names() if key in name] == []


def lab(*words):
    subprocess.run([sys.executable, "-m", "lab", *words], cwd=sites.ROOT, check=True, timeout=300,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def as_an_operator_would(site):
    """Set to `error` what cinder-volume had in its hands when it died: cinder sends a creation once and never again."""

    def being_made():
        found = site.volumes().items()
        return {
            key for key, each in found if each["status"] == "creating" and (each["name"] or "").startswith(sites.NAME)
        }

    with contextlib.suppress(AssertionError):
        sites.until(lambda: not being_made(), 20)
    for key in being_made():
        reset = {"os-reset_status": {"status": "error"}}
        site.call("admin", "POST", f"{site.volume_url}/volumes/{key}/action", json=reset).raise_for_status()


@contextlib.contextmanager
def converting(cloud, key):
    """Convert a server in a process of its own, and give what tells whether its journal came to a step."""
    words = ["--config-file", str(cloud.config), "migrate", "run", "--server", key, *cloud.choice, "--no-rehearsal"]
    process = subprocess.Popen([sys.executable, "-m", "bfv", *words], env=cloud.environment("bfv"),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    def came_to(step):
        with cloud.cloud("bfv") as own:
            journal = own.parts.journal
            return any(
                each.name == step
                for intent in journal.of_server(key)
                if intent.verb in ("migrate", "converted")
                for each in journal.history(intent)
            )

    yield came_to
    process.communicate(timeout=900)


@pytest.mark.parametrize("fault", sampled(FAULTS, SAMPLED_FAULT))
def test_what_goes_away_in_the_middle_leaves_it_wholly_old_or_new_and_finished_by_repair(cloud, image_id, fault):
    key = cloned(cloud, image_id, 4 * GIB)
    cloud.pool.patch(f"{key}_disk", ((at * 4 * MIB, os.urandom(4 * MIB)) for at in range(8, 40)))
    before, rows = verify.digest(cloud.pool, f"{key}_disk"), cloud.rows(key)
    service = "ceph-osd-cell1" if fault == "osd" else f"cinder-volume-{'cell2' if cloud.way == 'copy' else 'cell1'}"

    with converting(cloud, key) as came_to:
        sites.until(lambda: came_to("have image"), 120)
        lab("stop" if fault == "osd" else "kill", service)
        lab("start", service)
        as_an_operator_would(cloud.site)

    said = []

    def finished():
        done = cloud.victim(["none", "0", "repair"], user="bfv")
        said.append(done.stdout + done.stderr)
        return {verb for verb, _ in cloud.opened()} <= {"converted"}

    sites.until(finished, 300, said)
    root = cloud.root(key)
    if root.destination_type == "local":
        assert cloud.rows(key) == rows
        assert verify.digest(cloud.pool, f"{key}_disk") == before
        assert [each for each in cloud.site.attachments().values() if each["instance"] == key] == []
        cloud.convert(key)
        root = cloud.root(key)
    assert cloud.state(key) == ["settled"]
    assert cloud.pool.find(f"{key}_disk") is None
    assert verify.digest(cloud.new, f"volume-{root.volume_id}") == before
    cloud.migrate("purge", key)
    assert verify.digest(cloud.new, f"volume-{root.volume_id}") == before
