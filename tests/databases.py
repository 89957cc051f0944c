# SPDX-License-Identifier: Apache-2.0
"""Empty databases of each kind: SQLite files always, the lab's servers where ``BFV_TEST_*`` has their URLs.

Kinds are sqlite, mariadb, postgresql, and pymysql: a MariaDB that is reached by PyMySQL though there is mysqlclient.
"""

import contextlib
import os
import uuid

import sqlalchemy as sa

# What a statement that makes one ends with; and the database to be connected to meanwhile.
SERVERS = {"mariadb": (" CHARACTER SET utf8mb3", ""), "postgresql": ("", "postgres")}
# MariaDB by PyMySQL where there is mysqlclient too: by an option that only the former has.
PYMYSQL = {"program_name": "bfv"}


@contextlib.contextmanager
def empty(dialect, folder):
    """Give what makes databases, a name in and a URL out; those on a server are removed at the end."""
    if dialect == "sqlite":
        yield lambda name: f"sqlite:///{folder}/{name}.db"
        return
    by_pymysql = dialect == "pymysql"
    dialect = "mariadb" if by_pymysql else dialect
    server = sa.make_url(os.environ[f"BFV_TEST_{dialect.upper()}"])
    options, beside = SERVERS[dialect]
    engine = sa.create_engine(server.set(database=beside), isolation_level="AUTOCOMMIT")
    made = []

    def make(name):
        made.append(f"bfv_{name}_{uuid.uuid4().hex[:12]}")
        with engine.connect() as conn:
            conn.execute(sa.text(f"CREATE DATABASE {made[-1]}{options}"))
        url = server.set(database=made[-1])
        return (url.update_query_dict(PYMYSQL) if by_pymysql else url).render_as_string(hide_password=False)

    yield make
    with engine.connect() as conn:
        for name in made:
            # A connection that a test let hang would keep it.
            force = " WITH (FORCE)" if dialect == "postgresql" else ""
            conn.execute(sa.text(f"DROP DATABASE {name}{force}"))
    engine.dispose()
