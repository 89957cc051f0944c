# SPDX-License-Identifier: Apache-2.0
"""Servers over HTTP: made, shown, listed in pages, switched off and on, rebuilt and deleted."""

import json
from dataclasses import replace

import pytest
import requests

from cells import servers
from cells.schema_cell import instance_extra, instances
from tests import sites


@pytest.fixture(scope="module")
def server_id(door, image):
    """A server of demo's that runs."""
    made = door.boot(image, metadata={"a": "b"}, description="what for", availability_zone="nova")
    door.running(made)
    yield made
    door("DELETE", f"/servers/{made}")
    door.gone(made)


def act(door, server_id, **body):
    answer = door("POST", f"/servers/{server_id}/action", body, version="2.96")
    return answer.status_code


def test_a_server_says_what_it_was_asked_to_be(door, server_id):
    shown = door.show(server_id)
    assert (shown["status"], shown["metadata"], shown["description"]) == ("ACTIVE", {"a": "b"}, "what for")
    assert (shown["image"], shown["pinned_availability_zone"]) == ("", "nova")
    assert len(shown["os-extended-volumes:volumes_attached"]) == 1
    assert shown["flavor"]["original_name"] == "tiny"
    assert shown["links"][0]["href"] == f"{door.url}/servers/{server_id}"
    assert not [key for key in shown if key.startswith("OS-EXT-SRV-ATTR") and key != "OS-EXT-SRV-ATTR:hostname"]


def test_a_server_is_shown_where_it_is_now_and_not_where_it_was_last(door, image):
    made = door.boot(image)
    assert door.running(made) == door.show(made)
    registry, pool = door.cloud.parts.registry, door.cloud.parts.pool
    home = registry.mapping(made).cell
    other = next(cell for cell in registry.cells() if cell.name not in (home.name, "cell0"))
    servers.insert(pool.of(other), replace(servers.get(pool.of(home), made), display_name="moved"))
    assert door.show(made)["name"] != "moved"
    registry.assign(made, other)
    assert door.show(made)["name"] == door.show(made)["name"] == "moved"
    registry.assign(made, home)
    assert door.show(made)["name"] != "moved"
    # Taken back, or its disk would be listed twice.
    with pool.of(other).writer() as conn:
        conn.execute(instances.update().where(instances.c.uuid == made).values(deleted=instances.c.id))
    assert door("DELETE", f"/servers/{made}").status_code == 204
    door.gone(made)


def test_admins_see_where_a_server_is_and_others_the_sameness_of_hosts(door, server_id):
    seen = door.show(server_id, user="admin")
    assert seen["OS-EXT-SRV-ATTR:host"].startswith("cell")
    assert seen["hostId"] == door.show(server_id)["hostId"]
    assert seen["OS-EXT-SRV-ATTR:host"] not in seen["hostId"]


def test_a_server_is_switched_off_on_and_restarted(door, server_id):
    assert act(door, server_id, **{"os-start": None}) == 409
    assert act(door, server_id, **{"os-stop": None}) == 202
    sites.until(lambda: door.show(server_id)["status"] == "SHUTOFF")
    assert act(door, server_id, reboot={"type": "SOFT"}) == 409
    assert act(door, server_id, **{"os-start": None}) == 202
    door.running(server_id)
    assert act(door, server_id, reboot={"type": "hard"}) == 202
    door.running(server_id)
    assert act(door, server_id, reboot={"type": "warm"}) == 400


def test_a_server_is_rebuilt_and_keeps_its_volume(door, site, server_id):
    (volume,) = door.show(server_id)["os-extended-volumes:volumes_attached"]
    other = site.upload(b"y" * (1 << 20))
    answer = door("POST", f"/servers/{server_id}/action", {"rebuild": {"imageRef": other}}, version="2.93")
    assert answer.status_code == 202
    assert answer.json()["server"]["id"] == server_id
    assert answer.headers["Location"] == f"{door.url}/servers/{server_id}"
    door.running(server_id)
    assert door.show(server_id)["os-extended-volumes:volumes_attached"] == [volume]
    held = site.call("admin", "GET", f"{site.volume_url}/volumes/{volume['id']}").json()["volume"]
    assert held["volume_image_metadata"]["image_id"] == other


def test_an_image_is_told_with_those_of_its_properties_that_nova_knows(door, image, server_id):
    database = door.cloud.parts.cells.of(door.cloud.parts.registry.find_mapping(server_id).cell)
    kept = {"os_type": "linux", "hw_disk_bus": "scsi", "vmware_ostype": "x"}
    keys = {f"image_{name}": value for name, value in {**kept, "mine": "y", "min_ram": "0"}.items()}
    with database.writer() as conn:
        conn.execute(instances.update().where(instances.c.uuid == server_id).values(image_ref=image))
    servers.replace_image(database, server_id, image, {**keys, "image_base_image_ref": image})

    def told(version):
        changed = door("PUT", f"/servers/{server_id}", {"server": {"description": "what for"}}, version=version)
        pages = [door("GET", f"/servers/detail{query}", version=version).json()["servers"]
                 for query in ("", "?sort_key=display_name")]  # fmt: skip
        return [door.show(server_id, version=version)["image"], changed.json()["server"]["image"],
                *(each["image"] for page in pages for each in page if each["id"] == server_id)]  # fmt: skip

    older = {"id": image, "links": [{"rel": "bookmark", "href": door.url.replace("/v2.1", f"/images/{image}")}]}
    assert told("2.97") == [older] * 4
    assert told("2.98") == [{**older, "properties": kept}] * 4
    rebuilt = door("POST", f"/servers/{server_id}/action", {"rebuild": {"imageRef": image}}, version="2.98")
    assert rebuilt.json()["server"]["image"] == {**older, "properties": kept}
    door.running(server_id)
    with database.writer() as conn:
        conn.execute(instances.update().where(instances.c.uuid == server_id).values(image_ref=""))
    assert told("2.98") == [""] * 4


