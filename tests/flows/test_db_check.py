# SPDX-License-Identifier: Apache-2.0
"""`bfv db check` says which database is not as bfv needs it, where, and what to do."""

import json
import sqlite3

import pytest

from bfv import database, schemas

REVISION = "CREATE TABLE alembic_version (version_num VARCHAR(32))"


def execute(world, name, *statements):
    with sqlite3.connect(world.home / f"{name}.db") as connection:
        for statement in statements:
            connection.execute(statement)


def check(world):
    """Return what is not ok: what, and the line about it."""
    with world.cloud() as cloud:
        lines = schemas.check(cloud.parts)
    assert lines, "a check that looks at nothing proves nothing"
    return {line.what: line for line in lines if line.state != "ok"}


def test_the_databases_of_a_fresh_cloud_are_as_they_must_be(world):
    lines = json.loads(world.run("--json", "db", "check"))
    assert [(line["state"], line["what"]) for line in lines] == [
        ("ok", "bfv's database"), ("ok", "API database"), ("ok", "cell cell0"), ("ok", "cell cell1"),
        ("ok", "cell cell2"),
    ]  # fmt: skip


def test_a_column_that_is_gone_is_named_with_its_cell_and_fails_the_command(world):
    execute(world, "cell2", "ALTER TABLE block_device_mapping DROP COLUMN tag")
    lines = [line for line in json.loads(world.run("--json", "db", "check", expect=1)) if line["state"] == "bad"]
    assert [(line["what"], line["found"]) for line in lines] == [
        ("cell cell2: block_device_mapping.tag", "is missing"),
    ]
    assert "added by hand" in lines[0]["todo"]


def test_missing_tables_of_our_own_making_are_made_by_db_init(world):
    execute(world, "api", "DROP TABLE key_pairs")
    execute(world, "cell2", "DROP TABLE tags")
    assert set(check(world)) == {"API database: key_pairs", "cell cell2: tags"}
    with world.cloud() as cloud:
        database.init(cloud.parts, "sqlite:////no/such/cell0.db")
    assert check(world) == {}


def test_where_nova_made_the_tables_nova_has_to_mend_them(world):
    execute(world, "api", REVISION, "INSERT INTO alembic_version VALUES ('b30f573d3377')", "DROP TABLE key_pairs")
    found = check(world)
    assert (found["API database"].state, found["API database: key_pairs"].state) == ("unknown", "bad")
    assert "before nova 29" in found["API database"].found
    assert found["API database: key_pairs"].todo == "nova-manage api_db sync"


@pytest.mark.parametrize(("revision", "state"), [("ab450ba04102", None), ("feedfeedfeed", "unknown")])
def test_an_unknown_revision_is_told_and_is_no_fault_by_itself(world, revision, state):
    execute(world, "cell1", REVISION, f"INSERT INTO alembic_version VALUES ('{revision}')")
    found = check(world)
    assert [line.state for line in found.values()] == ([state] if state else [])


def test_our_own_database_of_another_version_is_told(world):
    execute(world, "bfv", "UPDATE bfv_version SET version_num = '0001'")
    found = check(world)
    assert (found["bfv's database"].state, found["bfv's database"].todo) == ("bad", "bfv db init")


def test_a_cell_that_does_not_answer_is_bad_and_the_others_are_looked_at(world):
    execute(world, "api", "UPDATE cell_mappings SET database_connection = 'sqlite:////no/such/file.db' "
            "WHERE name = 'cell1'", "DROP TABLE key_pairs")  # fmt: skip
    execute(world, "cell2", "DROP TABLE tags")
    assert {what: line.state for what, line in check(world).items()} == {
        "API database: key_pairs": "bad", "cell cell1": "bad", "cell cell2: tags": "bad",
    }  # fmt: skip


def test_an_api_database_that_does_not_answer_is_told(world):
    text = world.config.read_text()
    world.config.write_text(text.replace(f"{world.home}/api.db", "/no/such/api.db"))
    assert {what: line.state for what, line in check(world).items()} == {"API database": "bad"}
