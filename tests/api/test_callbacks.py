# SPDX-License-Identifier: Apache-2.0
"""Cinder calls back: whether a server uses a volume, and what was done to one; in time, late, twice, never, or while
the server's cell is down.
"""

import contextlib
import json
import uuid

import pytest
import requests

from bfv.check import check
from tests import sites
from tests.api.conftest import away, opened, world_with_hosts
from tests.flows.test_kill import chosen

EVENTS, NOWHERE = "/os-server-external-events", "00000000-dead-4eef-8000-000000000000"
SLOW_LOOKS = "\n[boot]\npoll_interval = 600\npoll_interval_max = 600\n"


@pytest.fixture
def own_world(site, tmp_path):
    made = world_with_hosts(site, tmp_path)
    made.config.write_text(f"{made.config.read_text()}\n[api]\nresume_interval = 0.2\n"
                           "[database]\nprobe_interval = 0.2\nprobe_interval_max = 0.2\n")  # fmt: skip
    return made


def name(site, url):
    """Have the catalog name a compute service."""
    requests.put(f"{site.control_url}/compute", json={"url": url}, timeout=60).raise_for_status()


@pytest.fixture
def door(door, site):
    """The module's door, which others have taken the place of meanwhile."""
    name(site, door.url)
    return door


@contextlib.contextmanager
def named(world):
    """Serve a bfv as the compute service that the catalog names."""
    with opened(world) as door:
        name(world.site, door.url)
        try:
            yield door
        finally:
            name(world.site, None)


@pytest.fixture
def rules(site):
    """Add faults that meet calls, those of cinder's too; they are forgotten at the end."""

    def add(kind, path=EVENTS, **more):
        rule = {"kind": kind, "path": path, **more}
        requests.post(f"{site.control_url}/faults", json=rule, timeout=60).raise_for_status()

    yield add
    requests.delete(f"{site.control_url}/faults", timeout=60)
    requests.put(f"{site.control_url}/pace", json={}, timeout=60)


@pytest.fixture
def server_id(door, image):
    made = door.boot(image)
    door.running(made)
    yield made
    drop(door, made)


def drop(door, server_id):
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)


def cell_of(door, server_id):
    return door.cloud.parts.registry.find_mapping(server_id).cell.name


def root_of(door, server_id):
    """Return what a server has of its root volume."""
    (found,) = door("GET", f"/servers/{server_id}/os-volume_attachments", version="2.89").json()["volumeAttachments"]
    return found


def extend(door, volume_id, size, user="demo"):
    site = door.site
    answer = site.call(user, "POST", f"{site.volume_url}/volumes/{volume_id}/action",
                       json={"os-extend": {"new_size": size}})  # fmt: skip
    assert answer.status_code == 202, answer.text
    site.settle(volume_id, "in-use")


def sizes(door, server_id, volume_id):
    """Return what the record and the host say of a volume's size."""
    (device,) = [each for each in door.cloud.server(server_id, door.site.caller("demo")).devices if each.volume_id]
    (guest,) = (door.world.home / "guests").glob(f"*/{server_id}.guest")
    return device.volume_size, json.loads(guest.read_text())["sizes"][volume_id]


def followed(door, server_id):
    """Return how each extension of a server's volumes ended that was acted on, None for one that has not."""
    return [intent.outcome or intent.phase if not intent.is_open else None
            for intent in door.cloud.parts.journal.of_server(server_id) if intent.verb == "extend_volume"]  # fmt: skip


def told(door, server_id, name="volume-extended", **more):
    """Tell of one event as cinder does and return the status and what was said of it."""
    event = {"name": name, "server_uuid": server_id, **more}
    answer = door("POST", EVENTS, {"events": [event]}, user="cinder", version="2.93")
    return answer.status_code, answer.json()["events"][0]["code"]