def test_the_certificates_that_nova_was_to_trust_are_told(door, server_id):
    database = door.cloud.parts.cells.of(door.cloud.parts.registry.find_mapping(server_id).cell)
    certs = {"nova_object.name": "TrustedCerts", "nova_object.data": {"ids": ["c1", "c2"]}}
    with database.writer() as conn:
        changed = instance_extra.update().where(instance_extra.c.instance_uuid == server_id)
        conn.execute(changed.values(trusted_certs=json.dumps(certs)))
    listed = door("GET", "/servers/detail", version="2.63").json()["servers"]
    for told in (door.show(server_id, version="2.63"), *(each for each in listed if each["id"] == server_id)):
        assert told["trusted_image_certificates"] == ["c1", "c2"]
        assert told["flavor"]["original_name"] == "tiny"


def test_an_explicit_root_is_made_as_it_is_asked_for(door, site, image):
    root = {"source_type": "image", "uuid": image, "destination_type": "volume", "boot_index": 0, "volume_size": "3",
            "delete_on_termination": False}  # fmt: skip
    made = door.boot("", block_device_mapping_v2=[root])
    (volume,) = door.running(made)["os-extended-volumes:volumes_attached"]
    assert volume["delete_on_termination"] is False
    assert door("DELETE", f"/servers/{made}").status_code == 204
    door.gone(made)
    kept = site.call("demo", "GET", f"{site.volume_url}/volumes/{volume['id']}").json()["volume"]
    assert kept["size"] == 3
    site.call("demo", "DELETE", f"{site.volume_url}/volumes/{volume['id']}")


def test_the_networks_and_the_password_are_kept_for_the_host(door, image):
    made = door("POST", "/servers", version="2.96", body={"server": {
        "name": "x", "imageRef": image, "flavorRef": "tiny", "adminPass": "s3cret", "networks": [{"uuid": made_up}],
        "security_groups": [{"name": "strict"}],
    }}).json()["server"]  # fmt: skip
    assert made["adminPass"] == "s3cret"
    assert made["security_groups"] == [{"name": "strict"}]
    (intent,) = door.cloud.parts.journal.of_server(made["id"])
    assert intent.request["boot"]["networks"] == [{"uuid": made_up}]
    assert intent.request["boot"]["security_groups"] == ["strict"]
    assert "s3cret" not in str(intent.request)
    door.running(made["id"])
    door("DELETE", f"/servers/{made['id']}")
    door.gone(made["id"])


made_up = "11111111-2222-4333-8444-555555555555"


def test_pages_have_each_server_once_and_links_that_lead_on(door, image):
    made = [door.boot(image) for _ in range(3)]
    seen, url = [], f"{door.url}/servers?limit=2"
    while url:
        answer = door("GET", url).json()
        seen += [each["id"] for each in answer["servers"]]
        assert len(answer["servers"]) <= 2
        url = answer.get("servers_links", [{}])[0].get("href")
    assert [each for each in seen if each in made] == made[::-1]
    assert len(seen) == len(set(seen))
    for server_id in made:
        door("DELETE", f"/servers/{server_id}")
    for server_id in made:
        door.gone(server_id)


def test_a_service_that_is_away_is_503(door, site, image):
    rule = {"kind": "status_before", "path": "/v2/images/", "times": 20, "status": 503}
    requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()
    body = {"server": {"name": "x", "imageRef": image, "flavorRef": "tiny", "networks": "none"}}
    answer = door("POST", "/servers", body, version="2.96")
    requests.delete(f"{site.control_url}/faults", timeout=60)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


def test_events_reach_who_listens_each_by_itself(door, server_id):
    heard = []
    door.cloud.listeners.append(heard.append)
    events = [
        {"server_uuid": server_id, "name": "network-vif-plugged", "tag": "port"},
        {"server_uuid": "00000000-dead-4eef-8000-000000000000", "name": "network-changed"},
    ]
    part = door("POST", "/os-server-external-events", {"events": events}, user="bfv")
    whole = door("POST", "/os-server-external-events", {"events": events[:1]}, user="bfv")
    door.cloud.listeners.remove(heard.append)
    assert (part.status_code, whole.status_code) == (207, 200)
    assert [each["code"] for each in part.json()["events"]] == [200, 404]
    assert [(each.server_id, each.name, each.tag) for each in heard] == [(server_id, "network-vif-plugged", "port")] * 2
