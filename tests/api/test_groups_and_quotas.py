# SPDX-License-Identifier: Apache-2.0
"""Server groups, quotas of projects, users and the default class, and key pairs, over HTTP."""

import base64
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from cells import servers
from cells.schema_api import request_specs
from tests.api.conftest import away, opened

KEY = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHCxWiRvlDLaJ9YkNcPjvW0QvlOlGRFWDM1XvlAEH7Lh demo@example"
)  # fmt: skip


@pytest.fixture
def group(door):
    """Makes a server group and removes it again."""
    made = []

    def make(version="2.64", user="demo", **words):
        body = {"server_group": {"name": "web", "policy": "anti-affinity", **words}}
        answer = door("POST", "/os-server-groups", body, user=user, version=version)
        if answer.status_code == 200:
            made.append((answer.json()["server_group"]["id"], user))
        return answer

    yield make
    for key, user in made:
        door("DELETE", f"/os-server-groups/{key}", user=user)


def test_a_server_group_has_the_shape_of_each_microversion(door, group):
    body = {"server_group": {"name": "old", "policies": ["affinity"]}}
    old = door("POST", "/os-server-groups", body, version="2.1").json()["server_group"]
    assert old == {"id": old["id"], "name": "old", "policies": ["affinity"], "members": [], "metadata": {}}
    caller, path = door.site.caller("demo"), f"/os-server-groups/{old['id']}"
    owned = door("GET", path, version="2.13").json()["server_group"]
    assert owned == {**old, "project_id": caller.project_id, "user_id": caller.user_id}
    soft = {"server_group": {"name": "s", "policies": ["soft-affinity"]}}
    assert door("POST", "/os-server-groups", soft, version="2.14").status_code == 400
    made = group(rules={"max_server_per_host": "3"}).json()["server_group"]
    assert (made["policy"], made["rules"]) == ("anti-affinity", {"max_server_per_host": 3})
    assert "policies" not in made
    listed = door("GET", "/os-server-groups?limit=1&offset=1", version="2.64").json()["server_groups"]
    assert listed == [made]
    assert door("DELETE", path).status_code == 204
    gone = door("GET", path)
    assert (gone.status_code, gone.json()["itemNotFound"]["message"]) == (
        404, f"Instance group {old['id']} could not be found.")  # fmt: skip
    assert door("DELETE", path).status_code == 404


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"policy": "soft-affinity", "rules": {"max_server_per_host": 2}}, "Only anti-affinity policy supports rules."),
        ({"rules": {"max_server_per_host": 0}}, "max_server_per_host"),
        ({"policy": "none"}, "policy"),
        ({"policies": ["affinity"]}, "'policies' was unexpected"),
        ({"name": " x"}, "name"),
    ],
)
def test_a_server_group_that_cannot_be_is_refused(group, words, told):
    answer = group(**words)
    assert answer.status_code == 400
    assert told in answer.json()["badRequest"]["message"]


def test_the_groups_of_another_project_are_for_admins_alone(door, group):
    made = group().json()["server_group"]
    for user, found in (("other", 404), ("admin", 200)):
        assert door("GET", f"/os-server-groups/{made['id']}", user=user).status_code == found
    assert door("DELETE", f"/os-server-groups/{made['id']}", user="other").status_code == 404
    seen = {user: [each["id"] for each in door("GET", "/os-server-groups?all_projects=1", user=user).json()[
        "server_groups"]] for user in ("other", "admin")}  # fmt: skip
    assert seen == {"other": [], "admin": [made["id"]]}


def asked_for(door, server_id, version):
    """Return a server as each call shows it that tells of hints."""
    changed = door("PUT", f"/servers/{server_id}", {"server": {"description": "x"}}, version=version).json()["server"]
    listed = door("GET", "/servers/detail", version=version).json()["servers"]
    return [door.show(server_id, version=version), changed, *(each for each in listed if each["id"] == server_id)]


