# SPDX-License-Identifier: Apache-2.0
"""Quotas are exact: at each line of a boot, while cells are down, and however many race for the last place."""

import threading

import pytest
import sqlalchemy as sa

from bfv import claims, drift, groups, quota, tables
from bfv.errors import BadRequest, OverQuota, Refused
from bfv.fit import Size
from bfv.journal import CANCELLED, DONE, FAILED
from bfv.quota import Room
from cells import servers
from cells.errors import Busy, Exists
from cells.usage import Usage
from tests.bfv import small

U = small.caller("p", "u")


@pytest.fixture
def make(small_url, tmp_path):
    made = []

    def make_one(**options):
        made.append(small.make(tmp_path, small_url, **options))
        return made[-1]

    yield make_one
    for parts in made:
        parts.close()


def rows(parts, table):
    with parts.journal.database.reader() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar()


def test_a_server_counts_once_at_each_line_of_its_boot(make):
    parts = make(instances=2)
    intent = small.accept(parts, U)
    seen = [small.used(parts, U)]
    small.put(parts, intent)
    seen.append(small.used(parts, U))
    parts.journal.close(intent, DONE)
    seen.append(small.used(parts, U))
    servers.destroy(parts.cells.named("cell1"), intent.server_id)

    assert seen == [(1, 1)] * 3
    assert small.used(parts, U) == (0, 0)
    assert rows(parts, tables.claims) == 0


@pytest.mark.parametrize("phase", [FAILED, CANCELLED])
def test_a_boot_that_ends_without_a_row_leaves_its_place(make, phase):
    parts = make(instances=1)
    parts.journal.close(small.accept(parts, U), phase)

    assert rows(parts, tables.claims) == 0
    small.accept(parts, U)


def test_who_is_over_quota_is_told_in_novas_words_and_leaves_no_trace(make):
    parts = make(instances=3, cores=5)
    for cell in ("cell1", "cell0"):
        small.boot(parts, U, cell)
    before = [rows(parts, table) for table in tables.metadata.sorted_tables]

    with pytest.raises(OverQuota, match=r"^Quota exceeded for cores: Requested 2, but already used 4 of 5 cores$"):
        small.accept(parts, U)
    with pytest.raises(OverQuota) as told:
        small.accept(parts, U, Size(1, 1, 0), number=2)
    assert str(told.value) == (
        "Quota exceeded for cores, instances: Requested 2, 2, but already used 4, 2 of 5, 3 cores, instances"
    )
    assert [rows(parts, table) for table in tables.metadata.sorted_tables] == before
    small.accept(parts, U, Size(1, 1, 0))


def test_several_are_claimed_at_once_or_none(make):
    parts = make(instances=3)
    small.accept(parts, U, Size(1, 1, 0), number=3)

    assert small.used(parts, U) == (3, 3)
    with pytest.raises(OverQuota):
        small.accept(parts, U, Size(1, 1, 0))


def test_how_many_fit_is_told_by_each_limit_of_the_project_and_of_the_user():
    room = Room({"instances": 10, "cores": 20, "ram": -1}, Usage(4, 10, 1), {"instances": 6, "cores": -1, "ram": -1},
                Usage(1, 2, 3))  # fmt: skip

    assert room.most(Size(1, 9999, 0), 9) == 5
    assert room.most(Size(4, 1, 0), 9) == 2
    assert room.most(Size(11, 1, 0), 9) == 0
    assert room.fits(Size(2, 1, 0), 5)
    assert not room.fits(Size(2, 1, 0), 6)


def test_a_user_is_bound_inside_the_project(make):
    parts = make(instances=3, cores=-1)
    quota.set_limits(parts, "p", {"instances": 1}, "u")
    small.accept(parts, U)

    with pytest.raises(OverQuota, match="already used 1 of 1 instances"):
        small.accept(parts, U)
    for _ in range(2):
        small.accept(parts, small.caller("p", "v"))
    with pytest.raises(OverQuota, match="already used 3 of 3 instances"):
        small.accept(parts, small.caller("p", "v"))
    small.accept(parts, small.caller("q", "u"))


