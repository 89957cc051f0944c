# SPDX-License-Identifier: Apache-2.0
"""Acts on several disks of one server at the same time: each costs a round trip, and none needs the others' answers."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bfv.errors import MaybeRunning

T = TypeVar("T")
R = TypeVar("R")
# As many connections as a client keeps to one service (keystoneauth1 takes requests' default of ten).
MOST = 9


def each(act: Callable[[T], R], things: Iterable[T]) -> list[R]:
    """Do an act for each thing, all at once, wait for all of them and return their results in order.

    Raises what the first of them raised; of an outcome that is not known only when nothing surely failed, for a failure
    is undone, and the undoing asks again for what is not known.
    """
    todo = list(things)
    if len(todo) < 2:
        return [act(thing) for thing in todo]
    with ThreadPoolExecutor(min(MOST, len(todo)), thread_name_prefix="bfv-disks") as pool:
        futures = [pool.submit(act, thing) for thing in todo]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise next((error for error in errors if not isinstance(error, MaybeRunning)), errors[0])
    return [future.result() for future in futures]
