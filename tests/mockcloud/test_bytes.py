# SPDX-License-Identifier: Apache-2.0
"""Real bytes: a volume holds what its image holds, clones share and do not disturb each other, parents are named."""

import os

import pytest

from bfv.mockcloud.rbd import GIB, OBJECT, Cluster, RbdError
from tests.sites import until


@pytest.fixture
def image(demo, data):
    return demo.image(data)


@pytest.mark.parametrize("cell", ["cell1", "cell2", "cell3"])
def test_a_volume_holds_its_image_and_zeros(demo, image, data, cell):
    for _ in range(2):
        ident = demo.volume(imageRef=image, volume_type=cell)
        assert demo.bytes(cell, ident, len(data)) == data
        assert demo.bytes(cell, ident, 4096, len(data)) == bytes(4096)
        assert demo.rbd(cell, f"volume-{ident}").json()["size"] == GIB


def test_parents(demo, admin, image, data):
    """Where Glance's bytes are: a clone. Elsewhere: a copy, a cache that is the copy's clone, then its clones."""
    near = demo.volume(imageRef=image, volume_type="cell1")
    shown = demo.rbd("cell1", f"volume-{near}").json()
    assert (shown["parent"], shown["overlap"], shown["used"]) == (f"images/{image}@snap", len(data), 0)
    first, second = (demo.volume(imageRef=image, volume_type="cell2") for _ in range(2))
    query = {"all_tenants": 1, "name": f"image-{image}"}
    cached = admin("GET", "/volumes/detail", params=query).json()["volumes"]
    assert len(cached) == 1
    entry = cached[0]["id"]
    shown = demo.rbd("cell2", f"volume-{first}").json()
    assert (shown["parent"], [each["name"] for each in shown["snapshots"]]) == (None, [f"volume-{entry}.clone_snap"])
    assert shown["used"] >= len(data)
    parent = f"volumes/volume-{first}@volume-{entry}.clone_snap"
    assert demo.rbd("cell2", f"volume-{entry}").json()["parent"] == parent
    parent = f"volumes/volume-{entry}@volume-{second}.clone_snap"
    assert demo.rbd("cell2", f"volume-{second}").json()["parent"] == parent


def test_clones_do_not_disturb_each_other(demo, image, data):
    one, two = (demo.volume(imageRef=image, volume_type="cell1") for _ in range(2))
    path = f"/rbd/cell1/volumes/volume-{one}/data"
    assert demo.mock("PUT", path, params={"offset": 4095}, data=b"guest").status_code == 204
    assert demo.bytes("cell1", one, 5, 4095) == b"guest"
    assert demo.bytes("cell1", one, 4095) == data[:4095]
    assert demo.bytes("cell1", one, len(data) - 4100, 4100) == data[4100:]
    assert demo.bytes("cell1", two, len(data)) == data
    assert demo.bytes("cell1", image, len(data), pool="images") == data
    assert demo.rbd("cell1", f"volume-{one}").json()["used"] == OBJECT


def test_a_copy_of_a_volume_is_a_moment_of_it(demo, image, data):
    source = demo.volume(imageRef=image, volume_type="cell1")
    copy = demo.volume(source_volid=source)
    demo.mock("PUT", f"/rbd/cell1/volumes/volume-{source}/data", data=b"later")
    assert demo.bytes("cell1", copy, len(data)) == data
    assert demo.bytes("cell1", source, 5) == b"later"


def test_snapshots_keep_their_moment(demo, image, data):
    source = demo.volume(imageRef=image, volume_type="cell2")
    body = {"snapshot": {"volume_id": source}}
    snapshot = demo("POST", "/snapshots", body).json()["snapshot"]["id"]
    demo.mock("PUT", f"/rbd/cell2/volumes/volume-{source}/data", data=b"later")
    made = demo.volume(snapshot_id=snapshot, volume_type=None)
    assert demo.bytes("cell2", made, len(data)) == data
    # The snapshot goes to the trash under its clone, and the volume's end flattens that.
    assert demo("DELETE", f"/snapshots/{snapshot}").status_code == 202
    assert demo.bytes("cell2", made, len(data)) == data
    shown = demo.rbd("cell2", f"volume-{made}").json()
    assert shown["parent"] == f"volumes/volume-{source}@snapshot-{snapshot}"


