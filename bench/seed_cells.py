# SPDX-License-Identifier: Apache-2.0
"""Fill an API database and its cells as real clouds are filled, so that figures of listing mean something.

Mapping ids are in the order of creation and cells are interleaved: seeded cell by cell, the newest page lies in one
cell and flatters whoever reads by mapping. Few flavors, network JSON distinct for each server, metadata on some,
volumes on some, faults on those in ERROR, a few deletes on their way, a few mappings that nova never migrated.
The same shape gives the same rows every time; the tables are ours or nova's.
"""

import dataclasses
import datetime as dt
import json
import random
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from cells import Cell, Database, Flavor, Registry, create_api, create_cell, encode
from cells import schema_cell as schema
from cells.schema_api import instance_mappings, request_specs

CELL0 = "00000000-0000-0000-0000-000000000000"
START = dt.datetime(2024, 1, 1)
BATCH = 2000
FLAVORS = tuple(
    Flavor(n, str(n), name, vcpus, vcpus * 2048, vcpus * 20, extra_specs={"hw_rng:allowed": "True"})
    for n, (name, vcpus) in enumerate([("m1.small", 1), ("m1.medium", 2), ("m1.large", 4), ("m1.xlarge", 8)], 1)
)
IMAGES = tuple(str(uuid.UUID(int=n)) for n in range(1, 6))
_FLAVOR_TEXT = tuple(encode.dump_instance_flavor(flavor) for flavor in FLAVORS)
_IMAGE_KEYS = ("image_base_image_ref", "image_min_disk", "image_min_ram", "image_container_format",
               "image_disk_format", "owner_user_name")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Shape:
    """How much of what; ``servers`` are those that live, ``deleted_each`` the unarchived deletes beside each of them.

    Projects are in all cells but the last one, which is in the first two. ``queued`` is the share of the living whose
    delete was accepted, ``unmigrated`` the share whose ``queued_for_delete`` is NULL.
    """

    servers: int = 96_000
    projects: int = 50
    deleted_each: int = 0
    queued: float = 0.05
    unmigrated: float = 0.01
    hosts: int = 20
    specs: bool = False
    seed: int = 1


@dataclasses.dataclass(frozen=True)
class Seeded:
    """One server as it will be written."""

    number: int
    id: str
    project: str
    cell: int
    created: dt.datetime
    queued: bool | None
    deleted: bool


def project_id(number: int) -> str:
    """Return the id of a project by its number."""
    return f"{number:032x}"


def plan(shape: Shape, cells: int) -> list[Seeded]:
    """Return all servers in the order of their creation, the deleted ones evenly among the living."""
    rng = random.Random(shape.seed)
    total = shape.servers * (1 + shape.deleted_each)
    step = dt.timedelta(days=700) / max(total, 1)
    made = []
    for number in range(total):
        project = rng.randrange(shape.projects)
        cell = rng.randrange(min(2, cells) if project == shape.projects - 1 else cells)
        deleted = number % (1 + shape.deleted_each) != 0
        chance = rng.random()
        queued = True if deleted or chance < shape.queued else None if chance > 1 - shape.unmigrated else False
        created = (START + number * step).replace(microsecond=0)
        made.append(Seeded(number, str(uuid.UUID(int=rng.getrandbits(128), version=4)), project_id(project), cell,
                           created, queued, deleted))  # fmt: skip
    return made


def seed(api: Database, cells: Sequence[tuple[Cell, Database]], shape: Shape) -> list[Seeded]:
    """Write mappings (request specs too if ``shape.specs``) and the servers of each cell; return what was written."""
    made = plan(shape, len(cells))
    _write(api, _mappings(made, [cell.id for cell, _ in cells], shape))
    for position, (cell, database) in enumerate(cells):
        theirs = [server for server in made if server.cell == position]
        _write(database, _servers(theirs, cell.name, shape))
    return made


def sqlite(directory: Path, cells: int) -> tuple[Registry, list[tuple[Cell, Database]]]:
    """Make empty databases as files: an API database, cell0 and ``cells`` cells."""
    return _make(cells, lambda name: f"sqlite:///{directory}/{name}.db")


