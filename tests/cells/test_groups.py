# SPDX-License-Identifier: Apache-2.0
"""Server groups, on tables that we made and on tables that nova makes."""

import json
import uuid

import pytest
import sqlalchemy as sa

from cells import Flavor, NotMapped, Registry, Server, groups, servers
from cells.groups import Member
from cells.schema_quota import instance_group_member, instance_group_policy

FLAVOR = Flavor(1, "m1", "m1", vcpus=1, memory_mb=64, root_gb=1)


@pytest.fixture
def registry(api):
    return Registry(api)


def mapped(registry, cell=None):
    server_id = str(uuid.uuid4())
    registry.map_server(server_id, "p", "u", {})
    if cell:
        registry.assign(server_id, cell)
    return server_id


def test_a_group_is_written_and_read_back(api):
    made = groups.create(api, "p", "u", "web", "anti-affinity", 3)

    assert (made.name, made.policy, made.max_per_host, made.members) == ("web", "anti-affinity", 3, ())
    assert groups.get(api, made.uuid) == made
    assert groups.list_groups(api, "p") == [made]
    assert groups.list_groups(api, "q") == []
    assert groups.list_groups(api, None) == [made]


def test_the_rule_is_written_as_nova_writes_it(api):
    groups.create(api, "p", "u", "web", "anti-affinity", 3)
    groups.create(api, "p", "u", "db", "affinity")

    with api.reader() as conn:
        rows = conn.execute(sa.select(instance_group_policy).order_by(instance_group_policy.c.id)).all()
    assert [(row.policy, json.loads(row.rules)) for row in rows] == [
        ("anti-affinity", {"max_server_per_host": "3"}),
        ("affinity", {}),
    ]


@pytest.mark.parametrize("rules", [None, "{}", '{"max_server_per_host": "1"}', '{"max_server_per_host": 1}'])
def test_a_group_of_an_older_nova_has_the_rule_of_one(api, rules):
    made = groups.create(api, "p", "u", "web", "anti-affinity", 3)
    with api.writer() as conn:
        conn.execute(instance_group_policy.update().values(rules=rules))

    assert groups.get(api, made.uuid).max_per_host == 1


def test_a_server_is_a_member_once_and_until_it_is_removed(api):
    made, other = (groups.create(api, "p", "u", name, "affinity") for name in ("web", "db"))
    for server_id in ("s1", "s2", "s1"):
        groups.add_member(api, made.uuid, server_id)
    groups.add_member(api, other.uuid, "s1")
    with api.writer() as conn:
        conn.execute(instance_group_member.insert().values(group_id=made.id, instance_uuid="s1"))

    assert groups.get(api, made.uuid).members == ("s1", "s2")
    groups.remove_member(api, "s1")
    groups.remove_member(api, "s1")
    assert [group.members for group in groups.list_groups(api, "p")] == [("s2",), ()]


def test_a_group_that_is_not_there_takes_nobody(api):
    for act in (
        lambda: groups.add_member(api, "x", "s1"),
        lambda: groups.get(api, "x"),
        lambda: groups.delete(api, "x"),
    ):
        with pytest.raises(NotMapped, match="group x"):
            act()


def test_a_group_goes_with_its_members_and_its_policy_and_leaves_others(api):
    made, other = (groups.create(api, "p", "u", name, "affinity") for name in ("web", "db"))
    for group in (made, other):
        groups.add_member(api, group.uuid, "s1")

    groups.delete(api, made.uuid)

    [left] = groups.list_groups(api, "p")
    assert (left.uuid, left.members) == (other.uuid, ("s1",))
    with api.reader() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(instance_group_policy)).scalar() == 1


def test_members_are_told_with_their_cells_without_asking_these(api, registry):
    cell = registry.add_cell("cell1", "sqlite:////nowhere.db")
    made = groups.create(api, "p", "u", "web", "affinity")
    here, new, deleted = mapped(registry, cell), mapped(registry), mapped(registry, cell)
    registry.queue_for_delete(deleted)
    assert groups.members(api, made.id) == []
    for server_id in (here, new, deleted, "never-mapped"):
        groups.add_member(api, made.uuid, server_id)

    found = groups.members(api, made.id)

    assert found == [
        Member(here, "u", cell.id, False),
        Member(new, "u", None, False),
        Member(deleted, "u", cell.id, True),
    ]


def test_hosts_are_those_of_rows_that_are_not_deleted(cell):
    placed, new, gone = (str(uuid.uuid4()) for _ in range(3))
    for server_id, host in ((placed, "h1"), (new, None), (gone, "h2")):
        servers.insert(cell, Server(server_id, "p", "u", "vm", "active", FLAVOR, host=host))
    servers.destroy(cell, gone)

    assert groups.hosts_of(cell, [placed, new, gone, "elsewhere"]) == {placed: "h1", new: None}


def test_groups_are_counted_for_the_project_and_for_each_user(api):
    for project, user in (("p", "u"), ("p", "u"), ("p", "v"), ("q", "u")):
        groups.create(api, project, user, "web", "affinity")

    assert groups.count(api, "p") == (3, {"u": 2, "v": 1})
    assert groups.count(api, "nobody") == (0, {})
