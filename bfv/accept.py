# SPDX-License-Identifier: Apache-2.0
"""Check a boot inside the request, with the caller's own rights, and decide: before anything is written.

Refused here leaves no trace. Accepted means: intent and mapping are written, and from here the server exists.
"""

import contextlib
import dataclasses
import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from bfv import choose, claims, decide, groups, hosts, quota
from bfv.errors import BadRequest, NoRoom, NotFound, Refused, Unsupported
from bfv.fit import Size
from bfv.images import use
from bfv.images.standing import Standing
from bfv.job import Job
from bfv.journal import Intent
from bfv.parts import Parts
from bfv.records import ensure_mapped
from bfv.types import BootRequest, Caller, Decision, RootDevice
from cells import flavors
from cells.errors import NotMapped
from cells.groups import Group
from cells.types import Flavor
from imagebackends.backend import Snapshots
from imagebackends.glance import volume_snapshots
from imagebackends.types import Access, Image, Target

LOG = logging.getLogger(__name__)

MAX_NAME = 255
# nova's columns are utf8mb3 (nova/db/main/models.py:MYSQL charset), which ends there.
LAST_LETTER = 0xFFFF


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
    flavor = _flavor(parts, caller, request.flavor)
    access = parts.rights.image(caller)
    image = parts.images.find(access, request.image) if request.image else None
    origin, image, only = _origin(parts, access, request, image)
    if image is not None:
        decide.check_image(image, flavor)
    wish = choose.Wish(
        availability_zone=request.availability_zone,
        volume_type=_volume_type(request),
        only=only,
        volume_zone=origin.availability_zone,
        size=decide.size(flavor, parts.rules),
    )
    with parts.journal.database.reader() as conn:
        pending = {claim.server_id for claim in claims.pending(conn, caller.project_id)}
    standings = use.standings(parts, image if origin.source_type == "image" else None, wish.volume_type)
    known, group = _known(parts, caller.project_id, standings), groups.wanted(parts, caller, request.group)
    # A cell without hosts is none for a group.
    every = frozenset(host.host for each in known.hosts.values() for host in each) if group else None
    if group and not every:
        raise Refused("No compute hosts are registered in any cell that answers; server groups need them.")

    def decide_by(rule: groups.Rule, conn: sa.Connection | None) -> Decision:
        ruled = dataclasses.replace(wish, only_hosts=every if rule.only is None else rule.only, never_hosts=rule.never)
        if conn is None:
            chosen = choose.choose(known, ruled)
        else:
            since = [each.cell for each in claims.pending(conn, caller.project_id) if each.server_id not in pending]
            now = dataclasses.replace(known, servers=Counter(known.servers) + Counter(filter(None, since)))
            chosen = hosts.choose_and_hold(conn, now, ruled)
        made = _decision(parts, caller, request, flavor, image, origin, chosen)
        told = {cell: standings[cell].tell() for cell in made.cells if cell in standings}
        return dataclasses.replace(made, sources=told)

    if group is None:
        decision = decide_by(groups.Rule(), None)
    else:
        with parts.journal.database.reader() as conn:
            decision = _grouped(parts, conn, group, request.server_id, lambda rule: decide_by(rule, None))
    return Considered(request, flavor, image, decision, wish.size, group, decide_by)


def _grouped(parts: Parts, conn: sa.Connection, group: Group, server_id: str,
             decide_by: Callable[[groups.Rule], Decision]) -> Decision:  # fmt: skip
    """Return the decision by the first of a group's rules that leaves a host. Raises NoRoom, CellDown."""
    *hard, last = groups.rules(group, groups.placed(parts, conn, group, server_id).values())
    for rule in hard:
        with contextlib.suppress(NoRoom):
            return decide_by(rule)
    return decide_by(last)


def _known(parts: Parts, project_id: str, standings: Mapping[str, Standing]) -> choose.Known:
    """Return what is known of the cells and their hosts now. Raises CellDown."""
    cells = parts.registry.recent_cells()
    servers = Counter(parts.registry.servers_by_cell(project_id))
    servers.update(parts.journal.entering(project_id))
    seen = parts.hosts.seen(cells)
    return choose.Known(
        cells=cells,
        targets=parts.targets,
        servers=servers,
        down={**{cell: f"its storage: {why}" for cell, (_, why) in parts.storage.down().items()}, **seen.down},
        hosts=seen.hosts,
        zones=seen.zones,
        seconds={cell: each.seconds for cell, each in standings.items()},
        claimed=hosts.claimed(parts.journal.database),
        placing=parts.placing,
    )


def accept(parts: Parts, caller: Caller, considered: Considered) -> Intent:
    """Write the intent and the mapping: from here the server exists.

    Raises Exists for an open one, OverQuota, Refused where the database account may only read, and what ``consider``
    raises of a server group's rule.
    """
    parts.writable.require(considered.decision.cells)
    request = considered.request
    boot = dataclasses.asdict(request)
    secret = {name: value for name in ("user_data", "admin_pass") if (value := boot.pop(name))}
    boot["has_user_data"] = "user_data" in secret
    image = dataclasses.asdict(considered.image) if considered.image else None
    with claims.turn(caller.project_id, parts.conf.database.statement_timeout):
        intent = parts.journal.open(
            "boot",
            request.server_id,
            project_id=caller.project_id,
            user_id=caller.user_id,
            request_id=caller.request_id,
            request={"boot": boot, "image": image, "flavor": dataclasses.asdict(considered.flavor)},
            payload=secret or None,
            also=lambda conn, intent_id: _claim(parts, caller, considered, conn, intent_id).to_dict(),
        )
    job = Job(parts, intent)
    LOG.info(
        "server %s: boot accepted: %s by %s, cells %s",
        intent.server_id, job.decision.root, job.decision.rule, job.decision.cells,
    )  # fmt: skip
    ensure_mapped(job)
    return intent


