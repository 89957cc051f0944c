# SPDX-License-Identifier: Apache-2.0
"""A module ``rbd`` whose images are a mocked cloud's in another process, see ``rados`` beside it."""

import functools
from collections.abc import Callable
from typing import Any

import rados
from rados import OSError  # noqa: F401 - as librbd's own module shows it


class RBD:
    """What is done to images by name."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda ioctx, *args, **options: rados.call(ioctx.url, "RBD", name, ioctx, *args, **options)


class Image:
    """An open image."""

    def __init__(self, ioctx: Any, name: str | None = None, **options: Any) -> None:
        self._held = rados.Held(ioctx.url, rados.call(ioctx.url, None, "Image", ioctx, name, **options))

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return functools.partial(self._held.call, name)

    def diff_iterate(self, offset: int, length: int, since: str | None, tell: Callable[..., Any]) -> None:
        """Tell of each extent that differs."""
        for extent in self._held.call("diff_iterate", offset, length, since):
            tell(*extent)
