# SPDX-License-Identifier: Apache-2.0
"""A conversion's half that lies in records: nova's rows, the request spec, placement. It knows no image.

The rows of the cell are one transaction, the point of no return; what lies in other systems follows it, and each
function comes to the same end when it is called again. ``contract.Records`` is what the engine may rely on.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bfv.errors import Conflict, NotFound
from bfv.migrate.compare import compare
from bfv.migrate.contract import Bound, Facts, Snapshot
from bfv.migrate.facts import facts_of
from bfv.parts import Parts
from bfv.placement import disk_of
from bfv.records import connection_info
from bfv.spawn import driver_of
from bfv.types import new_request_id
from cells import candidates, encode, rootdisk, servers
from cells.database import Database
from cells.errors import Changed, NotMapped
from imagebackends.types import Access, Attachment

__all__ = ["after", "before", "check_restore", "compare", "connector", "facts", "image_metadata", "is_switched",
           "restore", "snapshot", "switch"]  # fmt: skip

# cinder/volume/volume_utils.py:IMAGE_ATTRIBUTES
_IMAGE = ("checksum", "container_format", "disk_format", "min_disk", "min_ram", "size")


def facts(
    parts: Parts,  # noqa: ARG001 (the contract's)
    database: Database,
    *,
    server_ids: Sequence[str] | None = None,
    project_id: str | None = None,
    host: str | None = None,
) -> list[Facts]:
    """Return the live servers of a cell that fit, by id; four statements for each 500. Raises CellDown."""
    found = candidates.read(database, server_ids=server_ids, project_id=project_id, host=host)
    return [facts_of(one) for one in found]


def connector(parts: Parts, database: Database, server_id: str) -> Mapping[str, Any]:
    """Return the connector of the server's host: the driver's, or what nova's rows tell of the host.

    What nova's libvirt driver tells cinder (``nova/virt/libvirt/driver.py:get_volume_connector``), but for the
    host's own initiators, which no row has and cinder's rbd driver does not read. Raises NotFound.
    """
    server = servers.find(database, server_id)
    if server is None or server.host is None:
        raise NotFound(f"Server {server_id} could not be found on a host.")
    if parts.driver is not None:
        return driver_of(parts).connector(server.host)
    address = candidates.host_address(database, server.host, server.node)
    found = {"host": server.host, "ip": address, "platform": "x86_64", "os_type": "linux", "multipath": False,
             "enforce_multipath": True, "do_local_attach": False, "mountpoint": server.root_device_name}  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def before(parts: Parts, database: Database, server_id: str) -> Snapshot:
    """Return all that a conversion changes. Raises NotFound, Conflict (no one root device), CellDown, MaybeRunning."""
    try:
        rows = rootdisk.read(database, server_id)
    except NotMapped as error:
        raise NotFound(str(error)) from error
    except Changed as error:
        raise Conflict(str(error)) from error
    spec = rootdisk.read_spec(parts.api, server_id)
    if spec is not None:
        rows = {**rows, "request_specs": [{key: value for key, value in spec.items() if key != "spec"}]}
    return Snapshot(
        server_id=server_id,
        project_id=rows["instances"][0]["project_id"],
        rows=rows,
        request_spec=None if spec is None else spec["spec"],
        allocation=parts.placement.allocation(_access(parts), server_id),
    )


def snapshot(data: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot that ``Snapshot.to_dict`` gave, read from JSON."""
    return Snapshot(**data)


def image_metadata(parts: Parts, snapshot: Snapshot) -> Mapping[str, str]:
    """Return the ``volume_image_metadata`` that a genuine volume of the server's image has.

    ``cinder/volume/volume_utils.py:get_volume_image_metadata``: what Glance says of the image, or, where it is deleted
    there, what the server's request spec kept of it. Empty where nobody knows it any more. Raises MaybeRunning.
    """
    image_id = snapshot.rows["instances"][0]["image_ref"]
    try:
        image = dataclasses.asdict(parts.images.get(_access(parts), image_id))
    except NotFound:
        image = _kept_image(snapshot)
    if not image:
        return {}
    found = {key: value for key, value in image["properties"].items() if value is not None}
    found |= {key: image.get(key) for key in _IMAGE if image.get(key) is not None}
    if image.get("name"):
        found["image_name"] = image["name"]
    return {**{key: str(value) for key, value in found.items()}, "image_id": image_id}