def mariadb(url: str, cells: int, prefix: str) -> tuple[Registry, list[tuple[Cell, Database]]]:
    """Make empty databases on a server, named ``PREFIX_api``, ``PREFIX_cell0`` and so on, in place of older ones."""
    server = sa.make_url(url)
    engine = sa.create_engine(server.set(database=""), isolation_level="AUTOCOMMIT")

    def fresh(name: str) -> str:
        with engine.connect() as conn:
            conn.exec_driver_sql(f"DROP DATABASE IF EXISTS {prefix}_{name}")
            conn.exec_driver_sql(f"CREATE DATABASE {prefix}_{name} CHARACTER SET utf8mb3")
        return server.set(database=f"{prefix}_{name}").render_as_string(hide_password=False)

    try:
        return _make(cells, fresh)
    finally:
        engine.dispose()


def _make(cells, url_of):
    api = Database("api", url_of("api"))
    create_api(api)
    registry, made = Registry(api), []
    for number in range(cells + 1):
        name, url = f"cell{number}", url_of(f"cell{number}")
        cell = registry.add_cell(name, url, uuid=CELL0 if number == 0 else None)
        database = Database(name, url)
        create_cell(database)
        if number:
            made.append((cell, database))
        else:
            database.close()
    return registry, made


def _write(database: Database, rows: Iterator[tuple[sa.Table, dict]]) -> None:
    """Insert rows in batches, each batch of a table by one ``executemany``, parents before children."""
    waiting: dict[sa.Table, list[dict]] = {}
    with database.writer() as conn:
        for table, row in rows:
            waiting.setdefault(table, []).append(row)
            if len(waiting[table]) >= BATCH:
                _flush(conn, waiting)
        _flush(conn, waiting)


def _flush(conn: sa.Connection, waiting: dict[sa.Table, list[dict]]) -> None:
    for table, rows in sorted(waiting.items(), key=lambda item: item[0] is not schema.instances):
        conn.execute(table.insert(), rows)
    waiting.clear()


def _mappings(made, cell_ids, shape):
    for server in made:
        created = server.created
        yield instance_mappings, {
            "id": server.number + 1, "instance_uuid": server.id, "project_id": server.project,
            "user_id": user_of(server), "cell_id": cell_ids[server.cell], "queued_for_delete": server.queued,
            "created_at": created, "updated_at": created,
        }  # fmt: skip
        if shape.specs and not server.deleted:
            flavor, volume = FLAVORS[server.number % len(FLAVORS)], _boots_from_volume(server)
            spec = encode.request_spec(server_id=server.id, project_id=server.project, user_id=user_of(server),
                                       flavor=flavor, image={"id": image_of(server)}, is_bfv=volume)  # fmt: skip
            yield request_specs, {"instance_uuid": server.id, "spec": json.dumps(spec), "created_at": created}


def user_of(server: Seeded) -> str:
    """Return the id of a server's user: one of three in its project."""
    return f"{server.number % 3}{server.project[1:]}"


def image_of(server: Seeded) -> str:
    """Return the id of the image that a server was made from."""
    return IMAGES[server.number % len(IMAGES)]


def _boots_from_volume(server: Seeded) -> bool:
    return server.number % 3 == 0


def _servers(theirs, cell_name, shape):
    for number, server in enumerate(theirs, 1):
        # Satellites of a deleted server are deleted too, and like nova's each has its own id there.
        base = {"created_at": server.created, "deleted": number if server.deleted else 0,
                "deleted_at": server.created if server.deleted else None}  # fmt: skip
        yield schema.instances, _instance(server, number, cell_name, shape) | base
        of_server = base | {"instance_uuid": server.id}
        flavor = _FLAVOR_TEXT[server.number % len(FLAVORS)]
        yield schema.instance_extra, of_server | {"flavor": flavor}
        yield schema.instance_info_caches, of_server | {"network_info": network_info(server)}
        for key in _IMAGE_KEYS:
            yield schema.instance_system_metadata, of_server | {"key": key, "value": "20"}
        if server.number % 4 == 0:
            for key, value in (("app", "web"), ("tier", str(server.number % 7))):
                yield schema.instance_metadata, of_server | {"key": key, "value": value}
        for position in range(1 + _boots_from_volume(server)):
            yield schema.block_device_mapping, of_server | _device(server, position)
        if _state(server)[0] == "error":
            yield schema.instance_faults, of_server | {"code": 500, "message": "No valid host was found.",
                                                       "details": "Traceback", "host": None}  # fmt: skip
        if server.number % 20 == 0 and not server.deleted:
            yield schema.tags, {"resource_id": server.id, "tag": "prod"}


