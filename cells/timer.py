# SPDX-License-Identifier: Apache-2.0
"""How long a database was at work, without what its user did in between; and how long it is waited for."""

import time


class Deadline:
    """``seconds`` from now."""

    __slots__ = ("_at", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds, self._at = seconds, time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, never less than none."""
        return max(0.0, self._at - time.monotonic())


class Timer:
    """Adds up seconds; begins at once."""

    __slots__ = ("_since", "seconds")

    def __init__(self) -> None:
        self.seconds, self._since = 0.0, time.monotonic()

    def go(self) -> None:
        """Count from now on."""
        self._since = time.monotonic()

    def stop(self) -> None:
        """Count no further."""
        if self._since:
            self.seconds, self._since = self.seconds + time.monotonic() - self._since, 0.0
