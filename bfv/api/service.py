# SPDX-License-Identifier: Apache-2.0
"""One process that serves the Compute API: a socket, threads, and a look now and then for what others left undone.

A stop lets the requests in flight end, then the flows; what is not done by then is open in the journal, and the next
start, here or elsewhere, goes on with it.
"""

import logging
import ssl
import threading
from types import TracebackType
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from bfv.api.app import Application
from bfv.api.faults import where
from bfv.cloud import Cloud
from bfv.errors import BadConfig
from bfv.images.heard import Listener

LOG = logging.getLogger(__name__)

# A connection is closed rather than read to the end of a body that nobody wants; the API's own bound is lower.
MAX_BODY, MAX_HEAD, IDLE = 1 << 20, 64 << 10, 30
# Seconds in which changes of images are seen as one.
TOGETHER = 1.0


class _Quiet(Server):
    """A server that says one line to our log, and never a stack trace."""

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Log the first line of a message."""
        del traceback
        LOG.log(level, "%s", msg.partition("\n")[0])


def _tls(conf: Any) -> BuiltinSSLAdapter | None:
    """Return what speaks TLS with a configured certificate, None without one. Raises BadConfig."""
    if not conf.certificate:
        return None
    try:
        adapter = BuiltinSSLAdapter(conf.certificate, conf.private_key)
    except (OSError, ssl.SSLError) as error:
        raise BadConfig(f"[api] certificate and private_key cannot be used: {error}") from error
    adapter.context.minimum_version = ssl.TLSVersion.TLSv1_2
    return adapter


class Service:
    """Serves one cloud until it is stopped; a context manager."""

    def __init__(self, cloud: Cloud, host: str | None = None, port: int | None = None,
                 threads: int | None = None) -> None:  # fmt: skip
        conf = cloud.parts.conf.api
        self._cloud, self._interval = cloud, conf.resume_interval
        address = (host if host is not None else conf.host, port if port is not None else conf.port)
        self._server = _Quiet(address, Application(cloud), numthreads=threads or conf.threads,
                              server_name="bfv", request_queue_size=128, timeout=IDLE,
                              shutdown_timeout=conf.stop_timeout)  # fmt: skip
        self._server.ssl_adapter = _tls(conf)
        self._server.max_request_body_size, self._server.max_request_header_size = MAX_BODY, MAX_HEAD
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._server.serve, name="bfv-api"),
                         threading.Thread(target=self._resume, name="bfv-resume")]  # fmt: skip
        # Set when images have changed, and at the end.
        self._changed = threading.Event()
        if cloud.parts.conf.images.keep:
            self._threads.append(threading.Thread(target=self._keep, name="bfv-keep"))
        self._listener = Listener(cloud.parts, self._changed) if cloud.parts.conf.images.notifications else None

    def start(self) -> None:
        """Listen from now on. Raises OSError when the address is not to be had."""
        self._server.prepare()
        for thread in self._threads:
            thread.start()
        if self._listener is not None:
            self._listener.start()

    def stop(self) -> None:
        """Take no more requests, and return when those in flight have ended."""
        self._stopping.set()
        self._changed.set()
        if self._listener is not None:
            self._listener.stop()
        self._server.stop()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "Service":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of the API, as a catalog has it."""
        host, port = self._server.bind_addr[:2]
        scheme = "http" if self._server.ssl_adapter is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/v2.1"

    def listens(self, seconds: float) -> bool:
        """Wait so long until notifications are listened to, and say whether they are."""
        return self._listener is not None and self._listener.listens(seconds)

    def _keep(self) -> None:
        while True:
            try:
                done = self._cloud.images.keep()
                if done:
                    LOG.info("images kept warm: %s", ", ".join(f"{each.state} in {each.cell}" for each in done))
            except Exception as error:
                # A service that is away now is there for the next look.
                LOG.warning("no look at the images to keep warm: %s", where(error))
            self._changed.wait(self._cloud.parts.conf.images.keep_interval)
            # An upload is told in several messages.
            if self._stopping.wait(TOGETHER):
                return
            self._changed.clear()

    def _resume(self) -> None:
        while True:
            try:
                taken = self._cloud.resume()
                if taken:
                    LOG.info("went on with %d verbs that their workers had left", taken)
            except Exception as error:
                # A database that is away now is there for the next look.
                LOG.warning("no look for what was left: %s", where(error))
            if self._stopping.wait(self._interval):
                return
