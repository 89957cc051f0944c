# SPDX-License-Identifier: Apache-2.0
"""`bfv serve`: one process with a socket and threads of its own, and what it does beside requests.

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
from bfv.api.upkeep import Upkeep
from bfv.cloud import Cloud
from bfv.errors import BadConfig

LOG = logging.getLogger(__name__)

# A connection is closed rather than read to the end of a body that nobody wants; the API's own bound is lower.
MAX_BODY, MAX_HEAD, IDLE = 1 << 20, 64 << 10, 30


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
        address = (host if host is not None else conf.host, port if port is not None else conf.port)
        self._server = _Quiet(address, Application(cloud), numthreads=threads or conf.threads,
                              server_name="bfv", request_queue_size=128, timeout=IDLE,
                              shutdown_timeout=conf.stop_timeout)  # fmt: skip
        self._server.ssl_adapter = _tls(conf)
        self._server.max_request_body_size, self._server.max_request_header_size = MAX_BODY, MAX_HEAD
        self._thread = threading.Thread(target=self._server.serve, name="bfv-api")
        self.upkeep = Upkeep(cloud)

    def start(self) -> None:
        """Listen from now on. Raises OSError when the address is not to be had."""
        self._server.prepare()
        self._thread.start()
        self.upkeep.start()

    def stop(self) -> None:
        """Take no more requests, and return when those in flight have ended."""
        self._server.stop()
        self._thread.join()
        self.upkeep.stop()

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
