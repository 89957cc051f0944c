# SPDX-License-Identifier: Apache-2.0
"""One way to measure in turns, and to tell it: a table for people and ``build/bench/NAME.json`` for programs."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

# Student's t, 97.5 %, for 2 to 30 degrees of freedom; beyond that the normal's value is close enough.
T = (
    *(4.303, 3.182, 2.776),
    *(2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110),
    *(2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


# Turns that do not count.
WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure of ours beside another's; ``low`` and ``high`` bound the ratio with 95 % confidence."""

    name: str
    unit: str
    ours: float
    other: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: str = ""
    met: bool | None = None


def pairs(name: str, unit: str, ours: Sequence[float], other: Sequence[float], most: float) -> Row:
    """Return the row of pairs that were measured in turn: the geometric mean of their ratios, and its interval.

    Met when the interval's lower end is at or under ``most``; fewer than three pairs have none, and the mean is taken.
    """
    logs = [math.log(mine / theirs) for mine, theirs in zip(ours, other, strict=True)]
    if len(logs) < 3:
        ratio = math.exp(statistics.mean(logs))
        return Row(name, unit, statistics.median(ours), statistics.median(other), ratio, None, None, f"<= {most}",
                   ratio <= most)  # fmt: skip
    spread = T[min(len(logs) - 1, 30) - 2] * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.mean(logs)
    low, high = math.exp(middle - spread), math.exp(middle + spread)
    return Row(name, unit, statistics.median(ours), statistics.median(other), math.exp(middle), low, high,
               f"<= {most}", low <= most)  # fmt: skip


def times(name: str, unit: str, ours: Sequence[float], other: Sequence[float], least: float | None) -> Row:
    """Return the row of pairs that were measured in turn: how many times ours the other's is, and its interval.

    Met when the ratio is at least ``least``.
    """
    row = pairs(name, unit, other, ours, 0.0)
    target, met = (f">= {least}", row.ratio >= least) if least is not None and row.ratio is not None else ("", None)
    return dataclasses.replace(row, ours=row.other, other=row.ours, target=target, met=met)


def most(name: str, unit: str, ours: float, limit: float) -> Row:
    """Return the row of a figure that has an upper bound and nothing beside it."""
    return Row(name, unit, ours, None, target=f"<= {limit}", met=ours <= limit)


def write(name: str, rows: Sequence[Row]) -> None:
    """Print the rows and write them to ``build/bench/NAME.json``."""
    table = Table("what", "unit", "ours", "other", "ratio", "95 %", "target", "met", box=None)
    for row in rows:
        interval = f"{row.low:.3f} .. {row.high:.3f}" if row.low is not None and row.high is not None else "-"
        table.add_row(row.name, row.unit, f"{row.ours:.3f}", _number(row.other), _number(row.ratio), interval,
                      row.target, {True: "yes", False: "no", None: "-"}[row.met])  # fmt: skip
    Console().print(table)
    path = Path("build/bench") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def in_turn(rounds: int, *works: Callable[[], float]) -> list[list[float]]:
    """Return the seconds of each of the works, which take turns, and who begins changes.

    The first of a turn does not count: it finds the processors' caches full of what the other did, for seconds, and no
    API has such a neighbour on its cores all the time.
    """
    times: list[list[float]] = [[] for _ in works]
    for number in range(WARM_UP + rounds):
        order = range(len(works)) if number % 2 else reversed(range(len(works)))
        for place in order:
            if len(works) > 1:
                works[place]()
            seconds = works[place]()
            if number >= WARM_UP:
                times[place].append(seconds)
    return times
