# SPDX-License-Identifier: Apache-2.0
"""Stretches of mappings, and what of very many deletes is in them."""

import pytest
import sqlalchemy as sa

from cells.listing import window
from cells.listing.graves import Graves
from cells.schema_api import instance_mappings
from tests.cells.listing.world import Made


@pytest.fixture
def queued(world):
    """Servers of which every third is not queued for delete."""
    made = [Made(number, cell=number % 3, queued=number % 3 != 0) for number in range(12)]
    world.add_all([(one, {}) for one in made])
    return made


def stretches(world, graves, **options):
    below, found = None, []
    while below != 0:
        stretch = window.read(world.registry, graves, None, below, **options)
        found.append([row.instance_uuid for row in stretch.rows])
        below = stretch.end
    return found


def test_a_stretch_ends_with_the_last_of_those_that_are_needed(world, queued):
    found = stretches(world, Graves(), need=2)
    assert found[0] == [one.id for one in queued[:5:-1]]
    assert [uuid for part in found for uuid in part] == [one.id for one in reversed(queued)]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_very_many_deletes_are_looked_at_in_parts_and_none_is_missed(world, queued, most):
    found = stretches(world, Graves(), need=100, most_queued=most)
    assert [uuid for part in found for uuid in part] == [one.id for one in reversed(queued)]
    deletes = {one.id for one in queued if one.queued}
    assert max(len(deletes.intersection(part)) for part in found) <= most


def test_of_more_deletes_than_are_asked_for_one_by_one_those_known_are_left_out(world):
    made = [Made(number, queued=number > 0) for number in range(window._FEW + 50)]
    world.add_all([(one, {}) for one in made[:2]])
    world.add_all([(Made(one.number, queued=True, row="missing"), {}) for one in made[2:]])
    assert world.ids() == [made[1].id, made[0].id]
    graves = Graves()
    (everything,) = stretches(world, graves, need=1000)
    assert everything == [one.id for one in reversed(made)]
    with world.registry.database.reader() as conn:
        mappings = instance_mappings.c
        queued = sa.select(mappings.id).where(mappings.queued_for_delete).order_by(mappings.id.desc())
        ids = list(conn.execute(queued).scalars())
    graves.add(ids[:30])
    (some,) = stretches(world, graves, need=1000)
    assert some == [one.id for one in reversed(made[:-30])]
