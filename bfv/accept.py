# SPDX-License-Identifier: Apache-2.0
"""Check a boot inside the request, with the caller's own rights, and decide: before anything is written.

Refused here leaves no trace. Accepted means: the intent is written; `bfv.boot.begin` goes on within the request.
"""

import contextlib
import dataclasses
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import sqlalchemy as sa

from bfv import choose, claims, decide, groups, hosts, keypairs, quota, several, sources, words
from bfv.errors import BadRequest, NoRoom, NotFound, Refused
from bfv.fit import Size
from bfv.images import book, use
from bfv.images.standing import Standing
from bfv.job import Job
from bfv.journal import Intent
from bfv.parts import Parts
from bfv.types import BootRequest, Caller, Decision, plain
from cells import flavors
from cells.errors import Exists, NotMapped
from cells.groups import Group
from cells.types import Flavor
from imagebackends.types import Image

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Considered:
    """A request with what it names, and what was decided about it."""

    request: BootRequest
    flavor: Flavor
    image: Image | None
    decision: Decision
    # What it takes of its host, the group that it joins, and the decision by a rule of that: with a connection it is
    # made anew, and what it comes to is held until the transaction ends.
    size: Size
    group: Group | None
    decide: Callable[[groups.Rule, sa.Connection | None], Decision]


def consider(parts: Parts, caller: Caller, request: BootRequest) -> Considered:
    """Decide how a request would boot; touches nothing. Raises Refused, NotFound, NoRoom, MaybeRunning."""
    _check_words(request)
    if request.metadata:
        words.check_number(words.most_items(parts, caller.project_id), len(request.metadata))
    flavor = _flavor(parts, caller, request.flavor)
    request = keypairs.with_key(parts, caller, request)
    access = parts.rights.image(caller)
    image = parts.images.find(access, request.image) if request.image else None
    disks = sources.disks(parts, access, request, image)
    if disks.image is not None:
        decide.check_image(disks.image, flavor)
    wish = choose.Wish(
        availability_zone=request.availability_zone,
        volume_type=request.volume_type or (request.root.volume_type if request.root else None),
        data_types=tuple(device.volume_type for device, _ in disks.data if device.volume_type),
        only=disks.only_cell(),
        volume_zone=disks.zone(across=parts.placing.cross_az_attach),
        size=decide.size(flavor, parts.rules, disks.local),
    )
    imaged = disks.image if disks.root.source_type == "image" else None
    written = _written(parts, caller.project_id, imaged)
    standings = use.standings(parts, imaged, wish.volume_type, written.sources)
    known, group = _known(parts, caller.project_id, written, standings), groups.wanted(parts, caller, request.group)
    # A cell without hosts is none for a group.
    every = frozenset(host.host for each in known.hosts.values() for host in each) if group else None
    if group and not every:
        raise Refused("No compute hosts are registered in any cell that answers; server groups need them.")

    def decide_by(rule: groups.Rule, conn: sa.Connection | None) -> Decision:
        ruled = dataclasses.replace(wish, only_hosts=every if rule.only is None else rule.only, never_hosts=rule.never)
        if conn is None:
            chosen = choose.choose(known, ruled)
        else:
            since = [
                each.cell for each in claims.pending(conn, caller.project_id) if each.server_id not in written.pending
            ]
            now = dataclasses.replace(known, servers=Counter(known.servers) + Counter(filter(None, since)))
            chosen = hosts.choose_and_hold(conn, now, ruled)
        made = _decision(parts, caller, request, flavor, disks, chosen)
        told = {cell: standings[cell].tell() for cell in made.cells if cell in standings}
        return dataclasses.replace(made, sources=told)

    if group is None:
        decision = decide_by(groups.Rule(), None)
    else:
        with parts.journal.database.reader() as conn:
            decision = _grouped(parts, conn, group, request.server_id, lambda rule: decide_by(rule, None))
    return Considered(request, flavor, disks.image, decision, wish.size, group, decide_by)


def _grouped(parts: Parts, conn: sa.Connection, group: Group, server_id: str,
             decide_by: Callable[[groups.Rule], Decision]) -> Decision:  # fmt: skip
    """Return the decision by the first of a group's rules that leaves a host. Raises NoRoom, CellDown."""
    *hard, last = groups.rules(group, groups.placed(parts, conn, group, server_id).values())
    for rule in hard:
        with contextlib.suppress(NoRoom):
            return decide_by(rule)
    return decide_by(last)


@dataclasses.dataclass(frozen=True)
class _Written:
    """What our own database says at one moment.

    The project's servers that are claimed for, and the cells that those on their way will try; the image's sources; by
    host what is promised.
    """

    pending: frozenset[str]
    entering: Sequence[str]
    sources: Sequence[book.Source]
    promised: Mapping[str, Size]


def _written(parts: Parts, project_id: str, image: Image | None) -> _Written:
    with parts.journal.database.reader() as conn:
        return _Written(
            frozenset(claim.server_id for claim in claims.pending(conn, project_id)),
            parts.journal.entering(conn, project_id),
            book.on(conn, image.id) if image else (),
            hosts.claimed(conn),
        )


def _known(parts: Parts, project_id: str, written: _Written, standings: Mapping[str, Standing]) -> choose.Known:
    """Return what is known of the cells and their hosts now. Raises CellDown."""
    cells = parts.registry.recent_cells()
    servers = Counter(parts.registry.servers_by_cell(project_id))
    servers.update(written.entering)
    seen = parts.hosts.seen(cells)
    return choose.Known(
        cells=cells,
        targets=parts.targets,
        servers=servers,
        down={**{cell: f"its storage: {why}" for cell, (_, why) in parts.storage.down().items()}, **seen.down},
        hosts=seen.hosts,
        zones=seen.zones,
        seconds={cell: each.seconds for cell, each in standings.items()},
        claimed=written.promised,
        placing=parts.placing,
    )


