# SPDX-License-Identifier: Apache-2.0
"""The name of a process in leases, from which another on the same machine sees at once that it died.

A lease alone makes everybody wait until it runs out. A name that holds boot, pid name space, pid and start
time lets a process in the same name space look; from anywhere else only the lease counts.
"""

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Return the name of this process; it is unique for all time."""
    pid = os.getpid()
    return f"{_place()}:{pid}:{_started(pid)}"


def is_dead(owner: str | None) -> bool:
    """Return True if the owner surely runs no more: nobody, or a process of this place that has ended."""
    if not owner:
        return True
    place, pid, started = owner.rsplit(":", 2)
    return place == _place() and _started(int(pid)) != started


def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return f"{socket.gethostname()}:unknown:{os.getpid()}"
    return f"{socket.gethostname()}:{boot}:{space}"


def _started(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot, empty when there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
