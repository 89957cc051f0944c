# SPDX-License-Identifier: Apache-2.0
"""The ``bfv`` command: words in, words out. Exit 0 done, 1 refused or failed, 2 wrong words, 3 not known yet."""

import argparse
import logging
import sys
from collections.abc import Sequence

from bfv import config
from bfv.caller import from_environment
from bfv.cli import (
    admin,
    cell,
    compare,
    demo,
    group,
    host,
    image,
    migrate,
    mocked,
    output,
    pool,
    quota,
    serve,
    servers,
    volumes,
    zone,
)
from bfv.cloud import Cloud
from bfv.errors import CellsError, MaybeRunning, StorageError

__all__ = ["main", "parser"]


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    top = argparse.ArgumentParser(prog="bfv", description="Automatic boot from volume for clouds of many cells.")
    top.add_argument("--config-file", metavar="FILE", help="configuration (default: bfv.conf where oslo.config looks)")
    top.add_argument("--os-cloud", metavar="NAME", help="entry of clouds.yaml (default: OS_CLOUD, or OS_*)")
    top.add_argument("--json", action="store_true", help="print JSON")
    top.add_argument("--verbose", action="store_true", help="log each step")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    servers.add(verbs)
    volumes.add(verbs)
    admin.add(verbs)
    cell.add(verbs)
    host.add(verbs)
    zone.add(verbs)
    pool.add(verbs)
    quota.add(verbs)
    group.add(verbs)
    image.add(verbs)
    compare.add(verbs)
    migrate.add(verbs)
    demo.add(verbs)
    mocked.add(verbs)
    serve.add(verbs)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.CRITICAL,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    args.failed = False
    try:
        if args.run is None:
            return int(args.alone(args))
        conf = config.load(args.config_file)
        with Cloud(conf, lambda: from_environment(args.os_cloud)) as cloud:
            answer = args.run(cloud, args)
        if answer is not None:
            output.as_json(answer)
    except MaybeRunning as error:
        return _say(error, 3)
    except (StorageError, CellsError, OSError) as error:
        return _say(error, 1)
    except KeyboardInterrupt:
        output.err.print("interrupted; what was begun is finished or undone by `bfv repair`")
        return 130
    return 1 if args.failed else 0


def _say(error: Exception, code: int) -> int:
    request_id = getattr(error, "request_id", None)
    output.err.print(f"{error}{f' (request {request_id})' if request_id else ''}", markup=False)
    return code
