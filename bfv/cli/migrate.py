# SPDX-License-Identifier: Apache-2.0
"""The verbs that bring servers off nova's rbd image backend: plan, run, status, undo, purge, compare."""

import argparse
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bfv.cli import output
from bfv.cloud import Cloud
from bfv.errors import BadRequest
from bfv.migrate import look, records, rehearsal, report, wave
from bfv.migrate.look import Selection
from bfv.migrate.plan import GIB, WAYS, Plan
from bfv.migrate.wave import TROUBLE, Done, Running, Wave, Window


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("migrate", help="bring servers off nova's rbd image backend, in place and with undo")
    actions = group.add_subparsers(dest="action", required=True)
    parser = actions.add_parser(
        "plan", help="tell how each server would go, or what stands against it; touches nothing"
    )
    _select(parser)
    parser.set_defaults(run=plan)
    _add_run(actions)
    parser = actions.add_parser("status", help="tell what is converted, and what is left to do for it")
    parser.add_argument("server", nargs="*", help="id of a server (default: all)")
    parser.set_defaults(run=status)
    parser = actions.add_parser("undo", help="bring converted servers back to their old disks, until purge")
    parser.add_argument("server", nargs="+", help="id of a server")
    parser.add_argument("--stop-and-start", action="store_true", help="also those that run: off while it is done")
    parser.add_argument(
        "--discard-writes",
        action="store_true",
        help="give up what guests wrote since, where a way cannot bring it back",
    )
    parser.set_defaults(run=undo)
    parser = actions.add_parser("purge", help="release what is left of old disks; there is no way back from it")
    parser.add_argument("server", nargs="*", help="id of a server")
    parser.add_argument("--wave", help="all servers of a wave")
    parser.set_defaults(run=purge)
    parser = actions.add_parser("compare", help="show in what a converted server differs from a genuine one")
    parser.add_argument("converted", help="id of the converted server")
    parser.add_argument("genuine", help="id of a server that was booted from a volume")
    parser.set_defaults(run=compare)


def _add_run(actions: Any) -> None:
    parser = actions.add_parser("run", help="convert servers, and settle those that are converted")
    _select(parser)
    parser.add_argument(
        "--wave", default="1", metavar="NAME", help="name of the wave, for status and purge (default 1)"
    )
    parser.add_argument("--limit", type=int, metavar="M", help="at most so many servers")
    parser.add_argument("--workers", type=int, default=4, metavar="K", help="so many servers at once (default 4)")
    parser.add_argument("--window", type=Window.of, default=Window(), metavar="HH:MM-HH:MM",
                        help="begin servers at these hours alone, local time: 22:00-04:00")  # fmt: skip
    parser.add_argument("--stop-and-start", action="store_true", help="also those that run: off while it is done")
    parser.add_argument("--failure-budget", type=int, default=3, metavar="N",
                        help="stop the wave once so many servers failed for one cause (default 3)")  # fmt: skip
    parser.add_argument("--no-rehearsal", action="store_true", help="do not try each way on a scratch image first")
    parser.set_defaults(run=run)


