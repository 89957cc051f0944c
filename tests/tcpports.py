# SPDX-License-Identifier: Apache-2.0
"""Databases that fail at the socket: a port that accepts and never answers, and a proxy that freezes or is slow.

What a driver does with a server that hangs is only seen on a real socket: the kernel accepts, and nobody speaks.
"""

import contextlib
import socket
import threading
import time


class _Port:
    """Accepts on a port of its own and counts; ``with`` ends it and its connections."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._server.getsockname()[1]
        self.accepted, self._sockets, self._threads = 0, [], []
        self._closing = threading.Event()

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        self._closing.set()
        for each in [self._server, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in [self._server, *self._sockets]:
            each.close()

    def url(self, user="bfv", password="s3cret-Pa55", database="nova", kind="mysql+pymysql"):
        return f"{kind}://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _start(self, work, *args):
        self._threads.append(threading.Thread(target=work, args=args))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._server.accept()[0]
                self.accepted += 1
                self._sockets.append(client)
                self._greet(client)

    def _greet(self, client):
        pass


class SilentPort(_Port):
    """Accepts and never says anything."""


class Proxy(_Port):
    """Passes bytes on to a real server: after ``delay`` seconds each time, and not at all while it is frozen."""

    def __init__(self, host, port):
        super().__init__()
        self._upstream, self._flows = (host, port), threading.Event()
        self._flows.set()
        self.delay = 0.0
        self._until_frozen = None

    def freeze_after(self, count):
        """Freeze in the middle of what the server says next, after so many bytes."""
        self._until_frozen = count

    def freeze(self):
        """Keep all connections open, take new ones, and pass nothing on."""
        self._flows.clear()

    def thaw(self):
        """Pass on again what was held."""
        self._flows.set()

    def __exit__(self, *_):
        self._closing.set()
        self._flows.set()
        super().__exit__()

    def _greet(self, client):
        upstream = socket.create_connection(self._upstream)
        self._sockets.append(upstream)
        self._start(self._pump, client, upstream)
        self._start(self._pump, upstream, client)

    def _pump(self, source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay and source.getpeername()[1] == self._upstream[1]:
                    time.sleep(self.delay)
                if self._until_frozen is not None and source.getpeername()[1] == self._upstream[1]:
                    target.sendall(data[: self._until_frozen])
                    data, self._until_frozen = data[self._until_frozen :], None
                    self.freeze()
                self._flows.wait()
                if self._closing.is_set():
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
