# SPDX-License-Identifier: Apache-2.0
"""The verbs of users: boot, list, show, delete, rebuild, and those of hosts: connect, disconnect."""

import argparse
import json
import uuid
from pathlib import Path
from typing import Any

from bfv.cli import output, volumes
from bfv.cloud import Cloud
from bfv.errors import BadRequest
from bfv.types import BootRequest, RootDevice, ServerInfo


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    _add_boot(verbs)
    parser = verbs.add_parser("list", help="list the servers of the project, newest first")
    parser.add_argument("--limit", type=int, default=1000, help="at most so many (default 1000)")
    parser.add_argument("--marker", help="only servers after this id")
    parser.set_defaults(run=list_servers)
    parser = verbs.add_parser("show", help="show a server, and how and why it boots so")
    parser.add_argument("server")
    parser.set_defaults(run=show)
    parser = verbs.add_parser("history", help="show what was asked of a server and each step of it")
    parser.add_argument("server")
    parser.set_defaults(run=history)
    parser = verbs.add_parser("delete", help="delete servers in whatever state they are; tells what is kept")
    parser.add_argument("server", nargs="+")
    parser.set_defaults(run=delete)
    for verb, words in (
        ("stop", "switch a server off"),
        ("start", "switch a server on"),
        ("reboot", "restart a server"),
    ):
        parser = verbs.add_parser(verb, help=f"{words}, where a compute driver runs it")
        parser.add_argument("server")
        if verb == "reboot":
            parser.add_argument("--hard", action="store_true", help="also one that is off or in ERROR")
        _add_wait(parser)
        parser.set_defaults(run=power)
    parser = verbs.add_parser("rebuild", help="write another image onto a server's root volume; its data is lost")
    parser.add_argument("server")
    parser.add_argument("image", help="id or name of the image")
    _add_wait(parser)
    parser.set_defaults(run=rebuild)
    parser = verbs.add_parser("connect", help="give a host the connections to a server's volumes")
    parser.add_argument("server")
    parser.add_argument("--host", required=True, help="name of the host")
    parser.add_argument("--connector", default="{}", help="further properties of the host, as JSON")
    parser.set_defaults(run=connect)
    parser = verbs.add_parser("disconnect", help="have a server's host let go of its volumes; they stay reserved")
    parser.add_argument("server")
    parser.set_defaults(run=disconnect)


def _add_boot(verbs: Any) -> None:
    parser = verbs.add_parser("boot", help="make a server whose root disk is a volume")
    parser.add_argument("image", nargs="?", help="id or name of the image")
    parser.add_argument("--flavor", required=True, help="id or name of the flavor")
    parser.add_argument("--name", required=True, help="name of the server")
    parser.add_argument("--id", help="UUID of the server; the same id never makes a second server")
    parser.add_argument("--availability-zone", metavar="ZONE")
    parser.add_argument("--volume-type", metavar="TIER", help="a tier of the cells, or a volume type behind one")
    parser.add_argument(
        "--root",
        metavar="SOURCE=ID[,size=GIB][,keep|delete]",
        help="boot from this image, snapshot or volume: snapshot=UUID,size=20,delete",
    )
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar=volumes.SPEC,
        help="one more disk: blank,size=10,type=fast,delete; repeatable",
    )
    parser.add_argument("--group", metavar="UUID", help="server group that the server joins; see `bfv group list`")
    parser.add_argument("--config-drive", action="store_true")
    parser.add_argument("--description")
    parser.add_argument("--key-name")
    parser.add_argument("--property", action="append", default=[], metavar="KEY=VALUE", help="metadata; repeatable")
    parser.add_argument("--user-data", metavar="FILE", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="show the decision and touch nothing")
    _add_wait(parser)
    parser.set_defaults(run=boot)


def _add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="longest wait for the end (default 600); the server goes on after it",
    )


