# SPDX-License-Identifier: Apache-2.0
"""Every test is looked at for secrets in what it logs, see `tests.leaks`; the longest tests begin first."""

import os

import pytest

from tests import leaks

WATCH = pytest.StashKey[leaks.Watch]()


def pytest_configure(config):
    config.stash[WATCH] = leaks.watch()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Have each worker begin with a part of the long tests: one that begins last has all others wait for it."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if item not in set(long)]
    # Workers take equal parts of the list, in order.
    for number, item in enumerate(long):
        rest.insert(number % workers * len(items) // workers, item)
    items[:] = rest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    yield
    if found := item.config.stash[WATCH].found():
        pytest.fail(f"secrets were logged, or printed by a command:\n{found}", pytrace=False)


def pytest_sessionfinish(session):
    watch = session.config.stash[WATCH]
    if found := watch.found():
        raise pytest.UsageError(f"secrets were logged after the last test:\n{found}")
    watch.file.unlink()
