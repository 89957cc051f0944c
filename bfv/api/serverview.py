# SPDX-License-Identifier: Apache-2.0
"""A server as the Compute API shows it, by microversion (``nova/api/openstack/compute/views/servers.py``)."""

import orjson

from bfv.api import addresses, requestspecs, rowview
from bfv.api.call import Call, Json
from bfv.api.rowview import DEFAULT_GROUP, hash_of_host, moment
from bfv.errors import CellDown
from bfv.find import Shown
from bfv.types import ServerInfo
from cells import groups
from cells.listing import Brief, Detail
from cells.types import Flavor

__all__ = ["DEFAULT_GROUP", "basic", "changed", "detail", "flavor", "hash_of_host", "is_unknown", "known",
           "links", "moment", "show"]  # fmt: skip


def links(call: Call, kind: str, key: str) -> list[Json]:
    """Return the links of a server or flavor."""
    return [
        {"rel": "self", "href": call.url(f"/{kind}/{key}")},
        {"rel": "bookmark", "href": f"{call.base}/{kind}/{key}"},
    ]


def is_unknown(info: ServerInfo | Detail | Brief) -> bool:
    """Return whether this is all that is known of a server while its cell is down (nova's partial records, 2.69)."""
    return isinstance(info, ServerInfo) and info.status == "UNKNOWN" and not info.vm_state


def known(call: Call) -> ServerInfo:
    """Return the server of a call whose cell tells of it. Raises NotFound, CellDown for one of which it would have to.

    What only the cell knows is never told as nothing: cinder takes that for a no (``bfv.api.attachments``).
    """
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if is_unknown(info):
        raise CellDown(info.cell or "", "it alone knows what is asked of its servers")
    return info


def basic(call: Call, info: ServerInfo | Brief) -> Json:
    """Return a server of a list without details."""
    if isinstance(info, Brief):
        return {"id": info.uuid, "name": info.display_name or "", "links": links(call, "servers", info.uuid)}
    if is_unknown(info):
        return {"id": info.id, "status": info.status, "links": links(call, "servers", info.id)}
    return {"id": info.id, "name": info.name, "links": links(call, "servers", info.id)}


def show(call: Call, info: ServerInfo) -> Json:
    """Return a single server: what a list with details has, and what nova adds for one."""
    view = detail(call, info)
    if is_unknown(info):
        view |= {
            "image": rowview.image(call.base, info.image_ref),
            "flavor": flavor(call, info.flavor),
            "OS-EXT-AZ:availability_zone": info.availability_zone or "UNKNOWN",
            "OS-EXT-STS:power_state": 0,
            "user_id": info.user_id or "UNKNOWN",
        }
    requestspecs.tell(call, [view], unsaid={})
    return view | _groups(call, info.id)


def show_row(call: Call, shown: Shown) -> Json:
    """Return a single server by its row."""
    view = rowview.shower(call)(shown.row._replace(task_state=shown.task_state))
    if "pinned_availability_zone" in view:
        view["pinned_availability_zone"] = shown.pinned_availability_zone
    if f"{rowview.ATTRIBUTES}user_data" in view:
        view[f"{rowview.ATTRIBUTES}user_data"] = shown.user_data()
    requestspecs.tell(call, [view], unsaid={})
    return view | _groups(call, shown.row.uuid)


def _groups(call: Call, server_id: str) -> Json:
    return {"server_groups": groups.of_server(call.cloud.parts.api, server_id)} if call.version >= 71 else {}


def changed(call: Call, info: ServerInfo) -> Json:
    """Return a server as the answer to a change: below 2.75 without what extensions once told."""
    view = show(call, info)
    if call.version >= 75:
        return view
    named = {"name", "status", "id", "created", "updated", "image", "flavor", "links", "metadata", "hostId", "fault",
             "tenant_id", "user_id", "accessIPv4", "accessIPv6", "addresses", "progress", "OS-DCF:diskConfig",
             "locked", "locked_reason", "description", "tags", "trusted_image_certificates",
             "server_groups"}  # fmt: skip
    view = {name: value for name, value in view.items() if name in named}
    return view | {"addresses": addresses.of(info.network_info)}


def detail(call: Call, info: ServerInfo) -> Json:
    """Return a server of a list with details."""
    if is_unknown(info):
        known = {"id": info.id, "status": info.status, "tenant_id": info.project_id}
        return {**known, "created": moment(info.created_at), "links": links(call, "servers", info.id)}
    view = rowview.shower(call)(_row(info))
    view |= {"status": info.status, "flavor": flavor(call, info.flavor)}
    if info.status in rowview.PROGRESS:
        view["progress"] = 0
    told = {"pinned_availability_zone": info.pinned_availability_zone, f"{rowview.ATTRIBUTES}user_data": info.user_data}
    return view | {name: value for name, value in told.items() if name in view}


def _row(info: ServerInfo) -> Detail:
    """Return a server that was not read as a row as one; its status and flavor are told apart."""
    volumes = [{"id": each.volume_id, "delete_on_termination": each.delete_on_termination}
               for each in info.devices if each.volume_id]  # fmt: skip
    why = info.fault
    at = why.created_at.isoformat() if why and why.created_at else None
    same = {name: getattr(info, name) for name in Detail._fields if hasattr(info, name)}
    told = {
        "uuid": info.id,
        "display_name": info.name,
        "display_description": info.description,
        "network_info_json": info.network_info,
        "metadata_json": orjson.dumps(dict(info.metadata)).decode(),
        "tags_json": orjson.dumps(info.tags).decode(),
        "volumes_json": orjson.dumps(volumes).decode(),
        "fault_json": orjson.dumps([why.code, why.message, why.details, at]).decode() if why else None,
        "extra": "",
        "system_metadata_json": orjson.dumps(dict(info.system_metadata)).decode(),
    }
    return Detail(**{**dict.fromkeys(Detail._fields), **same, **told})


def flavor(call: Call, made_of: Flavor | None) -> Json:
    """Return a server's flavor: until 2.46 a link, from then on as it was when the server was made."""
    itself = call.version >= rowview.FLAVOR_ITSELF
    specs = itself and call.allows("os-flavor-extra-specs:index")
    return rowview.flavor(made_of, "" if itself else call.base, specs=specs)
