# SPDX-License-Identifier: Apache-2.0
"""Where Python finds librados and librbd: they come from the distribution (python3-rbd) and not from an index.

A virtual environment does not see the distribution's modules, and should not see all of them; so just these two are
taken from the distribution's folder, if they were built for this Python.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import threading
from dataclasses import dataclass
from typing import Any

from imagebackends.errors import Unsupported

DEBIAN = "/usr/lib/python3/dist-packages"
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Bindings:
    """The two modules, or what behaves as they do."""

    rados: Any
    rbd: Any


def load(folder: str | None = None) -> Bindings:
    """Return the modules, of Python's own path or else of ``folder`` (Debian's when it is None).

    Raises Unsupported that says what to install.
    """
    with _LOCK:
        # librbd's module imports that of librados by name.
        return Bindings(*(_module(name, folder or DEBIAN) for name in ("rados", "rbd")))


def _module(name: str, folder: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
    spec = importlib.machinery.PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise Unsupported(
            f"There is no module {name} for Python {version}, on its path or in {folder}: install the distribution's "
            f"python3-rbd, run bfv by the Python that it was built for, or name its folder as ceph_python."
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