def test_a_server_without_hints_or_without_a_request_spec_is_told_as_nova_does(door, image):
    server_id = door.boot(image)
    door.running(server_id)
    assert [shown["scheduler_hints"] for shown in asked_for(door, server_id, "2.100")] == [{}] * 3
    spec = door.cloud.parts.registry.request_spec(server_id)
    spec["nova_object.data"] |= {"scheduler_hints": None, "availability_zone": "pinned"}
    door.cloud.parts.registry.update_request_spec(server_id, spec)
    told = {(each["scheduler_hints"], each["pinned_availability_zone"]) for each in asked_for(door, server_id, "2.100")}
    assert told == {(None, "pinned")}
    with door.cloud.parts.api.writer() as conn:
        conn.execute(request_specs.delete().where(request_specs.c.instance_uuid == server_id))
    # Shown alone it has no hints, and in a list nobody knows.
    assert [shown["scheduler_hints"] for shown in asked_for(door, server_id, "2.100")] == [{}, {}, None]
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)


def test_members_are_shown_while_they_are_there_whether_their_cell_answers_or_not(door, world, image, group):
    made = group(policy="soft-affinity").json()["server_group"]
    hints = {"os:scheduler_hints": {"group": made["id"]}}
    server = {"name": "member", "imageRef": image, "flavorRef": "tiny", "networks": "none",
              "availability_zone": "nova"}  # fmt: skip
    answer = door("POST", "/servers", {"server": server, **hints}, version="2.96")
    server_id = answer.json()["server"]["id"]
    door.running(server_id)
    told = {"scheduler_hints": {"group": [made["id"]]}, "pinned_availability_zone": "nova"}
    for shown in asked_for(door, server_id, "2.100"):
        assert told.items() <= shown.items()
    assert not [shown for shown in asked_for(door, server_id, "2.99") if "scheduler_hints" in shown]
    cell = door.cloud.parts.registry.mapping(server_id).cell.name
    path = f"/os-server-groups/{made['id']}"
    with away(world, cell), opened(world) as lost:
        assert lost("GET", path).json()["server_group"]["members"] == [server_id]
    assert door("GET", path).json()["server_group"]["members"] == [server_id]
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)
    assert door("GET", path).json()["server_group"]["members"] == []


def test_groups_stop_at_the_quota(door, group):
    project = door.site.caller("demo").project_id
    path = f"/os-quota-sets/{project}"
    door("PUT", path, {"quota_set": {"server_groups": 1}}, user="admin")
    assert group().status_code == 200
    over = group()
    assert (over.status_code, over.json()["forbidden"]["message"]) == (403, "Quota exceeded, too many server groups.")
    detail = door("GET", f"{path}/detail").json()["quota_set"]
    assert detail["server_groups"] == {"limit": 1, "in_use": 1, "reserved": 0}
    assert door("DELETE", path, user="admin").status_code == 202


def test_a_user_has_limits_within_those_of_the_project(door):
    caller = door.site.caller("demo")
    path, mine = f"/os-quota-sets/{caller.project_id}", f"?user_id={caller.user_id}"
    put = lambda end, **limits: door("PUT", path + end, {"quota_set": limits}, user="admin", version="2.57")  # noqa: E731
    assert put(mine, cores=5, ram="512").json()["quota_set"]["cores"] == 5
    assert put(mine, cores=21).json()["badRequest"]["message"] == (
        "Quota limit 21 for cores must be less than or equal to 20.")  # fmt: skip
    assert put("", cores=4).json()["badRequest"]["message"].startswith("Quota limit 4 for cores must be greater than")
    assert put(mine, cores=30, force=True).status_code == 200
    shown = {end: door("GET", path + end).json()["quota_set"] for end in ("", mine)}
    assert [(each["cores"], each["ram"]) for each in shown.values()] == [(20, 51200), (30, 512)]
    assert door("GET", f"{path}/detail{mine}").json()["quota_set"]["ram"] == {"limit": 512, "in_use": 0, "reserved": 0}
    assert door("DELETE", path + mine, user="admin").status_code == 202
    assert door("GET", path + mine).json()["quota_set"]["cores"] == 20


