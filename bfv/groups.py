# SPDX-License-Identifier: Apache-2.0
"""Server groups that hold: the rule is kept when a server is accepted, under the lock of its project.

Nova looks at a group without a lock and looks again on the compute host, where only some of those that race meet, and
for which a cell has to reach the API database (``nova/compute/manager.py:_validate_instance_group_policy``). Here a
member's host is claimed in the transaction that accepts it, so the next one sees it, and no cell is asked later.

Where a member is, is what its cell says; where that has no host yet, or does not answer, what its claim says.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from bfv import claims, quota
from bfv.claims import Claim
from bfv.errors import BadRequest, NoRoom, NotFound
from bfv.job import Job
from bfv.parts import Parts
from bfv.types import Caller
from cells import groups
from cells.errors import CellDown, NotMapped
from cells.groups import MAX_PER_HOST, POLICIES, Group, Member
from cells.types import Cell, Down

MAX_NAME = 255


@dataclass(frozen=True)
class Rule:
    """Which hosts a group leaves to its next server; ``only`` None is any."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()

    def allows(self, host: str) -> bool:
        """Return whether a host keeps the rule."""
        return host not in self.never and (self.only is None or host in self.only)


def rules(group: Group, placed: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules for the next server of a group, to be tried in turn; ``placed`` has the host of each other.

    A soft policy's rules get looser until all is allowed (nova weighs instead:
    ``nova/scheduler/weights/affinity.py``); of any other policy there is one.
    """
    hosts = Counter(placed)
    if group.policy == "affinity":
        return (Rule(only=frozenset(hosts)) if hosts else Rule(),)
    if group.policy == "anti-affinity":
        return (Rule(never=_with(hosts, group.max_per_host)),)
    numbers = sorted(set(hosts.values()))
    if group.policy == "soft-affinity":
        return (*(Rule(only=_with(hosts, number)) for number in reversed(numbers)), Rule())
    if group.policy == "soft-anti-affinity":
        return (*(Rule(never=_with(hosts, number)) for number in [1, *(number + 1 for number in numbers)]), Rule())
    # A policy of a nova to come binds nobody here.
    return (Rule(),)


def allowed_hosts(group: Group, hosts: Sequence[str], placed: Iterable[str]) -> tuple[str, ...]:
    """Return which of these hosts the next server of a group may be on, by the first rule that leaves any."""
    for rule in rules(group, tuple(placed)):
        allowed = tuple(host for host in hosts if rule.allows(host))
        if allowed:
            return allowed
    return ()


def wanted(parts: Parts, caller: Caller, uuid: str | None) -> Group | None:
    """Return the group that a request names. Raises BadRequest unless it is one of the caller's project.

    ``nova/scheduler/utils.py``, ``nova/compute/api.py:_get_requested_instance_group``: a name is not enough.
    """
    if uuid is None:
        return None
    try:
        return find(parts, caller.project_id, str(UUID(uuid)))
    except ValueError as error:
        raise BadRequest(f"Server group {uuid!r} is no UUID; `bfv group list` shows them.") from error
    except NotFound as error:
        raise BadRequest(str(error)) from error


def placed(parts: Parts, conn: sa.Connection, group: Group, but: str) -> dict[str, str]:
    """Return the host of each server of a group but one; exact under the project's lock.

    A server that is being deleted is there until its row is gone. Raises CellDown for the API database, and for the
    cell that all servers of an affinity group are in while it is down: nova lets the next one go anywhere.
    """
    # Claims first: whose claim has ended by now is a member with a row.
    known = claims.of_group(conn, group.uuid)
    pending = {key: each for key, each in known.items() if each.counts}
    members = [each for each in groups.members(parts.api, group.id) if each.server_id not in pending]
    cells = {cell.id: cell for cell in parts.registry.cells()}
    theirs: dict[int, list[str]] = {}
    for each in members:
        if each.cell_id is not None and not cells[each.cell_id].is_cell0:
            theirs.setdefault(each.cell_id, []).append(each.server_id)
    answers = parts.pool.gather(
        [cells[key] for key in theirs], lambda cell, database: groups.hosts_of(database, theirs[cell.id])
    )
    sure = {key: each.host for key, each in pending.items() if key != but}
    by_claim: dict[str, str | None] = {}
    down: list[Cell] = []
    for answer in answers.values():
        if isinstance(answer, Down):
            down.append(answer.cell)
            by_claim.update((key, known[key].host) for key in theirs[answer.cell.id] if key in known)
        else:
            sure.update((key, host or _host(known.get(key))) for key, host in answer.value.items() if key != but)
    if group.policy == "affinity" and not any(sure.values()):
        _check_known(group, members, down)
    return {key: host for key, host in (by_claim | sure).items() if host and key != but}


def _check_known(group: Group, members: Sequence[Member], down: Sequence[Cell]) -> None:
    """Raise CellDown if an affinity group's servers are in a cell that is down, and nowhere else."""
    for cell in down:
        if any(each.cell_id == cell.id and not each.deleted for each in members):
            raise CellDown(cell.name, f"the servers of affinity group {group.uuid} are there, so is its next one")


