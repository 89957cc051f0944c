# SPDX-License-Identifier: Apache-2.0
"""`bfv serve`: the Compute API in one process, until SIGTERM or SIGINT."""

import argparse
import logging
import signal
import threading
from typing import Any

from bfv import config
from bfv.cli import output
from bfv.cloud import Cloud
from bfv.errors import BadConfig


def add(verbs: Any) -> None:
    """Add the verb to the parser."""
    parser = verbs.add_parser("serve", help="serve the Compute API until it is ended by SIGTERM or SIGINT")
    parser.add_argument("--host", help="address to listen on (default: [api] host)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (default: [api] port)")
    parser.add_argument("--workers", type=int, metavar="N", help="requests answered at once (default: [api] threads)")
    parser.set_defaults(run=None, alone=serve)


def serve(args: argparse.Namespace) -> int:
    """Serve; the line with the URL is written once it listens. Ends with 0. Raises BadConfig, OSError."""
    try:
        from bfv.api.service import Service
    except ImportError as error:
        raise BadConfig(f"The API needs further packages, install bfv[api]: {error}") from error
    logging.getLogger("bfv").setLevel(logging.INFO)
    conf = config.load(args.config_file)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    cloud = Cloud(conf)
    try:
        with Service(cloud, args.host, args.port, args.workers) as service:
            output.out.print(f"compute API on {service.url}")
            ended.wait()
    finally:
        cloud.close(conf.api.stop_timeout)
    return 0
