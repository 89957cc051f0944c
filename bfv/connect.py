# SPDX-License-Identifier: Apache-2.0
"""Give a host what it needs to reach a server's volumes, and take it back. Both may be repeated.

A host that lets go does not free the volumes: a new reservation is made first, then the old attachment
goes, so that nobody else can take a volume in between. These flows are short and are never stopped halfway:
a DELETE that finds one unfinished finishes it.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from bfv import outside, records
from bfv.errors import BadRequest, Failed, NotFound, Refused
from bfv.job import Job
from bfv.journal import DONE, FAILED, Intent
from bfv.parts import Parts
from cells import servers
from cells.database import Database
from cells.types import BlockDevice, Server


def run(parts: Parts, intent: Intent) -> None:
    """Connect a host to all volumes of a server. Raises Refused, NotFound, Failed, MaybeRunning, CellDown."""
    job = Job(parts, intent)
    connector = intent.request["connector"]
    try:
        database, server = placed(job)
        for device in volumes(server):
            reach(job, database, device, connector)
            parts.backend.complete(job.access, str(device.attachment_id))
        servers.update(database, server.uuid, host=connector["host"])
    except (Refused, NotFound, Failed) as error:
        job.close(FAILED, str(error))
        raise
    job.close(DONE)


def run_disconnect(parts: Parts, intent: Intent) -> None:
    """Have a server's host let go of its volumes. Raises Refused, NotFound, Failed, MaybeRunning, CellDown."""
    job = Job(parts, intent)
    try:
        database, server = placed(job)
        let_go(job, database, server)
    except (Refused, NotFound, Failed) as error:
        job.close(FAILED, str(error))
        raise
    job.close(DONE)


def reach(job: Job, database: Database, device: BlockDevice, connector: Mapping[str, Any]) -> None:
    """Have a host reach one volume, and write the connection down. Raises Refused, NotFound, Failed, MaybeRunning."""
    job.step("connect", f"volume {device.volume_id} to host {connector['host']}")
    attached = job.parts.backend.connect(job.access, str(device.attachment_id), connector)
    servers.update_device(database, device.uuid, connection_info=records.connection_info(attached))


def let_go(job: Job, database: Database, server: Server) -> None:
    """Exchange each attachment that a host uses for a mere reservation, and forget a host that runs no guest of it."""
    for device in volumes(server):
        asked = job.object("attachment", device.uuid)
        if asked is None and not device.connection_info:
            continue
        if asked is None:
            _settle(job, device)
        old: list[str] = asked.spec["known"] if asked else [str(device.attachment_id)]
        reserved = outside.attachment(job, device.uuid, str(device.volume_id), frozenset(old))
        servers.update_device(database, device.uuid, attachment_id=reserved.id, connection_info=None)
        for attachment_id in old:
            job.step("detach", f"volume {device.volume_id}, attachment {attachment_id}")
            job.parts.backend.detach(job.access, attachment_id)
    if not server.node:
        servers.update(database, server.uuid, host=None)


def _settle(job: Job, device: BlockDevice) -> None:
    """Complete an attachment: the same server may reserve a volume again that is in use, not one on its way there.

    ``cinder/volume/api.py:_attachment_reserve``. A driver that failed leaves its volumes ``attaching``.
    """
    with contextlib.suppress(NotFound):
        job.parts.backend.complete(job.access, str(device.attachment_id))


def placed(job: Job) -> tuple[Database, Server]:
    """Return a server that has its row, and its cell's database. Raises BadRequest while it is built, NotFound."""
    server_id = job.intent.server_id
    if job.intent.cell is not None:
        database = job.cell_database
        server = servers.find(database, server_id)
        if server is not None:
            return database, server
    if job.parts.journal.opened(server_id, "boot"):
        raise BadRequest(f"Server {server_id} is still being built.")
    raise NotFound(f"Server {server_id} could not be found.")


def volumes(server: Server) -> list[BlockDevice]:
    """Return the devices of a server that are volumes bound to it."""
    return [device for device in server.devices if device.volume_id and device.attachment_id]
