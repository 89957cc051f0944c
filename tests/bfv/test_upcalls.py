# SPDX-License-Identifier: Apache-2.0
"""What runs on behalf of a cell never needs the API database: here it is gone once the server has its cell.

Doors need it (whose server is it, in which cell), and so does giving a server its cell; nothing after that does.
"""

import os

import pytest

import bfv
from bfv import dispatch
from bfv.cell_databases import CellDatabases
from bfv.errors import BadConfig, CellDown
from cells import hosts as cell_hosts
from cells import servers
from cells.types import Host
from tests import sites

HOST = {"host": "host1", "ip": "127.0.0.1", "initiator": "iqn.1993-08.org.debian:01:host1", "os_type": "linux"}
HOUR = 3600
SLOW = {"creating": {"seconds": HOUR}, "downloading": {"seconds": HOUR}}


@pytest.fixture(scope="module")
def site():
    with sites.mock() as site:
        yield site


@pytest.fixture
def world(site, tmp_path, request):
    site.call("admin", "PUT", f"{site.control_url}/pace", json=SLOW).raise_for_status()
    return sites.World(site, tmp_path, **getattr(request, "param", {}))


@pytest.fixture
def cloud(world):
    with world.cloud() as cloud:
        yield cloud


@pytest.fixture
def in_its_cell(site, cloud):
    """Boots a server up to where its volume is made in its cell, and returns the intent."""
    image = site.upload(os.urandom(1 << 20))
    request = bfv.BootRequest(image=image, flavor="tiny", name=sites.NAME, availability_zone="cell1")
    cloud.boot(request)
    [intent] = cloud.parts.journal.opened(request.server_id)
    sites.until(lambda: any(each.external_id for each in cloud.parts.journal.objects(intent)))
    return intent


def take_away(world, cloud):
    """Take the API database away, and see that it is."""
    path = world.home / "api.db"
    path.rename(world.home / "away.db")
    path.mkdir()
    cloud.parts.api.close()
    with pytest.raises(CellDown):
        cloud.parts.registry.cells()


def give_back(world):
    (world.home / "api.db").rmdir()
    (world.home / "away.db").rename(world.home / "api.db")


def an_hour_later(site):
    site.call("admin", "POST", f"{site.control_url}/clock", json={"advance": HOUR}).raise_for_status()


def ended(cloud, intent):
    cloud.engine.wait(intent.id, 60)
    intent = cloud.parts.journal.get(intent.id)
    assert not intent.is_open, cloud.parts.journal.history(intent)
    return intent.phase


def row(cloud, intent):
    return servers.get(cloud.parts.cells.named("cell1"), intent.server_id)


def run(cloud, verb, boot, **request):
    """Run a flow of a server in its cell, as a host's agent has it run."""
    intent = cloud.parts.journal.open(
        verb, boot.server_id, project_id=boot.project_id, user_id="-", request_id="req-1", request=request, cell="cell1"
    )
    dispatch.FLOWS[verb](cloud.parts, intent)
    assert not cloud.parts.journal.get(intent.id).is_open


def test_a_boot_that_has_its_cell_is_recorded_connected_and_disconnected(world, cloud, site, in_its_cell):
    take_away(world, cloud)

    an_hour_later(site)
    assert ended(cloud, in_its_cell) == "done"
    server = row(cloud, in_its_cell)
    assert (server.vm_state, server.task_state) == ("building", "spawning")

    run(cloud, "connect", in_its_cell, connector=HOST)
    [device] = row(cloud, in_its_cell).devices
    assert (row(cloud, in_its_cell).host, device.connection_info["driver_volume_type"]) == ("host1", "rbd")
    assert site.volumes()[device.volume_id]["status"] == "in-use"

    host = Host("cell1", "host1", "host1", vcpus=4, memory_mb=4096, vcpus_used=1, running_vms=1)
    cell_hosts.register(cloud.parts.cells.named("cell1"), host)
    assert cell_hosts.report(cloud.parts.cells.named("cell1"), [host]) == []
    assert cell_hosts.list(cloud.parts.cells.named("cell1"), "cell1")[0].vcpus_used == 1

    run(cloud, "disconnect", in_its_cell)
    assert row(cloud, in_its_cell).host is None
    assert site.volumes()[device.volume_id]["status"] == "reserved"

    give_back(world)
    cloud.delete(in_its_cell.server_id)
    assert site.volumes() == {}


@pytest.mark.parametrize("world", [{"volume_timeout": 0.2, "per_gib": 0}], indirect=True)
def test_a_boot_that_fails_in_its_cell_is_in_error_there_with_its_reason(world, cloud, site, in_its_cell):
    take_away(world, cloud)

    sites.until(lambda: cloud.parts.journal.get(in_its_cell.id).phase == "unwinding")
    an_hour_later(site)
    assert ended(cloud, in_its_cell) == "failed"
    server = row(cloud, in_its_cell)
    assert (server.vm_state, server.task_state) == ("error", None)
    assert "was still" in server.fault.details
    assert site.volumes() == {}


def test_a_cell_that_was_never_read_cannot_be_found_without_the_api_database(world, cloud):
    take_away(world, cloud)
    with pytest.raises(CellDown):
        cloud.parts.cells.named("cell1")


def test_a_cell_that_was_read_is_what_it_was_then_and_read_anew_after_a_while(world, cloud):
    registry = cloud.parts.registry
    lasting, fleeting = (CellDatabases(cloud.parts.conf, registry, known_for) for known_for in (60, 0))
    before = registry.cell("cell1")
    assert lasting.cell("cell1") == fleeting.cell("cell1") == before

    after = registry.update_cell("cell1", disabled=True)
    assert (lasting.cell("cell1"), fleeting.cell("cell1")) == (before, after)

    take_away(world, cloud)
    assert (lasting.cell("cell1"), fleeting.cell("cell1")) == (before, after)


def test_a_cell_without_a_mapping_says_what_to_do(cloud):
    with pytest.raises(BadConfig, match="bfv cell create"):
        cloud.parts.cells.named("cell9")