@pytest.mark.parametrize("value", [-2, "x", 1.5, None, "2147483648", 9999999999, True])
def test_a_limit_that_is_none_is_refused(door, value):
    path = f"/os-quota-sets/{door.site.caller('demo').project_id}"
    for where, key in ((path, "quota_set"), ("/os-quota-class-sets/default", "quota_class_set")):
        assert door("PUT", where, {key: {"cores": value}}, user="admin").status_code == 400


def test_quotas_of_another_project_are_for_admins_alone_and_of_none_for_nobody(door):
    project = door.site.caller("demo").project_id
    for path in (f"/os-quota-sets/{project}", f"/os-quota-sets/{project}/detail"):
        answer = door("GET", path, user="other")
        assert (answer.status_code, project in answer.text) == (403, False)
        assert door("GET", path, user="admin").status_code == 200
    nowhere = door("GET", "/os-quota-sets/no%20such%3F", user="admin")
    assert nowhere.json()["badRequest"]["message"] == "Project ID no such? is not a valid project."


def test_classes_other_than_default_are_shown_and_not_set(door):
    assert door("GET", "/os-quota-class-sets/gold", user="admin").json()["quota_class_set"]["id"] == "gold"
    refused = door("PUT", "/os-quota-class-sets/gold", {"quota_class_set": {"cores": 1}}, user="admin")
    assert (refused.status_code, "default" in refused.text) == (400, True)
    before = door("GET", "/os-quota-class-sets/default", user="admin", version="2.49").json()["quota_class_set"]
    assert "server_groups" not in before
    assert {"fixed_ips", "injected_files"} <= before.keys()


@pytest.fixture
def no_keys(door):
    yield
    for user in ("demo", "other"):
        for each in door("GET", "/os-keypairs", user=user).json()["keypairs"]:
            door("DELETE", f"/os-keypairs/{each['keypair']['name']}", user=user)


def pair(door, version, user="demo", **words):
    return door("POST", "/os-keypairs", {"keypair": {"name": "k", **words}}, user=user, version=version)


@pytest.mark.usefixtures("no_keys")
def test_a_key_is_imported_and_shown_as_in_each_microversion(door, tmp_path):
    made = pair(door, "2.92", name="a@b.c", public_key=KEY)
    caller = door.site.caller("demo")
    (tmp_path / "key.pub").write_text(KEY)
    told = subprocess.run(["ssh-keygen", "-l", "-E", "md5", "-f", tmp_path / "key.pub"], capture_output=True, text=True)
    fingerprint = told.stdout.split()[1].removeprefix("MD5:")
    assert made.status_code == 201
    assert made.json()["keypair"] == {"name": "a@b.c", "public_key": KEY, "type": "ssh", "user_id": caller.user_id,
                                      "fingerprint": fingerprint}  # fmt: skip
    shown = door("GET", "/os-keypairs/a@b.c", version="2.1").json()["keypair"]
    assert shown.keys() == {"name", "public_key", "fingerprint", "user_id", "created_at", "deleted", "deleted_at", "id",
                            "updated_at"}  # fmt: skip
    assert pair(door, "2.92", name="a@b.c", public_key=KEY).status_code == 409
    assert door("DELETE", "/os-keypairs/a@b.c", version="2.1").status_code == 202
    gone = door("DELETE", "/os-keypairs/a@b.c", version="2.2")
    assert gone.json()["itemNotFound"]["message"] == f"Keypair a@b.c not found for user {caller.user_id}"


