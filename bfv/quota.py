# SPDX-License-Identifier: Apache-2.0
"""Quotas that stay exact however many boots come at once: limits of nova's, usage in the cells, claims of ours.

Nova counts before and, if it is told to, after it has written a server (``nova/compute/utils.py:
check_num_instances_quota``, ``nova/conductor/manager.py:_recheck_quota``): two requests may both pass, or both fail.
Here one who claims has the lock of the project while the cells are counted, so of N that race for the last place one
gets it and the others are refused, with nothing written; `bfv.claims` says how a claim ends.

Boots that a nova beside us accepts are seen once their rows are in a cell, as nova itself sees them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from bfv import claims
from bfv.claims import Claim
from bfv.errors import BadRequest, OverQuota, Refused
from bfv.fit import Size
from bfv.journal import DONE
from bfv.parts import Parts
from bfv.tables import intents
from bfv.types import Caller
from cells import groups, limits, usage
from cells.errors import Exists
from cells.limits import Stored, is_unlimited
from cells.types import Down
from cells.usage import Usage

COUNTED = ("instances", "cores", "ram")
MANY_SERVERS = "Quota exceeded, too many servers in group"
MANY_GROUPS = "Quota exceeded, too many server groups."


@dataclass(frozen=True)
class Room:
    """What a project and one of its users may have and what they have, servers on their way included."""

    limits: Mapping[str, int]
    used: Usage
    user_limits: Mapping[str, int]
    user_used: Usage

    @property
    def bound(self) -> bool:
        """Whether anything that is counted in cells is limited."""
        return any(not is_unlimited(bounds[name]) for bounds in (self.limits, self.user_limits) for name in COUNTED)

    def fits(self, size: Size, number: int = 1) -> bool:
        """Return whether so many more servers of a size may be had."""
        return not any(self._over(*scope, size, number) for scope in self._scopes())

    def most(self, size: Size, number: int) -> int:
        """Return how many of so many servers may be had (``nova/compute/utils.py:check_num_instances_quota``)."""
        return next((fewer for fewer in range(number, 0, -1) if self.fits(size, fewer)), 0)

    def check(self, size: Size, number: int = 1) -> None:
        """Raise OverQuota, in nova's words, unless so many more servers fit."""
        for bounds, used in self._scopes():
            over = self._over(bounds, used, size, number)
            if over:
                asked = _asked(size, number)
                told = [", ".join(str(value[name]) for name in over) for value in (asked, vars(used), bounds)]
                names = ", ".join(over)
                raise OverQuota(
                    f"Quota exceeded for {names}: Requested {told[0]}, but already used {told[1]} of {told[2]} {names}"
                )

    def _scopes(self) -> tuple[tuple[Mapping[str, int], Usage], ...]:
        return (self.limits, self.used), (self.user_limits, self.user_used)

    @staticmethod
    def _over(bounds: Mapping[str, int], used: Usage, size: Size, number: int) -> list[str]:
        asked = _asked(size, number)
        return [name for name in sorted(COUNTED)
                if not is_unlimited(bounds[name]) and getattr(used, name) + asked[name] > bounds[name]]  # fmt: skip


def number(parts: Parts, conn: sa.Connection, caller: Caller, size: Size, server_id: str, least: int,
           most: int) -> int:  # fmt: skip
    """Return how many of ``most`` servers of one size may be had; exact under the project's lock.

    In the transaction that goes on to write their claims and opens their intents
    (``nova/compute/utils.py:check_num_instances_quota``). ``server_id`` is the first one's. Raises OverQuota for fewer
    than ``least``, Refused while the usage is not known, Exists for a server that is on its way already, and CellDown
    for the API database.
    """
    pending = claims.pending(conn, caller.project_id)
    if server_id in {each.server_id for each in pending}:
        raise Exists(f"A boot of server {server_id} is already running.")
    found = room(parts, conn, caller, pending)
    fitting = found.most(size, most)
    if fitting < least:
        found.check(size, least)
    return fitting