def accept(parts: Parts, caller: Caller, considered: Considered, least: int = 1, most: int = 1) -> list[Intent]:
    """Write the intents: from here the servers count, and `bfv.boot.begin` goes on.

    As many of ``most`` as the quota leaves and hosts take, and none at all if these are fewer than ``least``. Raises
    Exists for an open one, OverQuota, Refused where the database account may only read, and what ``consider`` raises
    of a server group's rule.
    """
    parts.writable.require(considered.decision.cells)

    def write(conn: sa.Connection) -> list[Intent]:
        claims.lock(conn, caller.project_id)
        number = quota.number(parts, conn, caller, considered.size, considered.request.server_id, least, most)
        written: list[Intent] = []
        for request in several.numbered(considered.request, number):
            try:
                written.append(_write(parts, caller, considered, request, conn))
            except NoRoom:
                if len(written) < least:
                    raise
                break
        return written

    try:
        with claims.turn(caller.project_id, parts.conf.database.statement_timeout):
            intents = parts.journal.database.run(write)
    except sa.exc.IntegrityError as error:
        raise Exists(f"A boot of server {considered.request.server_id} is already running.") from error
    for intent in intents:
        job = Job(parts, intent)
        LOG.info(
            "server %s: boot accepted: %s by %s, cells %s",
            intent.server_id, job.decision.root, job.decision.rule, job.decision.cells,
        )  # fmt: skip
    return intents


def _write(parts: Parts, caller: Caller, considered: Considered, request: BootRequest, conn: sa.Connection) -> Intent:
    """Write the intent of one server, with its claim."""
    boot = plain(request)
    secret = {name: value for name in ("user_data", "admin_pass") if (value := boot.pop(name))}
    boot["has_user_data"] = "user_data" in secret
    image = plain(considered.image)
    return parts.journal.insert(
        conn,
        "boot",
        request.server_id,
        project_id=caller.project_id,
        user_id=caller.user_id,
        request_id=caller.request_id,
        request=caller.asked({"boot": boot, "image": image, "flavor": plain(considered.flavor)}),
        payload=secret or None,
        also=lambda conn, intent_id: _claim(parts, caller, considered, request.server_id, conn, intent_id).to_dict(),
    )


def _claim(parts: Parts, caller: Caller, considered: Considered, server_id: str, conn: sa.Connection,
           intent_id: str) -> Decision:  # fmt: skip
    """Claim what the server takes, in the transaction that accepts it, and return the decision that holds."""
    group = considered.group
    if group is None:
        decision = considered.decide(groups.Rule(), conn)
    else:
        quota.check_group_members(parts, group, caller, claims.of_group(conn, group.uuid).values())
        decision = _grouped(parts, conn, group, server_id, lambda rule: considered.decide(rule, conn))
    cell = decision.cells[0]
    host, uuid = decision.hosts.get(cell), group.uuid if group else None
    who = (intent_id, server_id, caller.project_id, caller.user_id)
    claims.insert(conn, [claims.Claim(*who, considered.size, cell, host, uuid)])
    return decision


def _check_words(request: BootRequest) -> None:
    words.check_name(request.name)
    words.check((request.name, request.description or "", *request.tags, *request.metadata, *request.metadata.values()))
    try:
        uuid.UUID(request.server_id)
    except ValueError as error:
        raise BadRequest(f"Server id {request.server_id!r} is no UUID.") from error
    if request.image is None and request.root is None:
        raise BadRequest("Name an image, or a root device to boot from.")
    if request.root is not None and not request.root.uuid:
        raise BadRequest("The root device needs the id of its image, snapshot or volume.")


def _flavor(parts: Parts, caller: Caller, name: str) -> Flavor:
    try:
        flavor = flavors.get(parts.api, name, caller.project_id)
    except NotMapped as error:
        raise NotFound(f"Flavor {name} could not be found; see `bfv flavor list`.") from error
    if flavor.disabled:
        raise BadRequest(f"Flavor {flavor.name} is disabled; choose another.")
    return flavor


def _decision(
    parts: Parts,
    caller: Caller,
    request: BootRequest,
    flavor: Flavor,
    disks: sources.Disks,
    chosen: choose.Chosen,
) -> Decision:
    choices = chosen.choices
    first = choices[0]
    kind, rule = decide.root_kind(request, disks.image, flavor, caller.project_id, first.cell, parts.rules)
    if kind == "local":
        raise Refused(
            f"The root would be a local disk ({rule}), and no backend for local roots is configured; "
            "let the root be a volume."
        )
    root = decide.root_disk(request, disks.image, flavor, disks.root, parts.rules)
    data = (decide.data_disk(number, *each) for number, each in enumerate(disks.data, 1))
    return Decision(
        root=kind,
        rule=rule,
        disks=(root, *data, *decide.other_disks(flavor, parts.rules, disks.local)),
        tier=first.target.tier,
        cells=tuple(choice.cell for choice in choices),
        cell_why={choice.cell: choice.why for choice in choices},
        config_drive=decide.config_drive(request, parts.rules),
        notes=decide.notes(disks.image, root),
        hosts={choice.cell: choice.host for choice in choices if choice.host},
        zones={choice.cell: choice.availability_zone for choice in choices if choice.availability_zone},
        why_not=chosen.why_not,
    )
