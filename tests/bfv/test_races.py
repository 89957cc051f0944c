# SPDX-License-Identifier: Apache-2.0
"""Many processes boot at once for the last places, of a quota and of a server group, and some are killed meanwhile."""

import os
from collections import Counter

import pytest

from bfv import claims, drift, errors, groups
from bfv.types import BootRequest
from tests import sites
from tests.bfv import racing
from tests.bfv.racing import KILLED, NO_ROOM, REFUSED


@pytest.fixture(scope="module")
def site():
    with sites.mock() as site:
        yield site


@pytest.fixture(scope="module")
def image(site):
    return site.upload(os.urandom(1 << 16))


@pytest.fixture
def size(request, small_url):
    """How many race, for how many places, and how often: few where it must be short."""
    return (12, 4, 1) if "sqlite" in small_url("bfv") else (32, 10, 3)


@pytest.mark.timeout(600)
def test_of_many_that_boot_at_once_as_many_get_a_server_as_the_quota_has_and_the_killed_leave_nothing(
    site, image, tmp_path, small_url, size
):
    number, quota, rounds = size
    world = racing.Arena(site, tmp_path, small_url, instances=quota)
    # Before it is accepted, before it is mapped, before and after it has its cell.
    kill = (1, 2, 3, 5)
    for _ in range(rounds):
        ends = world.race(image, number, kill=kill)

        with world.cloud() as cloud:
            known = [key for key in ends if cloud.parts.journal.of_server(key)]
            accepted = [key for key, end in ends.items() if end == 0]
            killed = [key for key, end in ends.items() if end == KILLED]
            assert set(ends.values()) <= {0, REFUSED, KILLED}
            assert len(known) == quota
            assert set(accepted) <= set(known) <= {*accepted, *killed}
            who = site.caller("demo")
            assert _in_use(cloud, who) == quota

            assert all(not each.open for each in cloud.repair())

            assert sorted(server.id for server in cloud.servers()) == sorted(known)
            assert _pending(cloud, who) == []
            assert _in_use(cloud, who) == quota
            assert drift.look(cloud.parts, who.project_id).found == ()
            with pytest.raises(errors.OverQuota, match=f"already used {quota} of {quota} instances"):
                cloud.boot(BootRequest(image=image, flavor="tiny", name=sites.NAME))
        racing.forget(world)
        with world.cloud() as cloud:
            assert _in_use(cloud, who) == 0
    assert site.ours() == (set(), set())


def _in_use(cloud, who):
    from bfv import quota

    with cloud.parts.journal.database.reader() as conn:
        return quota.room(cloud.parts, conn, who).used.instances


def _pending(cloud, who):
    with cloud.parts.journal.database.reader() as conn:
        return claims.pending(conn, who.project_id)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("policy", ["anti-affinity", pytest.param("affinity", marks=pytest.mark.lab)])
def test_of_many_that_join_a_server_group_at_once_none_breaks_its_rule(site, image, tmp_path, small_url, size, policy):
    number, _, rounds = size
    number, hosts = number // 2, number // 6
    world = racing.Arena(site, tmp_path, small_url, hosts=hosts, instances=-1, cores=-1, ram=-1,
                         server_group_members=-1)  # fmt: skip
    who = site.caller("demo")
    for _ in range(rounds):
        with world.cloud() as cloud:
            group = groups.create(cloud.parts, who.project_id, who.user_id, "web", policy)

        ends = world.race(image, number, group=group.uuid)

        with world.cloud() as cloud:
            found = groups.find(cloud.parts, who.project_id, group.uuid)
            with cloud.parts.journal.database.reader() as conn:
                placed = groups.placed(cloud.parts, conn, found, "-")
        on_host = Counter(placed.values())
        if policy == "affinity":
            assert list(ends.values()) == [0] * number
            assert list(on_host.values()) == [number]
        else:
            # Two cells with so many hosts each, and more that want one.
            assert Counter(ends.values()) == {0: 2 * hosts, NO_ROOM: number - 2 * hosts}
            assert list(on_host.values()) == [1] * 2 * hosts
        assert sorted(placed) == sorted(key for key, end in ends.items() if end == 0)
        racing.forget(world)