def is_switched(database: Database, snapshot: Snapshot) -> bool | None:
    """Return whether the root is a volume now, None for a server that is gone. Raises Conflict, CellDown."""
    try:
        return rootdisk.is_volume(database, snapshot.server_id)
    except Changed as error:
        raise Conflict(str(error)) from error


def switch(database: Database, snapshot: Snapshot, bound: Bound) -> None:
    """Make the root the volume, in one transaction: the point of no return; repeatable.

    Called again with another attachment of the same volume, or where nova has lost the connection or removed the root
    device, it writes them again. Raises NotFound, CellDown; Conflict, and changes nothing, if the server is not off, or
    a row is not what it was and not what it becomes.
    """
    disk = bound.volume
    attached = Attachment(bound.attachment_id, disk.id, snapshot.server_id, "reserved", bound.connection)
    info = connection_info(attached)
    root = rootdisk.RootVolume(disk.id, disk.size, disk.volume_type, bound.attachment_id, info)
    try:
        rootdisk.switch(database, _cell_rows(snapshot), root)
    except NotMapped as error:
        raise NotFound(str(error)) from error
    except Changed as error:
        raise Conflict(str(error)) from error


def after(parts: Parts, snapshot: Snapshot, bound: Bound) -> None:  # noqa: ARG001 (the contract's)
    """Write what lies in other systems: the request spec's ``is_bfv``, the allocation without the root disk.

    Nova heals neither (``nova-manage placement heal_allocations --force`` would the second). Raises CellDown,
    MaybeRunning, NotAllowed.
    """
    rootdisk.switch_spec(parts.api, snapshot.server_id)
    if snapshot.allocation is not None:
        old, new = _disk_counts(snapshot)
        parts.placement.set_disk(_access(parts), snapshot.allocation, snapshot.server_id, old, new)


def restore(parts: Parts, database: Database, snapshot: Snapshot, volume_id: str | None = None) -> None:
    """Make the root the local disk again, and what lies in other systems as it was; repeatable.

    Rows that nobody else changed since the switch come back bit for bit; placement's generations go on counting.
    Raises NotFound, CellDown, MaybeRunning, NotAllowed; Conflict where the server is not off or moved on: another
    volume than ``volume_id`` is its root, or it was rebuilt or resized; Failed when its host has no room for its disk
    any more (placement).
    """
    _told(rootdisk.restore, database, snapshot, volume_id)
    if snapshot.request_spec is not None:
        rootdisk.restore_spec(parts.api, {**snapshot.rows["request_specs"][0], "spec": snapshot.request_spec})
    if snapshot.allocation is not None:
        old, new = _disk_counts(snapshot)
        parts.placement.set_disk(_access(parts), snapshot.allocation, snapshot.server_id, new, old)


def check_restore(database: Database, snapshot: Snapshot, volume_id: str | None = None) -> None:
    """Raise what ``restore`` would raise of the cell's rows now, and change nothing."""
    _told(rootdisk.check_restore, database, snapshot, volume_id)


def _told(act: Callable[..., object], database: Database, snapshot: Snapshot, volume_id: str | None) -> None:
    try:
        act(database, _cell_rows(snapshot), volume_id)
    except NotMapped as error:
        raise NotFound(str(error)) from error
    except Changed as error:
        raise Conflict(str(error)) from error


def _kept_image(snapshot: Snapshot) -> dict[str, Any]:
    if snapshot.request_spec is None:
        return {}
    image = encode.read_request_spec(json.loads(snapshot.request_spec)).image
    return dict(image) if image and image.get("id") == snapshot.rows["instances"][0]["image_ref"] else {}


def _cell_rows(snapshot: Snapshot) -> rootdisk.Rows:
    return {table: rows for table, rows in snapshot.rows.items() if table != "request_specs"}


def _disk_counts(snapshot: Snapshot) -> tuple[int, int]:
    """Return what placement counts in GiB of the host's disks before and after (``nova/scheduler/utils.py``)."""
    assert snapshot.allocation is not None
    old = disk_of(snapshot.allocation)
    return old, max(0, old - (snapshot.rows["instances"][0]["root_gb"] or 0))


def _access(parts: Parts) -> Access:
    auth = parts.rights.service()
    return Access(auth, "", new_request_id())
