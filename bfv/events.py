# SPDX-License-Identifier: Apache-2.0
"""What cinder and others tell of a server, and what comes of it (``nova/compute/manager.py:external_instance_event``).

``volume-reimaged`` only makes a rebuild look sooner: it may come late, twice or never, or to another process, and the
look ends the rebuild. ``volume-extended`` is told once and acted on by nobody else, so it is kept (`bfv.extend`).
"""

import uuid

from bfv import extend
from bfv.errors import BadRequest, Conflict
from bfv.journal import Intent
from bfv.parts import Parts
from bfv.types import Caller, ServerEvent
from cells.types import Server, ServerMapping

EXTENDED, REIMAGED = "volume-extended", "volume-reimaged"
# nova/api/openstack/compute/server_external_events.py:TAG_REQUIRED
TAGGED = {EXTENDED, "power-update", "accelerator-request-bound"}


def keep(parts: Parts, mapping: ServerMapping, event: ServerEvent, who: Caller) -> bool:
    """Keep an event of a server whose cell is down; return whether it is of a kind that somebody acts on later.

    Raises what ``bfv.extend.note`` raises.
    """
    if event.name == REIMAGED:
        # The rebuild is in the journal, and looks for itself.
        return True
    if event.name != EXTENDED or not _is_uuid(event.tag):
        return False
    intent = extend.note(parts, mapping, str(event.tag), who)
    if intent is not None:
        # Whoever finds the cell back goes on with it.
        parts.journal.release(intent)
    return True


def take(parts: Parts, mapping: ServerMapping, server: Server, event: ServerEvent, who: Caller) -> Intent | None:
    """Take an event of a server; return what this process is to do about it, if anything.

    Raises BadRequest without a tag, Conflict for a server that no host has, and what ``bfv.extend.note`` raises.
    """
    if event.name in TAGGED and not event.tag:
        raise BadRequest(f"Event {event.name} of server {server.uuid} has no tag.")
    if not server.host:
        raise Conflict(f"Server {server.uuid} is on no host.")
    if event.name != EXTENDED or all(device.volume_id != event.tag for device in server.devices):
        return None
    return extend.note(parts, mapping, str(event.tag), who)


def _is_uuid(text: str | None) -> bool:
    try:
        return bool(uuid.UUID(text or ""))
    except ValueError:
        return False
