# SPDX-License-Identifier: Apache-2.0
"""The mocked cells' Ceph for other processes: a call of librados or librbd comes as JSON and is done here.

The other end is in ``bfv/mockcloud/ceph``: modules ``rados`` and ``rbd`` that know nothing but an address. What a
client has open ends with its process, as a watch of Ceph's does a little later.
"""

import base64
import contextlib
import datetime as dt
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bfv.mockcloud import librados, librbd
from bfv.mockcloud.wire import Json, Refusal, Request, Response

if TYPE_CHECKING:
    from bfv.mockcloud.state import Cloud


@dataclass
class Handles:
    """What clients of other processes hold, by number, each with the process that it belongs to."""

    held: dict[int, tuple[int, Any]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def keep(self, pid: int, thing: Any) -> int:
        """Return the number of a thing from now on."""
        number = next(self.numbers)
        self.held[number] = pid, thing
        return number

    def drop_dead(self) -> None:
        """Close what processes hold that are no more."""
        for number, (pid, thing) in list(self.held.items()):
            if not _lives(pid):
                del self.held[number]
                if isinstance(thing, librbd.Image):
                    thing.close()


def call(cloud: "Cloud", request: Request) -> Response:
    """Do one call and return its value, or the errno and words of its error."""
    with cloud.lock:
        cloud.handles.drop_dead()
    given: Json = request.json()
    try:
        value = _do(cloud, request.ids["cell"], given)
    except librados.OSError as error:
        missing = isinstance(error, librados.ObjectNotFound)
        return Response(200, {"errno": error.errno, "words": str(error), "missing": missing})
    except IndexError as error:
        return Response(200, {"index": str(error)})
    except KeyError as error:
        return Response(200, {"key": str(error.args[0])})
    return Response(200, {"value": pack(value)})


def _do(cloud: "Cloud", cell: str, given: Json) -> Any:
    pid, name = int(given["pid"]), given["name"]
    args = [_unpack(cloud, each) for each in given.get("args", [])]
    options = {key: _unpack(cloud, each) for key, each in given.get("options", {}).items()}
    if name == "Rados":
        client = librados.Rados(cloud, conffile=cell, **options)
        client.connect()
        return cloud.handles.keep(pid, client)
    if name == "Image":
        return cloud.handles.keep(pid, librbd.Image(*args, **options))
    target: Any = librbd.RBD() if given["of"] == "RBD" else _held(cloud, given["of"])
    if name == "open_ioctx":
        return cloud.handles.keep(pid, target.open_ioctx(*args))
    if name == "close":
        cloud.handles.held.pop(given["of"], None)
    if name == "diff_iterate":
        found: list[list[Any]] = []
        target.diff_iterate(*args, lambda *extent: found.append(list(extent)))
        return found
    return getattr(target, name)(*args, **options)


def _held(cloud: "Cloud", number: int) -> Any:
    if number not in cloud.handles.held:
        raise Refusal(404, f"nothing is open by the number {number}")
    return cloud.handles.held[number][1]


def pack(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, dt.datetime):
        return {"time": value.isoformat()}
    if isinstance(value, Mapping):
        return {"map": {str(key): pack(each) for key, each in value.items()}}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return {"list": [pack(each) for each in value]}
    return value


def _unpack(cloud: "Cloud", value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, inner)] = value.items()
    return base64.b64decode(inner) if kind == "bytes" else _held(cloud, inner) if kind == "held" else inner


def _lives(pid: int) -> bool:
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
