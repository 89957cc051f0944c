# SPDX-License-Identifier: Apache-2.0
"""Stop, start and reboot a server. Short flows that are never stopped halfway; each may be repeated.

A worker that died after the host was asked has it asked again: a stop or a start comes to the same, a reboot is
one more reboot.
"""

from bfv import connect
from bfv.drivers import Driver, states
from bfv.drivers.contract import Guest, guest_of
from bfv.errors import Conflict, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from bfv.spawn import driver_of, runs
from bfv.types import utcnow
from cells import servers
from cells.database import Database
from cells.types import Fault, Server

HARD = "hard"


def check(parts: Parts, server: Server, verb: str, kind: str | None = None) -> None:
    """Raise Unsupported without a driver, Conflict where the server's state does not allow the verb now."""
    driver_of(parts)
    states.check(_change(verb, kind), server.uuid, server.vm_state, server.task_state)
    if not runs(parts, server):
        # nova/compute/api.py:check_instance_host
        raise Conflict(f"Server {server.uuid} is on no host; only a server that a host runs can {verb}.")


def run(parts: Parts, intent: Intent) -> None:
    """Go on with a stop, a start or a reboot wherever it is. Raises MaybeRunning, CellDown."""
    job, kind = Job(parts, intent), intent.request.get("type")
    change = _change(intent.verb, kind)
    try:
        database, server = connect.placed(job)
        if not job.passed(intent.verb):
            check(parts, server, intent.verb, kind)
            _begin(job, database, server, change)
    except (Refused, NotFound) as error:
        job.close(FAILED, str(error))
        return
    try:
        job.step(intent.verb, f"host {server.host}")
        _act(driver_of(parts), str(server.host), guest_of(server), change)
    except Failed as error:
        # nova/compute/manager.py: wrap_instance_fault, reverts_task_state. It is what it was.
        fault = Fault(code=500, message=str(error)[:255], details=str(error), created_at=utcnow())
        servers.set_fault(database, server.uuid, fault)
        servers.update(database, server.uuid, **states.failed(change))
        job.close(FAILED, str(error))
        return
    servers.update(database, server.uuid, **states.ended(change, server.vm_state))
    job.close(DONE)


def _change(verb: str, kind: str | None) -> str:
    return f"{verb} {HARD}" if kind == HARD else verb


def _begin(job: Job, database: Database, server: Server, change: str) -> None:
    """Write that the verb is at work, unless another changed the server since it was read. Raises Conflict."""
    rule = states.CHANGES[change]
    expected = {"vm_state": rule.vm_states, "task_state": rule.tasks}
    if not servers.update(database, server.uuid, expect=expected, **states.begun(change)):
        raise Conflict(f"Server {job.intent.server_id} was changed by others meanwhile; try again.")


def _act(driver: Driver, host: str, guest: Guest, change: str) -> None:
    if change == "stop":
        driver.stop(host, guest)
    elif change == "start":
        driver.start(host, guest)
    else:
        driver.reboot(host, guest, hard=change.endswith(HARD))
