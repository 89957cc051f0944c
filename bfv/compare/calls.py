# SPDX-License-Identifier: Apache-2.0
"""Counts what a backend calls: HTTP by a hook of its own session, librbd by a thin coat over its two classes."""

import re
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1.session import Session

from imagebackends.rbd.bindings import Bindings

# Glance and keystone are known by their paths, all else is cinder's.
SERVICES = (("keystone", re.compile(r"/auth/tokens$")), ("glance", re.compile(r"/v2/(images|info|schemas)(/|$)")))


class Calls:
    """How many calls went to whom; of all threads."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def add(self, service: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[service] += 1

    def since(self, before: Counter[str]) -> dict[str, int]:
        """Return what came since ``now`` was asked."""
        return dict(self.now() - before)

    def now(self) -> Counter[str]:
        """Return the counts so far."""
        with self._lock:
            return self._counts.copy()

    def of_session(self, session: Session) -> None:
        """Count each answer that a session gets."""
        session.session.hooks["response"].append(lambda response, *_, **__: self.add(service(response.url)))

    def of_bindings(self, bindings: Bindings) -> Bindings:
        """Return bindings that count each call of librbd; opening an image is one, closing it is none."""
        rbd = bindings.rbd
        coated = SimpleNamespace(RBD=lambda: _Coat(rbd.RBD(), self), Image=self._opened(rbd.Image), OSError=rbd.OSError)
        return Bindings(bindings.rados, coated)

    def _opened(self, opens: Any) -> Any:
        def image(*words: Any, **options: Any) -> "_Coat":
            self.add("librbd")
            return _Coat(opens(*words, **options), self)

        return image


def service(url: str) -> str:
    """Return whom an address belongs to."""
    path = urlsplit(url).path
    return next((name for name, pattern in SERVICES if pattern.search(path)), "cinder")


class _Coat:
    """An object of librbd whose calls are counted."""

    def __init__(self, inside: Any, calls: Calls) -> None:
        self._inside, self._calls = inside, calls

    def __enter__(self) -> "_Coat":
        return self

    def __exit__(self, *error: object) -> None:
        self._inside.close()

    def __getattr__(self, name: str) -> Any:
        if name != "close":
            self._calls.add("librbd")
        return getattr(self._inside, name)