def _select(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--server", action="append", default=[], metavar="ID", help="this server; repeatable")
    which.add_argument("--project", metavar="ID", help="all servers of a project")
    which.add_argument("--host", help="all servers on a host")
    which.add_argument("--cell", help="all servers of a cell")
    which.add_argument("--all", action="store_true", help="all servers")
    parser.add_argument("--tier", default="default", help="where their volumes go (default: as boots of no tier)")
    parser.add_argument("--way", choices=WAYS, help="this way, where there are several")


def _selection(args: argparse.Namespace) -> Selection:
    return Selection(tuple(args.server), args.project, args.host, args.cell, args.tier, args.way)


def plan(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Tell how each server would go."""
    found = look.read(cloud.parts, _selection(args))
    if args.json:
        return found
    if len(args.server) == 1:
        return output.fields(_described(found[0]))
    output.table(
        ["SERVER", "NAME", "HOST", "WAY", "GIB", "RUNS", "AGAINST IT"],
        ((each.server_id, each.name, each.host, each.way, each.gib or None, "yes" if each.running else "no",
          " ".join(each.refusals)) for each in found),
    )  # fmt: skip
    ready = [each for each in found if not each.refusals]
    space = sum(each.space for each in ready) / GIB
    return output.out.print(f"{len(ready)} of {len(found)} can be converted; {space:.1f} GiB more at most until purge")


def _described(each: Plan) -> Iterator[tuple[str, Any]]:
    yield from (("server", each.server_id), ("name", each.name), ("host", each.host), ("way", each.way))
    yield "disk", f"{each.pool}/{each.image}, {each.size} bytes" if each.image else None
    yield "clone of", each.parent
    yield "volume", f"{each.gib} GiB on {each.target.get('backend')}, type {each.target.get('volume_type')}"
    yield from (("step", step) for step in each.steps)
    yield "copied behind the guest", f"{each.copied_later / GIB:.1f} GiB at most" if each.copied_later else None
    yield "more space until purge", f"{each.space / GIB:.1f} GiB at most" if each.space else None
    yield "off for", f"about {each.off:.0f} s of storage work, and the guest's own stop and start" if each.way else None
    yield from (("note", note) for note in each.notes)
    yield from (("unproven", words) for words in each.unproven)
    yield from (("against it", words) for words in each.refusals)


def run(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Convert servers, then settle them."""
    parts = cloud.parts
    found = look.read(parts, _selection(args))
    ready = [each for each in found if not each.refusals]
    if not args.no_rehearsal:
        for intent in rehearsal.of_each(parts, ready):
            rehearsal.failed(wave.finish(parts, intent))
    how = Wave(args.wave, args.limit, args.workers, args.window, args.stop_and_start, args.failure_budget)
    with _progress(len(ready[: args.limit]), args.json) as tell:
        running = Running(parts, how, tell)
        began = time.monotonic()
        with _stopping(running):
            done = running.run(found)
        seconds = time.monotonic() - began
    args.failed = any(each.state in TROUBLE for each in done) or running.why_stopped is not None
    converted = [each.server_id for each in done if each.state == "converted"]
    if converted:
        rate = len(converted) * 60 / seconds
        output.err.print(f"{len(converted)} converted in {seconds:.1f} s, {rate:.1f} a minute")
    args.failed |= bool(wave.settle(parts, converted, _told))
    if args.json:
        return done
    output.table(
        ["SERVER", "NAME", "HOST", "WAY", "STATE", "SECONDS", "WHY"],
        ((each.server_id, each.name, each.host, each.way, each.state, f"{each.seconds:.1f}", each.reason)
         for each in done),
    )  # fmt: skip
    return output.err.print(f"stopped: {running.why_stopped}") if running.why_stopped else None


def _told(server_id: str, why: str | None) -> None:
    if why:
        output.err.print(f"server {server_id} is converted, and not settled: {why}", markup=False)


@contextlib.contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[Done], None]]:
    """Show how many servers are done, and when all will be."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=output.err, disable=quiet or not output.err.is_terminal) as shown:
        task = shown.add_task("converted", total=total)

        def tell(row: Done) -> None:
            if row.state in ("converted", *TROUBLE):
                shown.advance(task)
            if row.state in TROUBLE:
                output.err.print(f"server {row.server_id} ({row.name}): {row.state}: {row.reason}", markup=False)

        yield tell


@contextlib.contextmanager
def _stopping(running: Running) -> Iterator[None]:
    """End the wave between two servers at the first SIGINT or SIGTERM."""

    def end(number: int, _frame: Any) -> None:
        running.stop(f"{signal.Signals(number).name}; what was begun is finished")

    old = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in old.items():
            signal.signal(each, handler)


def status(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Tell what is converted."""
    found = report.read(cloud.parts, args.server)
    if args.json:
        return found
    return output.table(
        ["SERVER", "NAME", "WAVE", "WAY", "STATE", "VOLUME", "SINCE", "WHY"],
        ((each.server_id, each.name, each.wave, each.way, each.state, each.volume_id, f"{each.since:%F %T}", each.why)
         for each in found),
    )  # fmt: skip


def undo(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Bring servers back."""
    more = {"stop": args.stop_and_start, "discard_writes": args.discard_writes}
    return _turned(cloud, args, args.server, "unmigrate", "back on its old disk", **more)


def purge(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Release old disks."""
    if bool(args.server) == bool(args.wave):
        raise BadRequest("Name servers, or a wave.")
    chosen = args.server or [each.server_id for each in report.read(cloud.parts, []) if each.wave == args.wave
                             and each.state in ("converted", "settled")]  # fmt: skip
    return _turned(cloud, args, chosen, "purge", "a volume for good")


def _turned(cloud: Cloud, args: argparse.Namespace, servers: list[str], verb: str, words: str, **more: Any) -> Any:
    done = []
    for server_id in servers:
        after = wave.turn(cloud.parts, server_id, verb, **more)
        why = after.outcome or wave.why_open(cloud.parts, after)
        ok = not after.is_open and after.phase == "done"
        args.failed |= not ok
        done.append({"server_id": server_id, "done": ok, "why": why})
        if not args.json:
            output.out.print(f"server {server_id}: {words if ok else why}", markup=False)
    return done if args.json else None


def compare(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show differences; fails if there are any."""
    found = records.compare(cloud.parts, args.converted, args.genuine)
    args.failed = bool(found)
    if args.json:
        return found
    if not found:
        return output.out.print("they differ in ids, names and times alone")
    return output.table(
        ["WHERE", "CONVERTED", "GENUINE"], ((each.where, each.converted, each.genuine) for each in found)
    )
