# SPDX-License-Identifier: Apache-2.0
"""What a real nova does with rows that are half right: what it destroys, what it does not heal, and what then does."""

import os
import signal
import time

import pytest
import sqlalchemy as sa

from bfv.migrate import records
from bfv.migrate.contract import Bound
from cells import servers
from cells.schema_cell import block_device_mapping
from tests import sites
from tests.flows.test_records import Act
from tests.realnova.cloud import COMPUTE_URL, rbd

pytestmark = [pytest.mark.nova, pytest.mark.timeout(900)]


def access(cloud, server_id):
    return cloud.parts.rights.storage(Act("test", servers.get(cloud.database, server_id).project_id))


def attach(cloud, server_id, volume_id):
    """Attach a volume to a server's host as a conversion does, and return what its rows are to name."""
    backend, rights = cloud.parts.backend, access(cloud, server_id)
    made = backend.attach(rights, volume_id, server_id)
    connector = records.connector(cloud.parts, cloud.database, server_id)
    connected = backend.connect(rights, made.id, connector)
    backend.complete(rights, made.id)
    return Bound(backend.get(rights, volume_id), made.id, connected.connection)


@pytest.fixture
def converted(cloud, server):
    """A server that was converted and is off: its id, its rows of before, and its volume as it is attached."""
    before = records.before(cloud.parts, cloud.database, server)
    cloud.convert(server)
    backend, rights = cloud.parts.backend, access(cloud, server)
    (made,) = backend.attachments(rights, server_id=server)
    connected = backend.connect(rights, made.id, records.connector(cloud.parts, cloud.database, server))
    backend.complete(rights, made.id)
    return server, before, Bound(backend.get(rights, made.disk_id), made.id, connected.connection)


def forget_connection(cloud, server_id):
    (device,) = servers.get(cloud.database, server_id).devices
    servers.update_device(cloud.database, device.uuid, connection_info=None)


def test_without_a_connection_nova_looks_for_the_local_disk_until_it_is_written_again(cloud, converted):
    server, before, bound = converted
    forget_connection(cloud, server)
    cloud.act(server, "os-start")
    sites.until(lambda: cloud.show(server)["OS-EXT-STS:task_state"] is None)
    assert cloud.show(server)["status"] == "SHUTOFF"
    cloud.act(server, "reboot", type="HARD")
    cloud.until(server, "error")
    assert servers.get(cloud.database, server).devices[0].connection_info is None

    records.switch(cloud.database, before, bound)
    cloud.reboot(server, "HARD", starts=2)
    assert cloud.source(server) == (f"volumes/volume-{bound.volume.id}", bound.volume.id)


def test_beside_an_old_disk_that_is_still_there_a_lost_connection_starts_the_old_bytes(cloud, converted):
    server, before, bound = converted
    forget_connection(cloud, server)
    rbd("cp", f"volumes/volume-{bound.volume.id}", f"vms/{server}_disk")
    # Two sources of one disk: nova starts the wrong one and says nothing. So no way leaves the old one by its name.
    cloud.start(server, starts=2)
    assert cloud.source(server) == (f"vms/{server}_disk", None)
    cloud.stop(server)

    records.switch(cloud.database, before, bound)
    cloud.start(server, starts=2)
    assert cloud.source(server) == (f"volumes/volume-{bound.volume.id}", bound.volume.id)
    cloud.stop(server)
    rbd("rm", f"vms/{server}_disk")


def test_an_attachment_that_no_row_names_is_deleted_at_a_reboot_and_the_next_run_attaches_anew(cloud, server):
    device = servers.get(cloud.database, server).devices[0]
    with cloud.database.writer() as conn:
        # Nothing else of a conversion waits for this row: the process stands between attachment and switch.
        held = sa.select(block_device_mapping).where(block_device_mapping.c.uuid == device.uuid).with_for_update()
        conn.execute(held)
        process = cloud.begin(server)
        sites.until(lambda: [key for key, each in cloud.site.attachments().items()
                             if each["instance"] == server and each["status"] == "attached"])  # fmt: skip
        time.sleep(1)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    (lost,) = cloud.attachments_of(server)
    assert (
        cloud.site.call("demo", "POST", f"{COMPUTE_URL}/servers/{server}/action", json={"os-start": None}).status_code
        == 409
    )
    cloud.act_as_operator(server, "reboot", type="HARD")
    cloud.until(server, "error")
    assert cloud.attachments_of(server) == []

    cloud.bfv("repair")
    (found,) = cloud.attachments_of(server)
    assert found != lost
    assert servers.get(cloud.database, server).devices[0].attachment_id == found
    cloud.reboot(server, "HARD", starts=2)
    assert cloud.source(server)[0] == f"volumes/volume-{cloud.volume_of(server)['id']}"


def test_a_root_whose_attachment_is_gone_is_removed_by_nova_and_comes_back_by_the_same_switch(cloud, converted):
    server, before, bound = converted
    cloud.start(server, starts=2)
    cloud.parts.backend.detach(access(cloud, server), bound.attachment_id)
    cloud.act(server, "reboot", type="HARD")
    cloud.until(server, "error")
    assert servers.get(cloud.database, server).devices == ()
    assert cloud.show(server)["os-extended-volumes:volumes_attached"] == []

    again = attach(cloud, server, bound.volume.id)
    records.switch(cloud.database, before, again)
    cloud.reboot(server, "HARD", starts=3)
    assert cloud.show(server)["os-extended-volumes:volumes_attached"] == [
        {"id": bound.volume.id, "delete_on_termination": True}
    ]


def test_a_converted_server_that_is_deleted_before_purge_leaves_nothing_once_it_is_repaired(cloud, converted):
    server, _, bound = converted
    cloud.start(server, starts=2)
    cloud.delete(server)
    cloud.bfv("repair")
    sites.until(lambda: cloud.site.settle(bound.volume.id, None, seconds=30) is None)
    assert not [name for pool in ("vms", "volumes") for name in cloud.pool(pool) if bound.volume.id in name]
