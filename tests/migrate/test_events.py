# SPDX-License-Identifier: Apache-2.0
"""What goes wrong or comes between, and leaves each server wholly old or wholly new: one way shows it."""

import json
import signal
import subprocess
import sys

import pytest
import requests
import sqlalchemy as sa

from bfv.drivers import example
from bfv.drivers.contract import guest_of
from cells import servers
from tests import sites
from tests.migrate import disks

pytestmark = pytest.mark.parametrize("cloud", ["rename"], indirect=True)


def is_untouched(cloud, key, rows):
    assert cloud.rows(key) == rows
    assert cloud.pool.find(f"{key}_disk") is not None
    assert [each for each in cloud.site.attachments().values() if each["instance"] == key] == []
    mine = [each for each in cloud.site.volumes().values() if (each["name"] or "").startswith(sites.NAME)]
    assert mine == []


def test_a_server_that_runs_is_left_alone(cloud, image_id):
    key = cloud.server(image_id, vm_state="active", power_state=1)
    rows = cloud.rows(key)

    done = cloud.convert(key, expect=1)

    assert (done["state"], "--stop-and-start" in done["reason"]) == ("failed", True)
    is_untouched(cloud, key, rows)


def test_what_cinder_fails_to_manage_after_its_202_is_disowned_and_never_deleted(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    rows, before = cloud.rows(key), cloud.pool.read(f"{key}_disk", 0, disks.LENGTH)

    [done] = cloud.migrate("run", "--server", key, "--tier", "wrong", "--no-rehearsal", expect=1)

    assert done["state"] == "failed"
    assert "its type (cell2) must lead to" in done["reason"].lower()
    is_untouched(cloud, key, rows)
    assert cloud.pool.read(f"{key}_disk", 0, disks.LENGTH) == before
    assert (cloud.state(key), cloud.opened()) == (["failed"], [])


def test_a_rehearsal_that_fails_ends_it_before_a_server_is_touched(cloud, image_id):
    key = cloud.server(image_id)
    rows = cloud.rows(key)

    words = cloud.migrate("run", "--server", key, "--tier", "wrong", expect=1)

    assert "No server was touched" in words
    is_untouched(cloud, key, rows)
    assert [each for each in cloud.pool.names() if "rehearsal" in each] == []
    assert (cloud.state(key), cloud.opened()) == ([], [])


def test_a_cause_that_repeats_stops_the_wave(cloud, image_id):
    keys = [cloud.server(image_id) for _ in range(4)]
    words = ["--tier", "wrong", "--no-rehearsal", "--workers", "1", "--failure-budget", "2"]

    done = cloud.migrate("run", "--cell", "cell1", *words, expect=1)

    states = [each["state"] for each in done if each["server_id"] in keys]
    assert sorted(states) == ["failed", "failed", "not begun", "not begun"]
    assert all("2 servers failed for one cause" in each["reason"] for each in done if each["state"] == "not begun")


def test_a_limit_leaves_the_others_and_the_next_run_goes_on(cloud, image_id):
    keys = {cloud.server(image_id) for _ in range(3)}
    words = ["run", "--cell", "cell1", "--no-rehearsal"]

    first = cloud.migrate(*words, "--limit", "1", "--wave", "a")
    assert [each["state"] for each in first] == ["converted"]
    second = cloud.migrate(*words, "--wave", "b")

    assert {each["server_id"] for each in second} == keys - {first[0]["server_id"]}
    assert {each["wave"] for each in cloud.migrate("status")} == {"a", "b"}
    cloud.migrate("purge", "--wave", "b")
    assert sorted(each["state"] for each in cloud.migrate("status")) == ["purged", "purged", "settled"]


@pytest.fixture
def one_quick(cloud):
    """Have what comes after the first conversion be slow; in the lab each is."""
    rule = {"kind": "late", "method": "POST", "path": "/manageable_volumes", "nth": 2, "times": 0, "seconds": 5}
    url = cloud.site.control_url
    if url:
        requests.post(f"{url}/faults", json=rule, timeout=60).raise_for_status()
    yield
    if url:
        requests.delete(f"{url}/faults", timeout=60).raise_for_status()


@pytest.mark.usefixtures("one_quick")
def test_a_wave_that_is_asked_to_stop_finishes_what_it_began(cloud, image_id):
    keys = [cloud.server(image_id) for _ in range(6)]
    command = [sys.executable, "-m", "bfv", "--config-file", str(cloud.config), "--json", "migrate", "run", "--cell",
               "cell1", "--no-rehearsal", "--workers", "1"]  # fmt: skip
    running = subprocess.Popen(command, env=cloud.environment("bfv"), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    sites.until(lambda: any(cloud.root(key).volume_id for key in keys))
    running.send_signal(signal.SIGTERM)

    out, told = running.communicate(timeout=300)

    done = json.loads(out)
    assert running.returncode == 1
    assert f"{[each['state'] for each in done].count('converted')} converted in " in told
    assert " a minute" in told
    states = {each["state"] for each in done}
    assert states == {"converted", "not begun"}
    assert all("SIGTERM" in each["reason"] for each in done if each["state"] == "not begun")
    for each in done:
        assert (cloud.root(each["server_id"]).volume_id is not None) == (each["state"] == "converted")


def test_an_attachment_that_nova_deleted_after_a_crash_is_made_anew(cloud, image_id):
    first = cloud.server(image_id)
    counts = json.loads(cloud.victim(["none", "0", "migrate", first], user="bfv").stdout.splitlines()[-1])
    key = cloud.server(image_id)
    # The last call before the switch says that the attachment is complete.
    died = cloud.victim(["after", str(counts["after"]), "migrate", key], user="bfv")
    assert (died.returncode, cloud.root(key).volume_id) == (-9, None)
    [lost] = [each for each in cloud.site.attachments().values() if each["instance"] == key]
    headers = {"X-Service-Token": cloud.site.auth("bfv").get_token(sites._session())}
    cloud.site.call("bfv", "DELETE", f"{cloud.site.volume_url}/attachments/{lost['id']}", headers=headers)

    cloud.run("repair", user="bfv")

    root = cloud.root(key)
    [found] = [each for each in cloud.site.attachments().values() if each["instance"] == key]
    assert (found["id"], found["volume_id"]) == (root.attachment_id, root.volume_id)
    assert found["id"] != lost["id"]
    assert cloud.site.volumes()[root.volume_id]["status"] == "in-use"


def test_another_run_goes_on_where_a_dead_one_was(cloud, image_id):
    key = cloud.server(image_id, parent=image_id)
    died = cloud.victim(["after", "2", "migrate", key], user="bfv")
    assert died.returncode == -9
    # The disk is a volume already, so a new plan finds none; the one that was written down counts.
    assert cloud.pool.find(f"{key}_disk") is None
    assert cloud.migrate("plan", "--server", key)[0]["refusals"]

    done = cloud.convert(key)

    assert (done["state"], cloud.state(key)) == ("converted", ["settled"])
    assert cloud.root(key).volume_id in cloud.site.volumes()


def test_a_volume_that_its_owner_extended_has_no_way_back_and_one_with_snapshots_waits(cloud, image_id):
    grown, kept = cloud.server(image_id), cloud.server(image_id)
    for key in (grown, kept):
        cloud.convert(key)
    volume, other = cloud.root(grown).volume_id, cloud.root(kept).volume_id
    path = f"{cloud.site.volume_url}/volumes/{volume}/action"
    assert cloud.site.call("admin", "POST", path, json={"os-extend": {"new_size": 2}}).status_code == 202
    sites.until(lambda: cloud.site.volumes()[volume]["size"] == 2)
    snapshot = cloud.site.snapshot(other)

    [said] = cloud.migrate("undo", grown, expect=1)
    assert "extended from 1 to 2 GiB" in said["why"]
    [said] = cloud.migrate("undo", kept, expect=1)
    assert snapshot in said["why"]

    assert {cloud.root(key).destination_type for key in (grown, kept)} == {"volume"}
    assert (cloud.state(grown), cloud.state(kept)) == (["settled"], ["settled"])
    cloud.site.drop_snapshot(snapshot)
    cloud.migrate("undo", kept)
    assert cloud.root(kept).destination_type == "local"
    cloud.migrate("purge", grown)


def test_a_server_that_moved_comes_back_where_it_is_and_one_that_was_rebuilt_or_resized_does_not(cloud, image_id):
    moved, rebuilt, resized = (cloud.server(image_id) for _ in range(3))
    for key in (moved, rebuilt, resized):
        cloud.convert(key)
    with cloud.cloud("bfv") as own:
        database = own.parts.cells.named("cell1")
        servers.update(database, moved, host="host2", node="host2")
        with database.writer() as conn:
            conn.execute(sa.text("UPDATE instances SET root_gb = 5 WHERE uuid = :key"), {"key": resized})
    # What a rebuild leaves in cinder (cinder/volume/manager.py:reimage).
    path = f"{cloud.site.volume_url}/volumes/{cloud.root(rebuilt).volume_id}/action"
    metadata = {"os-set_image_metadata": {"metadata": {"image_id": "another"}}}
    assert cloud.site.call("admin", "POST", path, json=metadata).status_code == 200

    cloud.migrate("undo", moved)
    said = [cloud.migrate("undo", key, expect=1)[0]["why"] for key in (rebuilt, resized)]

    assert "was rebuilt from image another" in said[0]
    assert "changed: root_gb" in said[1]
    assert [cloud.root(key).destination_type for key in (moved, rebuilt, resized)] == ["local", "volume", "volume"]
    assert cloud.rows(moved)["cell1.instances"][0]["host"] == "host2"
    assert {cloud.state(key)[0] for key in (rebuilt, resized)} == {"settled"}
    for key in (rebuilt, resized):
        cloud.migrate("purge", key)
    assert cloud.opened() == []


@pytest.fixture
def driven(cloud, ground, tmp_path):
    """A cloud whose hosts a driver of ours runs."""
    home = tmp_path / "driven"
    home.mkdir()
    more = f"\n[compute]\ndriver = example\nreport_interval = 60\n[{example.GROUP}]\nstate_path = {home}/guests\n"
    made = disks.Cloud(ground, home, cloud.way, more=more)
    yield made
    made.clean()


def test_a_host_whose_first_server_does_not_come_up_gets_no_second(driven, image_id):
    where = {"host": "cell1-host1", "node": "cell1-host1"}
    keys = [driven.server(image_id, vm_state="active", power_state=1, **where) for _ in range(3)]
    with driven.cloud("bfv") as cloud:
        for key in keys:
            guest = guest_of(servers.get(cloud.parts.cells.named("cell1"), key))
            cloud.parts.driver.plug("cell1-host1", guest)
            cloud.parts.driver.spawn("cell1-host1", guest)
    driven.config.write_text(driven.config.read_text() + "fails = start:failed\n")

    done = driven.migrate("run", "--host", "cell1-host1", "--no-rehearsal", "--stop-and-start", expect=1)

    assert [each["state"] for each in done] == ["not up", "not begun", "not begun"]
    assert all("host cell1-host1 did not come up" in each["reason"] for each in done[1:])
    assert [driven.root(each["server_id"]).destination_type for each in done] == ["volume", "local", "local"]
    driven.config.write_text(driven.config.read_text().replace("fails = start:failed\n", ""))
    driven.migrate("undo", done[0]["server_id"])
    assert driven.root(done[0]["server_id"]).destination_type == "local"


def test_a_driver_stops_and_starts_its_guest_around_it(driven, image_id):
    key = driven.server(image_id, vm_state="active", power_state=1, host="cell1-host1", node="cell1-host1")
    with driven.cloud("bfv") as cloud:
        driver, database = cloud.parts.driver, cloud.parts.cells.named("cell1")
        guest = guest_of(servers.get(database, key))
        driver.plug("cell1-host1", guest)
        driver.spawn("cell1-host1", guest)

    for verb, volumes in (("run", 1), ("undo", 0)):
        words = ["--server", key, "--no-rehearsal"] if verb == "run" else [key]
        driven.migrate(verb, *words, "--stop-and-start")

        with driven.cloud("bfv") as cloud:
            row = servers.get(cloud.parts.cells.named("cell1"), key)
            assert (row.vm_state, row.power_state, cloud.parts.driver.power_state("cell1-host1", key)) == (
                "active",
                1,
                1,
            )
        [file] = (driven.home / "guests").rglob("*.volumes")
        assert len(json.loads(file.read_text())) == volumes
