# SPDX-License-Identifier: Apache-2.0
"""A server with details, made of its row at once: a page has a thousand of them.

``nova/api/openstack/compute/views/servers.py``. What the database has as JSON is sent as it came; what many servers
have in common, and what the microversion and the caller say of all, is made once.
"""

import datetime as dt
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import orjson

from bfv import view
from bfv.api import addresses, imageproperties
from bfv.api.call import Call, Json
from cells.encode import load_instance_flavor
from cells.listing import Detail
from cells.types import Fault, Flavor

PROGRESS = {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"}
DEFAULT_GROUP = [{"name": "default"}]
FAULTY = {"ERROR", "DELETED"}
ATTRIBUTES = "OS-EXT-SRV-ATTR:"
# From this microversion on a server tells its flavor and not where it is.
FLAVOR_ITSELF = 47
TELLS_PROPERTIES, TELLS_HINTS = 98, 100
_GROUPS = orjson.Fragment(orjson.dumps(DEFAULT_GROUP))


def shower(call: Call) -> Callable[[Detail], Json]:
    """Return what makes the view of a row for the caller and the microversion of a call."""
    version, text = call.version, orjson.dumps(call.base).decode()[1:-1]
    sees = call.allows("os-extended-server-attributes")
    specs = version >= FLAVOR_ITSELF and call.allows("os-flavor-extra-specs:index")
    flavor_base = "" if version >= FLAVOR_ITSELF else call.base

    def show(row: Detail) -> Json:
        status = view.status(row.vm_state or "", row.task_state)
        shown: Json = {
            "id": row.uuid,
            "name": row.display_name or "",
            "status": status,
            "tenant_id": row.project_id or "",
            "user_id": row.user_id or "",
            "metadata": orjson.Fragment(row.metadata_json),
            "hostId": hash_of_host(row.project_id or "", row.host or ""),
            "image": _image(call, row),
            "flavor": _flavor(row.extra, flavor_base, specs),
            "created": moment(row.created_at),
            "updated": moment(row.updated_at or row.created_at),
            "addresses": addresses.of(row.network_info_json, extended=True),
            "accessIPv4": "",
            "accessIPv6": "",
            "links": orjson.Fragment(
                f'[{{"rel":"self","href":"{text}/v2.1/servers/{row.uuid}"}},'
                f'{{"rel":"bookmark","href":"{text}/servers/{row.uuid}"}}]'
            ),
            "OS-DCF:diskConfig": "MANUAL",
            "OS-EXT-AZ:availability_zone": row.availability_zone or "",
            "config_drive": row.config_drive or "",
            "key_name": row.key_name,
            "OS-SRV-USG:launched_at": f"{row.launched_at.isoformat(timespec='microseconds')}"
            if row.launched_at
            else None,
            "OS-SRV-USG:terminated_at": None,
            "OS-EXT-STS:task_state": row.task_state,
            "OS-EXT-STS:vm_state": row.vm_state or "",
            "OS-EXT-STS:power_state": row.power_state or 0,
            "os-extended-volumes:volumes_attached": _volumes(version, row),
            "security_groups": _GROUPS,
        }
        if status in PROGRESS:
            shown["progress"] = 0
        why = row.fault if status in FAULTY else None
        if why is not None:
            shown["fault"] = fault(call, why)
        _later(version, row, shown)
        if sees:
            _attributes(version, row, shown)
        return shown

    return show


def _later(version: int, row: Detail, shown: Json) -> None:
    """Add what younger microversions have brought for everybody."""
    if version >= 9:
        shown["locked"] = bool(row.locked)
    if version >= 19:
        shown["description"] = row.display_description
    if version >= 26:
        shown["tags"] = orjson.Fragment(row.tags_json)
    if version >= 63:
        shown["trusted_image_certificates"] = row.trusted_certs
    if version >= 73:
        shown["locked_reason"] = row.locked_reason
    if version >= 90:
        shown[f"{ATTRIBUTES}hostname"] = row.hostname
    if version >= 96:
        shown["pinned_availability_zone"] = None
    if version >= TELLS_HINTS:
        shown["scheduler_hints"] = None


def _attributes(version: int, row: Detail, shown: Json) -> None:
    """Add what only admins see: where a server is, and from 2.3 on how it is made."""
    shown[f"{ATTRIBUTES}host"] = row.host
    shown[f"{ATTRIBUTES}hypervisor_hostname"] = row.node or row.host
    # Nova makes it of the row's number by a template that each compute service has for itself.
    shown[f"{ATTRIBUTES}instance_name"] = row.uuid
    if version >= 3:
        shown[f"{ATTRIBUTES}hostname"] = row.hostname
        shown[f"{ATTRIBUTES}kernel_id"] = ""
        shown[f"{ATTRIBUTES}ramdisk_id"] = ""
        shown[f"{ATTRIBUTES}launch_index"] = row.launch_index or 0
        shown[f"{ATTRIBUTES}reservation_id"] = row.reservation_id
        shown[f"{ATTRIBUTES}root_device_name"] = row.root_device_name
        shown[f"{ATTRIBUTES}user_data"] = None
    if version >= 16:
        # Whether a host reports is told by its cell alone, and is not asked for here.
        shown["host_status"] = "UNKNOWN" if row.host else ""


def _volumes(version: int, row: Detail) -> Any:
    return orjson.Fragment(row.volumes_json) if version >= 3 else [{"id": each["id"]} for each in row.volumes]


@functools.lru_cache(maxsize=4096)
def _flavor(extra: str, base: str, specs: bool) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(flavor(load_instance_flavor(extra.partition("\n")[0]), base, specs=specs)))


