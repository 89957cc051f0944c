# SPDX-License-Identifier: Apache-2.0
"""Real nova from the package index: releases side by side, databases by its own `nova-manage`, and its objects.

No service of nova runs here. What is proven with it is that its code and ours read and write the same rows.
"""

import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.install import PYTHON, command
from lab.process import environment, run, tail
from lab.settings import LAB, LOG, LabError, claim_directory, write

NEWEST = "34.0.0"
# The last of each series that bfv names as supported, with what else it needs to run on this Python.
RELEASES: Mapping[str, tuple[str, ...]] = {
    NEWEST: (),
    "33.0.2": (),
    "32.2.1": (),
    "31.3.1": (),
    # They use what oslo.utils 8 removed.
    "30.3.0": ("oslo.utils<8",),
    "29.4.0": ("oslo.utils<8",),
}
SIDE = Path(__file__).with_name("novaside.py")
CONFIG = """\
[DEFAULT]
state_path = {directory}
transport_url = fake:/
[api_database]
connection = {api}
[database]
connection = {database}
"""
COMMAND_SECONDS = 600.0


def home(release: str) -> Path:
    return LAB / "nova" / release


def install(release: str = NEWEST) -> None:
    """Make the environment of a release unless it is there. Raises LabError."""
    if release not in RELEASES:
        raise LabError(f"nova {release} is none of {', '.join(RELEASES)}")
    claim_directory()
    wanted = [f"nova=={release}", "pymysql", *RELEASES[release]]
    stamp = home(release) / "installed"
    if stamp.exists() and stamp.read_text().split() == wanted:
        print(f"nova {release}: is installed")
        return
    print(f"nova {release}: installing, a minute or two")
    shutil.rmtree(home(release), ignore_errors=True)
    command([PYTHON, "-m", "venv", home(release)])
    command([home(release) / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *wanted])
    stamp.write_text("\n".join(wanted))


def manage(config: Path, *words: str, release: str = NEWEST) -> str:
    """Run `nova-manage` and return what it prints. Raises LabError."""
    program = home(release) / "bin" / "nova-manage"
    return run(f"nova-manage-{release}", [program, "--config-file", config, *words], COMMAND_SECONDS)


def configure(directory: Path, api: str, database: str, name: str = "nova.conf", more: str = "") -> Path:
    """Write a configuration of a service of nova: the URLs are of the API database and of `[database]`."""
    target = directory / name
    write(target, CONFIG.format(directory=directory, api=api, database=database) + more, 0o600)
    return target


def deploy(directory: Path, urls: Mapping[str, str], release: str = NEWEST) -> Path:
    """Make a deployment in empty databases as nova's guide says, and return its configuration.

    ``urls`` are those of `api`, `cell0` and the cells by name. The mappings are templates, so that each reader comes
    with its own account.
    """
    config = configure(directory, urls["api"], urls["cell0"])
    manage(config, "api_db", "sync", release=release)
    manage(config, "cell_v2", "map_cell0", "--database_connection", template(urls["cell0"]), release=release)
    manage(config, "db", "sync", release=release)
    for name in urls:
        if name in ("api", "cell0"):
            continue
        manage(config, "cell_v2", "create_cell", "--name", name, "--transport-url", f"fake://{name}/",
               "--database_connection", template(urls[name]), release=release)  # fmt: skip
        of_cell = configure(directory, urls["api"], urls[name], f"{name}.conf")
        manage(of_cell, "db", "sync", "--local_cell", release=release)
    return config


def template(url: str) -> str:
    """Return a cell's URL as nova keeps it when only the name of the database is its own."""
    return "{scheme}://{username}:{password}@{hostname}:{port}/" + url.rpartition("/")[2]


class Nova:
    """A process of nova's own Python that answers questions about its objects; close it, or use it with ``with``."""

    def __init__(self, config: Path, release: str = NEWEST) -> None:
        LOG.mkdir(parents=True, exist_ok=True)
        self.log = LOG / f"novaside-{release}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # -P: else this file, beside that one, would be its `nova`.
                [home(release) / "bin" / "python", "-P", SIDE, "--config-file", config],
                env=environment("novaside", {"OS_NOVA_DISABLE_EVENTLET_PATCHING": "1"}),
                cwd=config.parent,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> "Nova":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def ask(self, verb: str, seconds: float = 120.0, **words: Any) -> Any:
        """Return the answer of a function of ``novaside``. Raises LabError with nova's error, or at the deadline."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"verb": verb, **words}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=seconds)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            # A late answer would be taken for the next question's.
            self._process.kill()
            raise LabError(f"nova did not answer {verb} in {seconds:.0f} s\n{tail(self.log)}") from None
        if not line:
            raise LabError(f"nova's process ended at {verb}\n{tail(self.log)}")
        answer = json.loads(line)
        if "error" in answer:
            raise LabError(f"nova: {verb}: {answer['error']}")
        return answer["answer"]

    def close(self) -> None:
        assert self._process.stdin is not None
        with self._process:
            self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")
