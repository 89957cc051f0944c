# SPDX-License-Identifier: Apache-2.0
"""What a project may have and has, for who looks: nothing is claimed, and a cell that is down hides nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from bfv import claims, quota
from bfv.parts import Parts
from cells import groups, usage


@dataclass(frozen=True)
class Limits:
    """The limits of a project by resource, -1 is none, and how much of those that are counted it has."""

    limits: Mapping[str, int]
    used: Mapping[str, int]


def of_project(parts: Parts, project_id: str, user_id: str | None = None) -> Limits:
    """Return the limits of a project, or of one of its users, and the use of them, servers on their way included.

    ``GET /limits``, ``GET /os-quota-sets``. Servers in a cell that is down count as they were asked for. Raises
    CellDown for the API database.
    """
    with parts.journal.database.reader() as conn:
        pending = claims.pending(conn, project_id)
        counted = quota.count(parts, conn, project_id, user_id, pending)
    by_user = usage.merged([counted.in_cells, counted.by_request, quota.claimed(pending)])
    server_groups, by_owner = groups.count(parts.api, project_id)
    configured = parts.quota.limits
    if user_id is None:
        used = {**vars(usage.total(by_user.values())), "server_groups": server_groups}
        return Limits(counted.stored.of_project(configured), used)
    used = {**vars(by_user.get(user_id, usage.Usage())), "server_groups": by_owner.get(user_id, 0)}
    return Limits(counted.stored.of_user(user_id, configured), used)
