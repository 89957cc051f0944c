# SPDX-License-Identifier: Apache-2.0
"""What each source needs of the operator, looked at and told with a clear word; for ``bfv image check``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bfv.check import Line
from bfv.errors import NotAllowed, StorageError
from bfv.images import book
from bfv.images.warm import NEEDS_ADMIN
from bfv.parts import Parts
from bfv.types import new_request_id
from imagebackends.rbd.pool import Cluster
from imagebackends.rbd.remains import SNAPSHOT
from imagebackends.survey import Survey
from imagebackends.types import Access, Target

# Snapshots on one image from which clients of Ceph slow down (ceph-csi stops at 450).
MANY = 450


def check(parts: Parts, clusters: Mapping[str, Cluster], projects: Sequence[str] = ()) -> list[Line]:
    """Return a line for each thing; nothing is changed."""
    survey, access = parts.places.survey(), parts.rights.everywhere(new_request_id())
    places = parts.places.places()
    if survey is None or access is None or places is None:
        return [Line("bad", "service user", NEEDS_ADMIN, "grant it the role admin, or see `bfv check`")]
    lines = [*_locations(parts, access), *_lock(parts)]
    for target in parts.targets:
        place, what = places[target.cell, target.tier], f"cell {target.cell}, tier {target.tier}"
        if place.encrypted:
            lines.append(Line("bad", what, f"type {target.volume_type} is encrypted: every boot is a download",
                              "nothing helps but a type without encryption"))  # fmt: skip
        elif target.tier == "default":
            store = f"Glance's store {place.store}" if place.store else "no store of Glance"
            lines.append(Line("ok", what, f"its Ceph holds {store}"))
            lines += _guarded(what, _cache, survey, target)
            if target.cell in clusters and place.pool:
                lines += _guarded(what, _ceph, survey, target, clusters[target.cell], place.pool)
            else:
                lines.append(Line("unknown", f"{what}: Ceph", "no ceph_conf: what descends from what is not known, so "
                                  "retired sources and cinder's remains are kept",
                                  f"set ceph_conf and ceph_user in [cell:{target.cell}]"))  # fmt: skip
    for image_id, cell in sorted(_thrashed(parts)):
        lines.append(Line("bad", f"cell {cell}: image-volume cache", f"evicts image {image_id} again and again",
                          "raise image_volume_cache_max_size_gb and _max_count; rules leave it alone"))  # fmt: skip
    return [*lines, *(_project(parts, each) for each in projects)]


def _thrashed(parts: Parts) -> set[tuple[str, str]]:
    sources = book.all_of(parts.journal.database)
    cached = {(each.image_id, each.cell, each.tier) for each in sources if each.kind == "cache"}
    return {
        (image_id, cell)
        for image_id, cell, tier in cached
        if book.thrashes([each for each in sources if each.image_id == image_id], cell, tier)
    }


def _guarded(what: str, part: Callable[..., Iterable[Line]], *args: Any) -> list[Line]:
    try:
        return list(part(*args))
    except StorageError as error:
        return [Line("bad", what, str(error), "see the message")]


def _locations(parts: Parts, access: Access) -> Iterable[Line]:
    images = [each for each in parts.images.listed(access) if each.status == "active" and each.stores]
    if not images:
        yield Line("unknown", "Glance: locations", "there is no image to ask for")
    elif parts.images.shows_locations(access, images[0].id):
        yield Line("ok", "Glance: locations", "told to services: cinder finds copies in its own Ceph, if its section "
                   "[glance] has a user with the role service")  # fmt: skip
    else:
        yield Line("bad", "Glance: locations", "hidden from services: cinder downloads what lies in its own Ceph",
                   "give the service users the role service (Glance 2024.2), or show_multiple_locations")  # fmt: skip


def _lock(parts: Parts) -> Iterable[Line]:
    if len(parts.conf.cells) > 1:
        yield Line("unknown", "cinder: [coordination]", "no API tells whether cells share a lock: if so, a download of "
                   "an image in one holds up its boots in all that use cinder's cache",
                   "a backend_url of its own for each cell's cinder-volume")  # fmt: skip


def _cache(survey: Survey, target: Target) -> Iterable[Line]:
    what = f"cell {target.cell}: image-volume cache"
    cached = survey.cached(target.backend) if target.backend else []
    if not cached:
        yield Line("unknown", what, "off, or empty: no API tells", f"bfv image warm IMAGE --cell {target.cell} --wait")
        return
    broken = [each for each in cached if each.status == "error"]
    for each in broken:
        yield Line("bad", what, f"image-volume {each.volume_id} of image {each.image_id} is broken: each boot of it is "
                   "a download, and cinder does not mend it", f"openstack volume delete {each.volume_id}")  # fmt: skip
    quota = survey.quota(cached[0].project_id)
    if 0 <= quota.volumes <= quota.volumes_used or 0 <= quota.gigabytes <= quota.gigabytes_used:
        yield Line("bad", what, f"its internal project {cached[0].project_id} is over quota: nothing more is cached",
                   f"openstack quota set --volumes -1 --gigabytes -1 {cached[0].project_id}")  # fmt: skip
    elif not broken:
        yield Line("ok", what, f"on, {len(cached)} images")


def _ceph(survey: Survey, target: Target, cluster: Cluster, pool_name: str) -> Iterable[Line]:
    what, pool = f"cell {target.cell}: Ceph", cluster.pool(pool_name)
    if not cluster.clones_v2():
        yield Line("bad", what, "makes clones of the first format: nothing can be removed before its clones",
                   "ceph osd set-require-min-compat-client mimic")  # fmt: skip
        return
    yield Line("ok", what, "makes clones of the second format")
    for each in survey.cached(target.backend) if target.backend else []:
        image = pool.find(f"volume-{each.volume_id}")
        if image is None:
            yield Line("bad", what, f"image-volume {each.volume_id} of image {each.image_id} has no bytes",
                       f"openstack volume delete {each.volume_id}")  # fmt: skip
            continue
        taken = [found.name for found in image.snapshots if SNAPSHOT.fullmatch(found.name)]
        if len(taken) > MANY:
            yield Line("bad", what, f"image-volume {each.volume_id} has {len(taken)} snapshots", "bfv image janitor")
        if taken and _flattened(pool.names(), taken) and not pool.children(image.name):
            yield Line("bad", what, f"hits of image-volume {each.volume_id} are copied whole: rbd_max_clone_depth is 1",
                       "set it to 5")  # fmt: skip


def _flattened(names: Sequence[str], taken: Sequence[str]) -> bool:
    """Say whether volumes for which snapshots were taken live on."""
    return bool({each.removesuffix(".clone_snap") for each in taken} & set(names))


def _project(parts: Parts, project: str) -> Line:
    what = f"project {project}: shared snapshots"
    try:
        roles = parts.rights.roles_in(project)
    except NotAllowed as error:
        return Line("bad", what, str(error), "openstack role add --inherited --domain DOMAIN --user USER admin")
    if "admin" in roles:
        return Line("ok", what, "the service user may clone them into it")
    return Line("bad", what, f"the service user has no role admin there, only {', '.join(roles)}: its boots go by "
                "cinder's own way", "openstack role add --inherited --domain DOMAIN --user USER admin")  # fmt: skip
