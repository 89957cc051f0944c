# SPDX-License-Identifier: Apache-2.0
"""The door that any client finds: HTTP/1.1 with keep-alive on loopback, one thread for each connection."""

import contextlib
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bfv.mockcloud import control
from bfv.mockcloud.app import App
from bfv.mockcloud.faults import Lost
from bfv.mockcloud.state import Cloud, Settings
from bfv.mockcloud.wire import Json, Response, parse

BODILESS = (204, 304)


class Handler(BaseHTTPRequestHandler):
    """Reads one request and writes its answer in one piece, so that no small packet waits for an acknowledgement."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Listener"

    def answer(self) -> None:
        """Answer, or break the connection where a fault says so."""
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        base = f"http://{self.headers.get('Host') or self.server.address}"
        request = parse(self.command, self.path, dict(self.headers.items()), body, base)
        try:
            response = self.server.app.answer(request)
        except Lost:
            self.close_connection = True
            self._break()
            return
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def _break(self) -> None:
        """End the connection without a word."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _body(self) -> bytes | None:
        """Return the body, None if the client went away while sending it."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length) if length else b""
        return data if len(data) == length else None

    def _chunks(self) -> bytes | None:
        parts: list[bytes] = []
        while True:
            line = self.rfile.readline().split(b";")[0].strip()
            if not line:
                return None
            size = int(line, 16)
            part = self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return b"".join(parts)
            parts.append(part)

    def _send(self, response: Response) -> None:
        content = response.content()
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {response.status} {phrase}", *(f"{k}: {v}" for k, v in response.headers.items())]
        if response.status not in BODILESS:
            lines.append(f"Content-Length: {len(content)}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        silent = self.command == "HEAD" or response.status in BODILESS
        try:
            self.wfile.write(head + (b"" if silent else content))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the recorder keeps the calls."""


class Listener(ThreadingHTTPServer):
    """The listening socket and the app behind it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, app: App) -> None:
        self.app = app
        super().__init__((host, port), Handler)
        self.address = f"{host}:{self.server_address[1]}"

    def service_actions(self) -> None:
        """Do what is due also while nobody calls: a compute service waits for what Cinder tells it."""
        cloud = self.app.cloud
        if cloud.compute_url is not None:
            with cloud.lock:
                cloud.pace.run()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave out clients that went away; anything else is a fault of ours and told as such."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Server:
    """A cloud that listens; a context manager that stops it."""

    def __init__(self, cloud: Cloud, host: str = "127.0.0.1", port: int = 0) -> None:
        self.cloud = cloud
        self._listener = Listener(host, port, App(cloud))
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address that all services are below."""
        return f"http://{self._listener.address}"

    @property
    def auth_url(self) -> str:
        """Keystone's address."""
        return f"{self.url}/identity/v3"

    def describe(self) -> Json:
        """Return all addresses, names and credentials."""
        with self.cloud.lock:
            return control.describe(self.cloud, self.url)

    def wait(self) -> None:
        """Wait until it is stopped."""
        self._thread.join()

    def stop(self) -> None:
        """Stop listening."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join(10)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def start(settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 0) -> Server:
    """Serve a new cloud; port 0 takes a free one. It listens when this returns."""
    return Server(Cloud(settings), host, port)
