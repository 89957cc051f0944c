# SPDX-License-Identifier: Apache-2.0
"""Processes that are born quickly: one process imports all once, and each victim is a fork of it.

The matrices of killed processes need hundreds of them, and two thirds of such a process's life were imports.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from tests import leaks

ROOT = Path(__file__).parent.parent
_mother: list[subprocess.Popen] = []


def victim(argv, environment):
    """Run ``tests.victim`` with arguments and an environment; return its returncode, stdout and stderr."""
    if not _mother or _mother[0].poll() is not None:
        command = [sys.executable, "-m", "tests.nursery"]
        _mother[:] = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)]
        atexit.register(_mother[0].stdin.close)
    _mother[0].stdin.write(json.dumps([argv, environment]) + "\n")
    _mother[0].stdin.flush()
    died = SimpleNamespace(**json.loads(_mother[0].stdout.readline()))
    leaks.look(f"printed by {argv}", died.stdout + died.stderr)
    return died


def _bear(argv, environment):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            _live(argv, environment, out, err)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return {"returncode": os.waitstatus_to_exitcode(status), "stdout": out.read(), "stderr": err.read()}


def _live(argv, environment, out, err):
    from tests import victim

    code = 1
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv[1:] = argv
        code = victim.main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Nothing of the mother's may run at the end of a child.
        os._exit(code)


def main():
    """Bear a child for each line of standard input."""
    import tests.victim  # noqa: F401 - so that the children need not

    # Written by hand: whatever a child prints must not come between.
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        answers.write(json.dumps(_bear(*json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