def test_a_user_lets_go_of_no_volume_that_a_server_uses(door, site, server_id):
    root = root_of(door, server_id)
    path = f"{site.volume_url}/attachments/{root['attachment_id']}"
    for user in ("demo", "admin"):
        answer = site.call(user, "DELETE", path)
        assert answer.status_code == 409
        assert server_id in answer.json()["conflictingRequest"]["message"]
    assert site.call("demo", "GET", path).json()["attachment"]["status"] == "attached"
    # Another attachment, which the server does not use, is its owner's to remove.
    body = {"attachment": {"volume_uuid": root["volumeId"], "instance_uuid": server_id, "connector": {"host": "h"}}}
    made = site.call("demo", "POST", f"{site.volume_url}/attachments", json=body).json()["attachment"]["id"]
    assert site.call("demo", "DELETE", f"{site.volume_url}/attachments/{made}").status_code == 200
    assert site.call("demo", "DELETE", path).status_code == 409


def test_nobody_is_told_that_a_volume_is_free_while_the_cell_that_knows_is_down(own_world, site, image):
    with named(own_world) as door:
        made = door.boot(image)
        door.running(made)
        cell = cell_of(door, made)
        root = root_of(door, made)
    path = f"{site.volume_url}/attachments/{root['attachment_id']}"
    with away(own_world, cell), named(own_world) as door:
        assert door("GET", f"/servers/{made}/os-volume_attachments/{root['volumeId']}").status_code == 503
        assert door("GET", f"/servers/{made}/os-volume_attachments").status_code == 503
        assert site.call("demo", "DELETE", path).status_code == 503
    with named(own_world) as door:
        assert site.call("demo", "DELETE", path).status_code == 409
        drop(door, made)
        assert site.call("demo", "GET", path).status_code == 404


