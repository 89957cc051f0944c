# SPDX-License-Identifier: Apache-2.0
"""The highest microversion that both sides know is spoken, and what an older cinder cannot do is not asked of it."""

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imagebackends.errors import MaybeRunning, Unsupported
from tests.imagebackends.conftest import Answer, access_of, volume

SINCE = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
VOLUME = volume()["id"]


def test_the_version_is_asked_for_once_by_many_threads(script, backend, access):
    script.on("GET", "/v3/volumes/.*", Answer(200, {"volume": volume()}))
    ready = threading.Barrier(8)

    def get(_):
        ready.wait()
        return backend.get(access, VOLUME)

    with ThreadPoolExecutor(8) as pool:
        assert {each.id for each in pool.map(get, range(8))} == {VOLUME}

    [asked] = script.took("GET", "/")
    assert "X-Auth-Token" not in asked.headers
    spoken = {each.headers["OpenStack-API-Version"] for each in script.took("GET", "/v3/volumes/.*")}
    assert spoken == {"volume 3.71"}


@pytest.mark.parametrize(
    ("offered", "spoken"), [("3.46", "3.46"), ("3.60", "3.60"), ("3.71", "3.71"), ("3.99", "3.71")]
)
def test_the_highest_version_that_both_know_is_spoken(script, backend, access, offered, spoken):
    script.speaks(offered)
    script.on("GET", "/v3/volumes/.*", Answer(200, {"volume": volume()}))

    backend.get(access, VOLUME)

    [asked] = script.took("GET", "/v3/volumes/.*")
    assert asked.headers["OpenStack-API-Version"] == f"volume {spoken}"


@pytest.mark.parametrize("offered", ["3.45", "3.0", "", "2.1"])
def test_a_cinder_older_than_pike_is_unsupported(script, backend, access, spec, offered):
    script.speaks(offered)

    with pytest.raises(Unsupported, match=r"3\.46 \(Pike\) is needed"):
        backend.create(access, spec)
    assert script.took("POST", ".*") == []


@pytest.mark.parametrize(
    "answer", [Answer(503, {}), Answer(502, "<html>"), Answer(200, ""), Answer(200, {}), Answer(fault="closed")]
)
def test_a_version_that_nobody_tells_is_asked_for_again_by_the_next_act(script, backend, access, answer):
    script.on("GET", "/v3/volumes/.*", Answer(200, {"volume": volume()}))
    script.on("GET", "/", answer)
    with pytest.raises(MaybeRunning):
        backend.get(access, VOLUME)
    script.speaks("3.71")

    assert backend.get(access, VOLUME).id == VOLUME


@pytest.mark.parametrize(
    ("offered", "query"), [("3.59", None), ("3.60", "gte:2026-03-04T05:06:07"), ("3.71", "gte:2026-03-04T05:06:07")]
)
def test_an_older_cinder_is_not_asked_for_what_changed(script, backend, access, offered, query):
    script.speaks(offered)
    script.on("GET", "/v3/volumes/detail", Answer(200, {"volumes": [volume(), volume(id="another")]}))

    assert set(backend.look(access, [VOLUME, "gone"], SINCE)) == {VOLUME}

    [asked] = script.took("GET", "/v3/volumes/detail")
    assert asked.query.get("updated_at") == query
    assert "all_tenants" not in asked.query


def test_look_with_the_rights_for_it_asks_for_all_projects_in_utc(script, backend):
    script.on("GET", "/v3/volumes/detail", Answer(200, {"volumes": []}))
    since = SINCE.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))

    assert backend.look(access_of(everywhere=True), [VOLUME], since) == {}

    [asked] = script.took("GET", "/v3/volumes/detail")
    assert asked.query["all_tenants"] == "1"
    assert asked.query["updated_at"] == "gte:2026-03-04T05:06:07"


def test_reimage_needs_zed(script, backend, access):
    script.speaks("3.67")

    with pytest.raises(Unsupported, match=r"3\.68 \(Zed\)"):
        backend.reimage(access, VOLUME, "image")
    assert script.took("POST", ".*") == []


def test_reimage_writes_onto_a_reserved_volume(script, backend, access):
    script.speaks("3.68")
    script.on("POST", f"/v3/volumes/{VOLUME}/action", Answer(202, ""))

    backend.reimage(access, VOLUME, "image")

    [asked] = script.took("POST", ".*")
    assert asked.body == {"os-reimage": {"image_id": "image", "reimage_reserved": True}}
