# SPDX-License-Identifier: Apache-2.0
"""Whose token does what: a row of the table of rights for each service user that an operator may have made."""

import uuid
from dataclasses import replace

import pytest
import requests
from keystoneauth1.identity import v3

import bfv
from bfv import errors
from tests import sites
from tests.flows.test_boot import HOST, boot
from tests.leaks import KEYRING

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def plain(site, tmp_path):
    """A bfv whose service user has the role `service` and no other: no admin, no role in users' projects."""
    return sites.World(site, tmp_path, service_user="bfv-plain")


def test_a_service_user_without_other_rights_suffices_while_the_users_token_is_at_hand(plain, site, raw_image):
    with plain.cloud() as cloud:
        assert cloud.parts.rights.everywhere("req-1") is None
        server = boot(cloud, raw_image)
        assert server.task_state == "spawning"

        who = cloud._caller()
        [attached] = cloud.connect(server.id, HOST, who)
        assert site.volumes()[attached.disk_id]["status"] == "in-use"
        cloud.disconnect(server.id, who)
        cloud.rebuild(server.id, raw_image)
        assert cloud.wait(server.id, 300).fault is None
        assert cloud.delete(server.id).kept == ()


def test_a_service_token_that_was_revoked_is_renewed_within_the_flow(world, site, raw_image):
    with world.cloud() as cloud:
        ids = [boot(cloud, raw_image).id]
        token = cloud.parts.rights.service().get_token(sites._session())
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        assert requests.delete(f"{site.auth_url}/auth/tokens", headers=headers, timeout=60).status_code == 204

        server = boot(cloud, raw_image)

        assert (server.task_state, server.fault) == ("spawning", None)
        for each in (*ids, server.id):
            cloud.delete(each)


def test_without_an_inherited_role_a_host_cannot_connect_by_itself(plain, site, raw_image):
    with plain.cloud() as cloud:
        server = boot(cloud, raw_image)
        with pytest.raises(errors.NotAllowed, match="inherited role"):
            cloud.connect(server.id, HOST)
        assert site.volumes()[server.devices[0].volume_id]["status"] == "reserved"
        cloud.delete(server.id)


def test_without_the_role_service_cinder_refuses_and_the_fault_names_the_role(site, tmp_path, raw_image):
    world = sites.World(site, tmp_path, service_user="bfv-nosvc")
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        assert server.status == "ERROR"
        assert "role" in server.fault.details
        assert "`service`" in server.fault.details
        world.write_config(service_user="bfv")
    with world.cloud() as cloud:
        cloud.delete(server.id)
        assert cloud.servers() == []


def test_a_wrong_password_of_the_service_user_leaves_no_server_in_build_for_ever(site, tmp_path, raw_image):
    world = sites.World(site, tmp_path)
    world.config.write_text(world.config.read_text().replace("password = labsvc", "password = wrong"))
    with world.cloud() as cloud:
        server = boot(cloud, raw_image)
        assert server.status == "ERROR"
        assert server.left_outside == ()
    world.write_config()
    with world.cloud() as cloud:
        cloud.delete(server.id)


def test_a_private_image_boots_for_its_owner_alone_whatever_rights_the_service_user_has(world, site, raw_image):
    private = site.upload(b"p" * 4096, user="other", visibility="private")
    with world.cloud("other") as cloud:
        cloud.delete(boot(cloud, private).id)
    with world.cloud() as cloud, pytest.raises(errors.NotFound):
        boot(cloud, private)
    site.call("other", "DELETE", f"{site.image_url}/v2/images/{private}")


def test_the_service_user_finishes_what_a_crash_left_and_the_volume_is_the_users(world, site, raw_image):
    server_id = str(uuid.uuid4())
    assert world.victim(["after", "1", "boot", raw_image, server_id]).returncode == -9
    with world.cloud("bfv") as cloud:
        sites.until(lambda: all(not each.open for each in cloud.repair()))
    with world.cloud() as cloud:
        server = cloud.server(server_id)
        assert server.task_state == "spawning"
        volume = site.volumes()[server.devices[0].volume_id]
        assert volume["os-vol-tenant-attr:tenant_id"] == server.project_id
        cloud.delete(server_id)


def test_an_application_credential_boots_and_its_secret_is_written_nowhere(world, site, raw_image):
    who = site.caller("demo")
    path = f"{site.auth_url}/users/{who.user_id}/application_credentials"
    made = site.call("demo", "POST", path, json={"application_credential": {"name": sites.NAME}}).json()
    own = made["application_credential"]
    auth = v3.ApplicationCredential(
        site.auth_url, application_credential_id=own["id"], application_credential_secret=own["secret"]
    )
    try:
        with world.cloud() as cloud:
            accepted = cloud.boot(bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME),
                                  replace(who, auth=auth))  # fmt: skip
            assert cloud.wait(accepted.id, 300).task_state == "spawning"
            assert cloud.delete(accepted.id, replace(who, auth=auth)).kept == ()
    finally:
        site.call("demo", "DELETE", f"{path}/{own['id']}")
    written = b"".join(path.read_bytes() for path in world.home.glob("*.db*"))
    assert accepted.id.encode() in written
    assert own["secret"].encode() not in written


def test_no_token_is_written_anywhere(world, site, raw_image):
    with world.cloud() as cloud:
        request = bfv.BootRequest(image=raw_image, flavor="tiny", name=sites.NAME, user_data="c2VjcmV0LXVzZXItZGF0YQ==")
        cloud.boot(request)
        server = cloud.wait(request.server_id, 300)
        cloud.connect(server.id, HOST)
        cloud.delete(server.id)
    written = b"".join(path.read_bytes() for path in world.home.glob("bfv.db*"))
    assert request.server_id.encode() in written
    for secret in (b"gAAAAA", b"labdemo", b"labsvc", b"c2VjcmV0LXVzZXItZGF0YQ==", KEYRING.encode()):
        assert secret not in written