def room(parts: Parts, conn: sa.Connection, caller: Caller, pending: Sequence[Claim] | None = None) -> Room:
    """Return what the caller's project and the caller have and may have; exact under the project's lock.

    Raises Refused where it is not known, see ``[quota] down_cell``, CellDown for the API database.
    """
    if pending is None:
        pending = claims.pending(conn, caller.project_id)
    counted = count(parts, conn, caller.project_id, caller.user_id, pending)
    by_user = usage.merged([counted.in_cells, counted.by_request, claimed(pending)])
    configured = parts.quota.limits
    found = Room(
        limits=counted.stored.of_project(configured),
        used=usage.total(by_user.values()),
        user_limits=counted.stored.of_user(caller.user_id, configured),
        user_used=by_user.get(caller.user_id, Usage()),
    )
    let_through = parts.quota.down_cell == "api" or parts.quota.cell_down_roles.intersection(caller.roles)
    if counted.by_request and found.bound and not let_through:
        raise Refused(
            "Some servers of this project are in a part of the cloud that does not answer at present, so that it is "
            "not known what its quota leaves. New servers are accepted again when that part is back."
        )
    return found


@dataclass(frozen=True)
class Counted:
    """What is written down for a project, and what a user and the others have: in cells, ``by_request`` in those down.

    ``down`` are the names of these.
    """

    stored: Stored
    in_cells: usage.ByUser
    by_request: usage.ByUser
    down: tuple[str, ...] = ()


def count(parts: Parts, conn: sa.Connection, project_id: str, user_id: str | None, pending: Collection[Claim]
          ) -> Counted:  # fmt: skip
    """Count a project's servers but those that are claimed, each cell with one statement, all at once.

    A cell counts that has any mapping of the project, also of servers whose deletion failed. Raises CellDown for the
    API database.
    """
    claimed_ids = [each.server_id for each in pending]
    cells = parts.registry.recent_cells()
    with parts.api.snapshot() as ask:
        found, asked = limits.stored_by(ask, project_id), usage.cells_of(ask, project_id, cells)
    in_cells: list[usage.ByUser] = []
    by_request: list[usage.ByUser] = []
    down: list[str] = []
    for answer in usage.in_cells(parts.pool, asked, project_id, user_id or "", claimed_ids):
        if isinstance(answer, Down):
            deleting = _not_deleted_yet(conn, project_id)
            missing = usage.asked_for(parts.api, project_id, answer.cell.id, claimed_ids, deleting)
            by_request.append(missing)
            down += [answer.cell.name] if missing else []
        else:
            in_cells.append(answer.value)
    return Counted(
        _over_legacy(parts, project_id, found), usage.merged(in_cells), usage.merged(by_request), tuple(down)
    )


def stored(parts: Parts, project_id: str) -> Stored:
    """Return what is written down for a project, without counting. Raises CellDown for the API database."""
    return _over_legacy(parts, project_id, limits.stored(parts.api, project_id))


def _over_legacy(parts: Parts, project_id: str, found: Stored) -> Stored:
    """Return the limits, where there are none of a kind those that nova left in cell0, if that answers."""
    graveyard = [cell for cell in parts.registry.recent_cells() if cell.is_cell0]
    asked = [cell for cell in graveyard if limits.may_have_legacy(parts.pool.of(cell))]
    for answer in parts.pool.gather(asked, lambda _, database: limits.legacy(database, project_id)).values():
        if not isinstance(answer, Down):
            found = found.beneath(answer.value)
    return found


def claimed(pending: Collection[Claim]) -> dict[str, Usage]:
    """Return what each user has claimed."""
    return usage.merged({each.user_id: Usage(1, each.size.vcpus, each.size.memory_mb)} for each in pending)


