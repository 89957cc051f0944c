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


def stretches(world, windows, need, project=None):
    below, found = None, []
    while below != 0:
        stretch = windows.read(project, below, need)
        found.append([row.instance_uuid for row in stretch.rows])
        below = stretch.end
    return found


def test_a_stretch_ends_with_the_last_of_those_that_are_needed(world, queued):
    found = stretches(world, window.Windows(world.registry, Graves()), need=2)
    assert found[0] == [one.id for one in queued[:5:-1]]
    assert [uuid for part in found for uuid in part] == [one.id for one in reversed(queued)]


@pytest.mark.parametrize("project", [None, "p"])
@pytest.mark.parametrize("most", [1, 2, 3, 100])
@pytest.mark.parametrize("widest", [1, 20, 1000])
def test_very_many_are_looked_at_in_parts_and_none_is_missed(world, queued, project, most, widest):
    others = [Made(100 + number, project="q", queued=number % 2 == 0) for number in range(30)]
    world.add_all([(one, {}) for one in others[:15]])
    world.add_all([(one, {}) for one in later(queued)])
    world.add_all([(one, {}) for one in others[15:]])
    everything = [*queued, *others[:15], *later(queued), *others[15:]]
    wanted = [one.id for one in reversed(everything) if project in (None, one.project)]
    windows = window.Windows(world.registry, Graves(), widest, most)
    # The second time it is known how dense they are.
    for need in (2, 101, 1, 5):
        found = stretches(world, windows, need, project)
        assert [uuid for part in found for uuid in part] == wanted
        # One more than it may skip, and what lies in so many ids.
        assert max(len(part) for part in found) <= max(most + 1, widest)
        shown = {one.id for one in everything if not one.queued}
        assert max(len(shown.intersection(part)) for part in found) <= need


def later(made):
    return [Made(50 + one.number, one.cell, queued=one.queued) for one in made]


def test_a_project_of_few_among_many_is_read_at_once(world):
    world.add_all([(Made(number, project="q" if number % 20 else "p"), {}) for number in range(100)])
    windows = window.Windows(world.registry, Graves())
    for _ in range(2):
        (found,) = stretches(world, windows, 1000, "p")
        assert found == [Made(number).id for number in (80, 60, 40, 20, 0)]


def test_of_more_deletes_than_are_asked_for_one_by_one_those_known_are_left_out(world):
    made = [Made(number, queued=number > 0) for number in range(window._FEW + 50)]
    world.add_all([(one, {}) for one in made[:2]])
    world.add_all([(Made(one.number, queued=True, row="missing"), {}) for one in made[2:]])
    assert world.ids() == [made[1].id, made[0].id]
    graves = Graves()
    windows = window.Windows(world.registry, graves)
    (everything,) = stretches(world, windows, need=1000)
    assert everything == [one.id for one in reversed(made)]
    with world.registry.database.reader() as conn:
        mappings = instance_mappings.c
        queued = sa.select(mappings.id).where(mappings.queued_for_delete).order_by(mappings.id.desc())
        ids = list(conn.execute(queued).scalars())
    graves.add(ids[:30])
    (some,) = stretches(world, windows, need=1000)
    assert some == [one.id for one in reversed(made[:-30])]
