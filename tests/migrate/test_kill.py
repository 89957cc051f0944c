# SPDX-License-Identifier: Apache-2.0
"""The process is killed at every boundary of a conversion, its undo and its purge, and somebody else repairs.

Then each server is wholly on its old disk or wholly on its volume, with its bytes, and nothing else is left. A seeded
sample of the boundaries runs by default, all of them with `full`.
"""

import json
import os
import random

import pytest

from imagebackends.rbd.types import Id
from tests import sites
from tests.migrate.disks import LENGTH

SEED = int(os.environ.get("BFV_SEED", "1"))
HOW_MUCH = [pytest.param(4, id="sample"), pytest.param(0, id="all", marks=pytest.mark.full)]


def said(cloud, verb, key):
    return [verb, key, *(cloud.choice if verb == "migrate" else [])]


def boundaries(cloud, verb, key, most):
    """Run a verb to its end and return its boundaries, a sample of so many if any."""
    done = cloud.victim(["none", "0", *said(cloud, verb, key)], user="bfv")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    found = [(kind, number) for kind, count in counts.items() for number in range(1, count + 1)]
    assert len(found) > 5
    return random.Random(SEED).sample(found, most) if most else found


def kill(cloud, verb, key, boundary):
    died = cloud.victim([boundary[0], str(boundary[1]), *said(cloud, verb, key)], user="bfv")
    assert died.returncode == -9, (verb, boundary, died.stderr)


def repaired(cloud):
    """Repair until nothing is open but what waits for purge or undo, as a timer would."""

    def done():
        cloud.victim(["none", "0", "repair"], user="bfv")
        return {verb for verb, _ in cloud.opened()} <= {"converted"}

    sites.until(done, 120)


class Before:
    """A server as it was: rows, bytes, image."""

    def __init__(self, cloud, image_id):
        self.key = cloud.server(image_id, parent=image_id)
        self.rows = cloud.rows(self.key)
        self.image = cloud.pool.look(f"{self.key}_disk")
        self.bytes = cloud.pool.read(f"{self.key}_disk", 0, LENGTH)

    def is_old(self, cloud):
        """Return True if the server is wholly as it was, False if it is wholly converted; fail on all else."""
        root, volumes = cloud.root(self.key), cloud.site.volumes()
        bound = [each for each in cloud.site.attachments().values() if each["instance"] == self.key]
        if root.destination_type == "local":
            assert cloud.rows(self.key) == self.rows
            assert bound == []
            name = cloud.pool.look(Id(self.image.id)).name
            assert (name, cloud.pool.look(name)) == (f"{self.key}_disk", self.image)
            assert cloud.pool.read(name, 0, LENGTH) == self.bytes
            return True
        assert [(each["id"], each["volume_id"]) for each in bound] == [(root.attachment_id, root.volume_id)]
        assert volumes[root.volume_id]["status"] == "in-use"
        assert cloud.pool.find(f"{self.key}_disk") is None
        assert cloud.new.read(f"volume-{root.volume_id}", 0, LENGTH) == self.bytes
        assert cloud.rows(self.key)["api.request_specs"][0]["spec"].count('"is_bfv": true') == 1
        return False


def nothing_else(cloud, servers):
    """Fail where a volume is left that no server has."""
    has = {cloud.root(each.key).volume_id for each in servers}
    mine = {key for key, each in cloud.site.volumes().items() if (each["name"] or "").startswith(sites.NAME)}
    assert mine == has - {None}


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("most", HOW_MUCH)
def test_a_conversion_is_finished_or_undone(cloud, image_id, most):
    first = Before(cloud, image_id)
    servers, outcomes = [first], set()
    for boundary in boundaries(cloud, "migrate", first.key, most):
        servers.append(Before(cloud, image_id))
        kill(cloud, "migrate", servers[-1].key, boundary)

    repaired(cloud)

    outcomes = {each.is_old(cloud) for each in servers}
    assert False in outcomes
    nothing_else(cloud, servers)


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("most", HOW_MUCH)
@pytest.mark.parametrize("verb", ["unmigrate", "purge"])
def test_an_end_is_finished(cloud, image_id, verb, most):
    first = Before(cloud, image_id)
    assert cloud.victim(["none", "0", *said(cloud, "migrate", first.key)], user="bfv").returncode == 0
    servers = [first]
    for boundary in boundaries(cloud, verb, first.key, most):
        servers.append(Before(cloud, image_id))
        assert cloud.victim(["none", "0", *said(cloud, "migrate", servers[-1].key)], user="bfv").returncode == 0
        kill(cloud, verb, servers[-1].key, boundary)

    repaired(cloud)
    for each in servers[1:]:
        # Killed before it was written down, nobody knows that it was asked for.
        if ("converted", each.key) in cloud.opened():
            assert not each.is_old(cloud)
            assert cloud.victim(["none", "0", verb, each.key], user="bfv").returncode == 0

    assert cloud.opened() == []
    assert {each.is_old(cloud) for each in servers} == {verb == "unmigrate"}
    nothing_else(cloud, servers)
