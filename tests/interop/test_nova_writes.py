# SPDX-License-Identifier: Apache-2.0
"""What nova's own objects write, read, listed and counted by our code."""

import uuid

import pytest

from cells import NotMapped, flavors, servers

pytestmark = pytest.mark.lab


def new_id():
    return str(uuid.uuid4())


@pytest.fixture(scope="session")
def novas_flavor(deployment):
    """A flavor that nova made."""
    values = {"name": "m1.nova", "flavorid": "nova", "memory_mb": 512, "vcpus": 3, "root_gb": 4, "ephemeral_gb": 1,
              "swap": 32, "rxtx_factor": 1.0, "is_public": True, "disabled": False,
              "extra_specs": {"a": "b"}}  # fmt: skip
    return deployment.nova.ask("make_flavor", **values)


@pytest.fixture
def make(nova, novas_flavor, project):
    """Makes servers by nova's objects: ``image`` None boots from a volume."""

    def make_one(cell="cell1", image=None, **words):
        words = {"name": "theirs", "vm_state": "active", "host": "h1", "node": "n1", "compute_id": 1,
                 "power_state": 1, **words}  # fmt: skip
        return nova.ask("make", server=new_id(), cell=cell, project=project, user="u", flavor="nova", image=image,
                        **words)  # fmt: skip

    return make_one


def test_we_read_novas_flavor(deployment, novas_flavor):
    found = flavors.get(deployment.api, "nova", None)
    assert (found.id, found.name, found.vcpus, found.memory_mb, found.root_gb, found.ephemeral_gb, found.swap) == (
        novas_flavor["id"], "m1.nova", 3, 512, 4, 1, 32,
    )  # fmt: skip
    assert found.extra_specs == {"a": "b"}


@pytest.mark.parametrize("image", [None, new_id()], ids=["volume", "image"])
def test_we_read_a_server_of_novas(deployment, make, novas_flavor, project, image):
    theirs = make(image=image, metadata={"k": "v"}, display_description="about", fault="it broke")
    (found,) = servers.by_ids(deployment.of("cell1"), [theirs["uuid"]])
    assert (found.uuid, found.project_id, found.user_id, found.display_name) == (theirs["uuid"], project, "u", "theirs")
    assert (found.vm_state, found.power_state, found.host, found.display_description) == ("active", 1, "h1", "about")
    assert (found.flavor.flavorid, found.flavor.id, found.flavor.extra_specs) == (
        "nova", novas_flavor["id"], {"a": "b"},
    )  # fmt: skip
    assert (found.metadata, found.system_metadata["image_base_image_ref"]) == ({"k": "v"}, image or "")
    assert (found.fault.code, found.fault.message, found.fault.details) == (500, "it broke", "why")
    (root,) = found.devices
    assert (root.destination_type, root.image_id) == ("local" if image else "volume", image)
    assert root.connection_info == (None if image else {"serial": "x"})


def test_we_find_its_mapping_and_its_request_spec(deployment, make, project):
    from cells import encode

    theirs = make("cell2")
    mapping = deployment.registry.mapping(theirs["uuid"])
    assert (mapping.cell.name, mapping.project_id, mapping.queued_for_delete) == ("cell2", project, False)
    spec = encode.read_request_spec(deployment.registry.request_spec(theirs["uuid"]))
    assert (spec.server_id, spec.project_id, spec.is_bfv, spec.flavor.flavorid) == (
        theirs["uuid"], project, True, "nova",
    )  # fmt: skip


def test_we_list_and_count_what_nova_made(deployment, make, project):
    made = [make(cell)["uuid"] for cell in ("cell1", "cell2", "cell0", "cell2")]
    assert [mapping.server_id for mapping in deployment.registry.mappings(project)] == made[::-1]
    assert deployment.registry.servers_by_cell(project) == {"cell0": 1, "cell1": 1, "cell2": 2}


def test_what_nova_deleted_is_gone_for_us(deployment, nova, make, project):
    theirs = make()
    nova.ask("delete", server=theirs["uuid"])
    assert deployment.registry.mappings(project) == []
    with pytest.raises(NotMapped):
        servers.get(deployment.of("cell1"), theirs["uuid"])


def test_a_change_of_ours_is_seen_by_nova(deployment, nova, make):
    theirs = make()
    changed = servers.update(deployment.of("cell1"), theirs["uuid"], expect={"vm_state": "active"}, vm_state="stopped")
    assert changed
    assert nova.ask("read", server=theirs["uuid"])["instance"]["vm_state"] == "stopped"
