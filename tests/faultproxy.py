# SPDX-License-Identifier: Apache-2.0
"""A proxy on a real socket in front of a real service, that loses, delays, doubles and fails calls by rule.

What a service does when its answer is lost cannot be tested against a stub: it must really have done it.
"""

import contextlib
import http.client
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


@dataclass(frozen=True)
class Call:
    """A call that came by; ``status`` is what the service answered, None if it was never asked."""

    method: str
    path: str
    status: int | None
    when: float


@dataclass
class Rule:
    """What is done to calls of a method whose path matches: all, or only the ``nth``."""

    method: str
    path: str
    fault: str
    nth: int | None = None
    seconds: float = 0.0
    code: int = 503
    seen: int = field(default=0, repr=False)

    def hits(self, method, path):
        if method != self.method or not re.search(self.path, path):
            return False
        self.seen += 1
        return self.nth in (None, self.seen)


class FaultProxy:
    """``with FaultProxy(url) as proxy``: ``proxy.url`` is the service with faults.

    Faults: ``lost before``, ``lost after`` (it took effect), ``reset after``, ``late`` (by ``seconds``, after it took
    effect), ``doubled`` (sent twice), ``failed before`` and ``failed after`` (answered with ``code``).
    """

    def __init__(self, upstream):
        self.upstream = urlsplit(upstream)
        self.rules, self.calls = [], []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}{self.upstream.path}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def rule(self, method, path, fault, **how):
        rule = Rule(method, path, fault, **how)
        self.rules.append(rule)
        return rule

    def clear(self):
        self.rules.clear()

    def count(self, method, path):
        return sum(1 for call in self.calls if call.method == method and re.search(path, call.path))

    def find(self, method, path):
        with self.lock:
            return next((rule for rule in self.rules if rule.hits(method, path)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        rule = self.proxy.find(self.command, self.path)
        fault = rule.fault if rule else ""
        if fault == "lost before":
            return self._drop()
        if fault == "failed before":
            return self._answer(rule.code, [], b"")
        status, headers, data = self._ask(body)
        if fault == "doubled":
            status, headers, data = self._ask(body)
        if fault == "late":
            time.sleep(rule.seconds)
        if fault == "lost after":
            return self._drop()
        if fault == "reset after":
            return self._drop(reset=True)
        if fault == "failed after":
            return self._answer(rule.code, [], b"")
        return self._answer(status, headers, data)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any

    def _ask(self, body):
        upstream = self.proxy.upstream
        link = http.client.HTTPConnection(upstream.hostname, upstream.port, timeout=120)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP}
        with contextlib.closing(link):
            link.request(self.command, self.path, body or None, {**headers, "Host": upstream.netloc})
            got = link.getresponse()
            data = got.read()
        with self.proxy.lock:
            self.proxy.calls.append(Call(self.command, self.path, got.status, time.monotonic()))
        kept = [(key, value) for key, value in got.getheaders() if key.lower() not in HOP]
        return got.status, kept, data.replace(upstream.netloc.encode(), self.headers["Host"].encode())

    def _answer(self, status, headers, data):
        with contextlib.suppress(ConnectionError):
            self.send_response_only(status)
            for key, value in headers:
                self.send_header(key, value)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def _drop(self, reset=False):
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_):
        """Say nothing; the recorder has it."""
