# SPDX-License-Identifier: Apache-2.0
"""Runs libvirtd as the parent of all that it leaves behind, and takes each of these when it ends.

Libvirt waits for a guest that it ends until the kernel knows its process no more. Its guests are daemons, so their
parent is process 1: where that one takes its dead late, each start and stop of a guest takes most of a minute.
"""

import contextlib
import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    main()
