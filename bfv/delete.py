# SPDX-License-Identifier: Apache-2.0
"""Take a server away, in whatever state it is, and tell what had to be kept. Safe to repeat at any line.

The ids of what is removed stand in the server's rows, or in the intent of a boot that did not end, until all of
it is gone: the rows go last. A boot that still runs is asked to stop, and undoes itself; one whose worker
died is undone here, with the rights of whoever asked for the deletion.
"""

import time
from collections.abc import Callable

from bfv import (
    attach,
    boot,
    connect,
    createimage,
    detach,
    edits,
    extend,
    outside,
    power,
    rebuild,
    records,
    spawn,
    together,
)
from bfv.errors import Failed, HasSnapshots, InUse, MaybeRunning
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.migrate import converted, undo
from bfv.migrate import run as migrate
from bfv.parts import Parts
from cells import groups, servers
from cells.database import Database
from cells.types import BlockDevice, Server

STOPPABLE: dict[str, Callable[[Parts, Intent], None]] = {
    "boot": boot.run,
    "rebuild": rebuild.run,
    "connect": connect.run,
    "disconnect": connect.run_disconnect,
    "attach": attach.run,
    "detach": detach.run,
    "stop": power.run,
    "start": power.run,
    "reboot": power.run,
    "createImage": createimage.run,
    "lock": edits.run,
    "unlock": edits.run,
    "resetState": edits.run,
    extend.VERB: extend.run,
    "migrate": migrate.run,
    "unmigrate": undo.run,
    "converted": converted.run,
    "purge": converted.purge,
}
ASK = 0.1
PATIENCE = 20.0


def run(parts: Parts, intent: Intent) -> None:
    """Go on with a deletion wherever it is. Raises MaybeRunning, CellDown, NotAllowed."""
    job = Job(parts, intent)
    if parts.registry.find_mapping(intent.server_id) is not None:
        parts.registry.queue_for_delete(intent.server_id)
    _stop_others(job)
    kept: list[str] = []
    database = _place(job)
    server = servers.find(database, intent.server_id) if database else None
    if database is not None and server is not None:
        try:
            kept = _remove(job, database, server)
        except Failed as error:
            records.set_error(database, server, str(error))
            job.close(FAILED, str(error))
            return
    else:
        job.step("forget", "it never had a row")
        groups.remove_member(parts.api, intent.server_id)
        parts.registry.unmap(intent.server_id)
    for line in kept:
        job.tell("kept", line)
    job.close(DONE, "; ".join(kept) or None)


def _stop_others(job: Job) -> None:
    """Have every other open intent of the server end: by its worker, or, if that is gone, by us."""
    journal, deadline = job.parts.journal, time.monotonic() + PATIENCE
    for other in journal.opened(job.intent.server_id):
        if other.id == job.intent.id or other.verb == "sweep":
            continue
        journal.cancel(other.server_id, other.verb)
        while journal.get(other.id).is_open:
            taken = journal.take(other.id)
            if taken is not None:
                job.step("take over", other.verb)
                job.parts.rights.lend(job.intent.id, taken.id)
                _finish(job, taken)
            elif time.monotonic() > deadline:
                raise MaybeRunning(f"The {other.verb} of server {other.server_id} has not stopped yet.")
            else:
                job.still_ours()
                time.sleep(ASK)


def _finish(job: Job, taken: Intent) -> None:
    try:
        STOPPABLE[taken.verb](job.parts, taken)
    except BaseException:
        # Not kept by us: the next attempt of this deletion must be able to take it again.
        job.parts.journal.release(taken)
        raise


def _place(job: Job) -> Database | None:
    mapping = job.parts.registry.find_mapping(job.intent.server_id)
    return job.parts.cells.of(mapping.cell) if mapping and mapping.cell else None


def _remove(job: Job, database: Database, server: Server) -> list[str]:
    servers.update(database, server.uuid, task_state="deleting")
    spawn.take_down(job, database, server)
    together.each(lambda device: _detach(job, device), connect.volumes(server))
    told = together.each(lambda device: _delete(job, device), [each for each in server.devices if each.volume_id])
    kept = [line for line in told if line is not None]
    job.step("forget", server.uuid)
    servers.destroy(database, server.uuid)
    return kept


def _detach(job: Job, device: BlockDevice) -> None:
    job.step("detach", f"volume {device.volume_id}, attachment {device.attachment_id}")
    job.parts.backend.detach(job.access, str(device.attachment_id))


def _delete(job: Job, device: BlockDevice) -> str | None:
    """Delete a volume that goes with its server; return why one is kept, None if it is not."""
    volume_id = str(device.volume_id)
    if not device.delete_on_termination:
        return f"Volume {volume_id} is kept: delete_on_termination is false."
    job.step("delete volume", volume_id)
    try:
        outside.remove_volume(job, volume_id)
    except (HasSnapshots, InUse) as error:
        return f"Volume {volume_id} is kept: {error}"
    return None