def test_what_a_server_has_of_a_volume_by_version(door, server_id):
    root = root_of(door, server_id)
    volume_id, path = root["volumeId"], f"/servers/{server_id}/os-volume_attachments"
    assert set(root) == {"volumeId", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid"}
    shapes = {"2.1": {"id", "volumeId", "serverId", "device"}, "2.70": {"tag"}, "2.79": {"delete_on_termination"}}
    known = set()
    for version, more in shapes.items():
        known |= more
        shown = door("GET", f"{path}/{volume_id}", version=version).json()["volumeAttachment"]
        assert set(shown) == known
        assert (shown["id"], shown["serverId"]) == (volume_id, server_id)
    assert door("GET", f"{path}/{volume_id}", version="2.89").json()["volumeAttachment"] == root
    answer = door("GET", f"{path}/{NOWHERE}", version="2.89")
    assert answer.status_code == 404
    assert answer.json()["itemNotFound"]["message"] == f"Instance {server_id} is not attached to volume {NOWHERE}"


def test_each_event_has_a_code_of_its_own(door, site, image, server_id, rules):
    requests.put(f"{site.control_url}/pace", json={"creating": {"seconds": 60}}, timeout=60).raise_for_status()
    building = door.boot(image)
    events = [
        {"server_uuid": server_id, "name": "network-changed", "status": "failed"},
        {"server_uuid": NOWHERE, "name": "network-changed"},
        {"server_uuid": building, "name": "network-changed"},
        {"server_uuid": server_id, "name": "volume-extended"},
        {"server_uuid": server_id, "name": "volume-extended", "tag": NOWHERE},
        {"server_uuid": server_id, "name": "volume-reimaged", "tag": NOWHERE},
    ]
    answer = door("POST", EVENTS, {"events": events}, user="cinder", version="2.93")
    requests.post(f"{site.control_url}/clock", json={"advance": 60}, timeout=60).raise_for_status()
    drop(door, building)
    assert answer.status_code == 207
    codes = [200, 404, 422, 400, 200, 200]
    words = {200: "completed"}
    assert answer.json()["events"] == [
        {**event, "code": code, "status": words.get(code, "failed")} for event, code in zip(events, codes, strict=True)
    ]
    assert followed(door, server_id) == []
    assert door("POST", EVENTS, {"events": events[-1:]}, user="cinder", version="2.92").status_code == 400
    assert door("POST", EVENTS, {"events": events[1:2]}, user="cinder").status_code == 207


@pytest.mark.parametrize("kind", [None, "doubled", "lost_late"], ids=["once", "twice", "late"])
def test_an_extended_volume_reaches_record_and_host(door, server_id, rules, kind):
    volume_id = root_of(door, server_id)["volumeId"]
    assert sizes(door, server_id, volume_id) == (1, 1)
    if kind:
        rules(kind, seconds=0.5)
    extend(door, volume_id, 3)
    sites.until(lambda: sizes(door, server_id, volume_id) == (3, 3))
    sites.until(lambda: set(followed(door, server_id)) == {"done"})
    (told_by,) = {intent.user_id for intent in door.cloud.parts.journal.of_server(server_id)
                  if intent.verb == "extend_volume"}  # fmt: skip
    assert told_by == door.site.caller("cinder").user_id


def test_what_was_never_told_is_seen_with_the_next(door, server_id, rules):
    volume_id = root_of(door, server_id)["volumeId"]
    rules("lost_before")
    extend(door, volume_id, 2)
    assert (sizes(door, server_id, volume_id), followed(door, server_id)) == ((1, 1), [])
    extend(door, volume_id, 3)
    sites.until(lambda: sizes(door, server_id, volume_id) == (3, 3))


def test_told_again_while_it_is_followed_it_looks_once_more(site, tmp_path, image):
    world = world_with_hosts(site, tmp_path)
    world.config.write_text(f"{world.config.read_text()}\nseconds = disk_grew:4\n")
    with named(world) as door:
        made = door.boot(image)
        door.running(made)
        volume_id = root_of(door, made)["volumeId"]
        extend(door, volume_id, 2)
        steps = lambda: [step.name for intent in door.cloud.parts.journal.of_server(made)  # noqa: E731
                         for step in door.cloud.parts.journal.history(intent)
                         if intent.verb == "extend_volume"]  # fmt: skip
        sites.until(lambda: "grow" in steps())
        for size in (3, 4):
            extend(door, volume_id, size)
        sites.until(lambda: sizes(door, made, volume_id) == (4, 4))
        sites.until(lambda: None not in followed(door, made))
        assert followed(door, made) == ["done"]
        assert 2 <= steps().count("look") <= 3
        drop(door, made)


def test_events_of_a_cell_that_is_down_are_kept_until_it_is_back(own_world, site, image):
    with named(own_world) as door:
        made, spare = {}, []
        while made.keys() != {"cell1", "cell2"}:
            server_id = door.boot(image)
            door.running(server_id)
            cell = cell_of(door, server_id)
            spare += [made[cell]] if cell in made else []
            made[cell] = server_id
        for server_id in spare:
            drop(door, server_id)
        roots = {cell: root_of(door, server_id)["volumeId"] for cell, server_id in made.items()}
    with away(own_world, "cell1"), named(own_world) as door:
        for cell in made:
            extend(door, roots[cell], 2)
        sites.until(lambda: sizes(door, made["cell2"], roots["cell2"]) == (2, 2))
        sites.until(lambda: followed(door, made["cell1"]) == [None])
        # Each is answered for itself alone, and however often it is told one is kept.
        events = [{"name": name, "server_uuid": made[cell], "tag": roots[cell]}
                  for name in ("volume-extended", "volume-reimaged", "network-changed") for cell in made]  # fmt: skip
        answer = door("POST", EVENTS, {"events": events}, user="cinder", version="2.93")
        assert answer.status_code == 207
        codes = {(each["server_uuid"], each["name"]): (each["code"], each["status"])
                 for each in answer.json()["events"]}  # fmt: skip
        assert {codes[made["cell2"], name] for name in ("volume-extended", "volume-reimaged", "network-changed")} == {
            (200, "completed")
        }
        assert codes[made["cell1"], "volume-extended"] == (202, "in-progress")
        assert codes[made["cell1"], "volume-reimaged"] == (202, "in-progress")
        # On this nobody acts, now or later.
        assert codes[made["cell1"], "network-changed"] == (503, "failed")
        assert followed(door, made["cell1"]) == [None]
        journal = door.cloud.parts.journal
        (kept,) = journal.opened(made["cell1"])
        # Nobody tries again and again meanwhile.
        assert journal.history(kept) == []
        assert told(door, made["cell1"], tag="no volume") == (207, 503)
        others = [told(door, made["cell1"], tag=str(uuid.uuid4())) for _ in range(70)]
        assert others == [(207, 202)] * 63 + [(207, 503)] * 7
    with named(own_world) as door:
        sites.until(lambda: sizes(door, made["cell1"], roots["cell1"]) == (2, 2))
        sites.until(lambda: None not in followed(door, made["cell1"]))
        assert followed(door, made["cell1"]).count("done") == 1
        for server_id in made.values():
            drop(door, server_id)


def test_a_rebuild_ends_when_cinder_tells_and_where_it_does_not_by_a_look(own_world, site, image, rules):
    other = site.upload(b"x" * (1 << 20))
    normal = own_world.config.read_text()
    with named(own_world) as door:
        made = door.boot(image)
        door.running(made)
    requests.put(f"{site.control_url}/pace", json={"downloading": {"seconds": 0.3}}, timeout=60)
    own_world.config.write_text(normal + SLOW_LOOKS)
    with named(own_world) as door:
        # Twice: the second finds nobody that waits.
        rules("doubled")
        rebuild(door, made, other)
    own_world.config.write_text(normal)
    with named(own_world) as door:
        rules("lost_before")
        rebuild(door, made, image)
        rules("lost_late", seconds=1)
        rebuild(door, made, other)
        drop(door, made)


def rebuild(door, server_id, image):
    answer = door("POST", f"/servers/{server_id}/action", {"rebuild": {"imageRef": image}}, version="2.93")
    assert answer.status_code == 202, answer.text
    assert door.running(server_id)["status"] == "ACTIVE"
    volume = door.site.volumes()[root_of(door, server_id)["volumeId"]]
    assert (volume["status"], volume["volume_image_metadata"]["image_id"]) == ("in-use", image)


def test_whether_cinder_finds_somebody_is_checked(site, door, server_id):
    attachment = f"{site.volume_url}/attachments/{root_of(door, server_id)['attachment_id']}"
    for state, url, code in (("ok", door.url, 409), ("bad", "http://127.0.0.1:1/v2.1", 500), ("unknown", "", 500)):
        name(site, url)
        # A catalog comes with a token.
        with door.world.cloud("admin") as cloud:
            (line,) = [line for line in check(cloud.parts) if line.what == "cinder's call-backs"]
        assert (line.state, url in line.found, bool(line.todo)) == (state, True, state != "ok")
        assert site.call("demo", "DELETE", attachment).status_code == code


def test_killed_anywhere_what_was_told_is_followed_by_the_next(site, tmp_path, image):
    world = world_with_hosts(site, tmp_path)
    with named(world) as door:
        made = door.boot(image)
        door.running(made)
        volume_id, size, recorded = root_of(door, made)["volumeId"], 2, 2
    extend(door, volume_id, size)
    done = world.victim(["none", "0", "tell", made, volume_id], user="cinder")
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert (counts["guest"], counts["before"]) == (1, 0)
    commits = [("commit", number) for number in range(1, counts["commit"] + 1)]
    knew = []
    for kind, number in [commits[0], ("guest", 1), commits[-1], *chosen(commits[1:-1], False)[:1]]:
        size += 1
        extend(door, volume_id, size)
        died = world.victim([kind, str(number), "tell", made, volume_id], user="cinder")
        assert died.returncode == -9, (kind, number, died.stderr)
        with world.cloud("admin") as door.cloud:
            journal = door.cloud.parts.journal
            # Killed before it was written down nobody knows of it, and cinder got no answer.
            knew.append(bool(journal.opened(made)))
            door.cloud.repair()
            assert journal.opened(made) == []
            recorded = size if knew[-1] else recorded
            assert sizes(door, made, volume_id) == (recorded, recorded)
    assert knew[:3] == [False, True, True]
    with named(world) as door:
        drop(door, made)