def test_a_blank_volume_with_clones_of_its_snapshot_flattens_them(demo):
    source = demo.volume(volume_type="cell2")
    demo.mock("PUT", f"/rbd/cell2/volumes/volume-{source}/data", data=b"mine")
    snapshot = demo("POST", "/snapshots", {"snapshot": {"volume_id": source}}).json()["snapshot"]["id"]
    made = demo.volume(snapshot_id=snapshot, volume_type=None)
    demo("DELETE", f"/snapshots/{snapshot}")
    assert demo("DELETE", f"/volumes/{source}").status_code == 202
    assert demo.rbd("cell2", f"volume-{source}").status_code == 404
    assert demo.rbd("cell2", f"volume-{made}").json()["parent"] is None
    assert demo.bytes("cell2", made, 4) == b"mine"


def test_what_was_cloned_stays_under_another_name(demo, image, data):
    first, second = (demo.volume(imageRef=image, volume_type="cell2") for _ in range(2))
    demo("DELETE", f"/volumes/{first}")
    assert demo.status(first) is None
    assert demo.rbd("cell2", f"volume-{first}.deleted").status_code == 200
    assert demo.bytes("cell2", second, len(data)) == data


def test_deleting_an_image_keeps_its_clones(demo, image, data):
    ident = demo.volume(imageRef=image, volume_type="cell1")
    assert demo("DELETE", f"/v2/images/{image}").status_code == 204
    assert demo.bytes("cell1", ident, len(data)) == data
    pool = demo.mock("GET", "/rbd/cell1/images").json()
    assert ([row["name"] for row in pool["images"]], [row["name"] for row in pool["trash"]]) == ([], [image])
    demo("DELETE", f"/volumes/{ident}")
    assert demo.mock("GET", "/rbd/cell1/volumes").json()["images"] == []


def test_a_copied_image_is_cloned_there_too(demo, admin, image, data):
    body = {"method": {"name": "copy-image"}, "stores": ["cell2"]}
    assert admin("POST", f"/v2/images/{image}/import", body).status_code == 202
    until(lambda: demo("GET", f"/v2/images/{image}").json()["stores"] == "cell1,cell2")
    ident = demo.volume(imageRef=image, volume_type="cell2")
    assert demo.rbd("cell2", f"volume-{ident}").json()["parent"] == f"images/{image}@snap"
    assert demo.bytes("cell2", ident, len(data)) == data


def test_reimage_writes_over_the_parent(demo, image):
    ident = demo.volume(imageRef=image, volume_type="cell1")
    new = bytes(OBJECT) + os.urandom(1 << 20)
    other = demo.image(new)
    demo("POST", f"/volumes/{ident}/action", {"os-reimage": {"image_id": other}})
    assert demo.bytes("cell1", ident, len(new)) == new
    assert demo.rbd("cell1", f"volume-{ident}").json()["parent"] == f"images/{image}@snap"


def test_extend_adds_zeros(demo, image):
    ident = demo.volume(imageRef=image)
    demo("POST", f"/volumes/{ident}/action", {"os-extend": {"new_size": 2}})
    assert demo.rbd("cell1", f"volume-{ident}").json()["size"] == 2 * GIB
    assert demo.bytes("cell1", ident, 10, 2 * GIB - 10) == bytes(10)


def test_writes_past_the_end_are_refused():
    image = Cluster("fsid").pools["volumes"].create("a", 100)
    image.write(90, b"x" * 10)
    with pytest.raises(RbdError, match="past the end"):
        image.write(91, b"x" * 10)
    with pytest.raises(RbdError, match="exists"):
        image.pool.create("a", 1)


def test_a_shrunk_clone_does_not_see_its_parent_again():
    pool = Cluster("fsid").pools["volumes"]
    base = pool.create("base", 3 * OBJECT)
    base.write(0, b"x" * 3 * OBJECT)
    clone = pool.clone(base.snapshot("s"), "clone")
    clone.resize(OBJECT + 10)
    clone.resize(3 * OBJECT)
    assert clone.read(0, 3 * OBJECT) == b"x" * (OBJECT + 10) + bytes(2 * OBJECT - 10)
    clone.flatten()
    assert clone.read(0, 3 * OBJECT) == b"x" * (OBJECT + 10) + bytes(2 * OBJECT - 10)
    assert clone.parent is None


def test_zeros_take_no_room(demo):
    image = demo.image(bytes(3 * OBJECT))
    assert demo.rbd("cell1", image, pool="images").json()["used"] == 0
