# SPDX-License-Identifier: Apache-2.0
"""nova-api alone under uWSGI, as nova's own guide runs it, on databases that are there: the peer of benchmarks.

No other service of nova runs: what its API would have a conductor do goes into a queue in its memory.
"""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from lab import nova
from lab.install import command
from lab.process import environment, free_port, tail
from lab.rest import answers
from lab.settings import HOST, LOCK, LOG, LabError

READY_SECONDS = 120.0
# One process with threads; all else is nova's and uWSGI's default.
OPTIONS = ("--master", "--processes", "1", "--enable-threads", "--lazy-apps", "--need-app", "--die-on-term",
           # It closes connections after each answer, and says so only here.
           "--add-header", "Connection: close")  # fmt: skip
MODULE = "nova.wsgi.osapi_compute:application"


def install() -> Path:
    """Make nova's environment with uWSGI in it, unless it is there; return its programs' folder. Raises LabError."""
    nova.install()
    programs = nova.home(nova.NEWEST) / "bin"
    if not (programs / "uwsgi").exists():
        wanted = next(line for line in LOCK.read_text().splitlines() if line.lower().startswith("uwsgi=="))
        # pip would cache the wheel that it builds and give it to another Python, where it does not run.
        command([programs / "pip", "install", "-q", "--disable-pip-version-check", "--no-cache-dir", wanted])
    return programs


@contextlib.contextmanager
def running(directory: Path, api: str, database: str, more: str, threads: int) -> Iterator[tuple[str, int]]:
    """Serve nova's Compute API from a directory of its own; give its URL and the id of uWSGI's process.

    The URLs are of the API database and cell0, ``more`` is what is in its ``nova.conf`` beside them.
    """
    programs = install()
    directory.mkdir(parents=True, exist_ok=True)
    nova.configure(directory, api, database, more=more)
    shutil.copy(programs.parent / "etc" / "nova" / "api-paste.ini", directory)
    port = free_port()
    words = [programs / "uwsgi", "--http-socket", f"{HOST}:{port}", *OPTIONS, "--threads", str(threads),
             "--module", MODULE]  # fmt: skip
    LOG.mkdir(parents=True, exist_ok=True)
    log = LOG / f"{directory.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen([str(word) for word in words], stdout=out, stderr=out, cwd=directory,
                                   env=environment("novaapi", {"OS_NOVA_CONFIG_DIR": str(directory)}))  # fmt: skip
    try:
        wait_until_ready(process, f"http://{HOST}:{port}/", log)
        yield f"http://{HOST}:{port}/v2.1", process.pid
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Wait for the first answer. Raises LabError with the end of the log when there is none."""
    deadline = time.monotonic() + READY_SECONDS
    while not answers(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"nova-api does not answer\n{tail(log)}")
        time.sleep(0.2)
