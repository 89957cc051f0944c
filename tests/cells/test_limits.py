# SPDX-License-Identifier: Apache-2.0
"""Limits, on tables that we made and on tables that nova makes."""

import threading

import pytest
import sqlalchemy as sa

from cells import limits
from cells.schema_quota import quota_classes, quotas

CONFIGURED = {"instances": 10, "cores": 20, "ram": 51200}


def put(database, table, **row):
    with database.writer() as conn:
        conn.execute(table.insert().values(**row))


def test_a_users_limit_comes_before_the_projects_that_before_the_class_that_before_the_configuration(api):
    limits.set_default(api, {"instances": 8, "cores": 16})
    limits.set_limits(api, "p", {"instances": 6})
    limits.set_limits(api, "p", {"instances": 4}, "u")

    found = limits.stored(api, "p")

    assert found.of_user("u", CONFIGURED) == {"instances": 4, "cores": 16, "ram": 51200}
    assert found.of_user("other", CONFIGURED) == {"instances": 6, "cores": 16, "ram": 51200}
    assert found.of_project(CONFIGURED) == {"instances": 6, "cores": 16, "ram": 51200}
    assert limits.stored(api, "q").of_project(CONFIGURED) == {"instances": 8, "cores": 16, "ram": 51200}


def test_null_and_every_negative_value_mean_no_limit(api):
    put(api, quotas, project_id="p", resource="instances", hard_limit=None)
    put(api, quotas, project_id="p", resource="cores", hard_limit=-7)

    assert limits.stored(api, "p").of_project(CONFIGURED) == {"instances": -1, "cores": -1, "ram": 51200}


def test_other_classes_do_not_count(api):
    put(api, quota_classes, class_name="gold", resource="instances", hard_limit=99)

    assert limits.stored(api, "p").of_project(CONFIGURED)["instances"] == 10


def test_a_limit_that_is_set_again_is_changed(api):
    for value in (5, 5, 7):
        limits.set_limits(api, "p", {"instances": value})
        limits.set_default(api, {"cores": value})

    assert limits.stored(api, "p") == limits.Stored({"instances": 7}, {}, {"cores": 7})
    with api.reader() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(quota_classes)).scalar() == 1


def test_two_that_set_a_limit_at_once_leave_one_row(api):
    threads = [threading.Thread(target=limits.set_limits, args=(api, "p", {"instances": value})) for value in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert limits.stored(api, "p").project["instances"] in (3, 4)


def test_without_rows_of_a_user_the_projects_apply_again_and_without_the_projects_the_default(api):
    limits.set_limits(api, "p", {"instances": 6})
    limits.set_limits(api, "p", {"instances": 4}, "u")
    limits.set_limits(api, "p", {"instances": 3}, "v")
    limits.set_limits(api, "q", {"instances": 1})

    limits.delete_limits(api, "p", "u")
    assert limits.stored(api, "p").of_user("u", CONFIGURED)["instances"] == 6
    assert limits.stored(api, "p").of_user("v", CONFIGURED)["instances"] == 3

    limits.delete_limits(api, "p")
    assert limits.stored(api, "p") == limits.Stored()
    assert limits.stored(api, "q").project == {"instances": 1}


def old(name, *columns):
    """A table of limits as nova's main database has it: rows are deleted softly."""
    shared = (
        sa.Column("resource", sa.String(255)),
        sa.Column("hard_limit", sa.Integer),
        sa.Column("deleted", sa.Integer),
    )
    key = sa.Column("id", sa.Integer, primary_key=True)
    return sa.Table(name, sa.MetaData(), key, *(sa.Column(each, sa.String(255)) for each in columns), *shared)


def test_a_database_without_the_tables_that_nova_once_had_limits_nothing(cell):
    assert limits.legacy(cell, "p") == limits.Stored()
    assert limits.legacy(cell, "q") == limits.Stored()


def test_limits_that_nova_left_in_its_main_database_count_below_those_of_the_api_database(api, cell):
    project, user = old("quotas", "project_id"), old("project_user_quotas", "project_id", "user_id")
    default = old("quota_classes", "class_name")
    rows = [
        (project, {"project_id": "p", "resource": "instances", "hard_limit": 3, "deleted": 0}),
        (project, {"project_id": "p", "resource": "cores", "hard_limit": 3, "deleted": 0}),
        (project, {"project_id": "p", "resource": "ram", "hard_limit": 3, "deleted": 1}),
        (user, {"project_id": "p", "user_id": "u", "resource": "ram", "hard_limit": 2, "deleted": 0}),
        (default, {"class_name": "default", "resource": "ram", "hard_limit": 9, "deleted": 0}),
    ]
    with cell.writer() as conn:
        for table in (project, user, default):
            table.create(conn)
        for table, row in rows:
            conn.execute(table.insert().values(row))
    limits.set_limits(api, "p", {"instances": 6})

    found = limits.stored(api, "p").beneath(limits.legacy(cell, "p"))

    assert found.of_project(CONFIGURED) == {"instances": 6, "cores": 3, "ram": 9}
    assert found.of_user("u", CONFIGURED) == {"instances": 6, "cores": 3, "ram": 2}


STORED = limits.Stored({"instances": 10}, {"u": {"instances": 4}, "v": {"instances": 3}}, {"cores": -1})


@pytest.mark.parametrize(
    ("user", "used", "bounds"),
    [
        (None, {"instances": 2}, (7, -1)),
        (None, {"instances": 9}, (9, -1)),
        ("u", {"instances": 2}, (2, 7)),
        ("w", {"instances": 1}, (1, 3)),
    ],
)
def test_what_may_be_set_is_bound_by_what_is_used_and_by_the_others_limits(user, used, bounds):
    assert limits.settable(STORED, CONFIGURED, used, user)["instances"] == bounds


def test_what_has_no_limit_bounds_nobody():
    assert limits.settable(STORED, CONFIGURED, {"cores": 5}, "u")["cores"] == (5, -1)
    assert limits.settable(STORED, CONFIGURED, {"cores": 5})["cores"] == (5, -1)
