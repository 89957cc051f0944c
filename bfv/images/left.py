# SPDX-License-Identifier: Apache-2.0
"""Find the snapshots of images of servers that somebody deleted, in Glance or here: nothing names them any more.

They are found by the journal of those who made them. Nothing is removed: they are their project's data.
"""

import json

import sqlalchemy as sa

from bfv.errors import NotFound
from bfv.images import discard
from bfv.images.discard import Left
from bfv.journal import DONE
from bfv.parts import Parts
from bfv.tables import intents, objects
from imagebackends.types import Access

_TAKEN = sa.select(objects.c.id, objects.c.external_id, intents.c.server_id, intents.c.project_id, intents.c.request)
_TAKEN = _TAKEN.join_from(objects, intents, objects.c.intent_id == intents.c.id).order_by(objects.c.id)
_TAKEN = _TAKEN.where(intents.c.verb == "createImage", intents.c.phase == DONE, objects.c.kind == "snapshot",
                      objects.c.gone.is_(sa.false()))  # fmt: skip


def look(parts: Parts, access: Access, project_id: str | None) -> list[Left]:
    """Return what is left of deleted images in a project, or in all of them, oldest first.

    Those that are gone in cinder are forgotten. Raises MaybeRunning.
    """
    query = _TAKEN if project_id is None else _TAKEN.where(intents.c.project_id == project_id)
    with parts.journal.database.reader() as conn:
        taken = [(row, json.loads(row.request)["image"]["id"]) for row in conn.execute(query)]
    if not taken:
        return []
    listed = {image.id for image in parts.images.listed(access)}
    deleted = {image_id for image_id in {image_id for _, image_id in taken} - listed if _gone(parts, access, image_id)}
    found, forgotten = [], []
    for row, image_id in taken:
        if image_id in deleted:
            one = discard.kept(parts, access, row.external_id, image_id, row.project_id, row.server_id)
            if one is None:
                forgotten.append(row.id)
            else:
                found.append(one)
    _forget(parts, forgotten)
    return found


def _gone(parts: Parts, access: Access, image_id: str) -> bool:
    """Say whether there is no such image: a hidden one is in no list."""
    try:
        parts.images.get(access, image_id)
    except NotFound:
        return True
    return False


def _forget(parts: Parts, object_ids: list[int]) -> None:
    query = objects.update().where(objects.c.id.in_(object_ids)).values(gone=True)
    if object_ids:
        parts.journal.database.run(lambda conn: conn.execute(query))
