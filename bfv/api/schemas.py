# SPDX-License-Identifier: Apache-2.0
"""What bodies and queries look like, by microversion: nova's schemas as far as their words are served.

``nova/api/openstack/compute/schemas/``. Each is a function of the microversion. What nova takes and this API does not
serve is in none, so it is refused by its name, as what nobody knows: nothing that is asked for is left out in silence.
"""

from typing import Any

from bfv.api.shapes import Json
from bfv.api.shapes import object_of as _object
from bfv.api.shapes import query_of as _query

# nova/api/validation/parameter_types.py: printable, and no blank at either end.
NAME = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^(?![\s])[^\x00-\x1f\x7f]*(?<!\s)$"}
DESCRIPTION = {"type": ["string", "null"], "minLength": 0, "maxLength": 255,
               "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"}  # fmt: skip
METADATA = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 255},
            "propertyNames": {"pattern": r"^[a-zA-Z0-9-_:. ]{1,255}$"}}  # fmt: skip
BOOLEAN = {"type": ["boolean", "string"],
           "enum": [True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes", "y", "t",
                    False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no", "n",
                    "f"]}  # fmt: skip
COUNT = {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "minLength": 1}
UUID = {"type": "string", "format": "uuid"}
ADMIN_PASS = {"type": "string", "maxLength": 255}
USER_DATA = {"type": ["string", "null"], "maxLength": 65535, "pattern": r"^[A-Za-z0-9+/\s]*={0,2}\s*$"}
KEY_NAME = {"type": ["string", "null"], "minLength": 1, "maxLength": 255}
HOSTNAME = {"type": "string", "pattern": "^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$", "minLength": 2, "maxLength": 63}
FQDN = {
    "type": "string",
    "pattern": r"^(?!.*\.\.)(?=.{2,255}$)([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?\.?)+$",
    "maxLength": 255,
}
TAG = {"type": "string", "pattern": "^[^,/]*$", "minLength": 1, "maxLength": 60}
DISK_CONFIG = {"type": "string", "enum": ["AUTO", "MANUAL"]}
SHORT = {"type": "string", "maxLength": 255}
HINTS = {"type": "object", "properties": {"group": UUID}, "additionalProperties": False}


def _network(version: int) -> Json:
    properties: dict[str, Any] = {
        "uuid": UUID,
        "port": {"anyOf": [UUID, {"type": "null"}]},
        "fixed_ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    }
    if version == 32 or version >= 42:
        properties["tag"] = TAG
    return _object(**properties)


def _older_device() -> dict[str, Any]:
    return _object(
        virtual_name=SHORT,
        volume_id=UUID,
        snapshot_id=UUID,
        volume_size={"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 0x7FFFFFFF},
        delete_on_termination=BOOLEAN,
        device_name={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._/-]*$"},
        no_device={},
        connection_info={"type": "string"},
    )


def _device(version: int) -> Json:
    properties: dict[str, Any] = {
        **_older_device()["properties"],
        "source_type": {"type": "string", "enum": ["volume", "image", "snapshot", "blank"]},
        "uuid": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._-]*$"},
        "image_id": UUID,
        "destination_type": {"type": "string", "enum": ["local", "volume"]},
        "guest_format": SHORT,
        "device_type": SHORT,
        "disk_bus": SHORT,
        "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$"},
    }
    if version == 32 or version >= 42:
        properties["tag"] = TAG
    if version >= 67:
        properties["volume_type"] = {"type": ["string", "null"], "minLength": 0, "maxLength": 255}
    return _object(**properties)


