# SPDX-License-Identifier: Apache-2.0
"""Serve a cloud from a command until it is interrupted, and say in one line of JSON where it is."""

import argparse
import contextlib
import json
import signal
import sys

from bfv.mockcloud.server import start
from bfv.mockcloud.state import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a cloud to serve may be told."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--cells", type=int, default=2, metavar="N",
                        help="how many cells, each with its own Ceph (default: %(default)s)")  # fmt: skip
    parser.add_argument("--clouds-yaml", action="store_true", help="print its clouds.yaml instead, and serve on")


def run(args: argparse.Namespace) -> int:
    """Serve; the line is written once it listens. Ends with 0 at SIGTERM or SIGINT."""
    cells = tuple(f"cell{number}" for number in range(1, args.cells + 1))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with start(Settings(cells), host=args.host, port=args.port) as server:
        told = server.describe()
        # JSON is YAML.
        print(json.dumps({"clouds": told["clouds"]} if args.clouds_yaml else told), flush=True)
        print(f"mocked cloud, nothing in it is real: {server.url}/_mock", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
    return 0