def move(job: Job, cell: str) -> None:
    """Claim a server's host in the next cell that its boot tries. Raises NoRoom where its group does not allow that."""
    parts, intent = job.parts, job.intent
    host = job.decision.hosts.get(cell)
    uuid = intent.request["boot"].get("group")

    def write(conn: sa.Connection) -> None:
        if uuid is not None:
            claims.lock(conn, intent.project_id)
            group = _still_there(parts, uuid)
            taken = placed(parts, conn, group, intent.server_id).values() if group else ()
            if group and not (host and allowed_hosts(group, (host,), taken)):
                raise NoRoom(f"No host of cell {cell} keeps the rule of server group {uuid}.")
        claims.move(conn, intent.id, cell, host)

    parts.journal.database.run(write)


def _still_there(parts: Parts, uuid: str) -> Group | None:
    try:
        return groups.get(parts.api, uuid)
    except NotMapped:
        return None


def create(parts: Parts, project_id: str, user_id: str, name: str, policy: str, max_per_host: int | None = None
           ) -> Group:  # fmt: skip
    """Make a server group (``POST /os-server-groups``). Raises BadRequest, OverQuota, CellDown."""
    if policy not in POLICIES:
        raise BadRequest(f"Policy {policy} is none; choose one of: {', '.join(POLICIES)}.")
    if not name.strip() or len(name) > MAX_NAME:
        raise BadRequest(f"A server group's name has 1 to {MAX_NAME} characters and is not blank.")
    if max_per_host is not None and policy != "anti-affinity":
        raise BadRequest("Only anti-affinity policy supports rules.")
    if max_per_host is not None and max_per_host < 1:
        raise BadRequest(f"Rule {MAX_PER_HOST} is at least 1.")

    def make(conn: sa.Connection) -> Group:
        claims.lock(conn, project_id)
        quota.check_groups(parts, project_id, user_id)
        return groups.create(parts.api, project_id, user_id, name, policy, max_per_host or 1)

    with claims.turn(project_id, parts.conf.database.statement_timeout):
        return parts.journal.database.run(make)


def find(parts: Parts, project_id: str, uuid: str) -> Group:
    """Return a group of a project. Raises NotFound, CellDown."""
    try:
        group = groups.get(parts.api, uuid)
    except NotMapped as error:
        raise NotFound(str(error)) from error
    if group.project_id != project_id:
        raise NotFound(f"Server group {uuid} could not be found.")
    return group


def delete(parts: Parts, project_id: str, uuid: str) -> None:
    """Remove a group of a project; its servers stay and are bound no more. Raises NotFound, CellDown."""
    find(parts, project_id, uuid)
    try:
        groups.delete(parts.api, uuid)
    except NotMapped as error:
        raise NotFound(str(error)) from error


def living(parts: Parts, server_ids: Collection[str]) -> set[str]:
    """Return which of these servers are there still (``nova/api/openstack/compute/server_groups.py:_get_not_deleted``).

    In a cell that is down these are the ones that no delete was accepted for; nova leaves all of them out. Raises
    CellDown for the API database.
    """
    places = groups.places(parts.api, server_ids)
    found = {each.server_id for each in places if each.cell_id is None and not each.deleted}
    theirs: dict[int, list[str]] = {}
    for each in places:
        if each.cell_id is not None:
            theirs.setdefault(each.cell_id, []).append(each.server_id)
    cells = [cell for cell in parts.registry.cells() if cell.id in theirs]
    answers = parts.pool.gather(cells, lambda cell, database: set(groups.hosts_of(database, theirs[cell.id])))
    for answer in answers.values():
        if isinstance(answer, Down):
            mine = set(theirs[answer.cell.id])
            found |= {each.server_id for each in places if each.server_id in mine and not each.deleted}
        else:
            found |= answer.value
    return found


def _with(hosts: Mapping[str, int], number: int) -> frozenset[str]:
    """Return the hosts with so many servers or more."""
    return frozenset(host for host, count in hosts.items() if count >= number)


def _host(claim: Claim | None) -> str | None:
    return claim.host if claim else None
