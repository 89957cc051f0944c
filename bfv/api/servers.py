# SPDX-License-Identifier: Apache-2.0
"""Calls about servers: create, list, show, delete, rebuild."""

import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from bfv.api import devices, serverview
from bfv.api.call import Answer, Call, Json
from bfv.api.faults import Fault
from bfv.api.listing import PARTIAL, is_true, next_link, servers_query
from bfv.errors import CellDown, NotFound, NotMapped
from bfv.types import BootRequest, ServerInfo

REIMAGES = 93
PASSWORD = string.ascii_letters + string.digits


def index(call: Call) -> Answer:
    """List servers by id and name."""
    return _list(call, "index", serverview.basic)


def detail(call: Call) -> Answer:
    """List servers with details."""
    return _list(call, "detail", serverview.detail)


def _list(call: Call, kind: str, view: Callable[[Call, ServerInfo], Json]) -> Answer:
    query = servers_query(call, kind)
    if query is None:
        return Answer({"servers": []})
    try:
        page = call.cloud.page(query)
    except NotMapped as error:
        raise Fault(400, f"marker [{query.marker}] not found") from error
    # What is known of a server in a cell that is down has a shape of its own, which older clients cannot read.
    shown = [info for info in page.servers if call.version >= PARTIAL or not serverview.is_unknown(info)]
    body: Json = {"servers": [view(call, info) for info in shown]}
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
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if serverview.is_unknown(info) and call.version < PARTIAL:
        raise CellDown(info.cell or "", "its servers are shown from 2.69 on")
    return Answer({"server": serverview.show(call, info)})


def delete(call: Call) -> Answer:
    """Start to delete a server."""
    # What is deleted already is not found, and no deletion of it is opened.
    info = call.cloud.server(call.ids["server_id"], call.caller)
    call.cloud.start_delete(info.id, call.caller)
    return Answer()


def create(call: Call) -> Answer:
    """Accept a server."""
    asked = call.body["server"]
    _one_server(asked)
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
    )
    try:
        info = call.cloud.boot(request, call.caller)
    except (NotFound, NotMapped) as error:
        # What a body names and is not there makes the body wrong, not the address.
        raise Fault(400, str(error)) from error
    body = {
        "id": info.id,
        "links": serverview.links(call, "servers", info.id),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": name} for name in groups] or serverview.DEFAULT_GROUP,
        "adminPass": password,
    }
    return Answer({"server": body}, headers={"Location": call.url(f"/servers/{info.id}")})


def _one_server(asked: Mapping[str, Any]) -> None:
    most = int(asked.get("max_count") or asked.get("min_count") or 1)
    if most > 1 or int(asked.get("min_count") or 1) > 1 or is_true(asked.get("return_reservation_id")):
        raise Fault(400, "One request makes one server here; ask once for each, without return_reservation_id.")
    if asked.get("OS-DCF:diskConfig") == "AUTO":
        raise Fault(400, "OS-DCF:diskConfig AUTO is not served; the guest grows its file system itself.")


def rebuild(call: Call) -> Answer:
    """Start to write another image onto a server's root volume."""
    asked = call.body["rebuild"]
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if call.version < REIMAGES:
        # Below, nova keeps the data of a root volume; who asks in these words must not lose it here.
        raise Fault(
            400,
            f"Rebuilding a server whose root disk is a volume loses the data of it, and is served from 2.{REIMAGES}.",
        )
    if is_true(asked.get("preserve_ephemeral")) or asked.get("OS-DCF:diskConfig") == "AUTO":
        raise Fault(400, "preserve_ephemeral and OS-DCF:diskConfig AUTO are not served.")
    try:
        info = call.cloud.rebuild(info.id, asked["imageRef"], call.caller)
    except NotFound as error:
        raise Fault(400, str(error)) from error
    body = {**serverview.show(call, info), "user_data": info.user_data}
    return Answer({"server": body}, headers={"Location": call.url(f"/servers/{info.id}")})


def start(call: Call) -> Answer:
    """Start to switch a server on."""
    call.cloud.start(call.ids["server_id"], call.caller)
    return Answer()


def stop(call: Call) -> Answer:
    """Start to switch a server off."""
    call.cloud.stop(call.ids["server_id"], call.caller)
    return Answer()


def reboot(call: Call) -> Answer:
    """Start to restart a server."""
    call.cloud.reboot(call.ids["server_id"], call.caller, hard=call.body["reboot"]["type"].upper() == "HARD")
    return Answer()


def _is_uuid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False