def boot(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Boot a server, or show how it would boot."""
    request = BootRequest(
        image=args.image,
        flavor=args.flavor,
        name=args.name,
        server_id=args.id or str(uuid.uuid4()),
        availability_zone=args.availability_zone,
        volume_type=args.volume_type,
        root=_root(args.root),
        disks=tuple(volumes.disk(text) for text in args.disk),
        config_drive=args.config_drive,
        group=args.group,
        description=args.description,
        key_name=args.key_name,
        metadata=dict(_pair(item) for item in args.property),
        user_data=args.user_data.read_text() if args.user_data else None,
    )
    if args.dry_run:
        decision = cloud.decide(request)
        return decision if args.json else output.decision(decision)
    return _wait(cloud, cloud.boot(request).id, args)


def _wait(cloud: Cloud, server_id: str, args: argparse.Namespace) -> Any:
    with output.err.status(f"server {server_id}: BUILD") as line:

        def tell(info: ServerInfo) -> None:
            line.update(f"server {info.id}: {info.status} {info.task_state or ''} {info.cell or ''}")

        info = cloud.wait(server_id, args.timeout, progress=tell)
    args.failed = info.status == "ERROR"
    return info if args.json else output.server(info)


def _root(text: str | None) -> RootDevice | None:
    if text is None:
        return None
    first, *rest = text.split(",")
    source, _, source_id = first.partition("=")
    if source not in ("image", "snapshot", "volume") or not source_id:
        raise BadRequest(f"--root {text}: say image=ID, snapshot=ID or volume=ID.")
    size, delete = None, False
    for item in rest:
        if item in ("keep", "delete"):
            delete = item == "delete"
        elif item.startswith("size=") and item[5:].isdigit():
            size = int(item[5:])
        else:
            raise BadRequest(f"--root {text}: {item} is none of size=GIB, keep, delete.")
    return RootDevice(source_type=source, uuid=source_id, volume_size=size, delete_on_termination=delete)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadRequest(f"--property {text}: say KEY=VALUE.")
    return key, value


def list_servers(cloud: Cloud, args: argparse.Namespace) -> Any:
    """List servers."""
    found = cloud.servers(limit=args.limit, marker=args.marker)
    if args.json:
        return found
    return output.table(
        ["ID", "NAME", "STATUS", "CELL", "FLAVOR", "VOLUMES"],
        (
            (
                info.id,
                info.name,
                info.status,
                info.cell,
                info.flavor.name if info.flavor else None,
                # A list reads which volumes a server has, and not which of them is the root.
                sum(device.volume_id is not None for device in info.devices) or None,
            )
            for info in found
        ),
    )


def show(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show a server."""
    info = cloud.server(args.server)
    return info if args.json else output.server(info)


def history(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Show the history of a server."""
    found = cloud.history(args.server)
    if args.json:
        return [{"intent": intent, "steps": steps} for intent, steps in found]
    return output.table(
        ["TIME", "VERB", "STEP", "DETAIL"],
        (
            (step.at.strftime("%F %T.%f")[:-3], intent.verb, step.name, step.detail)
            for intent, steps in found
            for step in steps
        ),
    )


def delete(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Delete servers."""
    done = [cloud.delete(server_id) for server_id in args.server]
    if args.json:
        return done
    for deleted in done:
        output.out.print(f"server {deleted.server_id}: deleted")
        for line in deleted.kept:
            output.out.print(f"  {line}")
    return None


def rebuild(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Rebuild a server."""
    return _wait(cloud, cloud.rebuild(args.server, args.image).id, args)


def power(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Switch a server off or on, or restart it."""
    how = {"hard": args.hard} if args.verb == "reboot" else {}
    return _wait(cloud, getattr(cloud, args.verb)(args.server, **how).id, args)


def connect(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Connect a host."""
    try:
        connector = {**json.loads(args.connector), "host": args.host}
    except (ValueError, TypeError) as error:
        raise BadRequest(f"--connector {args.connector}: not a JSON object: {error}") from error
    attached = cloud.connect(args.server, connector)
    return [{"attachment": each.id, "volume": each.disk_id, "connection": dict(each.connection)} for each in attached]


def disconnect(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Disconnect the host of a server."""
    cloud.disconnect(args.server)
    return None if args.json else output.out.print(f"server {args.server}: its volumes are reserved, no host uses them")
