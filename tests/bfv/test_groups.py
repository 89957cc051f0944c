# SPDX-License-Identifier: Apache-2.0
"""A server group's rule holds: what it leaves to its next server, and where its servers are whatever is down."""

import pytest

from bfv import claims, groups, quota
from bfv.errors import BadRequest, CellDown, NoRoom, NotFound, OverQuota
from bfv.groups import Rule, allowed_hosts
from bfv.job import Job
from bfv.journal import DONE, FAILED
from cells import groups as rows
from cells import servers
from cells.groups import Group
from tests.bfv import small

U = small.caller("p", "u")
HOSTS = ("h1", "h2", "h3")


@pytest.mark.parametrize(
    ("policy", "most", "placed", "allowed"),
    [
        ("affinity", 1, [], HOSTS),
        ("affinity", 1, ["h2"], ("h2",)),
        ("affinity", 1, ["h2", "h3"], ("h2", "h3")),
        ("affinity", 1, ["h9"], ()),
        ("anti-affinity", 1, [], HOSTS),
        ("anti-affinity", 1, ["h1", "h9"], ("h2", "h3")),
        ("anti-affinity", 1, ["h1", "h2", "h3"], ()),
        ("anti-affinity", 2, ["h1", "h1", "h2"], ("h2", "h3")),
        ("soft-affinity", 1, [], HOSTS),
        ("soft-affinity", 1, ["h1", "h3", "h3"], ("h3",)),
        ("soft-affinity", 1, ["h1", "h9", "h9"], ("h1",)),
        ("soft-affinity", 1, ["h9"], HOSTS),
        ("soft-anti-affinity", 1, [], HOSTS),
        ("soft-anti-affinity", 1, ["h1"], ("h2", "h3")),
        ("soft-anti-affinity", 1, ["h1", "h2", "h3", "h3"], ("h1", "h2")),
        ("soft-anti-affinity", 1, ["h1", "h2", "h3"], HOSTS),
        ("a-policy-to-come", 1, ["h1"], HOSTS),
    ],
)
def test_which_hosts_a_group_leaves_to_its_next_server(policy, most, placed, allowed):
    assert allowed_hosts(Group(1, "g", "web", "p", "u", policy, most), HOSTS, placed) == allowed


def test_a_rule_without_words_allows_all():
    assert Rule().allows("h1")
    assert not Rule(only=frozenset()).allows("h1")


@pytest.fixture
def parts(small_url, tmp_path):
    parts = small.make(tmp_path, small_url, instances=-1, cores=-1, ram=-1)
    yield parts
    parts.close()


def member(parts, group, host, cell="cell1", row_host=None, end=DONE):
    """Boot a server of a group to whatever end; None leaves it on its way."""
    intent = small.accept(parts, U, cell=cell, host=host, group=group.uuid)
    rows.add_member(parts.api, group.uuid, intent.server_id)
    if end is not None:
        state = "active" if end == DONE else "error"
        small.put(parts, intent, cell, row_host, state)
        parts.journal.close(intent, end)
    return intent.server_id


def placed(parts, group, but="-"):
    with parts.journal.database.reader() as conn:
        return groups.placed(parts, conn, group, but)


