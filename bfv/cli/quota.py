# SPDX-License-Identifier: Apache-2.0
"""The verbs of operators for quotas: what projects may have and have, and whether all that is counted agrees."""

import argparse
from typing import Any

from bfv import claims, drift, quota
from bfv.caller import from_environment
from bfv.cli import output
from bfv.cloud import Cloud
from bfv.errors import BadRequest
from cells import groups, limits, usage
from cells.usage import Usage


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("quota", help="quotas").add_subparsers(dest="action", required=True)
    parser = group.add_parser("show", help="show limits, what is in use, and what servers on their way have claimed")
    _add_whose(parser)
    parser.set_defaults(run=show)
    parser = group.add_parser("set", help="set limits, -1 is none; a limit that is not set is the default")
    parser.add_argument("limit", nargs="+", metavar="RESOURCE=LIMIT", help="instances=20 cores=-1 ram=65536")
    _add_whose(parser)
    parser.add_argument("--force", action="store_true", help="also below what is in use, or above what the project has")
    parser.set_defaults(run=set_limits)
    parser = group.add_parser("unset", help="remove a project's limits and its users', or one user's")
    _add_whose(parser)
    parser.set_defaults(run=unset)
    parser = group.add_parser("defaults", help="show, or set, the limits of projects that have none of their own")
    parser.add_argument("limit", nargs="*", metavar="RESOURCE=LIMIT")
    parser.set_defaults(run=defaults)
    parser = group.add_parser("drift", help="find servers of a project that are counted twice, or not at all")
    parser.add_argument("--project", metavar="ID", help="default: that of the credentials")
    parser.set_defaults(run=show_drift)


def _add_whose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", metavar="ID", help="default: that of the credentials")
    parser.add_argument("--user", metavar="ID", help="a user of the project instead of all of it")


def show(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show limits and usage; servers in a cell that is down count as they were asked for."""
    parts, project, user = cloud.parts, _project(args), args.user
    with parts.journal.database.reader() as conn:
        pending = claims.pending(conn, project)
        counted = quota.count(parts, conn, project, user, pending)
    bounds = (counted.stored.of_user(user, parts.quota.limits) if user
              else counted.stored.of_project(parts.quota.limits))  # fmt: skip
    everyone, by_user = groups.count(parts.api, project)
    in_use = vars(_whose(usage.merged([counted.in_cells, counted.by_request]), user))
    in_use = {**in_use, "server_groups": by_user.get(user, 0) if user else everyone}
    claimed = vars(_whose(quota.claimed(pending), user))
    rows = [
        {"resource": name, "limit": limit, "in_use": in_use.get(name), "claimed": claimed.get(name)}
        for name, limit in bounds.items()
    ]
    if args.json:
        return {"project": project, "user": user, "quota": rows, "down": counted.down}
    if counted.down:
        output.err.print(f"cells that do not answer, counted by request: {', '.join(counted.down)}", markup=False)
    return output.table(["RESOURCE", "LIMIT", "IN USE", "CLAIMED"], (tuple(row.values()) for row in rows))


def set_limits(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Set limits."""
    quota.set_limits(cloud.parts, _project(args), _limits(args.limit), args.user, force=args.force)
    return show(cloud, args)


def unset(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Remove limits."""
    limits.delete_limits(cloud.parts.api, _project(args), args.user)
    return show(cloud, args)


def defaults(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show or set the limits of class ``default`` over the configured ones."""
    if args.limit:
        quota.set_default(cloud.parts, _limits(args.limit))
    found = limits.stored(cloud.parts.api, "").of_class(cloud.parts.quota.limits)
    return found if args.json else output.table(["RESOURCE", "LIMIT"], found.items())


def show_drift(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List what does not agree; exit 1 if there is any, or if not all cells could be looked at."""
    look = drift.look(cloud.parts, _project(args))
    args.failed = bool(look.found or look.down)
    if args.json:
        return look
    for cell, reason in look.down.items():
        output.err.print(f"cell {cell} could not be looked at: {reason}", markup=False)
    if not look.found:
        return output.out.print("all that was looked at agrees")
    return output.table(["SERVER", "WHAT"], ((each.server_id, each.what) for each in look.found))


def _project(args: argparse.Namespace) -> str:
    return str(args.project or from_environment(args.os_cloud).project_id)


def _whose(by_user: usage.ByUser, user: str | None) -> Usage:
    return by_user.get(user, Usage()) if user else usage.total(by_user.values())


def _limits(words: list[str]) -> dict[str, int]:
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name] = int(value)
        except ValueError as error:
            raise BadRequest(f"{word} is no limit; write RESOURCE=LIMIT, as in instances=20.") from error
    return found
