# SPDX-License-Identifier: Apache-2.0
"""Processes that boot at the same moment, through the whole of bfv: some are killed at a commit on the way."""

import multiprocessing
import os
import sys
import traceback
import uuid
from contextlib import suppress
from pathlib import Path

from bfv import connect, errors
from bfv.caller import from_environment
from bfv.types import BootRequest
from cells import create_cell
from cells import hosts as cell_hosts
from cells.types import Host
from tests import leaks, sites, victim

REFUSED, NO_ROOM, KILLED = 10, 11, -9
# Children are forks of one clean process that has imported all of this.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.bfv.racing"])


class Arena(sites.World):
    """A bfv on a site, on databases of any kind, with quotas and, in each cell, hosts."""

    def __init__(self, site, home, url, hosts=0, **quota):
        self.url, self.quota = url, quota
        super().__init__(site, home, late_answer=1)
        if not url("api").startswith("sqlite"):
            self._move_cells()
        for cell in site.backends:
            self._add_hosts(cell, hosts)

    def write_config(self, **settings):
        super().write_config(**settings)
        text = self.config.read_text()
        for name in ("api", "bfv"):
            text = text.replace(f"sqlite:///{self.home}/{name}.db", self.url(name))
        lines = [f"{name} = {value}" for name, value in self.quota.items()]
        self.config.write_text("\n".join([text, "[quota]", *lines, ""]))

    def _move_cells(self):
        with self.cloud() as cloud:
            for name in ("cell0", *self.site.backends):
                cell = cloud.parts.registry.update_cell(name, database_connection=self.url(name))
                create_cell(cloud.parts.cells.of(cell))

    def _add_hosts(self, cell, number):
        with self.cloud() as cloud:
            found, api = cloud.parts.registry.cell(cell), cloud.parts.api
            for each in range(number):
                name = f"{cell}-host{each}"
                host = Host(cell, name, name, vcpus=64, memory_mb=1 << 16, local_gb=100)
                cell_hosts.register(cloud.parts.cells.of(found), host)
                cell_hosts.report(cloud.parts.cells.of(found), [host])
                cell_hosts.map_host(api, name, found)

    def race(self, image, number, *, kill=(), group=None):
        """Boot so many servers at once, a process each; return how each ended, by its server's id.

        ``kill`` has for as many of them the commit before which the process kills itself.
        """
        barrier, ends = _CONTEXT.Barrier(number), {}
        for each in range(number):
            server_id = str(uuid.uuid4())
            words = (
                barrier,
                str(self.config),
                self.environment(),
                image,
                server_id,
                group,
                dict(enumerate(kill)).get(each),
            )
            ends[server_id] = _CONTEXT.Process(target=_boot, args=words)
            ends[server_id].start()
        for process in ends.values():
            process.join(400)
            assert process.exitcode is not None, "a racer hangs"
        told = [path.read_text() for path in self.home.glob("*.error")]
        assert told == [], "\n".join(told)
        return {server_id: process.exitcode for server_id, process in ends.items()}


def _boot(barrier, config, environment, image, server_id, group, die_at):
    os.environ.clear()
    os.environ.update(environment)
    leaks.watch_here()
    try:
        with connect(config, from_environment) as cloud:
            from_environment()
            barrier.wait(300)
            # Not before: one that is killed at a beat of its heart while it waits would leave the barrier locked.
            if die_at:
                victim.watch("commit", die_at)
            request = BootRequest(image=image, flavor="tiny", name=environment["BFV_TEST_NAME"], server_id=server_id,
                                  group=group)  # fmt: skip
            cloud.boot(request)
            cloud.wait(server_id, 300)
    except errors.OverQuota:
        sys.exit(REFUSED)
    except errors.NoRoom:
        sys.exit(NO_ROOM)
    except Exception:
        Path(config).with_name(f"{server_id}.error").write_text(traceback.format_exc())
        raise


def forget(world):
    """Delete all servers of a world."""
    with world.cloud() as cloud:
        for server in cloud.servers():
            with suppress(errors.NotFound):
                cloud.delete(server.id)
