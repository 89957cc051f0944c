# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: a cloud for tests that are not ours, as a server (``bfv_cloud``) or without a socket."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from bfv.mockcloud.server import Server, start
from bfv.mockcloud.state import Settings

if TYPE_CHECKING:
    from bfv.mockcloud.adapter import InProcess


@pytest.fixture(scope="session")
def bfv_cloud_settings() -> Settings:
    """Return what the cloud is made of; override it for other cells."""
    return Settings()


@pytest.fixture(scope="session")
def bfv_cloud_server(bfv_cloud_settings: Settings) -> Iterator[Server]:
    """Serve one cloud for the whole session."""
    with start(bfv_cloud_settings) as server:
        yield server


@pytest.fixture
def bfv_cloud(bfv_cloud_server: Server) -> Server:
    """Return the served cloud, as new: ``url``, ``auth_url``, ``describe()``, and ``cloud`` for what is inside."""
    bfv_cloud_server.cloud.reset()
    return bfv_cloud_server


@pytest.fixture
def bfv_cloud_inprocess(bfv_cloud_settings: Settings) -> "Iterator[InProcess]":
    """Answer ``requests`` of this process without a socket, as long as the test runs."""
    from bfv.mockcloud.adapter import InProcess
    from bfv.mockcloud.state import Cloud

    with InProcess(Cloud(bfv_cloud_settings)) as door:
        yield door