@pytest.mark.usefixtures("no_keys")
def test_a_pair_is_made_until_2_91_and_fits(door):
    made = pair(door, "2.1").json()["keypair"]
    private = load_pem_private_key(made["private_key"].encode(), None)
    assert private.key_size == 2048
    assert made["private_key"] not in door("GET", "/os-keypairs/k").text
    answer = pair(door, "2.91", name="win", type="x509")
    assert answer.status_code == 201
    win = answer.json()["keypair"]
    certificate = x509.load_pem_x509_certificate(win["public_key"].encode())
    key, inside, _ = pkcs12.load_key_and_certificates(base64.b64decode(win["private_key"]), None)
    assert (inside, key.public_key()) == (certificate, certificate.public_key())
    assert door.site.caller("demo").user_id in certificate.subject.rfc4514_string()


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize(
    ("version", "words", "told"),
    [
        ("2.92", {}, "'public_key' is a required property"),
        ("2.91", {"name": "a@b"}, "name"),
        ("2.92", {"public_key": "ssh-rsa nonsense"}, "Keypair data is invalid: failed to generate fingerprint"),
        ("2.92", {"public_key": KEY, "type": "x509"}, "failed to generate X509 fingerprint"),
        ("2.92", {"public_key": KEY + " " * 70000}, "at most 16384 characters"),
        ("2.1", {"type": "ssh"}, "'type' was unexpected"),
        ("2.9", {"user_id": "x"}, "'user_id' was unexpected"),
    ],
)
def test_a_key_that_is_none_is_refused(door, version, words, told):
    answer = pair(door, version, **words)
    assert answer.status_code == 400
    assert told in answer.json()["badRequest"]["message"]
    assert door("GET", "/os-keypairs").json() == {"keypairs": []}


@pytest.mark.usefixtures("no_keys")
def test_keys_are_a_users_own_and_admins_care_for_those_of_others(door):
    demo = door.site.caller("demo").user_id
    assert pair(door, "2.92", user="admin", public_key=KEY, user_id=demo).json()["keypair"]["user_id"] == demo
    assert pair(door, "2.92", user="other", public_key=KEY, user_id=demo).status_code == 403
    for path in (f"/os-keypairs?user_id={demo}", f"/os-keypairs/k?user_id={demo}"):
        assert door("GET", path, version="2.10").status_code == 200
        assert door("GET", path, user="other", version="2.10").status_code == 403
    assert door("GET", "/os-keypairs/k", user="other").status_code == 404
    assert door("DELETE", f"/os-keypairs/k?user_id={demo}", user="other", version="2.10").status_code == 403
    # Until 2.9 nobody is asked whose they are.
    assert door("GET", f"/os-keypairs?user_id={demo}", user="other", version="2.9").json() == {"keypairs": []}


@pytest.mark.usefixtures("no_keys")
def test_a_server_gets_the_key_that_it_names_and_keeps_it(door, image):
    server = {"name": "keyed", "imageRef": image, "flavorRef": "tiny", "networks": "none", "key_name": "k"}
    refused = door("POST", "/servers", {"server": server}, version="2.96")
    assert (refused.status_code, refused.json()["badRequest"]["message"]) == (400, "Invalid key_name provided.")
    assert pair(door, "2.92", user="other", public_key=KEY).status_code == 201
    assert door("POST", "/servers", {"server": server}, version="2.96").status_code == 400
    assert pair(door, "2.92", public_key=KEY).status_code == 201
    server_id = door.boot(image, key_name="k")
    assert door("DELETE", "/os-keypairs/k", version="2.2").status_code == 204
    assert door.running(server_id)["key_name"] == "k"
    cell = door.cloud.parts.registry.mapping(server_id).cell
    assert servers.get(door.cloud.parts.cells.of(cell), server_id).key_data == KEY
    door("DELETE", f"/servers/{server_id}")
    door.gone(server_id)


@pytest.mark.usefixtures("no_keys")
def test_keys_come_in_pages_and_stop_at_the_quota(door):
    for name in "cab":
        assert pair(door, "2.92", name=name, public_key=KEY).status_code == 201
    names, url = [], "/os-keypairs?limit=2"
    while url:
        page = door("GET", url, version="2.35").json()
        names += [each["keypair"]["name"] for each in page["keypairs"]]
        url = page.get("keypairs_links", [{"href": None}])[0]["href"]
    assert names == ["a", "b", "c"]
    assert door("GET", "/os-keypairs?marker=nosuch", version="2.35").status_code == 400
    project = door.site.caller("demo").project_id
    door("PUT", f"/os-quota-sets/{project}", {"quota_set": {"key_pairs": 3}}, user="admin")
    over = pair(door, "2.92", name="d", public_key=KEY)
    door("DELETE", f"/os-quota-sets/{project}", user="admin")
    assert (over.status_code, over.json()["forbidden"]["message"]) == (403, "Quota exceeded, too many key pairs.")