def flavor(made_of: Flavor | None, base: str, *, specs: bool) -> Json:
    """Return a server's flavor: with a ``base`` a link, as until 2.46, else as it was when the server was made."""
    if made_of is None:
        return {}
    if base:
        key = made_of.flavorid
        return {"id": key, "links": [{"rel": "bookmark", "href": f"{base}/flavors/{key}"}]}
    view: Json = {
        "vcpus": made_of.vcpus,
        "ram": made_of.memory_mb,
        "disk": made_of.root_gb,
        "ephemeral": made_of.ephemeral_gb,
        "swap": made_of.swap,
        "original_name": made_of.name,
    }
    return view | ({"extra_specs": dict(made_of.extra_specs)} if specs else {})


def _image(call: Call, row: Detail) -> Json | str:
    """Return a server's image, from 2.98 on with the properties that it had then."""
    view = image(call.base, row.image_ref or "")
    if isinstance(view, dict) and call.version >= TELLS_PROPERTIES:
        view["properties"] = imageproperties.told(row.system_metadata)
    return view


def image(base: str, image_ref: str) -> Json | str:
    """Return which image a server is made of: nothing, if its root disk is a volume."""
    if not image_ref:
        return ""
    return {"id": image_ref, "links": [{"rel": "bookmark", "href": f"{base}/images/{image_ref}"}]}


def fault(call: Call, why: Fault) -> Json:
    """Return why a server is in ERROR; of a fault of ours only admins read the details."""
    view = {"code": why.code, "created": moment(why.created_at), "message": why.message}
    if why.details and (call.is_admin or why.code != 500):
        view["details"] = why.details
    return view


@functools.lru_cache(maxsize=16384)
def hash_of_host(project_id: str, host: str) -> str:
    """Return the name that a host has for a project, "" for none: it tells nothing but sameness.

    ``nova/utils.py:generate_hostid``.
    """
    return hashlib.sha224((project_id + host).encode(), usedforsecurity=False).hexdigest() if host else ""


def moment(when: dt.datetime | None) -> str | None:
    """Return a time as the Compute API writes it."""
    return f"{when.isoformat(timespec='seconds')}Z" if when else None
