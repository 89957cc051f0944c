# SPDX-License-Identifier: Apache-2.0
"""Compute drivers: who runs guests on hosts. ``load`` finds them by name, ``contract`` says what they must do."""

from typing import Any

from oslo_config import cfg
from stevedore import ExtensionManager

from bfv.drivers.contract import Driver, Guest
from bfv.errors import BadConfig

__all__ = ["Driver", "Guest", "load"]

_NAMESPACE = "bfv.drivers"


def load(name: str, conf: cfg.ConfigOpts) -> Driver:
    """Return the compute driver of that name, of ours or of others (entry points ``bfv.drivers``).

    A driver is made of the configuration and registers the options of its own there. Raises BadConfig that lists the
    names there are.
    """
    found: ExtensionManager[Any] = ExtensionManager(_NAMESPACE)
    if name not in found.names():
        raise BadConfig(
            f"[compute] driver: there is no compute driver {name}; installed are: {', '.join(sorted(found.names()))}."
        )
    driver: Driver = found[name].plugin(conf)
    return driver
