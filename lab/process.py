# SPDX-License-Identifier: Apache-2.0
"""Start, find and end the lab's processes, and only those.

A pid alone proves nothing after a crash: it may be another process by now. Two things prove it here:
the pid file also holds the kernel's start tick of the process, and each process carries a mark in its
environment, which its children inherit. So a worker that outlived its killed parent is found, too.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.settings import HOST, LAB, LOG, RUN, VENV_BIN, LabError, write

MARK_VARIABLE = "BFV_LAB_PROCESS"
READY_SECONDS = 300
TAIL_LINES = 25


@dataclass(frozen=True)
class Service:
    """A process that stays: how it starts, how to know that it serves, how long it may take to leave."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool] = lambda: True
    env: Mapping[str, str] = field(default_factory=dict)
    ports: Sequence[int] = ()
    leave_seconds: float = 20

    @property
    def log(self) -> Path:
        return LOG / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return RUN / f"{self.name}.pid"


def environment(name: str, extra: Mapping[str, str]) -> dict[str, str]:
    """A small environment of our own: the caller's OS_* and proxy variables must not reach a service."""
    return {
        "PATH": f"{LAB}/bin:{VENV_BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(LAB),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        MARK_VARIABLE: f"{LAB}:{name}",
        **extra,
    }


def start_tick(pid: int) -> str | None:
    """When the kernel started this process, None if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def main_pid(service: Service) -> int | None:
    """The pid of the running service, None when it does not run or its pid is another's now."""
    try:
        pid, tick = service.pid_file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if start_tick(int(pid)) == tick else None


def marked() -> dict[int, str]:
    """Every living process of this lab: pid -> the name it was started under."""
    prefix = f"{MARK_VARIABLE}={LAB}:".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            if variable.startswith(prefix) and start_tick(int(entry.name)):
                found[int(entry.name)] = variable.removeprefix(prefix).decode()
    return found


def members(name: str) -> list[int]:
    return [pid for pid, owner in marked().items() if owner == name]


def start(service: Service) -> None:
    """Start the service unless it runs; what is left of an earlier life is ended first."""
    if main_pid(service):
        send(service, signal.SIGCONT)
        return
    end_all(lambda: members(service.name), signal.SIGTERM, 15)
    for port in service.ports:
        if port_open(port):
            raise LabError(f"{service.name}: port {port} is taken by a process that is not of this lab")
    LOG.mkdir(parents=True, exist_ok=True)
    with service.log.open("ab") as log:
        process = subprocess.Popen(
            service.command,
            env=environment(service.name, service.env),
            cwd=LAB,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    write(service.pid_file, f"{process.pid}\n{start_tick(process.pid)}\n")


def stop(service: Service) -> None:
    """Ask the main process to leave, then whatever it leaves behind; kill what does not listen."""
    if pid := main_pid(service):
        end_all(lambda: [pid] if main_pid(service) else [], signal.SIGTERM, service.leave_seconds)
    end_all(lambda: members(service.name), signal.SIGTERM, 5)
    service.pid_file.unlink(missing_ok=True)


def kill(service: Service) -> None:
    """End the service without warning, workers and all, as a power cut would."""
    end_all(lambda: members(service.name), signal.SIGKILL, 5)


def send(service: Service, number: signal.Signals) -> None:
    for pid in members(service.name):
        deliver(pid, number)


def end_all(living: Callable[[], Sequence[int]], number: signal.Signals, seconds: float) -> None:
    """Signal the processes, wait until none is left, and use SIGKILL at the deadline."""
    for pid in living():
        deliver(pid, number)
        deliver(pid, signal.SIGCONT)
    if not poll(lambda: not living(), seconds):
        for pid in living():
            deliver(pid, signal.SIGKILL)
        if not poll(lambda: not living(), 60):
            raise LabError(f"processes {living()} outlive SIGKILL")


def deliver(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def poll(predicate: Callable[[], bool], seconds: float, interval: float = 0.1) -> bool:
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def obstacle(service: Service) -> str | None:
    """Why the service does not do its work yet, None when it does; an error of the question is a reason."""
    try:
        return None if service.ready() else "it does not serve yet"
    except (LabError, OSError) as error:
        return str(error)


def wait(service: Service, seconds: float = READY_SECONDS) -> None:
    """Return when the service serves; fail loudly when it dies or the deadline passes."""
    deadline = time.monotonic() + seconds
    while reason := obstacle(service):
        if not main_pid(service):
            raise LabError(f"{service.name} died while starting\n{tail(service.log)}")
        if time.monotonic() > deadline:
            raise LabError(f"{service.name} not ready after {seconds:.0f} s: {reason}\n{tail(service.log)}")
        time.sleep(0.2)


def run(
    name: str,
    command: Sequence[object],
    seconds: float = READY_SECONDS,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
) -> str:
    """Run a command that ends, and return its output; its errors go to the log of that name."""
    LOG.mkdir(parents=True, exist_ok=True)
    log_path = LOG / f"{name}.log"
    with log_path.open("ab") as log:
        try:
            done = subprocess.run(
                [str(word) for word in command],
                env=environment(name, env or {}),
                cwd=LAB,
                text=True,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{name}: `{command[0]}` not done after {seconds} s\n{tail(log_path)}") from None
    if done.returncode:
        raise LabError(f"{name}: `{' '.join(map(str, command))}` exit {done.returncode}\n{done.stdout}{tail(log_path)}")
    return done.stdout


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n".join([f"--- end of {log}", *lines])


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def port_open(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), 1):
            return True
    except OSError:
        return False
