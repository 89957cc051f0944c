# SPDX-License-Identifier: Apache-2.0
"""What bodies and queries look like, by microversion: nova's schemas as far as their words are served.

``nova/api/openstack/compute/schemas/``. Each is a function of the microversion. What nova takes and this API does not
serve is in none, so it is refused by its name, as what nobody knows: nothing that is asked for is left out in silence.
"""

from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]

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
DISK_CONFIG = {"type": "string", "enum": ["AUTO", "MANUAL"]}
HINTS = {"type": "object", "properties": {"group": UUID}, "additionalProperties": False}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _network(version: int) -> Json:
    properties: dict[str, Any] = {
        "uuid": UUID,
        "port": {"anyOf": [UUID, {"type": "null"}]},
        "fixed_ip": {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    }
    if version == 32 or version >= 42:
        properties["tag"] = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[^,/]*$"}
    return _object(**properties)


def _device(version: int) -> Json:
    properties: dict[str, Any] = {
        "source_type": {"type": "string", "enum": ["volume", "image", "snapshot", "blank"]},
        "uuid": {"type": "string", "minLength": 1, "maxLength": 255},
        "destination_type": {"type": "string", "enum": ["local", "volume"]},
        "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$"},
        "volume_size": {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1},
        "delete_on_termination": BOOLEAN,
    }
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
    server = _object(("name", "flavorRef", *(["networks"] if version >= 37 else [])), **properties)
    hints = {"os:scheduler_hints": HINTS, "OS-SCH-HNT:scheduler_hints": HINTS}
    return _object(("server",), server=server, **hints)


def rebuild(version: int) -> Json:
    """Return what the action rebuild takes."""
    # Rebuilding a root volume is what 2.93 brought; what came before is refused whatever it says.
    words = {"imageRef": UUID, "preserve_ephemeral": BOOLEAN, "OS-DCF:diskConfig": DISK_CONFIG}
    return _object(("rebuild",), rebuild={**_object(("imageRef",), **words), "additionalProperties": version < 93})


def start(_version: int) -> Json:
    """Return what the action os-start takes: anything, as in nova."""
    return _object(("os-start",), **{"os-start": {}})


def stop(_version: int) -> Json:
    """Return what the action os-stop takes: anything, as in nova."""
    return _object(("os-stop",), **{"os-stop": {}})


def reboot(_version: int) -> Json:
    """Return what the action reboot takes."""
    kind = {"type": "string", "enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}
    return _object(("reboot",), reboot=_object(("type",), type=kind))


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


def _many(value: Any) -> Json:
    return {"type": "array", "items": value}


def _query(**names: Any) -> Callable[[int], Json]:
    """Return a query's schema: what it does not know is ignored, as in nova, until 2.74."""

    def schema(version: int) -> Json:
        properties = {name: _many(value) for name, value in names.items()}
        return {"type": "object", "properties": properties, "additionalProperties": version < 75}

    return schema


TEXT = {"type": "string"}
PAGE = {"limit": {"type": "string", "pattern": "^[0-9]*$"}, "marker": TEXT}
ASKED_TIME = {"type": "string", "format": "date-time"}
# nova/api/openstack/compute/schemas/servers.py:query_params_v21 and its later forms.
FILTERS = ("access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
           "deleted", "deleted_at", "description", "display_description", "display_name", "flavor", "host", "hostname",
           "image", "image_ref", "instance_type_id", "ip", "ip6", "key_name", "launch_index", "launched_at", "locked",
           "locked_by", "name", "node", "not-tags", "not-tags-any", "power_state", "progress", "project_id",
           "reservation_id", "root_device_name", "soft_deleted", "status", "tags", "tags-any", "task_state",
           "tenant_id", "terminated_at", "user_id", "uuid", "vm_state")  # fmt: skip
no_query = _query()
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
    minRam={"type": "string", "pattern": "^[0-9]*$"},
    minDisk={"type": "string", "pattern": "^[0-9]*$"},
    sort_key={"type": "string", "enum": ["disabled", "ephemeral_gb", "flavorid", "id", "is_public", "memory_mb", "name",
                                         "root_gb", "rxtx_factor", "swap", "vcpus"]},
    sort_dir={"type": "string", "enum": ["asc", "desc"]},
    **PAGE,
)  # fmt: skip
images_query = _query(image=TEXT)
limits_query = _query(reserved=TEXT, tenant_id=TEXT)
