# SPDX-License-Identifier: Apache-2.0
"""A module ``rados`` whose clusters are a mocked cloud's in another process: name its folder as ``ceph_python``.

A "conffile" is the address of a cell: ``http://127.0.0.1:PORT/_mock/ceph/cell1``. Objects beside images are not here.
"""

import base64
import datetime as dt
import os
from typing import Any

import requests

# What changes something, so that whoever counts calls can tell them apart.
CHANGES = frozenset(
    (
        *("create", "clone", "rename", "remove", "trash_move", "trash_restore", "trash_remove", "resize", "write"),
        *("discard", "flatten", "create_snap", "remove_snap", "metadata_set", "metadata_remove", "break_lock"),
        *("migration_prepare", "migration_execute", "migration_commit", "migration_abort"),
    )
)


class OSError(Exception):
    """Any error of theirs; they tell them apart by errno."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.errno = code


class ObjectNotFound(OSError):
    """A pool or a cluster that is not there."""


class Held:
    """Something that the other process holds."""

    def __init__(self, url: str, number: int) -> None:
        self.url, self.number = url, number

    def call(self, name: str, *args: Any, **options: Any) -> Any:
        """Have a method of it called there."""
        return call(self.url, self.number, name, *args, **options)

    def close(self) -> None:
        """Let go of it."""
        self.call("close")


def call(url: str, target: Any, name: str, *args: Any, **options: Any) -> Any:
    """Have a function called there and return its value; raise its error."""
    body = {"pid": os.getpid(), "of": target, "name": name, "args": [_pack(each) for each in args]}
    body["options"] = {key: _pack(each) for key, each in options.items()}
    answer = requests.request("POST" if name in CHANGES else "GET", url, json=body, timeout=600)
    answer.raise_for_status()
    found = answer.json()
    if "errno" in found:
        raise (ObjectNotFound if found["missing"] else OSError)(found["errno"], found["words"])
    if "index" in found:
        raise IndexError(found["index"])
    if "key" in found:
        raise KeyError(found["key"])
    return _unpack(found["value"])


def _pack(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"map": value}
    return {"held": value.number} if isinstance(value, Held) else value


def _unpack(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, inner)] = value.items()
    if kind == "bytes":
        return base64.b64decode(inner)
    if kind == "time":
        return dt.datetime.fromisoformat(inner)
    if kind == "map":
        return {key: _unpack(each) for key, each in inner.items()}
    return [_unpack(each) for each in inner]


class Rados:
    """A client of one cell's cluster."""

    def __init__(self, *, conffile: str, rados_id: str = "admin", conf: dict[str, str] | None = None) -> None:
        self.url, self.options = conffile, {"rados_id": rados_id, "conf": conf or {}}
        self._held: Any = None

    def connect(self) -> None:
        """Reach the cluster."""
        self._held = Held(self.url, call(self.url, None, "Rados", **self.options))

    def shutdown(self) -> None:
        """Leave the cluster."""
        self._held.call("shutdown")

    def get_fsid(self) -> Any:
        """Return the cluster's id."""
        return self._held.call("get_fsid")

    def mon_command(self, words: str, data: bytes) -> Any:
        """Ask the monitors."""
        return self._held.call("mon_command", words, data)

    def open_ioctx(self, pool: str) -> Held:
        """Open a pool."""
        return Held(self.url, self._held.call("open_ioctx", pool))
