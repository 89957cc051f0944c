# SPDX-License-Identifier: Apache-2.0
"""`bfv mockcloud serve`: the mocked cloud alone, for tests in any language."""

from typing import Any

from bfv import embedded


def add(verbs: Any) -> None:
    """Add the verb to the parser."""
    group = verbs.add_parser("mockcloud", help="a mocked cloud for tests").add_subparsers(dest="action", required=True)
    parser = group.add_parser(
        "serve", help="serve one until it is interrupted, and print in one line of JSON where it is"
    )
    embedded.serve.add_arguments(parser)
    parser.set_defaults(run=None, alone=embedded.serve.run)
