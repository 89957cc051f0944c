# SPDX-License-Identifier: Apache-2.0
"""The request specs of many servers at once, for pages that tell what was asked for at their boots."""

from collections.abc import Iterable

import sqlalchemy as sa

from cells.database import Database
from cells.prebuilt import Prebuilt
from cells.schema_api import request_specs

_OF_SERVERS = Prebuilt(
    sa.select(request_specs.c.instance_uuid, request_specs.c.spec).where(
        request_specs.c.instance_uuid.in_(sa.bindparam("uuids", expanding=True))
    )
)


def texts(api: Database, server_ids: Iterable[str]) -> dict[str, str]:
    """Return the JSON of request specs by server, without those that have none, in one statement.

    The database does not take out what is needed: for that MariaDB needs longer than it takes to read and parse all.
    ``nova/objects/request_spec.py:RequestSpec.get_by_instance_uuids``. Raises CellDown.
    """
    uuids = list(server_ids)
    return dict(api.rows(_OF_SERVERS, {"uuids": uuids})) if uuids else {}
