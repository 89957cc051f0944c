# SPDX-License-Identifier: Apache-2.0
"""The verbs for server groups: which servers are kept together or apart."""

import argparse
from typing import Any

from bfv import groups
from bfv.caller import from_environment
from bfv.cli import output
from bfv.cloud import Cloud
from cells import groups as rows
from cells.groups import MAX_PER_HOST, POLICIES


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    group = verbs.add_parser("group", help="server groups").add_subparsers(dest="action", required=True)
    parser = group.add_parser("create", help="make a server group; servers join it by `bfv boot --group`")
    parser.add_argument("name")
    parser.add_argument("--policy", required=True, choices=POLICIES)
    parser.add_argument(
        "--max-per-host", type=int, metavar="NUMBER", help="how many a host may have: anti-affinity only"
    )
    parser.set_defaults(run=create)
    group.add_parser("list", help="list the server groups of the project").set_defaults(run=list_groups)
    for name, help_, run in (
        ("show", "show a server group and its servers", show),
        ("delete", "remove a server group; its servers stay and are bound no more", delete),
    ):
        parser = group.add_parser(name, help=help_)
        parser.add_argument("group", metavar="UUID")
        parser.set_defaults(run=run)


def create(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Make a group."""
    who = from_environment(args.os_cloud)
    made = groups.create(cloud.parts, who.project_id, who.user_id, args.name, args.policy, args.max_per_host)
    return made if args.json else output.out.print(f"server group {made.name} has id {made.uuid}")


def list_groups(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List the groups."""
    found = rows.list_groups(cloud.parts.api, from_environment(args.os_cloud).project_id)
    if args.json:
        return found
    return output.table(["ID", "NAME", "POLICY"], ((group.uuid, group.name, group.policy) for group in found))


def show(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show a group with those of its servers that no delete was accepted for."""
    group = groups.find(cloud.parts, from_environment(args.os_cloud).project_id, args.group)
    members = [each.server_id for each in rows.members(cloud.parts.api, group.id) if not each.deleted]
    if args.json:
        return {"id": group.uuid, "name": group.name, "policy": group.policy,
                "rules": {MAX_PER_HOST: group.max_per_host} if group.policy == "anti-affinity" else {},
                "members": members}  # fmt: skip
    rule = f"{group.max_per_host} on a host" if group.policy == "anti-affinity" else None
    return output.fields(
        [("id", group.uuid), ("name", group.name), ("policy", group.policy), ("rule", rule),
         *(("server", member) for member in members)]
    )  # fmt: skip


def delete(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Remove a group."""
    groups.delete(cloud.parts, from_environment(args.os_cloud).project_id, args.group)
    return None if args.json else output.out.print(f"server group {args.group} is removed")
