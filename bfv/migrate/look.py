# SPDX-License-Identifier: Apache-2.0
"""Read all that plans are made of: rows, images, cinder's pools and quotas. Nothing is changed, SELECT suffices."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bfv.errors import NotFound, Refused
from bfv.migrate import plan as plans
from bfv.migrate import records
from bfv.migrate.contract import Facts
from bfv.migrate.plan import Place, Plan, Quota
from bfv.parts import Parts
from bfv.types import new_request_id
from imagebackends.cinder.backend import CinderBackend
from imagebackends.rbd.pools import together
from imagebackends.rbd.types import Image
from imagebackends.survey import Pool, Survey
from imagebackends.types import Target


@dataclass(frozen=True)
class Selection:
    """Which servers: ``servers`` by id, or all of a project, host or cell; nothing is all of all cells."""

    servers: tuple[str, ...] = ()
    project_id: str | None = None
    host: str | None = None
    cell: str | None = None
    tier: str = "default"
    way: str | None = None


def read(parts: Parts, chosen: Selection) -> list[Plan]:
    """Return the plan of each chosen server that is not volume-backed, by cell and id; of named ones always.

    Raises NotFound for a named server that is nowhere, Refused without an administrator's rights in cinder, CellDown,
    MaybeRunning.
    """
    survey = _survey(parts)
    found: list[Plan] = []
    for cell in [chosen.cell] if chosen.cell else parts.conf.cells:
        facts = [each for each in _facts(parts, cell, chosen) if chosen.servers or not each.is_volume_backed]
        if facts:
            place = _place(parts, survey, cell, chosen.tier)
            found += _planned(parts, place, facts, chosen.way)
    if missing := set(chosen.servers) - {each.server_id for each in found}:
        raise NotFound(f"Server {min(missing)} could not be found in a cell of this configuration.")
    return plans.within(found, _quotas(survey, {each.project_id for each in found if each.way}))


def _survey(parts: Parts) -> Survey:
    access = parts.rights.everywhere(new_request_id())
    if access is None:
        raise Refused("Cinder tells its pools, and manages images, for administrators alone: give the service user "
                      "the role admin.")  # fmt: skip
    assert isinstance(parts.backend, CinderBackend), "the only backend that adopts"
    return Survey(parts.backend.clients, access)


def _facts(parts: Parts, cell: str, chosen: Selection) -> list[Facts]:
    database = parts.cells.named(cell)
    ids = list(chosen.servers) or None
    return records.facts(parts, database, server_ids=ids, project_id=chosen.project_id, host=chosen.host)


def _planned(parts: Parts, place: Place, facts: Sequence[Facts], way: str | None) -> list[Plan]:
    try:
        pool = parts.clusters.pool(place.cell)
        there = set(pool.names())
    except Refused as error:
        off = dataclasses.replace(place, why_not=str(error))
        return [plans.plan(each, None, False, off, way) for each in facts]

    def one(each: Facts) -> tuple[Image | None, bool]:
        name = plans.root_name(each.server_id)
        image = pool.find(name) if name in there else None
        # Only an image with snapshots can have clones.
        return image, bool(image and image.snapshots and pool.children(name))

    looked = together(one, facts)
    return [plans.plan(each, *seen, place, way) for each, seen in zip(facts, looked, strict=True)]


def _place(parts: Parts, survey: Survey, cell: str, tier: str) -> Place:
    """Return where disks of a cell lie and go, or why none can go."""
    try:
        pool = parts.clusters.pool(cell)
        place = Place(cell, pool.name, pool.cluster.fsid)
        target, backend = _backend(survey, parts.target(cell, tier))
    except Refused as error:
        return Place(cell, "", why_not=str(error))
    if backend is None or backend.fsid is None or backend.rbd_pool is None:
        where = f"the volume type {target.volume_type} of cell {cell} leads to"
        return dataclasses.replace(
            place, why_not=f"Cinder tells no rbd pool that {where}: set backend in [cell:{cell}], and see `bfv check`."
        )
    reach = next((each for each in (cell, *parts.clusters.cells) if _fsid(parts, each) == backend.fsid), None)
    why = None
    if reach is None:
        why = f"No ceph_conf of any cell leads to the cluster {backend.fsid} of {backend.name}; configure one."
    return dataclasses.replace(
        place,
        target=target,
        target_fsid=backend.fsid,
        target_pool=backend.rbd_pool,
        reach=reach,
        why_not=why,
        adopt=parts.conf.migrate.adopt,
    )


def _backend(survey: Survey, target: Target) -> tuple[Target, Pool | None]:
    pools = {each.name: each for each in survey.pools()}
    if target.backend:
        return target, pools.get(target.backend)
    kind = survey.volume_types().get(target.volume_type or "")
    fits = [each for each in pools.values() if kind and each.backend_name == kind.backend_name]
    if len(fits) != 1:
        return target, None
    return dataclasses.replace(target, backend=fits[0].name), fits[0]


def _fsid(parts: Parts, cell: str) -> str | None:
    try:
        return parts.clusters.of(cell).fsid
    except Refused:
        return None


def _quotas(survey: Survey, projects: Iterable[str]) -> dict[str, Quota]:
    found = {}
    for project in projects:
        quota = survey.quota(project)
        found[project] = Quota(
            None if quota.volumes < 0 else quota.volumes - quota.volumes_used,
            None if quota.gigabytes < 0 else quota.gigabytes - quota.gigabytes_used,
        )
    return found