def check_group_members(parts: Parts, group: groups.Group, caller: Caller, known: Collection[Claim],
                        number: int = 1) -> None:  # fmt: skip
    """Raise OverQuota unless a user may have so many more servers in a group; exact under the project's lock.

    Counted are the user's servers that no delete was accepted for, whether their cells answer or not
    (``nova/quota.py:_server_group_count_members_by_user``), and of the group's ``known`` claims those on their way.
    Raises CellDown for the API database.
    """
    limit = limits.stored(parts.api, group.project_id).of_user(caller.user_id, parts.quota.limits)
    members = groups.members(parts.api, group.id)
    theirs = {each.server_id for each in members if each.user_id == caller.user_id and not each.deleted}
    theirs |= {each.server_id for each in known if each.counts and each.user_id == caller.user_id}
    most = limit["server_group_members"]
    if not is_unlimited(most) and len(theirs) + number > most:
        raise OverQuota(MANY_SERVERS)


def check_groups(parts: Parts, project_id: str, user_id: str) -> None:
    """Raise OverQuota unless a project and its user may have one more group; exact under the project's lock."""
    stored, configured = limits.stored(parts.api, project_id), parts.quota.limits
    everyone, by_user = groups.count(parts.api, project_id)
    for bounds, used in (
        (stored.of_project(configured), everyone),
        (stored.of_user(user_id, configured), by_user.get(user_id, 0)),
    ):
        most = bounds["server_groups"]
        if not is_unlimited(most) and used + 1 > most:
            raise OverQuota(MANY_GROUPS)


def set_limits(parts: Parts, project_id: str, wanted: Mapping[str, int], user_id: str | None = None, *,
               force: bool = False) -> None:  # fmt: skip
    """Set limits of a project or of one of its users, -1 for none (``PUT /os-quota-sets``).

    Raises BadRequest for a resource or a value that there is not, and, unless ``force``, for one below what is used or
    above what the project has (``nova/api/openstack/compute/quota_sets.py:_validate_quota_limit``). What is used in a
    cell that is down counts as it was asked for.
    """
    _check_words(parts, wanted)
    with parts.journal.database.reader() as conn:
        pending = claims.pending(conn, project_id)
        counted = count(parts, conn, project_id, user_id, pending)
    by_user = usage.merged([counted.in_cells, counted.by_request, claimed(pending)])
    used = usage.total(by_user.values()) if user_id is None else by_user.get(user_id, Usage())
    everyone, mine = groups.count(parts.api, project_id)
    in_use = {**vars(used), "server_groups": everyone if user_id is None else mine.get(user_id, 0)}
    bounds = limits.settable(counted.stored, parts.quota.limits, in_use, user_id)
    for name, value in wanted.items() if not force else ():
        least, most = bounds[name]
        if _height(value) < _height(least):
            raise BadRequest(
                f"Quota limit {value} for {name} must be greater than or equal to already used and reserved {least}."
            )
        if _height(value) > _height(most):
            raise BadRequest(f"Quota limit {value} for {name} must be less than or equal to {most}.")
    limits.set_limits(parts.api, project_id, wanted, user_id)


def set_default(parts: Parts, wanted: Mapping[str, int]) -> None:
    """Set limits of all projects that have none of their own (``PUT /os-quota-class-sets/default``).

    Raises BadRequest for a resource or a value that there is not, CellDown.
    """
    _check_words(parts, wanted)
    limits.set_default(parts.api, wanted)


def _check_words(parts: Parts, wanted: Mapping[str, int]) -> None:
    for name, value in wanted.items():
        if name not in parts.quota.limits:
            raise BadRequest(f"There is no quota for {name}; there is for {', '.join(parts.quota.limits)}.")
        if not limits.UNLIMITED <= value <= limits.LARGEST:
            raise BadRequest(f"Quota limit {value} for {name} must be -1, which is no limit, or at least 0.")


def _height(limit: int) -> float:
    return float("inf") if is_unlimited(limit) else limit


def _asked(size: Size, number: int) -> dict[str, int]:
    return {"instances": number, "cores": number * size.vcpus, "ram": number * size.memory_mb}


def _not_deleted_yet(conn: sa.Connection, project_id: str) -> set[str]:
    """Return the servers whose deletion was accepted here and did not end: they are in their cell still."""
    query = sa.select(intents.c.server_id, intents.c.phase)
    rows = conn.execute(query.where(intents.c.project_id == project_id, intents.c.verb == "delete")).all()
    return {row.server_id for row in rows} - {row.server_id for row in rows if row.phase == DONE}
