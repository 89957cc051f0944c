# SPDX-License-Identifier: Apache-2.0
"""Automatic boot from volume for clouds of many cells, each with its own Ceph cluster."""

from collections.abc import Callable
from pathlib import Path

from bfv import caller as _caller
from bfv import config as _config
from bfv.cloud import Cloud
from bfv.types import BootRequest, Caller, Decision, Deleted, DiskDevice, RootDevice, ServerInfo, VolumeRequest

__all__ = [
    "BootRequest",
    "Caller",
    "Cloud",
    "Decision",
    "Deleted",
    "DiskDevice",
    "RootDevice",
    "ServerInfo",
    "VolumeRequest",
    "connect",
]


def connect(path: str | Path | None = None, caller: Callable[[], Caller] | None = None) -> Cloud:
    """Return the cloud that a configuration file describes.

    ``caller`` gives the credentials of calls that name none; by default those of ``OS_CLOUD`` or ``OS_*``.
    Raises BadConfig that names the option to mend.
    """
    return Cloud(_config.load(path), caller or _caller.from_environment)