def _claim(parts: Parts, caller: Caller, considered: Considered, conn: sa.Connection, intent_id: str) -> Decision:
    """Claim what the server takes, in the transaction that accepts it, and return the decision that holds."""
    group, server_id = considered.group, considered.request.server_id
    claims.lock(conn, caller.project_id)
    quota.check(parts, conn, caller, considered.size, [server_id])
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
    if not request.name or len(request.name) > MAX_NAME or not request.name.strip():
        raise BadRequest(f"A server's name has 1 to {MAX_NAME} characters and is not blank.")
    words = (request.name, request.description or "", *request.metadata, *request.metadata.values())
    if any(ord(letter) > LAST_LETTER for word in words for letter in word):
        raise BadRequest("Names, descriptions and metadata hold letters up to U+FFFF; nova's tables keep no others.")
    if any(len(word) > MAX_NAME for word in words):
        raise BadRequest(f"Descriptions, and keys and values of metadata, have at most {MAX_NAME} characters.")
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


def _volume_type(request: BootRequest) -> str | None:
    return request.volume_type or (request.root.volume_type if request.root else None)


def _origin(
    parts: Parts, access: Access, request: BootRequest, image: Image | None
) -> tuple[decide.Origin, Image | None, tuple[str, str] | None]:
    """Return what the root is made of, the image whose rules apply, and the cell that holds it, if only one does."""
    root = request.root
    if root is None:
        assert image is not None, "checked with the words"
        snapshots = volume_snapshots(image)
        if not snapshots:
            return decide.Origin("image", image.id, decide.image_size(image)), image, None
        root = _image_root(image, snapshots)
    if root.source_type == "image":
        assert root.uuid is not None, "checked with the words"
        image = parts.images.get(access, root.uuid)
        return decide.Origin("image", image.id, decide.image_size(image)), image, None
    if root.source_type == "snapshot":
        assert root.uuid is not None, "checked with the words"
        if not isinstance(parts.backend, Snapshots):
            raise Unsupported("This image backend has no snapshots to boot from.")
        snapshot = parts.backend.snapshot(access, root.uuid)
        if snapshot.status != "available":
            raise BadRequest(f"Snapshot {snapshot.id} is {snapshot.status}, not available.")
        only = _cell_of_volume(parts, access, snapshot.volume_id, f"holds snapshot {snapshot.id}")
        return decide.Origin("snapshot", snapshot.id, snapshot.size), image, only
    if root.source_type == "volume":
        assert root.uuid is not None, "checked with the words"
        disk = parts.backend.get(access, root.uuid)
        if disk.status != "available":
            raise BadRequest(f"Volume {disk.id} is {disk.status}, not available.")
        if not disk.bootable:
            raise BadRequest(f"Volume {disk.id} is not bootable; `openstack volume set --bootable` makes it so.")
        return (
            decide.Origin("volume", disk.id, disk.size, disk.availability_zone),
            image,
            _cell_of_volume(parts, access, disk.id, f"holds volume {disk.id}"),
        )
    raise BadRequest(f"A root of source type {root.source_type} cannot boot; use image, snapshot or volume.")


def _image_root(image: Image, snapshots: list[dict[str, Any]]) -> RootDevice:
    roots = [item for item in snapshots if item.get("boot_index") == 0]
    if len(roots) != 1 or not roots[0].get("snapshot_id"):
        raise BadRequest(f"Image {image.id} names no snapshot to boot from; make it anew from its server.")
    if len(snapshots) > 1:
        raise Refused(f"Image {image.id} has {len(snapshots)} disks; only images of the root disk alone boot yet.")
    return RootDevice(source_type="snapshot", uuid=roots[0]["snapshot_id"])


def _cell_of_volume(parts: Parts, access: Access, volume_id: str, why: str) -> tuple[str, str]:
    """Return the cell whose storage holds a volume: by its backend where that is seen, else by its zone."""
    everywhere = parts.rights.everywhere(access.request_id)
    disk = parts.backend.get(everywhere or access, volume_id)
    for target in parts.targets:
        if _holds(target, disk.backend, disk.availability_zone):
            return target.cell, why
    raise BadRequest(f"Volume {volume_id} is in the storage of no cell (zone {disk.availability_zone}).")


def _holds(target: Target, backend: str | None, zone: str | None) -> bool:
    if backend and target.backend:
        return backend == target.backend
    return target.availability_zone is not None and target.availability_zone == zone


def _decision(
    parts: Parts,
    caller: Caller,
    request: BootRequest,
    flavor: Flavor,
    image: Image | None,
    origin: decide.Origin,
    chosen: choose.Chosen,
) -> Decision:
    choices = chosen.choices
    first = choices[0]
    kind, rule = decide.root_kind(request, image, flavor, caller.project_id, first.cell, parts.rules)
    if kind == "local":
        raise Refused(
            f"The root would be a local disk ({rule}), and no backend for local roots is configured; "
            "let the root be a volume."
        )
    root = decide.root_disk(request, image, flavor, origin, parts.rules)
    disks = (root, *decide.other_disks(flavor, parts.rules))
    return Decision(
        root=kind,
        rule=rule,
        disks=disks,
        tier=first.target.tier,
        cells=tuple(choice.cell for choice in choices),
        cell_why={choice.cell: choice.why for choice in choices},
        config_drive=decide.config_drive(request, parts.rules),
        notes=decide.notes(image, root),
        hosts={choice.cell: choice.host for choice in choices if choice.host},
        zones={choice.cell: choice.availability_zone for choice in choices if choice.availability_zone},
        why_not=chosen.why_not,
    )
