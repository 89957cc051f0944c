# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of us do what operators do: openstacksdk, python-novaclient and the `openstack` command."""

import contextlib

import openstack
import pytest
from keystoneauth1.session import Session
from novaclient import client as novaclient

from tests.api.test_clients import LAB_PYTHON, SDK, command  # noqa: F401 - a fixture
from tests.api.test_groups_and_quotas import KEY


@contextlib.contextmanager
def sdk_of(door, user, password):
    entry = {"auth_url": door.site.auth_url, "username": user, "password": password, "project_name": user,
             "user_domain_id": "default", "project_domain_id": "default"}  # fmt: skip
    with openstack.connect(load_envvars=False, load_yaml_config=False, auth=entry, region_name="RegionOne") as sdk:
        yield sdk


@SDK
def test_openstacksdk_does_what_operators_do(door):
    with sdk_of(door, "admin", "labadmin") as sdk:
        compute = sdk.compute
        flavor = compute.create_flavor(name="sdk", ram=64, vcpus=1, disk=1, is_public=False)
        compute.create_flavor_extra_specs(flavor, {"bfv:root": "volume"})
        assert compute.fetch_flavor_extra_specs(flavor).extra_specs == {"bfv:root": "volume"}
        project = door.site.caller("demo").project_id
        compute.flavor_add_tenant_access(flavor, project)
        assert [each["tenant_id"] for each in compute.get_flavor_access(flavor)] == [project]
        compute.delete_flavor(flavor)
        aggregate = compute.create_aggregate(name="sdk", availability_zone="sdk")
        compute.add_host_to_aggregate(aggregate, "cell1-host1")
        compute.set_aggregate_metadata(aggregate, {"ssd": "yes"})
        assert compute.get_aggregate(aggregate.id).metadata == {"availability_zone": "sdk", "ssd": "yes"}
        assert "sdk" in {zone.name for zone in compute.availability_zones(details=True)}
        compute.remove_host_from_aggregate(aggregate, "cell1-host1")
        compute.delete_aggregate(aggregate)
        (service,) = compute.services(host="cell2-host2")
        assert compute.disable_service(service, disabled_reason="disk").disabled_reason == "disk"
        compute.update_service_forced_down(service, forced=True)
        (node,) = (each for each in compute.hypervisors(details=True) if each.name == "cell2-host2")
        assert (node.state, node.status) == ("down", "disabled")
        compute.update_service_forced_down(service, forced=False)
        compute.enable_service(service)
        quota = sdk.set_compute_quotas("demo", cores=33) or compute.get_quota_set(project)
        assert quota.cores == 33
        sdk.delete_compute_quotas("demo")
        assert compute.get_quota_set(project, usage=True).cores == 20


@SDK
def test_openstacksdk_does_what_users_do_beside_servers(door):
    with sdk_of(door, "demo", "labdemo") as sdk:
        group = sdk.compute.create_server_group(name="sdk", policy="anti-affinity", rules={"max_server_per_host": 2})
        assert sdk.compute.find_server_group("sdk").rules == {"max_server_per_host": 2}
        sdk.compute.delete_server_group(group)
        assert list(sdk.compute.server_groups()) == []
        sdk.compute.create_keypair(name="sdk", public_key=KEY)
        assert [pair.name for pair in sdk.compute.keypairs()] == ["sdk"]
        sdk.compute.delete_keypair("sdk")
        assert sdk.compute.get_quota_set(sdk.current_project_id).instances == 10


