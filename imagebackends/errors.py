# SPDX-License-Identifier: Apache-2.0
"""What an outside act came to, sorted by what the caller does next.

::

    StorageError
    ├── Refused          the asker must change something; nothing was done
    │   ├── BadRequest       the words are wrong
    │   ├── NotAllowed       the rights are missing
    │   ├── OverQuota        the project's volume quota is used up
    │   └── Unsupported      this cloud's release cannot do it
    ├── NotFound         it is not there, or not for these rights to see
    ├── Failed           surely not running: undo
    │   ├── HasSnapshots     cinder keeps a volume that has snapshots
    │   ├── InUse            attached, or busy in another way
    │   └── Exists           another bears this name
    ├── MaybeRunning     time-out, reset, 5xx: keep the intent and ask again
    │   └── Unreachable      a whole cluster is silent: take its cell as down
    └── NoRoom           full here: undo, try the next cell

Every error carries ``request_id``, by which the service's own log is found.
"""


class StorageError(Exception):
    """Any answer of a storage service that is not the one asked for."""

    def __init__(self, message: str, *, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class Refused(StorageError):
    """The asker must change something; nothing was done."""


class BadRequest(Refused):
    """The service does not accept these words or this state."""


class NotAllowed(Refused):
    """The rights that were used do not suffice."""


class OverQuota(Refused):
    """The project's quota in the storage service is used up."""


class Unsupported(Refused):
    """This release of the service cannot do it."""


class NotFound(StorageError):
    """It is not there, or these rights do not see it."""


class Failed(StorageError):
    """It failed and is surely not running any more."""


class HasSnapshots(Failed):
    """The volume was not deleted since snapshots of it exist."""


class InUse(Failed):
    """The volume is attached or busy, so this was not done."""


class Exists(Failed):
    """Another bears this name, so this was not made."""


class MaybeRunning(StorageError):
    """No answer, or a broken one: it may have happened or may still happen."""


class Unreachable(MaybeRunning):
    """A cell's Ceph gave no answer before its time-out; the others are as they were."""


class NoRoom(StorageError):
    """No backend of the asked kind has room."""
