# SPDX-License-Identifier: Apache-2.0
"""The cloud's own clock, which a test may hold and move, so that an hour passes in no time."""

import datetime as dt
import time


class Clock:
    """Tells the time in UTC; held, it stands until it is moved."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._held: float | None = None

    def seconds(self) -> float:
        """Return the time as seconds since 1970."""
        return self._held if self._held is not None else time.time() + self._ahead

    def now(self) -> dt.datetime:
        """Return the time as a naive datetime in UTC, as the services' databases hold it."""
        return dt.datetime.fromtimestamp(self.seconds(), dt.UTC).replace(tzinfo=None)

    @property
    def held(self) -> bool:
        """Whether the clock stands."""
        return self._held is not None

    def hold(self) -> None:
        """Stop the clock."""
        self._held = self.seconds()

    def release(self) -> None:
        """Let the clock go on from where it stands."""
        if self._held is not None:
            self._ahead = self._held - time.time()
            self._held = None

    def advance(self, seconds: float) -> None:
        """Move the clock on, held or not."""
        if self._held is not None:
            self._held += seconds
        else:
            self._ahead += seconds

    def at(self, moment: float) -> "Moment":
        """Return a context in which the clock shows an earlier moment: that of a change found late."""
        return Moment(self, moment)


class Moment:
    """Holds a clock at one moment for the length of a ``with``."""

    def __init__(self, clock: Clock, moment: float) -> None:
        self._clock, self._moment = clock, moment

    def __enter__(self) -> None:
        self._before = self._clock._held
        self._clock._held = self._moment

    def __exit__(self, *error: object) -> None:
        self._clock._held = self._before
