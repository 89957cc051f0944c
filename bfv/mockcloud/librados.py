# SPDX-License-Identifier: Apache-2.0
"""The mocked cells' Ceph as the module ``rados`` shows it: a client, its pools, and omaps of objects in them.

A "conffile" is a cell's name, or a path whose stem is one.
"""

import errno
import functools
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import rbd as bytes_of

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cell, Cloud


class OSError(Exception):
    """Any error of theirs; they tell them apart by errno."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"[errno {code}] {words}")
        self.errno = code


class ObjectNotFound(OSError):
    """A pool or a cluster that is not there."""


def module(cloud: "Cloud") -> SimpleNamespace:
    """Return what behaves as the module."""
    return SimpleNamespace(
        Rados=functools.partial(Rados, cloud),
        ObjectNotFound=ObjectNotFound,
        OSError=OSError,
        ReadOpCtx=Operation,
        WriteOpCtx=Operation,
        LIBRADOS_CREATE_IDEMPOTENT=1,
    )


class Rados:
    """A client of one cell's cluster."""

    numbers = itertools.count(4100)

    def __init__(self, cloud: "Cloud", *, conffile: str, rados_id: str = "admin", conf: dict[str, str] | None = None):
        self.cloud, self.name, self.rados_id, self.conf = cloud, PurePath(conffile).stem, rados_id, conf or {}
        self.number = next(self.numbers)
        self.address = f"127.0.0.1:0/{self.number}"

    @property
    def cell(self) -> "Cell":
        """The cell, which outlives a reset of the cloud."""
        if self.name not in self.cloud.cells:
            raise ObjectNotFound(errno.ENOENT, f"error calling conf_read_file: no cell {self.name}")
        return self.cloud.cells[self.name]

    def answer(self) -> None:
        """Wait for a silent cell as long as the client's time-out says. Raises OSError then, and if barred."""
        seconds = float(self.conf.get("rados_osd_op_timeout", 0)) or threading.TIMEOUT_MAX
        if self.cell.storage != "up":
            threading.Event().wait(seconds)
            raise OSError(errno.ETIMEDOUT, "connection timed out")
        if self.address in self.cell.cluster.blocklist:
            raise OSError(errno.ESHUTDOWN, "RBD connection was shutdown")

    def connect(self) -> None:
        """Reach the cluster."""
        self.answer()

    def shutdown(self) -> None:
        """Leave the cluster."""

    def get_fsid(self) -> str:
        """Return the cluster's id."""
        return self.cell.cluster.fsid

    def mon_command(self, words: str, _data: bytes) -> tuple[int, bytes, str]:
        """Answer ``mon dump``, ``osd dump`` and ``health``, and no other."""
        addr = f"127.0.0.1:{self.cell.number}6789/0"
        answers = {
            "mon dump": {"mons": [{"name": "a", "addr": addr}]},
            "osd dump": {"require_min_compat_client": self.cell.cluster.oldest},
            "health": {"status": self.cell.health, "checks": {}, "mutes": []},
        }
        found = answers.get(json.loads(words)["prefix"])
        return (0, json.dumps(found).encode(), "") if found else (-errno.EINVAL, b"", "command not known")

    def open_ioctx(self, pool: str) -> "Ioctx":
        """Open a pool."""
        if pool not in self.cell.cluster.pools:
            raise ObjectNotFound(errno.ENOENT, f"error opening pool {pool!r}")
        return Ioctx(self, pool)


class Ioctx:
    """A client's handle of a pool."""

    def __init__(self, client: Rados, name: str) -> None:
        self.client, self.name = client, name

    @property
    def pool(self) -> bytes_of.Pool:
        """The pool; asks whether its cell answers."""
        self.client.answer()
        return self.client.cell.cluster.pools[self.name]

    def close(self) -> None:
        """Nothing is held."""

    def set_omap(self, operation: "Operation", keys: tuple[str, ...], values: tuple[str, ...]) -> None:
        """Have keys written."""
        pairs = {key: value.encode() for key, value in zip(keys, values, strict=True)}
        operation.steps.append(lambda omap: omap.update(pairs))

    def remove_omap_keys(self, operation: "Operation", keys: tuple[str, ...]) -> None:
        """Have keys removed."""
        operation.steps.append(lambda omap: [omap.pop(key, None) for key in keys])

    def get_omap_vals(
        self, operation: "Operation", start_after: str, filter_prefix: str, max_return: int
    ) -> tuple[Iterator[tuple[str, bytes]], int]:
        """Have keys read, in their order, from behind one on."""
        return operation.read(
            lambda omap: [
                (key, value)
                for key, value in sorted(omap.items())
                if key > start_after and key.startswith(filter_prefix)
            ][:max_return]
        )

    def get_omap_vals_by_keys(
        self, operation: "Operation", keys: tuple[str, ...]
    ) -> tuple[Iterator[tuple[str, bytes]], int]:
        """Have some keys read."""
        return operation.read(lambda omap: [(key, omap[key]) for key in keys if key in omap])

    def operate_write_op(self, operation: "Operation", name: str) -> None:
        """Do all of an operation or nothing."""
        pool = self.pool
        with self.client.cloud.lock:
            if name not in pool.omaps and not operation.creates:
                raise ObjectNotFound(errno.ENOENT, f"Failed to operate write op for oid {name}")
            omap = dict(pool.omaps.get(name, {}))
            for step in operation.steps:
                step(omap)
            pool.omaps[name] = omap

    def operate_read_op(self, operation: "Operation", name: str) -> None:
        """Read what was asked for."""
        pool = self.pool
        with self.client.cloud.lock:
            if name not in pool.omaps:
                raise ObjectNotFound(errno.ENOENT, f"Failed to operate read op for oid {name}")
            for step in operation.steps:
                step(pool.omaps[name])


class Operation:
    """Steps that are done to one object at once."""

    def __init__(self) -> None:
        self.steps: list[Callable[[dict[str, bytes]], Any]] = []
        self.creates = False

    def __enter__(self) -> "Operation":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""

    def new(self, _exclusive: int) -> None:
        """Make the object if it is not there."""
        self.creates = True

    def omap_cmp(self, key: str, value: str) -> None:
        """Go on only if a key has this value; one that is absent compares as an empty one."""

        def step(omap: dict[str, bytes]) -> None:
            if omap.get(key, b"") != value.encode():
                raise OSError(errno.ECANCELED, "Failed to operate write op")

        self.steps.append(step)

    def read(
        self, choose: Callable[[dict[str, bytes]], list[tuple[str, bytes]]]
    ) -> tuple[Iterator[tuple[str, bytes]], int]:
        """Return rows that are there once the operation is done."""
        rows: list[tuple[str, bytes]] = []
        self.steps.append(lambda omap: rows.extend(choose(omap)))
        return (row for row in rows), 0
