# SPDX-License-Identifier: Apache-2.0
"""Conversions over HTTP: planned, run as a job that survives its process, told to owners, undone, purged."""

import contextlib
import datetime as dt

import pytest

from bfv import config
from bfv.api.service import Service
from bfv.cloud import Cloud
from tests import sites
from tests.api.conftest import Door
from tests.migrate import disks

MIGRATIONS = "/bfv/migrations"


@pytest.fixture
def world(ground, tmp_path):
    made = disks.Cloud(ground, tmp_path)
    yield made
    made.clean()


@contextlib.contextmanager
def served(world):
    cloud = Cloud(config.load(world.config), None, bindings=world.site.bindings)
    try:
        with Service(cloud, "127.0.0.1", 0) as service:
            yield Door(world, service.url, cloud)
    finally:
        cloud.close(30)


def ended(door, key):
    def job():
        return door("GET", f"{MIGRATIONS}/jobs/{key}", user="admin").json()["job"]

    sites.until(lambda: job()["state"] not in ("running", "stopping"))
    return job()


def migration(door, key, user="demo"):
    return door("GET", f"/bfv/servers/{key}/migration", user=user)


def becomes(door, key, state):
    sites.until(lambda: migration(door, key).json()["migration"]["state"] == state)


def test_servers_are_planned_converted_undone_and_purged_over_http(world, image_id):
    first, second = (world.server(image_id, parent=image_id) for _ in range(2))
    with served(world) as door:
        asked = f"{MIGRATIONS}/plan?server={first}&server={second}"
        plans = door("GET", asked, user="admin").json()["plans"]
        assert {(each["server_id"], each["way"]) for each in plans} == {(first, "rename"), (second, "rename")}
        assert migration(door, first).status_code == 404

        body = {"servers": [first, second], "wave": "pilot", "rehearse": False}
        made = door("POST", MIGRATIONS, {"migration": body}, user="admin")
        assert made.status_code == 202, made.text
        job = made.json()["job"]
        assert made.headers["Location"].endswith(f"{MIGRATIONS}/jobs/{job['id']}")
        done = ended(door, job["id"])
        assert (done["state"], done["wave"], done["why"]) == ("done", "pilot", "2 converted")
        assert {each["server_id"]: each["state"] for each in done["servers"]} == dict.fromkeys((first, second),
                                                                                               "converted")  # fmt: skip
        listed = door("GET", f"{MIGRATIONS}/jobs", user="admin").json()["jobs"]
        assert [(each["id"], each["state"]) for each in listed] == [(job["id"], "done")]

        own = migration(door, first).json()["migration"]
        assert (own["state"], own["volume_id"]) == ("settled", world.root(first).volume_id)
        assert not {"wave", "way", "why"} & set(own)
        assert migration(door, first, "other").status_code == 404
        told = door("GET", f"{MIGRATIONS}?wave=pilot", user="admin").json()["migrations"]
        assert {each["server_id"] for each in told} == {first, second}
        assert door("GET", f"{MIGRATIONS}?wave=other", user="admin").json()["migrations"] == []

        action = f"/bfv/servers/{first}/migration/action"
        assert door("POST", action, {"undo": None}).status_code == 403
        assert door("POST", action, {"undo": None}, user="admin").status_code == 202
        becomes(door, first, "undone")
        assert world.root(first).destination_type == "local"
        purged = door("POST", f"{MIGRATIONS}/action", {"purge": {"wave": "pilot"}}, user="admin")
        assert (purged.status_code, purged.json()) == (202, {"servers": [second]})
        becomes(door, second, "purged")
        assert door("POST", action, {"undo": None}, user="admin").status_code == 404
    assert world.opened() == []


def test_a_job_goes_on_in_the_next_process_and_begins_no_server_twice(world, image_id):
    keys = [world.server(image_id, parent=image_id) for _ in range(3)]
    with world.cloud("bfv") as cloud:
        # A worker that has died left it: one server is done, as its history tells, and the limit counts that.
        how = {"name": "w", "limit": 2, "workers": 1, "window": None, "stop_and_start": False, "failure_budget": 3}
        caller = world.site.caller("admin")
        request = {"selection": {"servers": keys, "project_id": None, "host": None, "cell": None, "tier": "default",
                                 "way": None}, "how": how, "rehearse": False}  # fmt: skip
        intent = cloud.parts.journal.open("wave", keys[0], project_id=caller.project_id, user_id=caller.user_id,
                                          request_id="req-x", request=request)  # fmt: skip
        row = f'{{"server_id": "{keys[0]}", "state": "converted"}}'
        cloud.parts.journal.release(cloud.parts.journal.update(intent, "server", row))
    with served(world) as door:
        done = ended(door, intent.id)
        assert [each["state"] for each in done["servers"]] == ["converted", "converted"]
        assert (done["state"], done["why"]) == ("done", "2 converted")
    left = set(keys) - {each["server_id"] for each in done["servers"]}
    assert [world.root(key).destination_type for key in left] == ["local"]


def test_a_job_that_cannot_begin_says_why_and_one_is_stopped_between_servers(world, image_id):
    key = world.server(image_id, parent=image_id)
    nowhere = "00000000-dead-4eef-8000-000000000000"
    with served(world) as door:
        made = door("POST", MIGRATIONS, {"migration": {"servers": [nowhere]}}, user="admin").json()["job"]
        assert (ended(door, made["id"])["state"], nowhere in ended(door, made["id"])["why"]) == ("failed", True)
        # Never open while the test runs: it waits for its hours.
        body = {"servers": [key], "rehearse": False, "window": closed_now()}
        made = door("POST", MIGRATIONS, {"migration": body}, user="admin").json()["job"]
        assert door("DELETE", f"{MIGRATIONS}/jobs/{made['id']}", user="admin").status_code == 202
        done = ended(door, made["id"])
        assert (done["state"], "asked to stop" in done["why"]) == ("failed", True)
        assert world.root(key).destination_type == "local"
        for bad in ({}, {"all": True, "cell": "cell1"}, {"all": True, "way": "x"}, {"all": True, "window": "25:00-1"}):
            assert door("POST", MIGRATIONS, {"migration": bad}, user="admin").status_code == 400, bad
        assert door("GET", f"{MIGRATIONS}/jobs/{nowhere}", user="admin").status_code == 404
        assert door("GET", f"{MIGRATIONS}/plan?cell=nowhere", user="admin").status_code == 404
        assert door("POST", MIGRATIONS, {"migration": {"cell": "nowhere"}}, user="admin").status_code == 404


def closed_now():
    """Return hours that begin half a day from now."""
    begins = dt.datetime.now() + dt.timedelta(hours=12)
    return f"{begins:%H:%M}-{begins + dt.timedelta(minutes=1):%H:%M}"
