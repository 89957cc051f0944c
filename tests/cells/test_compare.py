# SPDX-License-Identifier: Apache-2.0
"""What a live database lacks is found before a statement of ours meets it; what is only more than ours is no fault."""

import pytest

from cells import BadCell, CellDown, create_api, create_cell, usage
from cells.compare import compare

CREATE = {"api": create_api, "cell": create_cell}
# `key_pairs` as nova makes it.
KEY_PAIRS = {"created_at": "DATETIME", "updated_at": "DATETIME", "id": "INTEGER NOT NULL PRIMARY KEY",
             "name": "VARCHAR(255) NOT NULL", "user_id": "VARCHAR(255) NOT NULL", "fingerprint": "VARCHAR(255)",
             "public_key": "TEXT", "type": "VARCHAR(4) NOT NULL DEFAULT 'ssh'"}  # fmt: skip


def differences(database, kind="api"):
    return [(found.name, found.what) for found in compare(database, kind).differences]


def execute(database, *statements):
    with database.writer() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


@pytest.fixture
def api_database(database_url, open_database):
    database = open_database("api", database_url("api"))
    create_api(database)
    return database


@pytest.fixture
def with_key_pairs(api_database):
    """Makes the table `key_pairs` with other columns; None leaves one out."""

    def remake(**changes):
        columns = {name: kind for name, kind in {**KEY_PAIRS, **changes}.items() if kind}
        body = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        execute(api_database, "DROP TABLE key_pairs", f"CREATE TABLE key_pairs ({body})")
        return api_database

    return remake


@pytest.mark.parametrize("kind", CREATE)
def test_a_database_of_ours_lacks_nothing(kind, database_url, open_database):
    database = open_database(kind, database_url(kind))
    CREATE[kind](database)
    found = compare(database, kind)
    assert (found.revision, found.state, found.differences) == (None, "ours", ())


def test_an_index_that_statements_name_is_missed(database_url, open_database):
    database = open_database("cell1", database_url("cell1"))
    create_cell(database)
    drop = "DROP INDEX instances_project_id_deleted_idx" + (" ON instances" if not database.is_file else "")
    execute(database, drop)
    lacks = "has no index instances_project_id_deleted_idx, which statements name"
    # SQLite is named none.
    assert differences(database, "cell") == ([] if database.is_file else [("instances", lacks)])
    if not database.is_file:
        with pytest.raises(BadCell, match="instances_project_id_deleted_idx"):
            usage.in_cell(database, "p", "u")


@pytest.mark.parametrize(("kind", "revision", "release"),
                         [("api", "cdeec0c85668", "29 to 34"), ("cell", "ab450ba04102", "34")])  # fmt: skip
def test_a_database_of_the_newest_nova_lacks_nothing(kind, revision, release, database_url, open_database, run_ddl):
    database = open_database(kind, database_url(kind))
    run_ddl(database, kind)
    execute(database, f"INSERT INTO alembic_version VALUES ('{revision}')")
    found = compare(database, kind)
    assert (found.revision, found.state, found.release, found.differences) == (revision, "known", release, ())


@pytest.mark.parametrize(
    ("kind", "revision", "state"),
    [("cell", "13863f4e1612", "known"), ("cell", "2903cd72dc14", "known"), ("cell", "1acf2c98e646", "older"),
     ("api", "b30f573d3377", "older"), ("cell", "cdeec0c85668", "unknown"), ("cell", "feedfeedfeed", "unknown"),
     ("cell", "", "unknown")],
)  # fmt: skip
def test_a_revision_is_told(kind, revision, state, database_url, open_database):
    database = open_database(kind, database_url(kind))
    CREATE[kind](database)
    execute(database, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    if revision:
        execute(database, f"INSERT INTO alembic_version VALUES ('{revision}')")
    found = compare(database, kind)
    assert (found.revision or "", found.state, found.differences) == (revision, state, ())


def test_a_nova_of_before_alembic_is_old(api_database):
    execute(api_database, "CREATE TABLE migrate_version (version INTEGER)")
    assert compare(api_database, "api").state == "older"


def test_an_empty_database_lacks_every_table(database_url, open_database):
    found = compare(open_database("cell1", database_url("cell1")), "cell")
    assert found.state == "ours"
    assert {difference.what for difference in found.differences} == {"is missing"}
    assert {"instances", "services", "block_device_mapping"} <= {difference.name for difference in found.differences}


def test_a_missing_table_is_told(api_database):
    execute(api_database, "DROP TABLE key_pairs")
    assert differences(api_database) == [("key_pairs", "is missing")]


@pytest.mark.parametrize(
    ("changes", "column", "what"),
    [
        ({"public_key": None}, "public_key", "is missing"),
        ({"created_at": "VARCHAR(32)"}, "created_at", "is VARCHAR(32), not time"),
        ({"name": "DATETIME"}, "name", "is DATETIME, not text"),
        ({"name": "VARCHAR(64) NOT NULL"}, "name", "is VARCHAR(64), shorter than 255 characters"),
        ({"fingerprint": "VARCHAR(255) NOT NULL"}, "fingerprint", "must have a value, where NULL is written"),
        ({"owner": "VARCHAR(9) NOT NULL"}, "owner", "is not known here and must have a value: no row can be written"),
    ],
)
def test_a_column_that_would_break_a_statement_is_told(changes, column, what, with_key_pairs):
    assert differences(with_key_pairs(**changes)) == [(f"key_pairs.{column}", what)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "VARCHAR(300) NOT NULL"},
        {"name": "TEXT NOT NULL"},
        {"name": "VARCHAR(255)"},
        {"fingerprint": "VARCHAR(255) NOT NULL DEFAULT ''"},
        {"id": "BIGINT NOT NULL PRIMARY KEY"},
        {"owner": "VARCHAR(9)"},
        {"owner": "VARCHAR(9) NOT NULL DEFAULT 'x'"},
    ],
)
def test_what_is_only_more_or_wider_is_no_difference(changes, with_key_pairs):
    assert differences(with_key_pairs(**changes)) == []


def test_more_tables_are_no_difference(api_database):
    execute(api_database, "CREATE TABLE quota_usages (id INTEGER NOT NULL)")
    assert differences(api_database) == []


def test_a_database_that_does_not_answer_is_down(tmp_path, open_database):
    with pytest.raises(CellDown):
        compare(open_database("cell1", f"sqlite:///{tmp_path}/no/such/folder.db"), "cell")
