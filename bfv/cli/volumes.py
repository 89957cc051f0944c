# SPDX-License-Identifier: Apache-2.0
"""The verbs on volumes of a server, and the words for its further disks at boot."""

import argparse
from typing import Any

from bfv.cli import output
from bfv.cloud import Cloud
from bfv.errors import BadRequest
from bfv.types import DiskDevice, VolumeRequest

SPEC = "SOURCE[=ID][,size=GIB][,type=TIER][,tag=TAG][,keep|delete]"


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    parser = verbs.add_parser("attach", help="give a server one more volume")
    parser.add_argument("server")
    parser.add_argument("volume", help="id of the volume")
    parser.add_argument("--device", metavar="NAME", help="name of the device, a hint: /dev/vdb")
    parser.add_argument("--tag", help="tag of the device, which the guest can read")
    parser.add_argument("--delete", action="store_true", help="delete the volume with the server")
    parser.set_defaults(run=attach)
    parser = verbs.add_parser("detach", help="take a volume from a server")
    parser.add_argument("server")
    parser.add_argument("volume", help="id of the volume")
    parser.set_defaults(run=detach)


def attach(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Attach a volume."""
    request = VolumeRequest(args.volume, device_name=args.device, tag=args.tag, delete_on_termination=args.delete)
    device = cloud.attach_volume(args.server, request)
    if args.json:
        return device
    return output.out.print(f"server {args.server}: volume {args.volume} is {device.device_name}")


def detach(cloud: Cloud, args: argparse.Namespace) -> Any:
    """Detach a volume."""
    cloud.detach_volume(args.server, args.volume)
    return None if args.json else output.out.print(f"server {args.server}: volume {args.volume} is available")


def disk(text: str) -> DiskDevice:
    """Return a disk of its words on the command line. Raises BadRequest."""
    first, *rest = text.split(",")
    source, _, source_id = first.partition("=")
    if source not in ("blank", "volume", "snapshot", "image") or bool(source_id) == (source == "blank"):
        raise BadRequest(f"--disk {text}: say blank, volume=ID, snapshot=ID or image=ID first.")
    words: dict[str, Any] = {}
    for item in rest:
        name, _, value = item.partition("=")
        if item in ("keep", "delete"):
            words["delete_on_termination"] = item == "delete"
        elif name == "size" and value.isdigit():
            words["volume_size"] = int(value)
        elif name in ("type", "tag") and value:
            words[{"type": "volume_type"}.get(name, name)] = value
        else:
            raise BadRequest(f"--disk {text}: {item} is none of size=GIB, type=TIER, tag=TAG, keep, delete.")
    return DiskDevice(source_type=source, uuid=source_id or None, **words)