def test_what_is_repeated_is_told_as_such_also_where_it_has_the_last_place(make):
    parts = make(instances=1)
    server_id = small.accept(parts, U).server_id

    with pytest.raises(Exists):
        small.accept(parts, U, server_id=server_id)


def test_a_cell_that_is_down_stops_only_projects_that_have_servers_there(make):
    parts = make()
    small.boot(parts, U, "cell2")
    small.lose(parts, "cell2")

    with pytest.raises(Refused, match="does not answer at present") as told:
        small.accept(parts, U)
    assert "cell2" not in str(told.value)
    assert not isinstance(told.value, OverQuota)
    assert rows(parts, tables.claims) == 0
    small.accept(parts, small.caller("q", "u"))


def test_who_has_the_role_is_let_through_and_is_bound_by_what_was_asked_for(make):
    parts, admin = make(instances=2), small.caller("p", "boss", "member", "admin")
    small.boot(parts, U, "cell2")
    small.lose(parts, "cell2")

    small.accept(parts, admin)
    with pytest.raises(OverQuota, match="already used 2 of 2 instances"):
        small.accept(parts, admin)


def test_the_api_database_tells_exactly_what_a_cell_that_is_down_has_of_ours(make):
    parts = make(instances=4, cores=-1, down_cell="api")
    for _ in range(2):
        small.boot(parts, U, "cell2")
    deleted, failing = small.boot(parts, U, "cell2"), small.boot(parts, U, "cell2")
    for key, phase in ((deleted, DONE), (failing, FAILED)):
        ended = parts.journal.open("delete", key, project_id="p", user_id="u", request_id="req", request={})
        parts.registry.queue_for_delete(key)
        parts.journal.close(ended, phase)
    servers.destroy(parts.cells.named("cell2"), deleted)
    pending = small.accept(parts, small.caller("p", "v"), cell="cell2")
    small.put(parts, pending, "cell2")
    up = small.used(parts, U)
    small.lose(parts, "cell2")

    assert small.used(parts, U) == up == (4, 3)
    with pytest.raises(OverQuota, match="already used 4 of 4"):
        small.accept(parts, U)


def test_what_is_on_its_way_to_a_cell_that_is_down_is_known(make):
    parts = make()
    small.put(parts, small.accept(parts, U, cell="cell2"), "cell2")
    small.lose(parts, "cell2")

    assert small.used(parts, U) == (1, 1)


def test_where_nothing_is_limited_nothing_has_to_be_known(make):
    parts = make(instances=-1, cores=-1, ram=-1)
    small.boot(parts, U, "cell2")
    small.lose(parts, "cell2")

    small.accept(parts, U)
    quota.set_limits(parts, "p", {"instances": 5}, "u", force=True)
    with pytest.raises(Refused, match="at present"):
        small.accept(parts, U)


def test_limits_in_cell0s_own_tables_count_and_cell0_may_be_down(make):
    parts = make(instances=5)
    old = sa.Table("quotas", sa.MetaData(), *(sa.Column(name, sa.String(64)) for name in ("project_id", "resource")),
                   *(sa.Column(name, sa.Integer) for name in ("hard_limit", "deleted")))  # fmt: skip
    more = ("project_user_quotas", ("user_id", "project_id", "resource")), ("quota_classes", ("class_name", "resource"))
    with parts.cells.cell0().writer() as conn:
        old.create(conn)
        for name, columns in more:
            sa.Table(name, sa.MetaData(), *(sa.Column(each, sa.String(64)) for each in columns),
                     *(sa.Column(each, sa.Integer) for each in ("hard_limit", "deleted"))).create(conn)  # fmt: skip
        conn.execute(old.insert().values(project_id="p", resource="instances", hard_limit=1, deleted=0))
    small.accept(parts, U)
    with pytest.raises(OverQuota, match="of 1 instances"):
        small.accept(parts, U)

    small.lose(parts, "cell0")

    small.accept(parts, U)


