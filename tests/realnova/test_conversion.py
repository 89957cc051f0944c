# SPDX-License-Identifier: Apache-2.0
"""Servers of a real nova leave its rbd backend and come back; the guest's own count of its starts is the marker."""

import json

import pytest
import sqlalchemy as sa

from bfv.migrate import records
from cells import dump
from cells.schema_api import request_specs

pytestmark = [pytest.mark.nova, pytest.mark.timeout(900)]


def rows(cloud, server_id):
    """Return every row of a server in both databases, but for when the lock of a conversion touched its row."""
    told = {table: [dict(row) for row in found] for table, found in dump.server(cloud.database, server_id).items()}
    del told["instances"][0]["updated_at"]
    with cloud.parts.api.reader() as conn:
        query = sa.select(request_specs).where(request_specs.c.instance_uuid == server_id)
        return {**told, "request_specs": [tuple(row) for row in conn.execute(query)]}


def test_a_converted_server_runs_from_its_volume_as_one_that_booted_from_it_and_goes_without_a_trace(cloud, make):
    server = make()
    cloud.until_started(server, 1)
    assert (cloud.source(server), cloud.allocation(server)["DISK_GB"]) == ((f"vms/{server}_disk", None), 1)

    (plan,) = json.loads(cloud.bfv("--json", "migrate", "plan", "--server", server))
    assert (plan["way"], plan["running"], plan["refusals"]) == ("live", True, [])
    cloud.convert(server, "--stop-and-start")

    # What the guest wrote at its first start is read at the second: these are the old disk's bytes.
    cloud.until_started(server, 2)
    volume = cloud.volume_of(server)["id"]
    assert cloud.source(server) == (f"volumes/volume-{volume}", volume)
    shown = cloud.show(server)
    assert (shown["status"], shown["image"], shown["locked"]) == ("ACTIVE", "", False)
    assert shown["os-extended-volumes:volumes_attached"] == [{"id": volume, "delete_on_termination": True}]
    assert f"{server}_disk" not in cloud.pool("vms")

    genuine = make(volume=True)
    cloud.until_started(genuine, 1)
    cloud.reboot(server, "SOFT", starts=3)
    cloud.reboot(server, "HARD", starts=4)
    cloud.reboot(genuine, "HARD", starts=2)
    assert [(each.where, each.converted, each.genuine) for each in records.compare(cloud.parts, server, genuine)] == []

    cloud.stop(server)
    cloud.start(server, starts=5)
    cloud.bfv("migrate", "purge", server)
    assert cloud.source(server) == (f"volumes/volume-{volume}", volume)
    cloud.delete(server)
    assert (cloud.volume_of(server), cloud.attachments_of(server), cloud.allocation(server)) == (None, [], {})
    left = {name for pool in ("vms", "volumes") for name in cloud.pool(pool) if server in name or volume in name}
    assert left == set()


def test_a_server_that_was_not_started_comes_back_to_the_bit_and_one_that_ran_keeps_what_it_wrote(cloud, server):
    before, counted = rows(cloud, server), cloud.allocation(server)
    cloud.convert(server)
    assert rows(cloud, server) != before
    cloud.bfv("migrate", "undo", server)
    assert (rows(cloud, server), cloud.allocation(server)) == (before, counted)
    assert cloud.attachments_of(server) == []

    cloud.convert(server)
    cloud.start(server, starts=2)
    cloud.bfv("migrate", "undo", "--stop-and-start", server)
    # The second start was counted on the volume.
    cloud.until_started(server, 3)
    assert cloud.source(server) == (f"vms/{server}_disk", None)
    assert f"{server}_disk" in cloud.pool("vms")


def test_in_place_it_runs_from_the_same_image_by_another_name_and_comes_back_with_what_it_wrote(cloud, server):
    before = cloud.pool("vms")

    cloud.convert(server, "--tier", "inplace")

    volume = cloud.volume_of(server)["id"]
    assert cloud.pool("vms") - before == {f"volume-{volume}"}
    cloud.start(server, starts=2)
    assert cloud.source(server) == (f"vms/volume-{volume}", volume)
    cloud.reboot(server, "HARD", starts=3)
    cloud.bfv("migrate", "undo", "--stop-and-start", server)
    cloud.until_started(server, 4)
    assert (cloud.source(server), cloud.pool("vms")) == ((f"vms/{server}_disk", None), before)


def test_a_volume_that_was_made_beforehand_gets_the_disk_and_all_of_a_genuine_one(cloud, make):
    server = make()
    cloud.until_started(server, 1)
    cloud.convert(server, "--stop-and-start", settings="[migrate]\nadopt = placeholder\n")
    cloud.until_started(server, 2)
    volume = cloud.volume_of(server)["id"]
    assert cloud.source(server) == (f"volumes/volume-{volume}", volume)
    genuine = make(volume=True)
    cloud.until_started(genuine, 1)
    cloud.reboot(server, "HARD", starts=3)
    cloud.reboot(genuine, "HARD", starts=2)
    assert [(each.where, each.converted, each.genuine) for each in records.compare(cloud.parts, server, genuine)] == []
    cloud.bfv("migrate", "purge", server)


def test_a_copy_of_the_disk_starts_too_and_the_old_one_is_out_of_novas_sight(cloud, server):
    cloud.convert(server, "--way", "clone")
    volume = cloud.volume_of(server)["id"]
    # By its old name nova would start it, or sweep it up with the server.
    assert not [name for name in cloud.pool("vms") if name.startswith(server)]
    cloud.start(server, starts=2)
    assert cloud.source(server) == (f"volumes/volume-{volume}", volume)
    cloud.bfv("migrate", "purge", server)
