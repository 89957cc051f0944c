# SPDX-License-Identifier: Apache-2.0
"""Every test is looked at for secrets in what it logs, see `tests.leaks`."""

import pytest

from tests import leaks

WATCH = pytest.StashKey[leaks.Watch]()


def pytest_configure(config):
    config.stash[WATCH] = leaks.watch()


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
