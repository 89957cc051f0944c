# SPDX-License-Identifier: Apache-2.0
"""What we create is what nova creates, to the column; and nova's own databases are never touched."""

import pytest
import sqlalchemy as sa

from cells import BadCell, create_api, create_cell, schema_api, schema_cell

KINDS = {"api": (schema_api.metadata, create_api), "cell": (schema_cell.metadata, create_cell)}
TABLES = [(kind, name) for kind, (metadata, _) in KINDS.items() for name in metadata.tables]


def described(database, name):
    with database.reader() as conn:
        inspector = sa.inspect(conn)
        columns = [
            (column["name"], str(column["type"].compile(conn.dialect)), column["nullable"], column["default"])
            for column in inspector.get_columns(name)
        ]
        # MariaDB names foreign keys that have no name after the order of their making.
        foreign = {
            (tuple(key["constrained_columns"]), key["referred_table"], tuple(key["referred_columns"]))
            for key in inspector.get_foreign_keys(name)
        }
        return {
            "columns": columns,
            "primary": inspector.get_pk_constraint(name)["constrained_columns"],
            "unique": {(key["name"], tuple(key["column_names"])) for key in inspector.get_unique_constraints(name)},
            "indexes": {
                (index["name"], tuple(index["column_names"]), bool(index["unique"]))
                for index in inspector.get_indexes(name)
            },
            "foreign": foreign,
        }


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_a_table_equals_novas(kind, table, database_url, open_database, run_ddl):
    _, create = KINDS[kind]
    ours, novas = open_database("ours", database_url("ours")), open_database("nova", database_url("nova"))
    create(ours)
    run_ddl(novas, kind)
    assert described(ours, table) == described(novas, table)


@pytest.mark.parametrize("kind", KINDS)
def test_named_foreign_keys_equal_novas(kind, database_url, open_database, run_ddl):
    _, create = KINDS[kind]
    ours, novas = open_database("ours", database_url("ours")), open_database("nova", database_url("nova"))
    create(ours)
    run_ddl(novas, kind)

    def names(database):
        with database.reader() as conn:
            inspector = sa.inspect(conn)
            tables = KINDS[kind][0].tables
            return {name: {key["name"] for key in inspector.get_foreign_keys(name)} for name in tables}

    assert names(ours) == names(novas)


@pytest.mark.parametrize("kind", KINDS)
def test_creating_twice_keeps_the_rows(kind, database_url, open_database):
    metadata, create = KINDS[kind]
    database = open_database(kind, database_url(kind))
    create(database)
    rows = {"cell_mappings": {"uuid": "u"}, "instances": {"uuid": "u"}}
    table = metadata.tables["cell_mappings" if kind == "api" else "instances"]
    with database.writer() as conn:
        conn.execute(table.insert().values(rows[table.name]))
    create(database)
    with database.reader() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version_table", ["alembic_version", "migrate_version"])
def test_a_database_that_nova_manages_is_refused(kind, version_table, database_url, open_database):
    _, create = KINDS[kind]
    database = open_database("x", database_url("x"))
    with database.writer() as conn:
        conn.exec_driver_sql(f"CREATE TABLE {version_table} (version_num VARCHAR(32) NOT NULL)")
    with pytest.raises(BadCell, match=version_table):
        create(database)
    with database.reader() as conn:
        assert sa.inspect(conn).get_table_names() == [version_table]
