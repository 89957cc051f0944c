# SPDX-License-Identifier: Apache-2.0
"""Have a server follow a volume of it that was extended: its record, and the host that runs it.

Cinder tells of it once (``cinder/volume/manager.py:extend_volume``) and never again, so what it told stands in the
journal before it is answered: also where the server's cell is down, until that is back. One open intent for each volume
of a server is enough, however often it is told; told while one is at work, that one looks once more.
"""

import dataclasses
import uuid

from bfv import connect, spawn
from bfv.drivers.contract import guest_of
from bfv.errors import Cancelled, CellDown, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from bfv.types import Caller
from cells import servers
from cells.errors import Exists
from cells.types import ServerMapping

# Nova's name of the instance action (nova/compute/instance_actions.py).
VERB = "extend_volume"
# Open ones of one server: far more than it has volumes, as a cell that is down cannot be asked which these are.
MOST, ATTEMPTS = 64, 3


def note(parts: Parts, mapping: ServerMapping, volume_id: str, who: Caller) -> Intent | None:
    """Write down that a volume was extended; return the intent that this process holds, None if one is open already.

    Raises CellDown where no more can be kept, Refused where nothing may be written.
    """
    slot, cell = str(uuid.UUID(volume_id)), mapping.cell.name if mapping.cell else None
    parts.writable.require([cell] if cell else [])
    for _ in range(ATTEMPTS):
        if parts.journal.again(mapping.server_id, slot):
            return None
        if len(parts.journal.opened(mapping.server_id, VERB)) >= MOST:
            break
        try:
            return parts.journal.open(VERB, mapping.server_id, project_id=mapping.project_id, user_id=who.user_id,
                                      request_id=who.request_id, cell=cell, request={"volume_id": slot},
                                      slot=slot)  # fmt: skip
        except Exists:
            continue
    raise CellDown(cell or "", f"server {mapping.server_id} has {MOST} extended volumes to follow already")


def run(parts: Parts, intent: Intent) -> None:
    """Go on with what one volume's extension asks of a server. Raises MaybeRunning, CellDown."""
    job = Job(parts, intent)
    while True:
        phase, outcome = DONE, None
        try:
            _follow(job)
        except (Refused, NotFound, Failed) as error:
            phase, outcome = FAILED, str(error)
        try:
            job.close(phase, outcome, stop=True)
            return
        except Cancelled:
            # It was told once more meanwhile.
            continue


def _follow(job: Job) -> None:
    volume_id = job.intent.request["volume_id"]
    # What is told from here on asks for another look.
    job.step("look", f"volume {volume_id}", cancel=False)
    database, server = connect.placed(job)
    device = next((each for each in connect.volumes(server) if each.volume_id == volume_id), None)
    if device is None:
        raise NotFound(f"Server {server.uuid} has no volume {volume_id} any more.")
    disk = job.parts.backend.get(job.watch_access, volume_id)
    if disk.project_id and disk.project_id != job.intent.project_id:
        raise NotFound(f"Volume {volume_id} could not be found in project {job.intent.project_id}.")
    job.step("record", f"volume {volume_id}: {disk.size} GiB")
    servers.update_device(database, device.uuid, volume_size=disk.size)
    if spawn.runs(job.parts, server):
        job.step("grow", f"host {server.host}")
        grown = dataclasses.replace(device, volume_size=disk.size)
        spawn.driver_of(job.parts).disk_grew(str(server.host), guest_of(server), grown)
