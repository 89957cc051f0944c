# SPDX-License-Identifier: Apache-2.0
"""What nova has no calls for: why a server is where it is, how the cells are, and what a host does and reports."""

import pytest

from tests import sites
from tests.api.conftest import opened

REPORT = {"cell": "cell1", "vcpus": 8, "memory_mb": 4096, "local_gb": 100, "vcpus_used": 1, "running_vms": 1}
CONNECTOR = {
    "connector": {"host": "remote1", "ip": "192.0.2.7", "initiator": "iqn.2026-01.example:1", "multipath": False}
}


@pytest.fixture(scope="module")
def server_id(door, image):
    made = door.boot(image)
    door.running(made)
    yield made
    door("DELETE", f"/servers/{made}")
    door.gone(made)


def test_a_decision_tells_an_owner_the_rule_and_an_admin_the_cells_too(door, server_id):
    path = f"/bfv/servers/{server_id}/decision"
    mine, all_of_it = (door("GET", path, user=user).json()["decision"] for user in ("demo", "admin"))
    assert (mine["root"], mine["server_id"]) == ("volume", server_id)
    assert mine["disks"][0]["source_type"] == "image"
    assert all_of_it["cells"][0].startswith("cell")
    assert not {"cells", "cell_why", "hosts", "zones", "why_not"} & mine.keys()
    assert "cell1" not in str(mine)
    assert door("GET", path, user="other").status_code == 404


def test_cells_are_shown_to_admins_without_their_addresses(door):
    answer = door("GET", "/bfv/cells", user="admin")
    assert [each["name"] for each in answer.json()["cells"]] == ["cell0", "cell1", "cell2"]
    one = door("GET", "/bfv/cells/cell1", user="admin").json()["cell"]
    assert (one["state"], one["storage"]["state"], one["storage"]["volume_type"]) == ("up", "up", "cell1")
    assert "sqlite" not in answer.text
    gone = door("GET", "/bfv/cells/nosuch", user="admin")
    assert gone.json()["itemNotFound"]["message"] == "Cell nosuch could not be found."
    assert door("GET", "/bfv/cells", user="demo").status_code == 403


def test_a_host_is_registered_by_its_first_report_and_up_as_long_as_it_reports(door):
    def report(host="remote1", user="bfv", **words):
        return door("PUT", f"/bfv/hosts/{host}", {"host": {**REPORT, **words}}, user=user)

    assert report().status_code == 204
    find = lambda: door("GET", "/os-hypervisors/detail", user="admin", version="2.87").json()["hypervisors"]  # noqa: E731
    (seen,) = (each for each in find() if each["hypervisor_hostname"] == "remote1")
    assert (seen["state"], seen["vcpus"], seen["free_ram_mb"], seen["running_vms"]) == ("up", 8, 4096, 1)
    assert report(vcpus_used=3).status_code == 204
    (seen,) = (each for each in find() if each["hypervisor_hostname"] == "remote1")
    assert seen["vcpus_used"] == 3
    moved = report(cell="cell2")
    assert (moved.status_code, "remote1" in moved.text) == (409, True)
    assert len([each for each in find() if each["hypervisor_hostname"] == "remote1"]) == 1
    assert report(cell="cell0").status_code == 400
    assert report(cell="nosuch").status_code == 404
    for words in ({"vcpus": -1}, {"vcpus": "8"}, {"nosuch": 1}, {"vcpus": 2**31}):
        assert report(**words).status_code == 400
    for user in ("demo", "admin"):
        assert report(user=user).status_code == 403
    door("PUT", "/os-services/disable", {"host": "remote1", "binary": "nova-compute"}, user="admin", version="2.1")


def test_a_host_connects_and_lets_go_by_the_service_role_alone(door, image):
    made = door.boot(image)
    door.running(made)
    path = f"/bfv/servers/{made}"
    for user in ("demo", "admin", "other"):
        for verb, body in (("connect", CONNECTOR), ("disconnect", None)):
            assert door("POST", f"{path}/{verb}", {verb: body}, user=user).status_code == 403
    # It runs on a host, which has its volumes.
    busy = door("POST", f"{path}/connect", {"connect": CONNECTOR}, user="bfv")
    assert (busy.status_code, "another host" in busy.text) == (409, True)
    host = door("GET", f"/servers/{made}", user="admin").json()["server"]["OS-EXT-SRV-ATTR:host"]
    again = door("POST", f"{path}/connect", {"connect": {"connector": {"host": host}}}, user="bfv")
    (told,) = again.json()["attachments"]
    assert told["connection_info"]["driver_volume_type"] == "rbd"
    assert told["volume_id"] == door.show(made)["os-extended-volumes:volumes_attached"][0]["id"]
    assert door("POST", f"{path}/disconnect", {"disconnect": None}, user="bfv").status_code == 409
    assert door("POST", f"{path}/connect", {"connect": {"connector": {}}}, user="bfv").status_code == 400
    nowhere = door("POST", "/bfv/servers/00000000-dead-4eef-8000-000000000000/connect", {"connect": CONNECTOR},
                   user="bfv")  # fmt: skip
    assert nowhere.status_code == 404
    door("DELETE", f"/servers/{made}")
    door.gone(made)


def test_a_host_of_no_driver_connects_and_lets_go(site, image, tmp_path):
    with opened(sites.World(site, tmp_path)) as door:
        made = door.boot(image)
        sites.until(lambda: door.show(made)["os-extended-volumes:volumes_attached"])
        path = f"/bfv/servers/{made}"
        (told,) = door("POST", f"{path}/connect", {"connect": CONNECTOR}, user="bfv").json()["attachments"]
        assert told["connection_info"]["name"].endswith(f"volume-{told['volume_id']}")
        assert door("POST", f"{path}/disconnect", {"disconnect": None}, user="bfv").status_code == 204
        door("DELETE", f"/servers/{made}")
        door.gone(made)
