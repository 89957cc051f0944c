# SPDX-License-Identifier: Apache-2.0
"""Every release of nova that bfv names as supported: its schema, made by its own `nova-manage`, and its own code."""

import uuid

import pytest

from cells import BlockDevice, Flavor, Server, encode, flavors, servers
from cells.compare import compare
from cells.listing import Listing, Query
from lab import nova as real
from tests.interop.conftest import Deployment, deployed

pytestmark = pytest.mark.lab
OLDER = [release for release in real.RELEASES if release != real.NEWEST]


@pytest.fixture(scope="module", params=OLDER, ids=OLDER)
def older(request, tmp_path_factory):
    with deployed(tmp_path_factory.mktemp("nova"), request.param) as made:
        yield made


@pytest.mark.full
def test_an_older_release_and_we_read_each_other(older):
    check_schemas(older)
    check_rows(older)


def test_the_newest_release_and_we_agree_on_the_schema(deployment):
    check_schemas(deployment)


def check_schemas(made: Deployment):
    """Prove that the schemas are of a revision that we know, and lack nothing."""
    heads = made.nova.ask("heads")
    for database, kind, revisions in ((made.api, "api", heads["api"]), (made.of("cell0"), "cell", heads["main"]),
                                      (made.of("cell1"), "cell", heads["main"])):  # fmt: skip
        found = compare(database, kind)
        assert (found.revision, found.state, found.differences) == (revisions[-1], "known", ())


def check_rows(made: Deployment):
    """Prove that nova reads a server of ours and we read one of nova's."""
    project, ours, theirs = uuid.uuid4().hex, str(uuid.uuid4()), str(uuid.uuid4())
    flavor = flavors.create(made.api, Flavor(0, "7", "m1.small", 2, 2048, 20, extra_specs={"a": "b"}))
    root = BlockDevice(str(uuid.uuid4()), "image", "volume", 0, volume_id=str(uuid.uuid4()), volume_size=20,
                       image_id=str(uuid.uuid4()), attachment_id=str(uuid.uuid4()), volume_type="fast",
                       connection_info={"data": {}}, delete_on_termination=True, device_name="/dev/vda")  # fmt: skip
    server = Server(ours, project, "u", "ours", "active", flavor, metadata={"k": "v"}, devices=(root,))
    spec = encode.request_spec(server_id=ours, project_id=project, user_id="u", flavor=flavor, is_bfv=True,
                               image={"id": root.image_id, "min_disk": 1, "properties": {"os_distro": "x"}},
                               )  # fmt: skip
    made.registry.map_server(ours, project, "u", spec)
    made.registry.assign(ours, made.registry.cell("cell1"))
    servers.insert(made.of("cell1"), server)
    made.nova.ask("make", server=theirs, cell="cell2", project=project, user="u", name="theirs", flavor="7", image=None,
                  metadata={"k": "w"})  # fmt: skip

    told = made.nova.ask("read", server=ours)
    assert (told["instance"]["metadata"], told["instance"]["flavor"]["flavorid"]) == ({"k": "v"}, "7")
    assert (told["is_volume_backed"], told["devices"][0]["volume_type"]) == (True, "fast")
    assert (told["request_spec"]["is_bfv"], told["request_spec"]["flavor"]["vcpus"]) == (True, 2)
    (found,) = servers.by_ids(made.of("cell2"), [theirs])
    assert (found.metadata, found.flavor.flavorid, found.devices[0].destination_type) == ({"k": "w"}, "7", "volume")
    page = Listing(made.registry, made.cells).page(Query(project))
    assert [entry.uuid for entry in page.servers] == [theirs, ours]
    assert sorted(made.nova.ask("listed", project=project, detail=True)["servers"]) == sorted([ours, theirs])
