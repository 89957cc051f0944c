# SPDX-License-Identifier: Apache-2.0
"""A server as the Compute API shows it, by microversion (``nova/api/openstack/compute/views/servers.py``)."""

import datetime as dt
import hashlib
from typing import Any

from bfv.api import addresses
from bfv.api.call import Call, Json
from bfv.errors import CellDown
from bfv.types import ServerInfo
from cells import groups
from cells.types import Flavor

PROGRESS = {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"}
DEFAULT_GROUP = [{"name": "default"}]
ATTRIBUTES = "OS-EXT-SRV-ATTR:"


def links(call: Call, kind: str, key: str) -> list[Json]:
    """Return the links of a server or flavor."""
    return [
        {"rel": "self", "href": call.url(f"/{kind}/{key}")},
        {"rel": "bookmark", "href": f"{call.base}/{kind}/{key}"},
    ]


def is_unknown(info: ServerInfo) -> bool:
    """Return whether this is all that is known of a server while its cell is down (nova's partial records, 2.69)."""
    return info.status == "UNKNOWN" and not info.vm_state


def known(call: Call) -> ServerInfo:
    """Return the server of a call whose cell tells of it. Raises NotFound, CellDown for one of which it would have to.

    What only the cell knows is never told as nothing: cinder takes that for a no (``bfv.api.attachments``).
    """
    info = call.cloud.server(call.ids["server_id"], call.caller)
    if is_unknown(info):
        raise CellDown(info.cell or "", "it alone knows what is asked of its servers")
    return info


def basic(call: Call, info: ServerInfo) -> Json:
    """Return a server of a list without details."""
    if is_unknown(info):
        return {"id": info.id, "status": info.status, "links": links(call, "servers", info.id)}
    return {"id": info.id, "name": info.name, "links": links(call, "servers", info.id)}


def show(call: Call, info: ServerInfo) -> Json:
    """Return a single server: what a list with details has, and what nova adds for one."""
    view = detail(call, info)
    if is_unknown(info):
        view |= {
            "image": image(call, info.image_ref),
            "flavor": flavor(call, info.flavor) if info.flavor else {},
            "OS-EXT-AZ:availability_zone": info.availability_zone or "UNKNOWN",
            "OS-EXT-STS:power_state": 0,
            "user_id": info.user_id or "UNKNOWN",
        }
    if call.version >= 71:
        view["server_groups"] = groups.of_server(call.cloud.parts.api, info.id)
    return view


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
    version = call.version
    if is_unknown(info):
        known = {"id": info.id, "status": info.status, "tenant_id": info.project_id}
        return {**known, "created": moment(info.created_at), "links": links(call, "servers", info.id)}
    view: Json = {
        "id": info.id,
        "name": info.name,
        "status": info.status,
        "tenant_id": info.project_id,
        "user_id": info.user_id or "",
        "metadata": dict(info.metadata),
        "hostId": host_id(info),
        "image": image(call, info.image_ref),
        "flavor": flavor(call, info.flavor) if info.flavor else {},
        "created": moment(info.created_at),
        "updated": moment(info.updated_at or info.created_at),
        "addresses": addresses.of(info.network_info, extended=True),
        "accessIPv4": "",
        "accessIPv6": "",
        "links": links(call, "servers", info.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": info.availability_zone or "",
        "config_drive": info.config_drive,
        "key_name": info.key_name,
        "OS-SRV-USG:launched_at": info.launched_at.strftime("%Y-%m-%dT%H:%M:%S.%f") if info.launched_at else None,
        "OS-SRV-USG:terminated_at": None,
        "OS-EXT-STS:task_state": info.task_state,
        "OS-EXT-STS:vm_state": info.vm_state,
        "OS-EXT-STS:power_state": info.power_state,
        "os-extended-volumes:volumes_attached": volumes(version, info),
        "security_groups": DEFAULT_GROUP,
    }
    if info.status in PROGRESS:
        view["progress"] = 0
    if info.fault and info.status in ("ERROR", "DELETED"):
        view["fault"] = fault(call, info)
    return view | later(version, info) | (attributes(version, info) if _sees_attributes(call) else {})


def later(version: int, info: ServerInfo) -> Json:
    """Return what younger microversions have brought for everybody."""
    brought: tuple[tuple[int, str, Any], ...] = (
        (9, "locked", info.locked),
        (19, "description", info.description),
        (26, "tags", list(info.tags)),
        (63, "trusted_image_certificates", None),
        (73, "locked_reason", info.locked_reason),
        (90, f"{ATTRIBUTES}hostname", info.hostname),
        (96, "pinned_availability_zone", info.pinned_availability_zone),
    )
    return {name: value for since, name, value in brought if version >= since}


def attributes(version: int, info: ServerInfo) -> Json:
    """Return what only admins see: where a server is, and from 2.3 on how it is made."""
    view: Json = {
        "host": info.host,
        "hypervisor_hostname": info.node or info.host,
        # Nova makes it of the row's number by a template that each compute service has for itself.
        "instance_name": info.id,
    }
    if version >= 3:
        view |= {
            "hostname": info.hostname,
            "kernel_id": "",
            "ramdisk_id": "",
            "launch_index": info.launch_index,
            "reservation_id": info.reservation_id,
            "root_device_name": info.root_device_name,
            "user_data": info.user_data,
        }
    view = {f"{ATTRIBUTES}{name}": value for name, value in view.items()}
    # Whether a host reports is told by its cell alone, and is not asked for here.
    return view | ({"host_status": "UNKNOWN" if info.host else ""} if version >= 16 else {})


def image(call: Call, image_ref: str) -> Json | str:
    """Return a server's image: nothing, as its root disk is a volume."""
    if not image_ref:
        return ""
    return {"id": image_ref, "links": [{"rel": "bookmark", "href": f"{call.base}/images/{image_ref}"}]}


def flavor(call: Call, made_of: Flavor) -> Json:
    """Return a server's flavor: until 2.46 a link, from then on as it was when the server was made."""
    if call.version < 47:
        key = made_of.flavorid
        return {"id": key, "links": [{"rel": "bookmark", "href": f"{call.base}/flavors/{key}"}]}
    view: Json = {
        "vcpus": made_of.vcpus,
        "ram": made_of.memory_mb,
        "disk": made_of.root_gb,
        "ephemeral": made_of.ephemeral_gb,
        "swap": made_of.swap,
        "original_name": made_of.name,
    }
    if call.allows("os-flavor-extra-specs:index"):
        view["extra_specs"] = dict(made_of.extra_specs)
    return view


def volumes(version: int, info: ServerInfo) -> list[Json]:
    """Return the volumes of a server."""
    found = [device for device in info.devices if device.volume_id]
    if version < 3:
        return [{"id": device.volume_id} for device in found]
    return [{"id": each.volume_id, "delete_on_termination": each.delete_on_termination} for each in found]


def fault(call: Call, info: ServerInfo) -> Json:
    """Return why a server is in ERROR; of a fault of ours only admins read the details."""
    assert info.fault is not None, "asked before"
    view = {"code": info.fault.code, "created": moment(info.fault.created_at), "message": info.fault.message}
    if info.fault.details and (call.is_admin or info.fault.code != 500):
        view["details"] = info.fault.details
    return view


def host_id(info: ServerInfo) -> str:
    """Return a name of a server's host that tells nothing but sameness (``nova/utils.py:generate_hostid``)."""
    return hash_of_host(info.project_id, info.host or "")


def hash_of_host(project_id: str, host: str) -> str:
    """Return the name that a host has for a project, "" for none."""
    return hashlib.sha224((project_id + host).encode(), usedforsecurity=False).hexdigest() if host else ""


def moment(when: dt.datetime | None) -> str | None:
    """Return a time as the Compute API writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def _sees_attributes(call: Call) -> bool:
    return call.allows("os-extended-server-attributes")
