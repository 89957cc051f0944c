# SPDX-License-Identifier: Apache-2.0
"""On one deployment nova and we list, count and know the same: servers, usage, hosts, groups and limits."""

import datetime as dt
import json
import uuid

import pytest

from cells import Flavor, Host, Server, encode, groups, hosts, limits, servers, usage
from cells.listing import Listing, Query
from cells.usage import Usage

pytestmark = pytest.mark.lab


def new_id():
    return str(uuid.uuid4())


def write(deployment, project, cell, name, **values):
    """Write a server by our code."""
    flavor = Flavor(1, "7", "m1.small", 2, 2048, 20, extra_specs={"a": "b"})
    server = Server(new_id(), project, "u", name, "active", flavor, metadata={"by": "us"}, **values)
    spec = encode.request_spec(server_id=server.uuid, project_id=project, user_id="u", flavor=flavor, image=None,
                               is_bfv=True)  # fmt: skip
    deployment.registry.map_server(server.uuid, project, "u", spec)
    deployment.registry.assign(server.uuid, deployment.registry.cell(cell))
    servers.insert(deployment.of(cell), server)
    return server.uuid


@pytest.fixture
def mixed(deployment, nova, flavor, project):
    """The ids of a project's servers, oldest first: by nova and by us in turn, in three cells."""
    made = []
    for cell in ("cell1", "cell2", "cell0"):
        made.append(nova.ask("make", server=new_id(), cell=cell, project=project, user="u", flavor=flavor.flavorid,
                             name=f"theirs {cell}", image=None, metadata={"by": "nova"}, vm_state="active",
                             power_state=1)["uuid"])  # fmt: skip
        made.append(write(deployment, project, cell, f"ours {cell}"))
    return made


@pytest.fixture
def listing(deployment):
    return Listing(deployment.registry, deployment.cells)


def test_both_list_the_same_servers(nova, listing, mixed, project):
    ours = [entry.uuid for entry in listing.page(Query(project)).servers]
    assert ours == mixed[::-1]
    assert sorted(nova.ask("listed", project=project)["servers"]) == sorted(ours)


def test_both_show_the_same_details(nova, listing, mixed, project):
    theirs = {each["uuid"]: each for each in nova.ask("details", project=project)}
    ours = listing.page(Query(project)).servers
    assert len(ours) == len(theirs) == len(mixed)
    names = ("uuid", "project_id", "user_id", "display_name", "vm_state", "task_state", "power_state", "host", "node",
             "hostname", "image_ref", "key_name", "config_drive", "root_device_name", "reservation_id",
             "availability_zone", "metadata", "locked")  # fmt: skip
    for one in ours:
        other = theirs[one.uuid]
        assert {name: getattr(one, name) or None for name in names} == {name: other[name] or None for name in names}
        assert one.created_at.isoformat() == other["created_at"]
        assert (one.flavor.flavorid, one.flavor.vcpus, one.flavor.extra_specs) == (
            other["flavor"]["flavorid"], other["flavor"]["vcpus"], other["flavor"]["extra_specs"],
        )  # fmt: skip
        assert json.loads(one.network_info_json) == []


def test_both_page_by_the_same_sorting(nova, listing, mixed, project):
    query = Query(project, sort_keys=("uuid",), sort_dirs=("asc",), limit=4)
    first = listing.page(query)
    rest = listing.page(Query(project, sort_keys=("uuid",), sort_dirs=("asc",), marker=first.next_marker))
    assert [entry.uuid for entry in (*first.servers, *rest.servers)] == sorted(mixed)


def test_both_count_the_same(deployment, nova, mixed, project):
    nova.ask("delete", server=mixed[0])
    parts = [usage.in_cell(deployment.of(cell), project, "u") for cell in ("cell0", "cell1", "cell2")]
    ours = usage.total(usage.merged(parts).values())
    theirs = nova.ask("count", project=project)["project"]
    assert ours == Usage(theirs["instances"], theirs["cores"], theirs["ram"])
    assert ours.instances == len(mixed) - 1


