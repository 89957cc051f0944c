# SPDX-License-Identifier: Apache-2.0
"""A comparison as one picture, SVG and PNG, by matplotlib (`pip install 'bfv[plot]'`)."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bfv.compare.values import BACKENDS, Comparison, Series
from bfv.errors import Unsupported

COLOURS = {"cinder": "#2166ac", "rbd": "#b2182b"}
WIDTH = 0.38
Values = Callable[[Series], Sequence[float]]


def draw(found: Comparison, path: Path) -> list[Path]:
    """Write the picture beside ``path`` with both endings, and return the files. Raises Unsupported, OSError."""
    figure_of, style = _matplotlib()
    # Words stay words in the SVG, and the same comparison gives the same bytes.
    with style({"svg.fonttype": "none", "svg.hashsalt": "bfv", "axes.spines.top": False, "axes.spines.right": False}):
        figure = figure_of(figsize=(11, 6.5), layout="constrained")
        axes = figure.subplots(2, 2).flat
        panels: list[tuple[str, str, Values]] = [
            ("Cold boot", "seconds", lambda each: [boot.seconds for boot in each.boots["cold"]]),
            ("Warm boot", "seconds", lambda each: [boot.seconds for boot in each.boots["warm"]]),
            ("Boots at once", "ready in a minute", lambda each: [each.per_minute] if each.per_minute else []),
            ("Space of all disks", "MiB", lambda each: [each.held / 2**20] if each.held is not None else []),
        ]
        for axis, (title, unit, values) in zip(axes, panels, strict=True):
            _panel(axis, found, title, unit, values)
        name = found.image_name or found.image_id
        figure.suptitle(f"Root disks by cinder and by rbd: {name}, {found.image_size / 2**20:,.0f} MiB")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        files = [path.with_suffix(end) for end in (".svg", ".png")]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def _panel(axis: Any, found: Comparison, title: str, unit: str, values: Values) -> None:
    """Draw a bar for each cell and backend: the median, with the least and the most as a line."""
    cells = found.cells()
    for shift, backend in zip((-WIDTH / 2, WIDTH / 2), BACKENDS, strict=True):
        measured = [values(found.of(cell, backend)) for cell in cells]
        middles = [statistics.median(each) if each else 0 for each in measured]
        bounds = zip(*((mid - min(each or [0]), max(each or [0]) - mid)
                       for mid, each in zip(middles, measured, strict=True)), strict=True)  # fmt: skip
        bars = axis.bar(
            [number + shift for number in range(len(cells))],
            middles,
            WIDTH,
            yerr=[list(each) for each in bounds],
            capsize=3,
            color=COLOURS[backend],
            label=backend,
        )
        labels = [
            (f"{mid:,.0f}" if mid >= 100 else f"{mid:.2g}") if each else "none"
            for mid, each in zip(middles, measured, strict=True)
        ]
        axis.bar_label(bars, labels, padding=2, fontsize=8)
    axis.set_title(title)
    axis.set_ylabel(unit)
    axis.set_xticks(range(len(cells)), cells)
    axis.margins(y=0.15)


def _matplotlib() -> tuple[Any, Any]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Unsupported("A picture needs matplotlib: pip install 'bfv[plot]'.") from error
    return Figure, rc_context
