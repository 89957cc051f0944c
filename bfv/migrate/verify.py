# SPDX-License-Identifier: Apache-2.0
"""Whether two images hold the same bytes, read once each; what was never written is not read.

A digest does not depend on how sparse an image is: blocks of zeros count as absent, and each other block is counted
with its place.
"""

import hashlib
from collections.abc import Iterator

from bfv.errors import Failed
from imagebackends.rbd.pool import Pool

BLOCK = 4 * 1024 * 1024


def digest(pool: Pool, image: str, snapshot: str | None = None) -> str:
    """Return a checksum of an image's bytes, of a snapshot's if one is named."""
    found = hashlib.blake2b(digest_size=16)
    for offset, data in blocks(pool, image, snapshot=snapshot):
        if data.count(0) < len(data):
            found.update(offset.to_bytes(8, "big") + data.rstrip(b"\0"))
    return found.hexdigest()


def blocks(
    pool: Pool, image: str, *, since: str | None = None, snapshot: str | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of an image that hold something, or changed since a snapshot: (offset, bytes)."""
    numbers: set[int] = set()
    for extent in pool.changes(image, since=since, snapshot=snapshot):
        numbers.update(range(extent.offset // BLOCK, (extent.offset + extent.length - 1) // BLOCK + 1))
    yield from pool.pieces(image, ((number * BLOCK, BLOCK) for number in sorted(numbers)), snapshot)


def same(one: str, other: str, what: str) -> None:
    """Raise Failed where two digests differ."""
    if one != other:
        raise Failed(f"The bytes of {what} are not those of the old disk ({one} and {other}); the old disk is kept.")
