# SPDX-License-Identifier: Apache-2.0
"""The verbs of images: have them warm in every cell before the first boot, and see how they stand."""

import argparse
from typing import Any

from bfv.cli import output
from bfv.cli.admin import tell
from bfv.cloud import Cloud
from bfv.images.fleet import Warmed


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("image", help="images warm in every cell").add_subparsers(dest="action", required=True)
    parser = group.add_parser("warm", help="make the cheapest source of an image exist in cells before its first boot")
    parser.add_argument("image", help="id or name of the image: your project's own, or any for an admin")
    parser.add_argument("--cell", action="append", metavar="CELL", help="only in this cell; repeatable")
    parser.add_argument("--tier", action="append", metavar="TIER", help="for this tier (default: default); repeatable")
    parser.add_argument("--wait", action="store_true", help="wait for the end, and tell what came of each cell")
    parser.set_defaults(run=warm)
    parser = group.add_parser("map", help="show from what the next boot of each image would come in each cell")
    parser.add_argument("image", nargs="*", help="ids or names; all that you see if there is none")
    parser.add_argument("--count", action="store_true", help="also count clones and snapshots; needs a ceph_conf")
    parser.set_defaults(run=show_map)
    parser = group.add_parser("check", help="prove what each source of images needs, a line for each thing")
    parser.add_argument("--project", action="append", default=[], metavar="ID",
                        help="project into which shared snapshots are to be cloned; repeatable")  # fmt: skip
    parser.set_defaults(run=check)
    parser = group.add_parser("plan", help="show what [images] keep names, what is missing and the bytes")
    parser.add_argument("--run", dest="now", action="store_true", help="warm what is missing")
    parser.set_defaults(run=plan)
    parser = group.add_parser("delete", help="delete an image, and say which snapshots of a server's disks stay")
    parser.add_argument("image", help="id or name of the image")
    parser.set_defaults(run=delete)
    parser = group.add_parser("left", help="list your project's snapshots whose image of a server is gone")
    parser.set_defaults(run=show_left)
    parser = group.add_parser("janitor", help="remove what nothing needs from cinder's pools; needs a ceph_conf")
    parser.add_argument("--dry-run", action="store_true", help="list what would go, and touch nothing")
    parser.set_defaults(run=janitor)


def warm(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Warm an image."""
    with output.err.status(f"image {args.image}") as line:

        def tell_now(now: Warmed) -> None:
            line.update(f"image {args.image}: {now.state} in cell {now.cell}")

        done = cloud.images.warm(
            args.image, args.cell, tiers=args.tier or ("default",), wait=args.wait, progress=tell_now
        )
    return _told(done, args)


def _told(done: list[Warmed], args: argparse.Namespace) -> Any:
    args.failed = any(each.state == "failed" for each in done)
    if args.json:
        return done
    return output.table(
        ["CELL", "TIER", "STATE", "SOURCE", "SECONDS", "MIB", "WHY"],
        ((each.cell, each.tier, each.state, each.kind, f"{each.seconds:.1f}", each.bytes >> 20, each.why)
         for each in done),
    )  # fmt: skip


def show_map(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show the map."""
    lines = cloud.images.map(args.image, count=args.count)
    if args.json:
        return lines
    return output.table(
        ["IMAGE", "NAME", "CELL", "TIER", "STATE", "SOURCE", "SECONDS", "LAST USED", "CLONES", "SNAPSHOTS",
         "WHY"],
        ((each.image_id, each.image, each.cell, each.tier, each.state, each.kind, f"{each.seconds:.1f}", each.used_at,
          each.clones, each.snapshots, each.why) for each in lines),
    )  # fmt: skip


def delete(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Delete an image."""
    stay = cloud.images.delete(args.image)
    if args.json:
        return stay
    output.out.print(f"image {args.image}: deleted")
    for each in stay:
        output.out.print(str(each))
    return None


def show_left(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show the snapshots of images that are gone."""
    found = cloud.images.left()
    if args.json:
        return found
    return output.table(["SNAPSHOT", "GIB", "VOLUME", "SERVER", "IMAGE THAT IS GONE"],
                        ((each.snapshot_id, each.size, each.volume_id, each.server_id, each.image_id)
                         for each in found))  # fmt: skip


def janitor(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Remove what nothing needs."""
    done = cloud.images.janitor(dry_run=args.dry_run)
    if args.json:
        return done
    if not done:
        return output.out.print("nothing is left behind")
    return output.table(["CELL", "WHAT", "MIB", "STATE", "WHY"],
                        ((each.cell, each.what, each.bytes >> 20, each.state, each.why) for each in done))  # fmt: skip


def check(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Prove what each source needs."""
    return tell(cloud.images.check(args.project), args)


def plan(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show what is kept warm, or do what is missing."""
    if args.now:
        return _told(cloud.images.keep(), args)
    found = cloud.images.plan()
    if args.json:
        return found
    output.table(["IMAGE", "NAME", "CELL", "STATE", "SOURCE", "MIB"],
                 ((each.image_id, each.image, each.cell, each.state, each.kind, each.bytes >> 20) for each in found),
                 )  # fmt: skip
    return output.out.print(f"{sum(each.bytes for each in found) >> 20} MiB to be copied")
