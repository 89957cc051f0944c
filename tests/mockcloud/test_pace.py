# SPDX-License-Identifier: Apache-2.0
"""When things change: at once, after looks, after seconds; the clock that a test holds; cells that fail."""

import datetime as dt

import pytest


@pytest.fixture
def held(demo):
    demo.mock("POST", "/clock", {"hold": True})
    return lambda seconds: demo.mock("POST", "/clock", {"advance": seconds})


def test_at_once(demo):
    assert demo.create().json()["volume"]["status"] == "creating"
    assert demo.volumes()[0]["status"] == "available"


def test_after_looks(demo):
    demo.mock("PUT", "/pace", {"creating": {"looks": 2}, "deleting": {"looks": 1}})
    ident = demo.volume()
    assert [demo.status(ident) for _ in range(4)] == ["creating", "creating", "available", "available"]
    demo("DELETE", f"/volumes/{ident}")
    assert [demo.status(ident) for _ in range(2)] == ["deleting", None]


def test_a_list_is_a_look_at_each(demo):
    demo.mock("PUT", "/pace", {"default": {"looks": 1}})
    made = [demo.volume() for _ in range(2)]
    assert {row["status"] for row in demo.volumes()} == {"creating"}
    assert {demo.status(ident) for ident in made} == {"available"}


def test_after_seconds_of_a_held_clock(demo, data, held):
    demo.mock("PUT", "/pace", {"creating": {"seconds": 2}, "downloading": {"seconds": 30}})
    ident = demo.volume(imageRef=demo.image(data), volume_type="cell2")
    seen = []
    for _ in range(5):
        seen.append(demo.status(ident))
        held(8)
    assert seen == ["creating", "downloading", "downloading", "downloading", "available"]
    jobs = demo.mock("GET", "/pace").json()["jobs"]
    assert jobs == []


def test_a_change_is_dated_when_it_was_due(demo, held):
    demo.mock("PUT", "/pace", {"creating": {"seconds": 5}})
    before = dt.datetime.fromisoformat(demo.mock("GET", "/clock").json()["now"])
    ident = demo.volume()
    held(3600)
    changed = dt.datetime.fromisoformat(demo("GET", f"/volumes/{ident}").json()["volume"]["updated_at"])
    assert dt.timedelta(seconds=4) <= changed - before <= dt.timedelta(seconds=5)


def test_the_clock_goes_on_when_released(demo, held):
    held(100)
    stands = [demo.mock("GET", "/clock").json()["now"] for _ in range(2)]
    assert stands[0] == stands[1]
    demo.mock("POST", "/clock", {"release": True})
    goes = demo.mock("GET", "/clock").json()
    assert goes["held"] is False
    assert goes["now"] > stands[0]


def test_tokens_expire_by_the_clock(demo, held):
    assert demo("GET", "/volumes").status_code == 200
    held(24 * 3600 + 1)
    assert demo("GET", "/volumes").status_code == 401


def test_before_it_is_scheduled_a_volume_goes_at_once(demo):
    demo.mock("PUT", "/pace", {"scheduling": {"looks": 9}, "creating": {"looks": 9}})
    early, late = demo.volume(), demo.volume()
    assert demo("DELETE", f"/volumes/{early}").status_code == 202
    assert demo.status(early) is None
    demo.mock("PUT", "/pace", {"creating": {"looks": 9}})
    placed = demo.volume()
    assert demo("DELETE", f"/volumes/{placed}").status_code == 400
    assert demo.status(late) == "creating"


def test_a_storm_downloads_once(demo, data, held):
    demo.mock("PUT", "/pace", {"downloading": {"seconds": 10}})
    image = demo.image(data)
    made = [demo.volume(imageRef=image, volume_type="cell2") for _ in range(4)]
    assert sorted(demo.status(ident) for ident in made) == ["creating"] * 3 + ["downloading"]
    held(10)
    assert {demo.status(ident) for ident in made} == {"available"}
    parents = [demo.rbd("cell2", f"volume-{ident}").json()["parent"] for ident in made]
    assert parents.count(None) == 1


def test_a_storage_that_hangs(demo):
    demo.mock("PUT", "/cells/cell2", {"storage": "hangs"})
    stuck, fine = demo.volume(volume_type="cell2"), demo.volume(volume_type="cell1")
    assert (demo.status(stuck), demo.status(fine)) == ("creating", "available")
    demo.mock("PUT", "/cells/cell2", {"storage": "up"})
    assert demo.status(stuck) == "available"


def test_a_storage_that_is_down(demo, admin):
    ident = demo.volume(volume_type="cell2")
    demo.mock("PUT", "/cells/cell2", {"storage": "down"})
    lost = demo.volume(volume_type="cell2")
    assert demo.status(lost) == "error"
    rows = demo("GET", "/messages", params={"resource_uuid": lost}).json()["messages"]
    assert rows[0]["event_id"] == "VOLUME_VOLUME_008_012"
    body = {"attachment": {"volume_uuid": ident, "instance_uuid": ident, "connector": {"host": "h"}}}
    assert demo("POST", "/attachments", body).status_code == 500
    # Cinder goes on saying that the backend is up.
    rows = admin("GET", "/scheduler-stats/get_pools", params={"detail": "true"}).json()["pools"]
    assert {row["capabilities"]["backend_state"] for row in rows} == {"up"}


def test_a_cell_that_is_full(demo):
    demo.mock("PUT", "/cells/cell3", {"full": True})
    ident = demo.volume(volume_type="cell3")
    assert demo.status(ident) == "error"
    rows = demo("GET", "/messages", params={"resource_uuid": ident}).json()["messages"]
    assert "weighted backend" in rows[0]["user_message"]
    assert demo.mock("PUT", "/cells/cell3", {"storage": "odd"}).status_code == 400
    assert demo.mock("GET", "/cells/nope").status_code == 404
