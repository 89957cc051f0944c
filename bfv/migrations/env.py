# SPDX-License-Identifier: Apache-2.0
"""Run our migrations on the connection that ``bfv.database`` opened."""

from alembic import context

from bfv.tables import metadata

connection = context.config.attributes["connection"]
# A table of its own name: our tables may share a database with others that use alembic, too.
context.configure(connection=connection, target_metadata=metadata, version_table="bfv_version", transactional_ddl=False)
context.run_migrations()
