# SPDX-License-Identifier: Apache-2.0
"""A comparison is killed at any of its boundaries: after `bfv repair` nothing of it is outside.

On real services only: a process of its own does not reach the mocked Ceph. A seeded sample, all with `full`.
"""

import json

import pytest

from tests import sites
from tests.flows.test_kill import HOW_MUCH, chosen

SAMPLE = 3  # Each is a comparison on real services, and its repair.
pytestmark = [
    pytest.mark.parametrize("site", [pytest.param("lab", marks=pytest.mark.lab)], indirect=True),
    pytest.mark.filterwarnings("ignore:The image backend rbd is deprecated:DeprecationWarning"),
]


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("full", HOW_MUCH)
def test_nothing_stays_of_a_comparison_that_was_killed(world, image_id, outside, full):
    # Cinder's cache is not asked: the copy of the image is cloned there.
    verb = ("compare", image_id, "cell1")
    done = world.victim(["none", "0", *verb])
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    found = [(kind, number) for kind, most in counts.items() for number in range(1, most + 1)]
    assert counts["commit"] > 30
    before = outside()

    for kind, number in chosen(found, full)[: None if full else SAMPLE]:
        killed = world.victim([kind, str(number), *verb])
        assert killed.returncode == -9, (kind, number, killed.stderr)
        with world.cloud() as cloud:
            sites.until(lambda: not [each for each in cloud.repair() if each.open])
            assert cloud.parts.journal.opened() == [], (kind, number)
        assert outside() == before, (kind, number)
