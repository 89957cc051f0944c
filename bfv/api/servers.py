# SPDX-License-Identifier: Apache-2.0
"""Calls about servers: create, list, show, change, delete."""

import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from bfv import several
from bfv.api import devices, requestspecs, rowview, schemas, serverview
from bfv.api.call import Answer, Call, Json, Route
from bfv.api.faults import Fault
from bfv.api.listing import PARTIAL, is_true, next_link, servers_query
from bfv.errors import CellDown, NotFound, NotMapped
from bfv.find import Shown
from bfv.types import BootRequest
from cells.listing import Detail

SERVER = "/servers/{server_id}"
AUTO_DISK = "OS-DCF:diskConfig AUTO is not served; the guest grows its file system itself."
PASSWORD = string.ascii_letters + string.digits


def index(call: Call) -> Answer:
    """List servers by id and name."""
    return _list(call, "index", lambda entry: serverview.basic(call, entry))


def detail(call: Call) -> Answer:
    """List servers with details."""
    of_row = rowview.shower(call)
    return _list(
        call, "detail", lambda each: of_row(each) if isinstance(each, Detail) else serverview.detail(call, each)
    )


def _list(call: Call, kind: str, view: Callable[[Any], Json]) -> Answer:
    query = servers_query(call, kind)
    if query is None:
        return Answer({"servers": []})
    try:
        page = call.cloud.rows(query)
    except NotMapped as error:
        raise Fault(400, f"marker [{query.marker}] not found") from error
    # What is known of a server in a cell that is down has a shape of its own, which older clients cannot read.
    shown = [each for each in page.servers if call.version >= PARTIAL or not serverview.is_unknown(each)]
    views = [view(each) for each in shown]
    requestspecs.tell(call, views)
    body: Json = {"servers": views}
    if page.next_marker is not None:
        body["servers_links"] = [next_link(call, page.next_marker)]
    missing = page.unasked if call.version < PARTIAL or not query.by_mapping else {}
    return Answer(body, headers={"Warning": _incomplete(call, missing)} if missing else {})


def _incomplete(call: Call, missing: Mapping[str, str]) -> str:
    """Return a header that says that a list may have more: nova leaves a cell that is down out in silence."""
    names = f": {', '.join(sorted(missing))}" if call.is_admin else ""
    return f'199 bfv "{len(missing)} cells give no answer, servers there are not listed{names}"'


def show(call: Call) -> Answer:
    """Show a server."""
    found = call.cloud.shown(call.ids["server_id"], call.caller)
    if isinstance(found, Shown):
        return Answer({"server": serverview.show_row(call, found)})
    if serverview.is_unknown(found) and call.version < PARTIAL:
        raise CellDown(found.cell or "", "its servers are shown from 2.69 on")
    return Answer({"server": serverview.show(call, found)})


def delete(call: Call) -> Answer:
    """Start to delete a server."""
    # What is deleted already is not found, and no deletion of it is opened.
    info = call.cloud.server(call.ids["server_id"], call.caller)
    call.cloud.start_delete(info.id, call.caller)
    return Answer()


def update(call: Call) -> Answer:
    """Change a server's name, description or host name."""
    asked, info = dict(call.body["server"]), serverview.known(call)
    if asked.pop("OS-DCF:diskConfig", "MANUAL") == "AUTO":
        raise Fault(400, AUTO_DISK)
    call.cloud.edits.update(info.id, call.caller, asked)
    return Answer({"server": serverview.changed(call, call.cloud.server(info.id, call.caller))})


def create(call: Call) -> Answer:
    """Accept a server, or several of a kind."""
    asked = call.body["server"]
    least, most = _counts(asked)
    hints = call.body.get("os:scheduler_hints") or call.body.get("OS-SCH-HNT:scheduler_hints") or {}
    image = asked.get("imageRef") or None
    if image is not None and not _is_uuid(image):
        raise Fault(400, "Invalid imageRef provided.")
    root, disks, image = devices.read(asked, image)
    password = asked.get("adminPass") or "".join(secrets.choice(PASSWORD) for _ in range(12))
    groups = [each["name"] for each in asked.get("security_groups", []) if "name" in each]
    request = BootRequest(
        image=image,
        flavor=str(asked["flavorRef"]),
        name=asked["name"],
        availability_zone=asked.get("availability_zone"),
        root=root,
        disks=disks,
        config_drive=is_true(asked.get("config_drive")),
        description=asked.get("description"),
        metadata=asked.get("metadata", {}),
        key_name=asked.get("key_name"),
        user_data=asked.get("user_data"),
        group=hints.get("group"),
        networks=asked.get("networks"),
        security_groups=tuple(groups),
        admin_pass=password,
        tags=tuple(dict.fromkeys(asked.get("tags") or ())),
        hostname=asked.get("hostname"),
        reservation_id=several.reservation_id(),
    )
    try:
        info = call.cloud.boot_many(request, least, most, call.caller)[0]
    except (NotFound, NotMapped) as error:
        # What a body names and is not there makes the body wrong, not the address.
        raise Fault(400, str(error)) from error
    if is_true(asked.get("return_reservation_id")):
        return Answer({"reservation_id": request.reservation_id})
    body = {
        "id": info.id,
        "links": serverview.links(call, "servers", info.id),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": name} for name in groups] or serverview.DEFAULT_GROUP,
        "adminPass": password,
    }
    return Answer({"server": body}, headers={"Location": call.url(f"/servers/{info.id}")})


def _counts(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many servers are asked for, at least and at most. Raises Fault 400."""
    least = int(asked.get("min_count") or 1)
    most = int(asked.get("max_count") or least)
    if least > most:
        raise Fault(400, "min_count must be <= max_count")
    if asked.get("OS-DCF:diskConfig") == "AUTO":
        raise Fault(400, AUTO_DISK)
    return least, most


def _is_uuid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False


ROUTES = (
    Route("GET", "/servers", index, "servers:index", query=schemas.servers_query),
    Route("POST", "/servers", create, "servers:create", code=202, body=schemas.create),
    Route("GET", "/servers/detail", detail, "servers:detail", query=schemas.servers_query),
    Route("GET", SERVER, show, "servers:show", query=schemas.no_query),
    Route("PUT", SERVER, update, "servers:update", body=schemas.update),
    Route("DELETE", SERVER, delete, "servers:delete", code=204),
)