def test_limits_are_set_within_their_bounds(make):
    parts = make(instances=5)
    for _ in range(2):
        small.accept(parts, U)
    quota.set_limits(parts, "p", {"instances": 3}, "u")

    refused = [
        ({"instances": 1}, None, "limit 1 for instances must be greater than or equal to already used and reserved 3"),
        ({"instances": 1}, "u", "must be greater than or equal to already used and reserved 2"),
        ({"instances": 6}, "u", "Quota limit 6 for instances must be less than or equal to 5"),
        ({"instances": 3}, "v", "must be less than or equal to 2"),
        ({"instances": -1}, "u", "must be less than or equal to 5"),
        ({"instances": -2}, None, "must be -1"),
        ({"snails": 2}, None, "no quota for snails"),
    ]
    for limits, user, told in refused:
        with pytest.raises(BadRequest, match=told):
            quota.set_limits(parts, "p", limits, user)
    quota.set_limits(parts, "p", {"instances": 1}, force=True)
    with pytest.raises(OverQuota, match="already used 2 of 1 instances"):
        small.accept(parts, U)
    quota.set_limits(parts, "p", {"instances": -1})
    small.accept(parts, U)


def test_server_groups_have_their_quota_and_of_many_at_once_no_more_are_made(make):
    parts = make(server_groups=3)
    outcomes = []

    def one(user):
        try:
            outcomes.append(groups.create(parts, "p", user, "web", "affinity").name)
        except OverQuota as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=one, args=(f"u{number % 2}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["Quota exceeded, too many server groups."] * 3 + ["web"] * 3
    quota.set_limits(parts, "q", {"server_groups": 1}, "u")
    groups.create(parts, "q", "u", "web", "affinity")
    with pytest.raises(OverQuota):
        groups.create(parts, "q", "u", "db", "affinity")
    groups.create(parts, "q", "v", "db", "affinity")


def test_who_waits_too_long_for_a_turn_is_told_to_come_again():
    with claims.turn("p", 1), pytest.raises(Busy), claims.turn("p", 0.05):
        pass
    with claims.turn("p", 0.05), claims.turn("q", 0.05):
        pass


def test_threads_that_race_for_a_place_get_no_more_than_there_are(make):
    parts = make(instances=5, cores=-1)
    outcomes = []

    def one():
        try:
            outcomes.append(small.boot(parts, U) and 1)
        except OverQuota:
            outcomes.append(0)

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(outcomes), sum(outcomes)) == (16, 5)
    assert small.used(parts, U) == (5, 5)


def test_what_claims_mappings_and_rows_tell_differently_is_found(make):
    parts = make()
    fine, twice, unmapped, elsewhere, rowless = (small.boot(parts, U) for _ in range(5))
    small.accept(parts, U)
    server = servers.get(parts.cells.named("cell1"), twice)
    servers.insert(parts.cells.named("cell2"), server)
    parts.registry.unmap(unmapped)
    parts.registry.assign(elsewhere, parts.registry.cell("cell2"))
    servers.destroy(parts.cells.named("cell1"), rowless)
    with parts.journal.database.writer() as conn:
        claims.insert(conn, [claims.Claim("gone", "stray", "p", "u", small.SIZE, "cell1"),
                             claims.Claim("old", "left", "p", "u", small.SIZE, "cell1", "h1", "g", False)])  # fmt: skip

    def told(project="p"):
        return {(each.server_id, each.what.partition(":")[0]) for each in drift.look(parts, project).found}

    assert told() == {
        ("stray", "claim without intent"),
        ("left", "place without server"),
        (twice, "counted twice"),
        (unmapped, "row without mapping"),
        (elsewhere, "row without mapping"),
        (elsewhere, "mapping without row"),
        (rowless, "mapping without row"),
    }
    assert fine not in {key for key, _ in told()}
    assert told("q") == set()

    small.lose(parts, "cell2")
    assert list(drift.look(parts, "p").down) == ["cell2"]
    assert (elsewhere, "mapping without row") not in told()
    assert (rowless, "mapping without row") in told()
