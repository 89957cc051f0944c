# SPDX-License-Identifier: Apache-2.0
"""A scripted HTTP server on a real socket: what a client library does with a broken answer only a socket shows."""

import contextlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from keystoneauth1.token_endpoint import Token

from imagebackends import Settings
from imagebackends.cinder.backend import CinderBackend
from imagebackends.types import Access, DiskSpec, Target

pytest.register_assert_rewrite("imagebackends.conformance")

TOKEN = "gAAAA-a-secret-of-a-user"
PROJECT = "5b1f0e6c8e2a4f4f9d3c0a7b6e5d4c3b"
REQUEST_ID = "req-11111111-2222-4333-8444-555555555555"
# What no test waits for, in seconds, and how long it waits where nothing is answered on purpose.
PATIENT, HASTY = 60, 0.4


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What is sent back: ``fault`` is "", "reset", "closed" or "silent"; a ``body`` that is no text becomes JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""


class Script:
    """Answers by the rule that was given last; what no rule knows is 418."""

    def __init__(self):
        self.asked: list[Asked] = []
        self.rules: list[tuple[str, str, Callable[[Asked], Answer]]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"script": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def on(self, method, path, answer):
        """Answer requests of a method whose whole path matches with an Answer, or by a function of what was asked."""
        self.rules.append((method, path, answer if callable(answer) else lambda _: answer))

    def speaks(self, version):
        """Be a cinder of this microversion (``cinder/api/versions.py``)."""
        document = {"versions": [{"id": "v3.0", "status": "CURRENT", "version": version, "min_version": "3.0"}]}
        self.on("GET", "/", Answer(300, document))

    def took(self, method, path):
        """Return the requests of a method whose whole path matches."""
        return [each for each in self.asked if each.method == method and re.fullmatch(path, each.path)]

    def answer(self, asked):
        with self._lock:
            self.asked.append(asked)
            rules = reversed(self.rules)
        for method, path, answer in rules:
            if method == asked.method and re.fullmatch(path, asked.path):
                return answer(asked)
        return Answer(418, f"nobody scripted {asked.method} {asked.path}", {"Content-Type": "text/plain"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def handle_any(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        body = json.loads(raw) if raw else None
        answer = self.script.answer(Asked(self.command, url.path, query, dict(self.headers), body))
        if answer.fault:
            self._fail(answer.fault)
            return
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(text.encode()))}
        self.send_response(answer.status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def _fail(self, fault):
        if fault == "silent":
            # Until the client has left.
            self.connection.settimeout(PATIENT)
            with contextlib.suppress(OSError):
                self.connection.recv(1)
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def script():
    with Script() as script:
        script.speaks("3.71")
        yield script


@pytest.fixture
def settings(script):
    return Settings(
        volume_endpoint=f"{script.url}/v3",
        image_endpoint=script.url,
        connect_timeout=PATIENT,
        read_timeout=PATIENT,
        read_retries=1,
    )


@pytest.fixture
def session(settings):
    """A session whose sockets are closed when the test ends."""
    from imagebackends.http import make_session

    session = make_session(settings)
    yield session
    session.session.close()


@pytest.fixture
def hurry(session):
    """Have an answer waited for no longer, from now on: what is answered in time comes before."""

    def hurry():
        session.timeout = (PATIENT, HASTY)

    return hurry


@pytest.fixture
def backend(settings, session):
    return CinderBackend(settings, session)


def access_of(request_id=REQUEST_ID, **changes):
    return Access(**{"auth": Token("http://unused", TOKEN), "project_id": PROJECT, "request_id": request_id, **changes})


@pytest.fixture
def access():
    return access_of()


@pytest.fixture
def spec():
    return DiskSpec("vm-root", 1, Target("cell1"), "image", "70a0e3a5-1b8e-4c2b-8a1f-0d9b7c6e5f41", "a-marker")


def volume(**changes):
    """Return a volume as cinder tells it (``cinder/api/v3/views/volumes.py``)."""
    return {
        "id": "0e1c5ac2-7f0f-4a7e-b1ad-111111111111",
        "os-vol-tenant-attr:tenant_id": PROJECT,
        "size": 1,
        "status": "creating",
        "created_at": "2026-03-04T05:06:07.000000",
        "name": "vm-root",
        "volume_type": "cell1",
        "metadata": {},
        "attachments": [],
        **changes,
    }


def attachment(**changes):
    """Return an attachment as cinder tells it (``cinder/api/v3/views/attachments.py``)."""
    return {
        "id": "0e1c5ac2-7f0f-4a7e-b1ad-222222222222",
        "volume_id": volume()["id"],
        "instance": "0e1c5ac2-7f0f-4a7e-b1ad-333333333333",
        "status": "reserved",
        "connection_info": {},
        **changes,
    }


ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "write-a-backend.md").read_text()
EXAMPLE, TESTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run_example(home, files):
    """Write files into a folder, and run pytest there as a plugin's author does; warnings are errors."""
    for name, text in files.items():
        (home / name).write_text(text)
    words = ["-p", "no:cacheprovider", "-p", "no:randomly", "-q", "-rfE", "--tb=line"]
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", *words],
        cwd=home,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"},
        timeout=500,
    )
