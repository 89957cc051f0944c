# SPDX-License-Identifier: Apache-2.0
"""Device names as nova keeps them: hints, as the guest names its disks itself; but no two of a server are equal. Pure.

A user's hint is kept as it is; who gives none gets the next of ``/dev/vda``, ``/dev/vdb`` and so on.
"""

import itertools
import re
import string
from collections.abc import Collection, Iterator

PREFIX = "/dev/"
ROOT = "/dev/vda"
# nova/block_device.py:match_device
_FORM = re.compile(r"/dev/x?[a-z]?d?[a-z]+[0-9]*")


def full(name: str | None) -> str | None:
    """Return a hint with its folder, None for none (``nova/block_device.py:prepend_dev``)."""
    return name if not name or name.startswith(PREFIX) else PREFIX + name


def fits(name: str) -> bool:
    """Return whether a hint has a form that nova takes."""
    return _FORM.fullmatch(name) is not None


def following(taken: Collection[str | None]) -> str:
    """Return the first name after the root's that is not taken."""
    return next(name for name in _all() if name not in taken)


def _all() -> Iterator[str]:
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            name = f"{PREFIX}vd{''.join(letters)}"
            if name != ROOT:
                yield name