def create(version: int) -> Json:
    """Return what POST /servers takes."""
    networks: Json = {"type": "array", "items": _network(version)}
    if version >= 37:
        networks = {"oneOf": [networks, {"type": "string", "enum": ["none", "auto"]}]}
    properties: dict[str, Any] = {
        "name": NAME,
        "imageRef": {"type": "string"},
        "flavorRef": {"type": ["string", "integer"], "minLength": 1, "maxLength": 255},
        "adminPass": ADMIN_PASS,
        "metadata": METADATA,
        "networks": networks,
        "OS-DCF:diskConfig": DISK_CONFIG,
        "availability_zone": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
        "block_device_mapping": {"type": "array", "items": _older_device()},
        "block_device_mapping_v2": {"type": "array", "items": _device(version)},
        "config_drive": {"anyOf": [BOOLEAN, {"type": "null"}, {"const": ""}]},
        "key_name": KEY_NAME,
        "min_count": COUNT,
        "max_count": COUNT,
        "return_reservation_id": BOOLEAN,
        "security_groups": {"type": "array", "items": _object(name={"type": "string", "minLength": 1,
                                                                    "maxLength": 255})},
        "user_data": USER_DATA,
    }  # fmt: skip
    if version >= 19:
        properties["description"] = DESCRIPTION
    if version >= 52:
        properties["tags"] = {"type": "array", "items": TAG, "maxItems": 50}
    if version >= 90:
        properties["hostname"] = FQDN if version >= 94 else HOSTNAME
    server = _object(("name", "flavorRef", *(["networks"] if version >= 37 else [])), **properties)
    hints = {"os:scheduler_hints": HINTS, "OS-SCH-HNT:scheduler_hints": HINTS}
    return _object(("server",), server=server, **hints)


def update(version: int) -> Json:
    """Return what PUT /servers/{server_id} takes."""
    properties: dict[str, Any] = {"name": NAME, "OS-DCF:diskConfig": DISK_CONFIG}
    if version >= 19:
        properties["description"] = DESCRIPTION
    if version >= 90:
        properties["hostname"] = FQDN if version >= 94 else HOSTNAME
    return _object(("server",), server=_object(**properties))


def no_body(_version: int) -> Json:
    """Return what a call takes that has no body, though others of its method have one."""
    return {"type": "null"}


def warm(_version: int) -> Json:
    """Return what POST /os-image-sources takes."""
    words = {"type": "string", "minLength": 1, "maxLength": 255}
    cells = {"type": "array", "items": words, "minItems": 1, "maxItems": 1000}
    return _object(("warm",), warm=_object(("image",), image=words, cells=cells))


def external_events(version: int) -> Json:
    """Return what POST /os-server-external-events takes."""
    names = ["network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted"]
    names += ["volume-extended"] * (version >= 51) + ["power-update"] * (version >= 76)
    names += ["accelerator-request-bound"] * (version >= 82) + ["volume-reimaged"] * (version >= 93)
    event = _object(
        ("server_uuid", "name"),
        server_uuid=UUID,
        name={"type": "string", "enum": names},
        status={"type": "string", "enum": ["failed", "completed", "in-progress"]},
        tag={"type": "string", "minLength": 1, "maxLength": 255},
    )
    return _object(("events",), events={"type": "array", "minItems": 1, "items": event})


TEXT = {"type": "string"}
NUMBER = {"type": "string", "pattern": "^[0-9]*$"}
PAGE = {"limit": NUMBER, "marker": TEXT}
ASKED_TIME = {"type": "string", "format": "date-time"}
# nova/api/openstack/compute/schemas/servers.py:query_params_v21 and its later forms.
FILTERS = ("access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
           "deleted", "deleted_at", "description", "display_description", "display_name", "flavor", "host", "hostname",
           "image", "image_ref", "instance_type_id", "ip", "ip6", "key_name", "launch_index", "launched_at", "locked",
           "locked_by", "name", "node", "not-tags", "not-tags-any", "power_state", "progress", "project_id",
           "reservation_id", "root_device_name", "soft_deleted", "status", "tags", "tags-any", "task_state",
           "tenant_id", "terminated_at", "user_id", "uuid", "vm_state")  # fmt: skip
no_query = _query()
pages_query = _query(limit=NUMBER, offset=NUMBER)
servers_query = _query(
    all_tenants=TEXT,
    sort_key=TEXT,
    sort_dir=TEXT,
    **PAGE,
    **{"changes-since": ASKED_TIME, "changes-before": ASKED_TIME},
    **dict.fromkeys(FILTERS, TEXT),
)
flavors_query = _query(
    is_public=TEXT,
    minRam=NUMBER,
    minDisk=NUMBER,
    sort_key={"type": "string", "enum": ["disabled", "ephemeral_gb", "flavorid", "id", "is_public", "memory_mb", "name",
                                         "root_gb", "rxtx_factor", "swap", "vcpus"]},
    sort_dir={"type": "string", "enum": ["asc", "desc"]},
    **PAGE,
)  # fmt: skip
images_query = _query(image=TEXT)
limits_query = _query(reserved=TEXT, tenant_id=TEXT)
