# SPDX-License-Identifier: Apache-2.0
"""A lock is in the journal and on the server, or on neither, wherever the process that writes it is killed."""

import json

import pytest

from bfv.errors import Conflict
from tests.flows.test_boot import boot
from tests.flows.test_driver import DriverWorld
from tests.flows.test_driver_kill import ended, repaired

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_a_process_that_is_killed_while_it_locks_a_server_has_locked_it_or_not(site, tmp_path, raw_image):
    world = DriverWorld(site, tmp_path)
    caller = site.caller("demo")
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
    counts = json.loads(world.victim(["none", "0", "lock", server.id]).stdout.splitlines()[-1])
    assert counts["commit"] >= 4
    for number in range(1, counts["commit"] + 1):
        with world.cloud() as cloud:
            cloud.edits.unlock(server.id, caller)
        before = len(ended(world, server.id, "lock"))
        assert world.victim(["commit", str(number), "lock", server.id]).returncode == -9

        repaired(world)

        since = ended(world, server.id, "lock")[before:]
        with world.cloud() as cloud:
            locked = cloud.server(server.id).locked
            assert (since, locked) in (([], False), (["done"], True)), number
            if locked:
                with pytest.raises(Conflict, match=f"Instance {server.id} is locked"):
                    cloud.delete(server.id)
    assert locked
    with world.cloud() as cloud:
        cloud.edits.unlock(server.id, caller)
        cloud.delete(server.id)
