# SPDX-License-Identifier: Apache-2.0
"""Image backends: who makes, binds and removes a server's disks. HTTP and Ceph live here, SQL does not."""

from typing import Any

from keystoneauth1.session import Session
from stevedore import ExtensionManager

from imagebackends.backend import Adopts, Backend, ForceDeletes, Reimages, Snapshots
from imagebackends.errors import BadRequest
from imagebackends.http import Settings, make_session

__all__ = ["Adopts", "Backend", "ForceDeletes", "Reimages", "Settings", "Snapshots", "load"]

_NAMESPACE = "imagebackends"


def load(name: str, settings: Settings, session: Session | None = None) -> Backend:
    """Return the image backend of that name, of ours or of others (entry points ``imagebackends``).

    Raises BadRequest that lists the names there are.
    """
    found: ExtensionManager[Any] = ExtensionManager(_NAMESPACE)
    if name not in found.names():
        raise BadRequest(f"No image backend is called {name}; installed are: {', '.join(sorted(found.names()))}.")
    backend: Backend = found[name].plugin(settings, session or make_session(settings))
    return backend
