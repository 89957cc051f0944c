# SPDX-License-Identifier: Apache-2.0
"""What an errno of librados or librbd means to who asked."""

import contextlib
import errno
from collections.abc import Iterator

from imagebackends.errors import (
    BadRequest,
    Exists,
    Failed,
    HasSnapshots,
    InUse,
    MaybeRunning,
    NoRoom,
    NotAllowed,
    NotFound,
    StorageError,
    Unreachable,
    Unsupported,
)

BLOCKLISTED = 108  # ESHUTDOWN
ERRNOS: dict[int, type[StorageError]] = {
    errno.ENOENT: NotFound,
    errno.EEXIST: Exists,
    # What librados says of a comparison that did not hold.
    errno.ECANCELED: Exists,
    errno.EBUSY: InUse,
    errno.ENOTEMPTY: HasSnapshots,
    # A snapshot, a source of librbd's live migration, a handle for reading.
    errno.EROFS: Failed,
    errno.EPERM: NotAllowed,
    errno.EACCES: NotAllowed,
    errno.EINVAL: BadRequest,
    errno.EDOM: BadRequest,
    errno.ENOSPC: NoRoom,
    errno.EDQUOT: NoRoom,
    errno.ENOSYS: Unsupported,
    errno.EOPNOTSUPP: Unsupported,
    errno.ETIMEDOUT: Unreachable,
    errno.ECONNREFUSED: Unreachable,
    errno.ENOTCONN: Unreachable,
    BLOCKLISTED: MaybeRunning,
}


@contextlib.contextmanager
def told(act: str) -> Iterator[None]:
    """Turn the errors of both libraries into ours; ``act`` says in words what was asked."""
    try:
        yield
    except Exception as error:
        # Their errors share no base that could be named without loading them; all bear an errno but those of the file.
        code = getattr(error, "errno", None)
        if isinstance(error, StorageError) or not isinstance(code, int):
            raise
        raise ERRNOS.get(code, MaybeRunning)(f"{act}: {error}") from error
