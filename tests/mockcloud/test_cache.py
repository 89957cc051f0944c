# SPDX-License-Identifier: Apache-2.0
"""Cinder's image-volume cache as it is on Ceph: quick but one after the other, one lock, or off."""

import pytest

from bfv import mockcloud
from tests.mockcloud.conftest import Client


def held(demo, rules):
    demo.mock("PUT", "/pace", rules)
    demo.mock("POST", "/clock", {"hold": True})


def advance(demo, seconds):
    demo.mock("POST", "/clock", {"advance": seconds})


def states(demo, ids):
    found = {each["id"]: each["status"] for each in demo.volumes()}
    return [found[each] for each in ids]


def test_of_one_cached_image_one_volume_a_second_is_cloned_and_of_others_beside_it(demo, data):
    images = [demo.image(data) for _ in range(2)]
    for image in images:
        demo.volume(imageRef=image, volume_type="cell2")
    held(demo, {"cloning": {"seconds": 1}})
    ids = [demo.volume(imageRef=images[0], volume_type="cell2") for _ in range(3)]
    ids.append(demo.volume(imageRef=images[1], volume_type="cell2"))
    local = demo.volume(imageRef=images[0], volume_type="cell1")
    assert states(demo, [*ids, local]) == ["creating"] * 4 + ["available"]
    for ready in (1, 2, 3):
        advance(demo, 1)
        assert states(demo, ids) == ["available"] * ready + ["creating"] * (3 - ready) + ["available"]


def test_of_a_snapshot_all_are_cloned_at_once(demo, data):
    source = demo.volume(imageRef=demo.image(data), volume_type="cell2")
    body = {"snapshot": {"volume_id": source, "name": "s"}}
    snapshot = demo("POST", "/snapshots", body).json()["snapshot"]["id"]
    held(demo, {"cloning": {"seconds": 1}})
    ids = [demo.volume(snapshot_id=snapshot, volume_type="cell2") for _ in range(3)]
    assert states(demo, ids) == ["available"] * 3


def test_without_a_cache_each_volume_is_a_download(demo, data):
    image = demo.image(data)
    answer = demo.mock("PUT", "/cells/cell2", {"cached": False})
    assert answer.json()["cached"] is False
    held(demo, {"downloading": {"seconds": 5}})
    ids = [demo.volume(imageRef=image, volume_type="cell2") for _ in range(3)]
    assert states(demo, ids) == ["downloading"] * 3
    advance(demo, 5)
    assert states(demo, ids) == ["available"] * 3
    assert [demo.rbd("cell2", f"volume-{each}").json()["parent"] for each in ids] == [None] * 3


@pytest.mark.parametrize("shared", [False, True])
def test_cells_that_share_a_lock_fill_their_caches_one_after_the_other(shared, data):
    with mockcloud.start(mockcloud.Settings(("cell1", "cell2", "cell3"), glance_stores=("cell1",),
                                            shared_lock=shared)) as server:  # fmt: skip
        demo = Client(server.describe())
        image = demo.image(data)
        held(demo, {"downloading": {"seconds": 5}})
        ids = [demo.volume(imageRef=image, volume_type=each) for each in ("cell2", "cell3")]
        assert states(demo, ids) == ["downloading", "creating" if shared else "downloading"]
        advance(demo, 5)
        assert states(demo, ids) == ["available", "downloading" if shared else "available"]
        demo.session.close()
