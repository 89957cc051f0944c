# SPDX-License-Identifier: Apache-2.0
"""Give a recorded server to its host, where a driver runs it, and take it back. Both may be repeated at any line.

The host stands in the server's row before anything is done there, and until the guest is surely gone: whoever goes
on, or deletes, asks that host. A driver does each act again without harm, so what a crash leaves half done is done
once more; only a guest that already runs for its user is never made anew (see ``bfv.rebuild``).
"""

from dataclasses import replace

from bfv import connect, together
from bfv.drivers import Driver, states
from bfv.drivers.contract import Guest, guest_of
from bfv.errors import Unsupported
from bfv.job import Job
from bfv.parts import Parts
from bfv.types import utcnow
from cells import hosts, servers
from cells.database import Database
from cells.types import Server


def driver_of(parts: Parts) -> Driver:
    """Return the compute driver. Raises Unsupported where there is none."""
    if parts.driver is None:
        raise Unsupported("No compute driver is configured; set [compute] driver.")
    return parts.driver


def runs(parts: Parts, server: Server) -> bool:
    """Return whether a server may have a guest of the driver: it has a node, which ``connect`` alone gives none."""
    return parts.driver is not None and server.host is not None and server.node is not None


def place_on_host(job: Job, host: str, verb: str = "boot") -> None:
    """Run a recorded server on a host; ``verb`` (boot or rebuild) says in which state it ends.

    Raises Failed, NoRoom, MaybeRunning, NotFound, NotAllowed, CellDown; ``take_down`` undoes it.
    """
    driver, database = driver_of(job.parts), job.cell_database
    job.step("host", host)
    node = hosts.node_of(database, host) or host
    servers.update(database, job.intent.server_id, host=host, node=node, launched_on=host)
    connector = driver.connector(host)
    server = servers.get(database, job.intent.server_id)
    volumes = connect.volumes(server)
    together.each(lambda device: connect.reach(job, database, device, connector), volumes)
    after = states.ended(verb, server.vm_state)
    guest = _as_asked(job, guest_of(servers.get(database, server.uuid)))
    job.step("spawn", f"host {host}")
    driver.plug(host, guest)
    driver.spawn(host, guest)
    if after["power_state"] == states.SHUTDOWN:
        driver.stop(host, guest)
    job.step("complete", f"host {host}")
    together.each(lambda device: job.parts.backend.complete(job.access, str(device.attachment_id)), volumes)
    if verb == "boot":
        _count(database, host, node, guest)
    servers.update(database, server.uuid, **after, launched_at=utcnow())


def _as_asked(job: Job, guest: Guest) -> Guest:
    """Return a guest with what its user asked for and nova's tables do not keep: the journal has it."""
    boots = [job.intent] if job.intent.verb == "boot" else job.parts.journal.of_server(guest.server_id)
    for boot in boots:
        if boot.verb == "boot":
            asked = boot.request["boot"]
            return replace(guest, networks=asked.get("networks"),
                           security_groups=tuple(asked.get("security_groups") or ()),
                           admin_pass=job.parts.journal.payload(boot).get("admin_pass"))  # fmt: skip
    return guest


def take_down(job: Job, database: Database, server: Server) -> None:
    """Remove the guest of a server from its host, if a driver may have one there, and let go of its volumes.

    The row keeps the host. Raises Failed, MaybeRunning.
    """
    if not runs(job.parts, server):
        return
    driver, host, guest = driver_of(job.parts), str(server.host), guest_of(server)
    job.step("destroy", f"host {host}")
    driver.destroy(host, guest)
    driver.unplug(host, guest)
    servers.update(database, server.uuid, power_state=states.NOSTATE)


def give_up(job: Job) -> None:
    """Remove the guest of a boot that goes back, if it came so far."""
    server = _recorded(job)
    if server is not None:
        take_down(job, job.cell_database, server)


def withdraw(job: Job) -> None:
    """Remove the guest and the row of a server from a cell that it is about to leave, if it came so far."""
    server = _recorded(job)
    if server is not None:
        take_down(job, job.cell_database, server)
        servers.withdraw(job.cell_database, server.uuid)


def _recorded(job: Job) -> Server | None:
    """Return a server that has its row in its cell, None where no driver could have a guest of it."""
    if job.parts.driver is None or job.intent.cell is None:
        return None
    return servers.find(job.cell_database, job.intent.server_id)


def _count(database: Database, host: str, node: str, guest: Guest) -> None:
    """Count the server on its host before its claim ends: until the next report others would see its room as free."""
    flavor = guest.flavor
    hosts.take(database, host, node, vcpus=flavor.vcpus, memory_mb=flavor.memory_mb, local_gb=guest.local_gb)
