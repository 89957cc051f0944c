# SPDX-License-Identifier: Apache-2.0
"""The `openstack` command, unmodified, for as many command lines as come in: most of its life is imports.

Run by a Python that has it. Each line of standard input is a JSON list of words, each of standard output what became of
it: how it ended, what it printed and what it said of errors.
"""

import contextlib
import io
import json
import sys

from openstackclient import shell


def main():
    """Answer each line."""
    answers = sys.stdout
    for line in sys.stdin:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            command = shell.OpenStackShell()
            try:
                code = command.run(json.loads(line))
            except SystemExit as error:
                code = error.code
        answers.write(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
