# SPDX-License-Identifier: Apache-2.0
"""``python -m bfv.mockcloud``: serve a cloud until it is interrupted, and say in one line of JSON where it is."""

import argparse
import contextlib
import json
import signal
import sys

from bfv.mockcloud.server import start
from bfv.mockcloud.state import Settings


def main() -> int:
    """Serve; the line is written once it listens."""
    parser = argparse.ArgumentParser(prog="python -m bfv.mockcloud", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--cells", type=int, default=2, help="how many cells, each with its own Ceph")
    given = parser.parse_args()
    cells = tuple(f"cell{number}" for number in range(1, given.cells + 1))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with start(Settings(cells), host=given.host, port=given.port) as server:
        print(json.dumps(server.describe()), flush=True)
        print(f"mocked cloud, nothing in it is real: {server.url}/_mock", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
