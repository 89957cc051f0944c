# SPDX-License-Identifier: Apache-2.0
"""When things change: at once, after some looks, or after some seconds of the cloud's clock.

A service that works in the background leaves a job here. It is done before the next call is answered, at the
time when it was due, so a caller cannot tell that there is no thread behind it.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bfv.mockcloud.clock import Clock

_numbers = itertools.count()


def always() -> bool:
    """Say that nothing stands in a job's way."""
    return True


@dataclass
class Job:
    """A change to come: ``what`` names the step, ``of`` the thing, ``ready`` may hold it up for longer, as it has."""

    what: str
    of: str
    act: Callable[[], None]
    due: float
    looks: int = 0
    ready: Callable[[], bool] = always
    held: bool = False
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True)
class Rule:
    """How long one step takes."""

    seconds: float = 0.0
    looks: int = 0


# What a test changes only by its name: a scheduler is quick compared with a storage, and an import of Glance's is a
# task, never done before it is answered.
KNOWN = {"scheduling": Rule(), "copying": Rule(seconds=0.3)}


class Pace:
    """Keeps the jobs and the rules; ``default`` is the rule of steps that have none of their own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rules: dict[str, Rule] = {}
        self.jobs: list[Job] = []

    def set(self, rules: Mapping[str, Mapping[str, float]]) -> None:
        """Replace the rules, e.g. ``{"default": {"seconds": 2}, "downloading": {"looks": 3}}``."""
        self.rules = {
            name: Rule(float(rule.get("seconds", 0)), int(rule.get("looks", 0))) for name, rule in rules.items()
        }

    def seconds(self, what: str) -> float:
        """Return how long a step lasts that has a rule of its own, 0 without one."""
        return self.rules.get(what, Rule()).seconds

    def later(self, what: str, of: str, act: Callable[[], None], ready: Callable[[], bool] = always) -> None:
        """Leave a job."""
        rule = self.rules.get(what) or KNOWN.get(what) or self.rules.get("default", Rule())
        self.jobs.append(Job(what, of, act, self._clock.seconds() + rule.seconds, rule.looks, ready))

    def after(self, seconds: float, of: str, act: Callable[[], None]) -> None:
        """Leave a job that is due after so many seconds, whatever the rules say."""
        self.jobs.append(Job("late", of, act, self._clock.seconds() + seconds))

    def look(self, of: str) -> None:
        """Count a look at a thing."""
        for job in self.jobs:
            if job.of == of:
                job.looks -= 1

    def waits(self, of: str) -> bool:
        """Say whether a thing still changes."""
        return any(job.of == of for job in self.jobs)

    def run(self) -> None:
        """Do what is due, in the order in which it was; what another job held up, right after that."""
        last = 0.0
        while due := [job for job in self.jobs if self._is_due(job)]:
            job = min(due, key=lambda job: (max(job.due, last) if job.held else job.due, job.number))
            self.jobs.remove(job)
            last = min(max(job.due, last) if job.held else job.due, self._clock.seconds())
            with self._clock.at(last):
                job.act()

    def _is_due(self, job: Job) -> bool:
        if job.due > self._clock.seconds() or job.looks > 0:
            return False
        if job.ready():
            return True
        job.held = True
        return False
