# SPDX-License-Identifier: Apache-2.0
"""How answers look: tables for people, JSON for programs, one sentence for an error."""

import dataclasses
import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bfv.decide import describe
from bfv.types import Decision, ServerInfo

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def plain(value: Any) -> Any:
    """Return a value as JSON-able data; secrets that values hide from their repr are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, dt.datetime) else value


def as_json(value: Any) -> None:
    """Print a value as JSON."""
    out.print_json(json.dumps(plain(value)))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as a table; None shows as a dash."""
    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    # What a thing is called is copied from here: where the line is short, the others are wrapped.
    grid.columns[0].no_wrap = True
    for row in rows:
        grid.add_row(*("-" if cell is None or cell == "" else str(cell) for cell in row))
    Console(highlight=False).print(grid)


def fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print one thing, a line for each of its fields; those without a value are left out."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", (), {}):
            grid.add_row(name, str(value))
    Console(highlight=False).print(grid)


def decision(made: Decision) -> None:
    """Print how a server boots and why."""
    fields(
        [
            ("root", f"{made.root} (by {made.rule})"),
            *(("disk", describe(plan)) for plan in made.disks),
            ("config drive", f"made by the {made.config_drive}" if made.config_drive else None),
            ("tier", made.tier),
            *((f"cell {number}", f"{cell}: {made.cell_why[cell]}") for number, cell in enumerate(made.cells, 1)),
            *((f"image in {cell}", told) for cell, told in made.sources.items()),
            *(("left out", f"{cell}: {reason}") for cell, reason in made.why_not.items()),
            *(("note", note) for note in made.notes),
        ]
    )


def server(info: ServerInfo) -> None:
    """Print a server."""
    ready = info.task_state in ("spawning", "rebuild_spawning") and not info.host
    fields(
        [
            ("id", info.id),
            ("name", info.name),
            ("project", info.project_id),
            ("status", f"{info.status} (ready to connect)" if ready else info.status),
            ("task", info.task_state),
            ("cell", info.cell),
            ("availability zone", info.availability_zone),
            ("host", info.host),
            ("flavor", info.flavor.name if info.flavor else None),
            ("created", info.created_at),
            *(
                ("volume", f"{device.volume_id}, {device.volume_size} GiB, attachment {device.attachment_id}")
                for device in info.devices
                if device.volume_id
            ),
            *(("metadata", f"{key}={value}") for key, value in info.metadata.items()),
            ("fault", info.fault.details or info.fault.message if info.fault else None),
            *(("left outside", thing) for thing in info.left_outside),
        ]
    )
    if info.decision:
        out.print()
        decision(info.decision)