def _state(server):
    if server.deleted:
        return "deleted", None
    if server.queued:
        return ("error", None) if server.number % 2 else ("active", "deleting")
    return ("error" if server.number % 100 == 7 else "stopped" if server.number % 10 == 3 else "active"), None


def _instance(server, number, cell_name, shape):
    flavor, (vm_state, task_state) = FLAVORS[server.number % len(FLAVORS)], _state(server)
    name, host = f"vm-{server.number:08d}", f"{cell_name}-cmp{number % shape.hosts:03d}"
    launched = server.created + dt.timedelta(seconds=30)
    return {
        "id": number, "uuid": server.id, "user_id": user_of(server), "project_id": server.project,
        "reservation_id": f"r-{server.id[:8]}", "launch_index": 0, "display_name": name, "display_description": name,
        "hostname": name, "vm_state": vm_state, "task_state": task_state, "power_state": int(vm_state == "active"),
        "progress": 0, "locked": False, "hidden": False, "cleaned": 0, "host": host, "node": host,
        "launched_on": host, "availability_zone": "nova", "memory_mb": flavor.memory_mb, "vcpus": flavor.vcpus,
        "root_gb": flavor.root_gb, "ephemeral_gb": 0, "instance_type_id": flavor.id, "kernel_id": "",
        "image_ref": "" if _boots_from_volume(server) else image_of(server), "ramdisk_id": "",
        "root_device_name": "/dev/vda", "config_drive": "", "key_name": "k" if server.number % 2 else None,
        "auto_disk_config": True, "disable_terminate": False, "shutdown_terminate": False,
        "updated_at": launched, "launched_at": launched,
        "terminated_at": launched if server.deleted else None,
    }  # fmt: skip


def _device(server, position):
    volume = _boots_from_volume(server)
    number = uuid.UUID(int=uuid.UUID(server.id).int ^ (position + 1))
    return {
        "uuid": str(number), "device_name": f"/dev/vd{'ab'[position]}", "boot_index": 0 if position == 0 else None,
        "source_type": "image" if position == 0 else "volume", "destination_type": "volume" if volume else "local",
        "image_id": image_of(server) if position == 0 else None, "volume_id": str(number) if volume else None,
        "volume_size": 20 if volume else None, "connection_info": None, "no_device": False, "encrypted": False,
        "delete_on_termination": position == 0, "device_type": "disk", "disk_bus": "virtio",
    }  # fmt: skip


def network_info(server: Seeded) -> str:
    """Return the text of ``instance_info_caches.network_info``: one port with one fixed address, as nova caches it."""
    n = server.number
    address = f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"
    network = {
        "id": str(uuid.UUID(server.project)), "bridge": "br-int", "label": f"private-{server.project[:8]}",
        "subnets": [{"cidr": "10.0.0.0/8", "dns": [], "routes": [], "version": 4, "meta": {"dhcp_server": "10.0.0.2"},
                     "gateway": {"address": "10.0.0.1", "type": "gateway", "version": 4, "meta": {}},
                     "ips": [{"address": address, "type": "fixed", "version": 4, "meta": {}, "floating_ips": []}]}],
        "meta": {"injected": False, "tenant_id": server.project, "mtu": 1450},
    }  # fmt: skip
    mac = f"fa:16:3e:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"
    return json.dumps([{
        "id": str(uuid.UUID(int=uuid.UUID(server.id).int ^ 99)), "address": mac, "network": network, "type": "ovs",
        "details": {"port_filter": True}, "devname": f"tap{server.id[:11]}", "ovs_interfaceid": server.id,
        "qbh_params": None, "qbg_params": None, "active": True, "vnic_type": "normal", "profile": {}, "meta": {},
        "preserve_on_delete": False,
    }])  # fmt: skip
