# SPDX-License-Identifier: Apache-2.0
"""A comparison as rows of words, for a terminal or a document; says plainly which of the two is the better."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bfv.compare.values import Boot, Comparison, Cost, Series

COLUMNS = ("WHAT", "cinder", "rbd", "BETTER")
# Nearer to each other than this, neither is the better.
ALIKE = 1.1
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Measure:
    """What is told of a series: its words, its figures, how they are written, and which are better."""

    what: str
    values: Callable[[Series], Sequence[float]]
    words: Callable[[Sequence[float]], str]
    better: Literal["less", "more"] | None = "less"


def title(found: Comparison, cell: str) -> str:
    """Return a line that says where the image is, seen from a cell."""
    where = {True: "the image is in its own Ceph", False: "the image is in another cell's Ceph", None: ""}
    return f"{cell}: {where[_same(found.of(cell, 'cinder'), found.of(cell, 'rbd'))]}".removesuffix(": ")


def rows(found: Comparison, cell: str) -> Iterator[Row]:
    """Yield the rows of a cell; times are medians with the least and the most."""
    cinder, rbd = found.of(cell, "cinder"), found.of(cell, "rbd")
    for each in measures(cinder):
        mine, other = each.values(cinder), each.values(rbd)
        if mine or other:
            yield each.what, each.words(mine), each.words(other), _better(each, mine, other)
    if cinder.why or rbd.why:
        yield "ended early", cinder.why, rbd.why, ""


def _same(*both: Series) -> bool | None:
    return next((each.same_cluster for each in both if each.same_cluster is not None), None)


def measures(series: Series) -> list[Measure]:
    """Return all that is told; ``series`` says of how many boots."""
    return [
        Measure("cold boot, s", lambda each: _seconds(each.boots["cold"]), spread),
        Measure("warm boot, s", lambda each: _seconds(each.boots["warm"]), spread),
        Measure(f"{series.storm} at once, a minute", lambda each: _some([each.per_minute]), number, "more"),
        Measure("cold boot: bytes from Glance", lambda each: _facts(each.boots["cold"], "fetched"), size),
        Measure("cold boot: bytes written", lambda each: _facts(each.boots["cold"], "held"), size),
        Measure("cold boot: objects", lambda each: _facts(each.boots["cold"], "objects"), number),
        Measure("warm boot: bytes from Glance", lambda each: _facts(each.boots["warm"], "fetched"), size),
        Measure("warm boot: bytes written", lambda each: _facts(each.boots["warm"], "held"), size),
        Measure("warm boot: objects", lambda each: _facts(each.boots["warm"], "objects"), number),
        Measure(f"space of all {series.disks} disks", lambda each: _some([each.held]), size),
        Measure("warm boot: HTTP calls", lambda each: _calls(each.boots["warm"], librbd=False), number),
        # What cinder-volume calls itself is not seen from here.
        Measure("warm boot: librbd calls of ours", lambda each: _calls(each.boots["warm"], librbd=True), number, None),
        Measure("snapshot, s", lambda each: _seconds(each.snapshots), spread),
        Measure("snapshot deleted, s", lambda each: _seconds(each.snapshot_deletes), spread),
        Measure("disk deleted, s", lambda each: _seconds(each.deletes), spread),
        Measure("disk deleted: HTTP calls", lambda each: _calls(each.deletes, librbd=False), number),
        Measure("disk deleted: librbd calls of ours", lambda each: _calls(each.deletes, librbd=True), number, None),
        Measure("exactly the image's bytes", lambda each: _some([_equal(each)]), yes, "more"),
    ]


def _seconds(costs: Iterable[Cost]) -> list[float]:
    return [each.seconds for each in costs]


def _facts(boots: Iterable[Boot], name: str) -> list[float]:
    return _some(getattr(each, name) for each in boots)


def _calls(costs: Iterable[Cost], *, librbd: bool) -> list[float]:
    return [sum(count for name, count in each.calls.items() if (name == "librbd") is librbd) for each in costs]


def _equal(series: Series) -> float | None:
    return None if series.bytes_equal is None else float(series.bytes_equal)


def _some(values: Iterable[float | None]) -> list[float]:
    return [each for each in values if each is not None]


def spread(values: Sequence[float]) -> str:
    """Return the median with the least and the most."""
    if len(values) < 2:
        return "".join(f"{each:.2f}" for each in values)
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def number(values: Sequence[float]) -> str:
    """Return the median as a whole number."""
    return f"{statistics.median(values):,.0f}" if values else ""


def size(values: Sequence[float]) -> str:
    """Return the median of bytes in words."""
    if not values:
        return ""
    middle = statistics.median(values)
    return f"{middle / 2**20:,.1f} MiB" if middle >= 2**20 else f"{middle / 2**10:,.0f} KiB" if middle else "0"


def yes(values: Sequence[float]) -> str:
    """Return yes or NO."""
    return "".join("yes" if each else "NO" for each in values)


def _better(measure: Measure, cinder: Sequence[float], rbd: Sequence[float]) -> str:
    if measure.better is None or not cinder or not rbd:
        return ""
    mine, other = statistics.median(cinder), statistics.median(rbd)
    low, high = min(mine, other), max(mine, other)
    if high == low or (low and high / low < ALIKE):
        return "="
    winner = "cinder" if (mine < other) is (measure.better == "less") else "rbd"
    return f"{winner}, {high / low:.1f} x" if low else winner