def test_nova_reads_a_host_that_we_register(deployment, nova):
    name = new_id()
    ours = Host("cell1", name, f"{name}.node", vcpus=8, memory_mb=4096, local_gb=100, vcpus_used=2, memory_mb_used=512,
                local_gb_used=20, running_vms=1, hypervisor_type="QEMU", cpu_allocation_ratio=4.0,
                ram_allocation_ratio=1.0, disk_allocation_ratio=1.0)  # fmt: skip
    hosts.register(deployment.of("cell1"), ours)
    hosts.report(deployment.of("cell1"), [ours])
    told = nova.ask("hosts", cell="cell1")
    (service,) = [each for each in told["services"] if each["host"] == name]
    (node,) = [each for each in told["nodes"] if each["host"] == name]
    assert (service["binary"], service["topic"], service["disabled"], service["forced_down"]) == (
        "nova-compute", "compute", False, False,
    )  # fmt: skip
    assert service["last_seen_up"] is not None
    for field in ("vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used", "local_gb_used", "running_vms",
                  "hypervisor_type", "cpu_allocation_ratio"):  # fmt: skip
        assert node[field] == getattr(ours, field), field
    assert (node["hypervisor_hostname"], node["free_ram_mb"], node["free_disk_gb"]) == (f"{name}.node", 3584, 80)


def test_we_read_a_host_that_nova_registers(deployment, nova):
    name = new_id()
    nova.ask("make_host", cell="cell2", host=name, node=name, uuid=new_id(), vcpus=4, memory_mb=2048, local_gb=50,
             vcpus_used=1, memory_mb_used=512, local_gb_used=10, hypervisor_type="fake")  # fmt: skip
    (found,) = [host for host in hosts.list(deployment.of("cell2"), "cell2") if host.host == name]
    assert (found.vcpus, found.memory_mb, found.local_gb, found.vcpus_used) == (4, 2048, 50, 1)
    assert hosts.is_up(found, dt.datetime.now(dt.UTC).replace(tzinfo=None), 60)


def test_nova_reads_a_group_of_ours(deployment, nova, project):
    made = groups.create(deployment.api, project, "u", "apart", "anti-affinity", 3)
    member = new_id()
    groups.add_member(deployment.api, made.uuid, member)
    found = nova.ask("group", uuid=made.uuid)
    assert (found["name"], found["policy"], found["project_id"], found["user_id"], found["members"]) == (
        "apart", "anti-affinity", project, "u", [member],
    )  # fmt: skip
    assert found["_rules"] == {"max_server_per_host": "3"}


def test_we_read_a_group_of_novas(deployment, nova, project):
    key, members = new_id(), [new_id(), new_id()]
    nova.ask("make_group", uuid=key, project=project, user="u", name="near", policy="anti-affinity",
             rules={"max_server_per_host": 2}, members=members)  # fmt: skip
    found = groups.get(deployment.api, key)
    assert (found.name, found.policy, found.max_per_host, found.project_id) == ("near", "anti-affinity", 2, project)
    assert sorted(found.members) == sorted(members)


def test_both_read_each_others_limits(deployment, nova, project):
    limits.set_limits(deployment.api, project, {"cores": 7})
    limits.set_limits(deployment.api, project, {"cores": 5}, user_id="u")
    nova.ask("set_limit", project=project, name="instances", limit=3)
    nova.ask("set_limit", project=project, name="ram", limit=9, user="v")
    theirs = nova.ask("limits", project=project)
    assert (theirs["cores"], theirs["instances"]) == (7, 3)
    assert nova.ask("limits", project=project, user="u")["cores"] == 5
    ours = limits.stored(deployment.api, project)
    assert (ours.project, ours.users["v"]["ram"]) == ({"cores": 7, "instances": 3}, 9)