@pytest.mark.parametrize("version", ["2.1", "2.53", "2.96"])
def test_novaclient_does_what_operators_do(door, version):
    nova = novaclient.Client(version, session=Session(door.site.auth("admin")))
    assert {flavor.name for flavor in nova.flavors.list()} == {"tiny", "big"}
    made = nova.flavors.create("nova", 64, 1, 1)
    made.set_keys({"a": "b"})
    assert made.get_keys() == {"a": "b"}
    made.delete()
    assert [each.host for each in nova.services.list(binary="nova-compute")] == [
        "cell1-host1", "cell1-host2", "cell2-host1", "cell2-host2"]  # fmt: skip
    assert len(nova.hypervisors.list(detailed=True)) == 4
    assert nova.hypervisors.search("cell1-host1")[0].hypervisor_hostname == "cell1-host1"
    aggregate = nova.aggregates.create("nova", "nova-zone")
    aggregate.add_host("cell1-host1")
    aggregate.set_metadata({"x": "y"})
    aggregate.remove_host("cell1-host1")
    aggregate.delete()
    project = door.site.caller("demo").project_id
    assert nova.quotas.update(project, cores=30).cores == 30
    nova.quotas.delete(project)
    assert nova.quotas.get(project, detail=True).cores["limit"] == 20
    assert nova.quota_classes.get("default").cores == 20
    assert "nova" in {zone.zoneName for zone in nova.availability_zones.list()}
    words = {"name": "nova", "policies": ["affinity"]} if version != "2.96" else {"name": "nova", "policy": "affinity"}
    nova.server_groups.create(**words).delete()
    nova.keypairs.create("nova", public_key=KEY)
    assert [pair.name for pair in nova.keypairs.list()] == ["nova"]
    nova.keypairs.delete("nova")


@pytest.mark.lab
@pytest.mark.skipif(not LAB_PYTHON.exists(), reason="needs python-openstackclient in the lab's environment")
def test_the_openstack_command_does_what_operators_do(command, door):  # noqa: F811
    admin = lambda *words, **more: command(*words, user="admin", **more)  # noqa: E731
    made = admin("flavor", "create", "cli", "--ram", "64", "--private", "--property", "a=b", as_json=True)
    assert made["properties"] == {"a": "b"}
    admin("flavor", "set", "cli", "--project", "demo", "--property", "c=d", "--description", "fine")
    shown = admin("flavor", "show", "cli", as_json=True)
    assert (shown["properties"], shown["description"]) == ({"a": "b", "c": "d"}, "fine")
    assert shown["access_project_ids"] == [door.site.caller("demo").project_id]
    admin("flavor", "unset", "cli", "--property", "a", "--project", "demo")
    admin("flavor", "delete", "cli")
    admin("quota", "set", "--cores", "44", "demo")
    rows = {row["Resource"]: row["Limit"] for row in admin("quota", "show", "--compute", "demo", as_json=True)}
    assert rows["cores"] == 44
    admin("quota", "delete", "--compute", "demo")
    admin("aggregate", "create", "--zone", "cli", "cli")
    admin("aggregate", "add", "host", "cli", "cell1-host1")
    admin("aggregate", "set", "--property", "ssd=yes", "cli")
    assert admin("aggregate", "show", "cli", as_json=True)["properties"] == {"ssd": "yes"}
    zones = admin("availability", "zone", "list", "--compute", "--long", as_json=True)
    assert {"cli", "nova"} <= {row["Zone Name"] for row in zones}
    admin("aggregate", "remove", "host", "cli", "cell1-host1")
    admin("aggregate", "delete", "cli")
    admin("compute", "service", "set", "--disable", "--disable-reason", "disk", "cell2-host2", "nova-compute")
    (row,) = admin("compute", "service", "list", "--long", "--host", "cell2-host2", as_json=True)
    assert (row["Status"], row["Disabled Reason"]) == ("disabled", "disk")
    admin("compute", "service", "set", "--enable", "--up", "cell2-host2", "nova-compute")
    names = {row["Hypervisor Hostname"] for row in admin("hypervisor", "list", as_json=True)}
    assert "cell2-host2" in names
    assert admin("hypervisor", "show", "cell2-host2", as_json=True)["state"] == "up"
    command("server", "group", "create", "--policy", "soft-affinity", "cli")
    assert command("server", "group", "show", "cli", as_json=True)["policy"] == "soft-affinity"
    command("server", "group", "delete", "cli")
    key = door.world.home / "cli.pub"
    key.write_text(KEY)
    command("keypair", "create", "--public-key", str(key), "cli")
    assert command("keypair", "show", "cli", as_json=True)["name"] == "cli"
    command("keypair", "delete", "cli")
