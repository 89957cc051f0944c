# SPDX-License-Identifier: Apache-2.0
"""The JSON inside nova's columns, written as nova writes it and read leniently: versions and unknown fields vary.

A nova object's primitive is ``{"nova_object.name", ".namespace", ".version", ".data"}``; a field that is absent
from its data was not loaded, which is not the same as null (``oslo_versionedobjects/base.py:obj_to_primitive``).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cells.types import Flavor, RequestSpec

# nova/objects/image_meta.py:ImageMeta.fields, without properties.
_IMAGE_FIELDS = (
    "id", "name", "status", "visibility", "protected", "checksum", "owner", "size", "virtual_size",
    "container_format", "disk_format", "created_at", "updated_at", "tags", "direct_url", "min_ram", "min_disk",
)  # fmt: skip
# The version of nova 29, the oldest release that is supported: a nova reads older versions and refuses newer ones.
_IMAGE_PROPERTIES = "1.37"
# nova/objects/image_meta.py:ImageMetaProps._legacy_property_map, as far as their values are plain.
_LEGACY_PROPERTIES = {
    "architecture": "hw_architecture",
    "owner_id": "img_owner_id",
    "vm_mode": "hw_vm_mode",
    "auto_disk_config": "hw_auto_disk_config",
    "root_device_name": "img_root_device_name",
    "hypervisor_version_requires": "img_hv_requested_version",
}


def flavor_primitive(flavor: Flavor) -> dict[str, Any]:
    """Return a flavor as nova embeds it in a server: version 1.2, without projects and description.

    ``nova/objects/flavor.py:Flavor``; ``nova/objects/instance.py:Instance._save_flavor`` drops those two.
    """
    return _primitive("Flavor", "1.2", {
        "id": flavor.id, "name": flavor.name, "memory_mb": flavor.memory_mb, "vcpus": flavor.vcpus,
        "root_gb": flavor.root_gb, "ephemeral_gb": flavor.ephemeral_gb, "flavorid": flavor.flavorid,
        "swap": flavor.swap, "rxtx_factor": flavor.rxtx_factor, "vcpu_weight": 0, "disabled": flavor.disabled,
        "is_public": flavor.is_public, "extra_specs": dict(flavor.extra_specs), "projects": [], "description": None,
        "created_at": None, "updated_at": None, "deleted_at": None, "deleted": False,
    })  # fmt: skip


def read_flavor(primitive: Mapping[str, Any]) -> Flavor:
    """Return the flavor of a primitive of any version; numbers that are absent or null count as nova's 0."""
    data = _data(primitive)
    rxtx_factor = data.get("rxtx_factor")
    public = data.get("is_public")
    numbers = {name: int(data.get(name) or 0)
               for name in ("id", "vcpus", "memory_mb", "root_gb", "ephemeral_gb", "swap")}  # fmt: skip
    return Flavor(
        flavorid=str(data.get("flavorid") or ""),
        name=data.get("name") or "",
        rxtx_factor=1.0 if rxtx_factor is None else float(rxtx_factor),
        disabled=bool(data.get("disabled")),
        is_public=True if public is None else bool(public),
        extra_specs=dict(data.get("extra_specs") or {}),
        projects=tuple(data.get("projects") or ()),
        description=data.get("description"),
        **numbers,
    )


def dump_instance_flavor(flavor: Flavor) -> str:
    """Return the text of ``instance_extra.flavor`` of a server that is not being resized."""
    return json.dumps({"cur": flavor_primitive(flavor), "old": None, "new": None})


def load_instance_flavor(text: str | None) -> Flavor | None:
    """Return the current flavor of ``instance_extra.flavor``, None where none was written.

    ``nova/objects/instance.py:Instance._flavor_from_db``.
    """
    current = (json.loads(text) or {}).get("cur") if text else None
    return read_flavor(current) if current else None


def image_primitive(image: Mapping[str, Any]) -> dict[str, Any]:
    """Return an image as ImageMeta 1.8 with its ImageMetaProps (``nova/objects/image_meta.py:from_dict``).

    Fields without a value are left out, as nova cannot load a null there; of the properties the plain ones are kept,
    under nova's present names.
    """
    properties = {
        _LEGACY_PROPERTIES.get(key, key): value
        for key, value in (image.get("properties") or {}).items()
        if isinstance(value, str | int | float)
    }
    data = {key: image[key] for key in _IMAGE_FIELDS if image.get(key) is not None}
    return _primitive(
        "ImageMeta", "1.8", {**data, "properties": _primitive("ImageMetaProps", _IMAGE_PROPERTIES, properties)}
    )


def read_image(primitive: Mapping[str, Any]) -> dict[str, Any]:
    """Return the image of a primitive of any version, flat, with its ``properties`` as a dict."""
    data = dict(_data(primitive))
    data["properties"] = dict(_data(data.get("properties") or {}))
    return data


def request_spec(
    *,
    server_id: str,
    project_id: str,
    user_id: str | None,
    flavor: Flavor,
    image: Mapping[str, Any] | None,
    is_bfv: bool,
    availability_zone: str | None = None,
    num_instances: int = 1,
    scheduler_hints: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return a request spec as version 1.15 (``nova/objects/request_spec.py:RequestSpec``); see ``RequestSpec``.

    What nova does not store (``_get_update_primitives``) is not written either.
    """
    return _primitive("RequestSpec", "1.15", {
        "instance_uuid": server_id, "project_id": project_id, "user_id": user_id,
        "image": None if image is None else image_primitive(image), "flavor": flavor_primitive(flavor),
        "is_bfv": is_bfv, "availability_zone": availability_zone, "num_instances": num_instances,
        "scheduler_hints": {key: list(values) for key, values in (scheduler_hints or {}).items()},
        "force_hosts": None, "force_nodes": None, "numa_topology": None, "pci_requests": None, "limits": None,
        "instance_group": None,
    })  # fmt: skip


def read_request_spec(primitive: Mapping[str, Any]) -> RequestSpec:
    """Return what a request spec of any version says; hints that are not lists become lists of one.

    ``nova/objects/request_spec.py:RequestSpec._from_hints``.
    """
    data = _data(primitive)
    hints = data.get("scheduler_hints") or {}
    image = data.get("image")
    return RequestSpec(
        server_id=data.get("instance_uuid") or "",
        project_id=data.get("project_id") or "",
        user_id=data.get("user_id"),
        flavor=read_flavor(data.get("flavor") or {}),
        image=read_image(image) if image else None,
        is_bfv=bool(data.get("is_bfv")),
        availability_zone=data.get("availability_zone"),
        num_instances=int(data.get("num_instances") or 1),
        scheduler_hints={key: tuple(value) if isinstance(value, list) else (value,) for key, value in hints.items()},
    )


def dump_connection_info(info: Mapping[str, Any] | None) -> str | None:
    """Return the text of ``block_device_mapping.connection_info``; an empty one is NULL."""
    return json.dumps(dict(info)) if info else None


def load_connection_info(text: str | None) -> dict[str, Any] | None:
    """Return the connection of a block device; NULL, ``{}`` and ``null`` all mean that there is none."""
    info = json.loads(text) if text else None
    return info if isinstance(info, dict) and info else None


def _primitive(name: str, version: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": dict(data),
    }


def _data(primitive: Mapping[str, Any]) -> Mapping[str, Any]:
    data: Mapping[str, Any] = primitive.get("nova_object.data") or {}
    return data
