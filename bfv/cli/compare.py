# SPDX-License-Identifier: Apache-2.0
"""`bfv compare`: the same boots through cinder and through the deprecated rbd, on this cloud or on a mocked one."""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bfv.caller import from_environment
from bfv.cli import output
from bfv.cloud import Cloud
from bfv.compare import Comparison, Plan, compare, picture, table
from bfv.config import load
from bfv.embedded import embedded
from bfv.errors import BadRequest
from imagebackends.rbd.backend import DEPRECATED

LOUD = "MOCKED CLOUD: these times are of no real service. They show what is measured, not what it is with you."
MIB = 1 << 20


def add(verbs: Any) -> None:
    """Add the verb to the parser."""
    parser = verbs.add_parser(
        "compare",
        help="boot the same through cinder and through nova's old way (rbd), side by side, and remove it all again",
        description="Boots root disks of an image through cinder and through the deprecated image backend rbd, cold "
        "and warm, one by one and at once, in each cell that names its ceph_conf; tells what each took, wrote and "
        "kept, and removes it. Cold boots are of copies of the image that only this comparison has.",
    )
    parser.add_argument("image", nargs="?", help="id or name of the image; not needed with --embedded")
    parser.add_argument("--cells", default="", help="only these cells, with commas (default: all that name their Ceph)")
    parser.add_argument("--count", type=int, default=5, help="warm boots of each backend in each cell (default 5)")
    parser.add_argument(
        "--cold", type=int, default=1, help="cold boots of each; 0: make no copy of the image (default 1)"
    )
    parser.add_argument("--picture", type=Path, metavar="PATH", help="draw it, as PATH.svg and PATH.png (bfv[plot])")
    parser.add_argument(
        "--embedded", action="store_true", help="on a mocked cloud in this process; needs no configuration"
    )
    parser.set_defaults(run=None, alone=run)


def run(args: argparse.Namespace) -> int:
    """Compare, tell, and return 1 if anything failed, is left or has other bytes than the image."""
    if not args.image and not args.embedded:
        raise BadRequest("Name the image to boot, or try it with --embedded.")
    output.err.print(DEPRECATED, markup=False)
    with _cloud(args) as (cloud, who, image):
        plan = Plan(image, tuple(each for each in args.cells.split(",") if each), args.count, args.cold)
        with output.err.status("comparing") as status:
            found = compare(cloud.parts, who, plan, lambda words: status.update(words))
    if args.json:
        output.as_json(found)
    else:
        _tell(found)
    for file in picture.draw(found, args.picture) if args.picture else ():
        output.err.print(f"drawn: {file}", markup=False)
    bad = any(each.why or each.bytes_equal is False for each in found.series)
    return 1 if bad or found.left else 0


def _tell(found: Comparison) -> None:
    name = found.image_name or found.image_id
    megabytes = f"{found.image_size / MIB:,.1f} MiB, {found.disk_format}"
    output.out.print(f"{name} ({megabytes}), disks of {found.disk_gib} GiB", markup=False)
    for cell in found.cells():
        output.out.print(f"\n[bold]{table.title(found, cell)}[/bold]")
        output.table(table.COLUMNS, table.rows(found, cell))
    for each in found.series:
        if each.unread:
            output.err.print(
                f"cell {each.cell}, {each.backend}: bytes not equal or not read: {each.unread}", markup=False
            )
    for line in found.kept:
        output.err.print(line, markup=False)
    for line in found.left:
        output.err.print(f"left: {line}", markup=False)


@contextmanager
def _cloud(args: argparse.Namespace) -> Iterator[tuple[Cloud, Any, str]]:
    """Have the cloud, who asks, and the image."""
    if not args.embedded:
        with Cloud(load(args.config_file), lambda: from_environment(args.os_cloud)) as cloud:
            yield cloud, from_environment(args.os_cloud), args.image
        return
    output.err.rule(f"[bold red]{LOUD}")
    with tempfile.TemporaryDirectory(prefix="bfv-compare-") as home, embedded(Path(home), ceph=True) as place:
        image = args.image or place.upload("compare", os.urandom(6 * MIB) + bytes(4 * MIB) + os.urandom(MIB))
        with Cloud(load(place.config_file), place.caller, bindings=place.bindings) as cloud:
            yield cloud, place.caller(), image
