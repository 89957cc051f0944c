# SPDX-License-Identifier: Apache-2.0
"""``python -m bfv.mockcloud``: what ``bfv mockcloud serve`` does, for who has no use for the rest."""

import argparse
import sys

from bfv.mockcloud import serve

parser = argparse.ArgumentParser(prog="python -m bfv.mockcloud", description=serve.__doc__)
serve.add_arguments(parser)
sys.exit(serve.run(parser.parse_args()))