def test_where_a_member_is_its_claim_tells_until_its_row_does(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity")
    on_its_way = member(parts, group, "h1", end=None)
    ready = member(parts, group, "h2")
    moved = member(parts, group, "h3", row_host="h4")
    failed = member(parts, group, "h5", end=FAILED)

    assert placed(parts, group) == {on_its_way: "h1", ready: "h2", moved: "h4"}
    assert placed(parts, group, but=ready) == {on_its_way: "h1", moved: "h4"}
    assert failed in rows.get(parts.api, group.uuid).members


def test_a_member_that_is_deleted_leaves_its_host_when_its_row_is_gone(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity")
    server_id = member(parts, group, "h1")
    ended = parts.journal.open("delete", server_id, project_id="p", user_id="u", request_id="req", request={})
    parts.registry.queue_for_delete(server_id)
    assert placed(parts, group) == {server_id: "h1"}

    servers.destroy(parts.cells.named("cell1"), server_id)
    assert placed(parts, group) == {}
    parts.journal.close(ended, DONE)

    with parts.journal.database.reader() as conn:
        assert claims.of_group(conn, group.uuid) == {}


def test_members_of_a_nova_are_where_their_rows_say(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity")
    there, new = (small.boot(parts, U) for _ in range(2))
    servers.update(parts.cells.named("cell1"), there, host="h7")
    for server_id in (there, new):
        rows.add_member(parts.api, group.uuid, server_id)

    assert placed(parts, group) == {there: "h7"}


def test_in_a_cell_that_is_down_members_are_where_their_claims_say(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity")
    ours, other = member(parts, group, "h1", "cell2"), member(parts, group, "h2", "cell1")
    theirs = small.boot(parts, U, "cell2")
    rows.add_member(parts.api, group.uuid, theirs)
    small.lose(parts, "cell2")

    assert placed(parts, group) == {ours: "h1", other: "h2"}


@pytest.mark.parametrize("known", [True, False])
def test_an_affinity_group_whose_servers_are_all_in_a_cell_that_is_down_takes_no_more(parts, known):
    group = groups.create(parts, "p", "u", "web", "affinity")
    if known:
        member(parts, group, "h1", "cell2")
    else:
        rows.add_member(parts.api, group.uuid, small.boot(parts, U, "cell2"))
    small.lose(parts, "cell2")

    with pytest.raises(CellDown, match=r"cell2.*affinity group"):
        placed(parts, group)

    here = member(parts, group, "h9", "cell1")
    assert placed(parts, group)[here] == "h9"


def test_a_deleted_member_in_a_cell_that_is_down_holds_no_affinity_group_back(parts):
    group = groups.create(parts, "p", "u", "web", "affinity")
    gone = small.boot(parts, U, "cell2")
    rows.add_member(parts.api, group.uuid, gone)
    parts.registry.queue_for_delete(gone)
    small.lose(parts, "cell2")

    assert placed(parts, group) == {}


DECISION = {"root": "volume", "rule": "default", "disks": [], "tier": "default", "cells": ["cell1", "cell2"],
            "cell_why": {}, "notes": [], "hosts": {"cell1": "h1", "cell2": "h2"}}  # fmt: skip


def on_its_way(parts, group, host):
    """Accept a member that has a host in each cell, and return what its worker has in hands."""

    def also(conn, intent_id):
        claims.insert(conn, [claims.Claim(intent_id, intent_id, "p", "u", small.SIZE, "cell1", host, group.uuid)])
        return DECISION

    intent = parts.journal.open("boot", "s1", project_id="p", user_id="u", request_id="req",
                                request={"boot": {"group": group.uuid}}, also=also)  # fmt: skip
    return Job(parts, intent)


def claim_of(parts, job):
    with parts.journal.database.reader() as conn:
        [claim] = [each for each in claims.all_of(conn, "p") if each.intent_id == job.intent.id]
    return claim.cell, claim.host


def test_on_the_way_to_the_next_cell_a_host_that_keeps_the_rule_is_claimed(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity")
    member(parts, group, "h7")
    job = on_its_way(parts, group, "h1")

    groups.move(job, "cell2")

    assert claim_of(parts, job) == ("cell2", "h2")


@pytest.mark.parametrize(("policy", "other"), [("anti-affinity", "h2"), ("affinity", "h1")])
def test_a_next_cell_whose_host_breaks_the_rule_is_left_out(parts, policy, other):
    group = groups.create(parts, "p", "u", "web", policy)
    job = on_its_way(parts, group, "h1")
    member(parts, group, other, end=None)

    with pytest.raises(NoRoom, match="cell2"):
        groups.move(job, "cell2")
    assert claim_of(parts, job) == ("cell1", "h1")


def test_a_group_that_is_gone_binds_nobody(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity")
    job = on_its_way(parts, group, "h1")
    member(parts, group, "h2", end=None)
    rows.delete(parts.api, group.uuid)

    groups.move(job, "cell2")

    assert claim_of(parts, job) == ("cell2", "h2")


def test_a_user_may_have_so_many_servers_in_a_group(parts):
    quota.set_limits(parts, "p", {"server_group_members": 2})
    group = groups.create(parts, "p", "u", "web", "affinity")
    member(parts, group, "h1")
    deleted = member(parts, group, "h1")
    parts.registry.queue_for_delete(deleted)

    def check(user="u"):
        with parts.journal.database.reader() as conn:
            known = claims.of_group(conn, group.uuid).values()
            quota.check_group_members(parts, group, small.caller("p", user), known)

    check()
    small.accept(parts, U, group=group.uuid, host="h1")
    with pytest.raises(OverQuota, match="too many servers in group"):
        check()
    check("v")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"policy": "together"}, "choose one of: affinity, anti-affinity"),
        ({"name": " "}, "1 to 255"),
        ({"policy": "affinity", "max_per_host": 2}, "Only anti-affinity policy supports rules"),
        ({"max_per_host": 0}, "at least 1"),
    ],
)
def test_a_group_that_cannot_be_is_refused_with_what_to_do(parts, values, told):
    wanted = {"name": "web", "policy": "anti-affinity", **values}
    with pytest.raises(BadRequest, match=told):
        groups.create(parts, "p", "u", **wanted)
    assert rows.list_groups(parts.api, "p") == []


def test_a_request_names_a_group_of_its_project_by_uuid(parts):
    group = groups.create(parts, "p", "u", "web", "anti-affinity", 2)

    assert groups.wanted(parts, U, None) is None
    assert groups.wanted(parts, U, group.uuid.upper()) == group
    with pytest.raises(BadRequest, match="no UUID"):
        groups.wanted(parts, U, "web")
    with pytest.raises(BadRequest, match="could not be found"):
        groups.wanted(parts, small.caller("q"), group.uuid)
    with pytest.raises(NotFound):
        groups.find(parts, "q", group.uuid)
